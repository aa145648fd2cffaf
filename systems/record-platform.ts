import { Chart, Size } from 'cdk8s';
import type { Construct } from 'constructs';
import { BackupVolume, Credentials, Postgres, PostgresImage, Storage, WalArchive } from '../lib';

/** Hardened, on NFS that squashes root, with a WAL archive. Prerequisites: namespace, Secret `postgres-superuser`. */
export class RecordPlatform extends Chart {
  constructor(scope: Construct, id: string) {
    super(scope, id, { namespace: 'record-platform', labels: { 'app.kubernetes.io/part-of': 'record-platform' } });
    const nfs = { rootSquash: true };

    const walArchive = new WalArchive(this, 'wal', { name: 'pg-wal-archive', size: Size.gibibytes(20), ...nfs });
    new Postgres(this, 'server', {
      name: 'postgres',
      containerName: 'db',
      podLabels: { app: 'postgres' },
      image: PostgresImage.official('18.3', { suite: 'trixie' }),
      storage: Storage.claim({ name: 'pgdata-big', size: Size.gibibytes(100), ...nfs }),
      superuser: Credentials.fromSecret('postgres-superuser', { passwordKey: 'password' }),
      database: 'records',
      walArchive,
    });
    new BackupVolume(this, 'backups', { name: 'pgbackups', size: Size.gibibytes(50), ...nfs });
  }
}
