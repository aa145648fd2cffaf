import { Chart, Size } from 'cdk8s';
import { Cpu } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import {
  BackupVolume,
  Credentials,
  LogicalBackup,
  LogicalRestore,
  Metrics,
  MetricsMonitor,
  MonitoringRole,
  Postgres,
  PostgresImage,
  Retention,
  Schedule,
  Storage,
} from '../lib';

/**
 * One small server on a NAS, dumps every night. Prerequisites: namespace `data`, Secrets `postgres-postgresql` and
 * `postgres-metrics`.
 */
export class HomeLab extends Chart {
  constructor(scope: Construct, id: string) {
    super(scope, id, { namespace: 'data', labels: { 'app.kubernetes.io/part-of': 'home-lab' } });
    const nfs = { storageClass: 'nfs-client', rootSquash: true };
    const monitoring = { username: 'postgres_exporter', passwordKey: 'password' };
    const credentials = Credentials.fromSecret('postgres-metrics', monitoring);

    const server = new Postgres(this, 'server', {
      name: 'postgres-postgresql',
      image: PostgresImage.official('18.3', { suite: 'trixie' }),
      storage: Storage.claimTemplate({ size: Size.gibibytes(8), ...nfs }),
      superuser: Credentials.fromSecret('postgres-postgresql', { passwordKey: 'postgres-password' }),
      resources: {
        cpu: { request: Cpu.millis(100), limit: Cpu.millis(500) },
        memory: { request: Size.mebibytes(256), limit: Size.gibibytes(1) },
      },
      metrics: Metrics.exporter({ credentials }),
    });
    new MetricsMonitor(this, 'monitor', { of: server });
    new MonitoringRole(this, 'monitoring-role', { of: server, credentials, name: 'postgres-monitoring-role' });
    const volume = new BackupVolume(this, 'backups', { name: 'postgres-backup', size: Size.gibibytes(10), ...nfs });

    const nightly = new LogicalBackup(this, 'nightly', {
      of: server,
      to: volume,
      schedule: Schedule.daily('02:00'),
      retention: Retention.last(7),
    });
    new LogicalRestore(this, 'restore', { from: nightly, name: 'postgres-restore' });
  }
}
