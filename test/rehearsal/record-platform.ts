import { App, Chart, type Duration, Size, Testing } from 'cdk8s';
import { Credentials, Postgres, Storage, WalArchive } from '../../lib';
import { RecordPlatform } from '../../systems/record-platform';
import { IMAGES } from './home-lab';
import type { KubeObject, Major } from './runner/types';

/** What the operator makes before: the Secret that record-platform refers to. */
export const SECRET: KubeObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'postgres-superuser', namespace: 'record-platform' },
  stringData: { password: 'rehearsal' },
};

/** Names in record-platform. */
export const SERVER = 'postgres';
export const DATA_CLAIM = 'pgdata-big';
export const ARCHIVE_CLAIM = 'pg-wal-archive';

/** The objects of record-platform with its Secret: the system itself on 18, otherwise the same server of another major. */
export function recordPlatform(major: Major, variant: { archiveTimeout?: Duration } = {}): KubeObject[] {
  if (major === 18 && !variant.archiveTimeout) {
    return [...Testing.synth(new RecordPlatform(new App(), 'record-platform')), SECRET];
  }
  const chart = new Chart(new App(), 'record-platform', { namespace: 'record-platform' });
  const walArchive = new WalArchive(chart, 'wal', {
    name: ARCHIVE_CLAIM,
    size: Size.gibibytes(20),
    rootSquash: true,
    ...variant,
  });
  new Postgres(chart, 'server', {
    name: SERVER,
    containerName: 'db',
    image: IMAGES[major],
    storage: Storage.claim({ name: DATA_CLAIM, size: Size.gibibytes(100), rootSquash: true }),
    superuser: Credentials.fromSecret('postgres-superuser', { passwordKey: 'password' }),
    database: 'records',
    walArchive,
  });
  return [...Testing.synth(chart), SECRET];
}
