import { App, Chart, Size, Testing } from 'cdk8s';
import {
  BackupVolume,
  Credentials,
  LogicalBackup,
  type LogicalBackupProps,
  LogicalRestore,
  type LogicalRestoreProps,
  Postgres,
  PostgresImage,
  type PostgresProps,
  Schedule,
  Storage,
} from '../../lib';
import { HomeLab } from '../../systems/home-lab';
import type { KubeObject, Major } from './runner/types';

/** Everything that a password can hold and a connection string, a shell or a URL would trip over. */
export const PASSWORD = `p:@/\\'" $(e)%7;&`;

/** What the operator makes before: the Secret that home-lab refers to. */
export const SECRET: KubeObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'postgres-postgresql', namespace: 'data' },
  stringData: { 'postgres-password': PASSWORD },
};

/** The monitoring role's: as hostile, but for white space, with which the exporter would write it into its log. */
export const METRICS_PASSWORD = `m/?#[@]:\\'"$(f)%8,&=+`;
export const METRICS_SECRET: KubeObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name: 'postgres-metrics', namespace: 'data' },
  stringData: { password: METRICS_PASSWORD },
};

/**
 * Home-lab's exporter is 0.20.1, and the one that Debian has, which is executed here, 0.19.1. What it does not know is left
 * out: of collectors that it has, too, but can't turn off.
 */
const UNKNOWN_TO_DEBIAN = ['--no-collector.stat_activity', '--no-collector.stat_replication'];

function forDebian(objects: KubeObject[]): KubeObject[] {
  const exporters = objects
    .filter(({ kind }) => kind === 'StatefulSet')
    .flatMap((set) => set['spec'].template.spec.containers)
    .filter(({ name }) => name === 'metrics');
  for (const exporter of exporters) {
    exporter.command = exporter.command.filter((flag: string) => !UNKNOWN_TO_DEBIAN.includes(flag));
  }
  return objects;
}

/** Names in home-lab. */
export const SERVER = 'postgres-postgresql';
export const DATA_CLAIM = 'data-postgres-postgresql-0';
export const BACKUP = 'postgres-backup';
export const RESTORE = 'postgres-restore-';

export interface Variant {
  /** What lies under both claims: NFS, as home-lab has it, or block devices. */
  readonly rootSquash?: boolean;
  readonly server?: Partial<PostgresProps>;
  readonly backup?: Partial<LogicalBackupProps>;
  readonly restore?: Partial<LogicalRestoreProps>;
}

export const IMAGES: Record<Major, PostgresImage> = {
  15: PostgresImage.official('15.14', { suite: 'bookworm' }),
  17: PostgresImage.official('17.6', { suite: 'trixie' }),
  18: PostgresImage.official('18.3', { suite: 'trixie' }),
};

/**
 * The objects of home-lab with its Secrets: the system itself on 18 when nothing is asked for, otherwise the same constructs
 * with the same names and the differences that the test names.
 */
export function homeLab(major: Major, variant?: Variant): KubeObject[] {
  const secrets = [SECRET, METRICS_SECRET];
  if (major === 18 && !variant) return [...forDebian(Testing.synth(new HomeLab(new App(), 'home-lab'))), ...secrets];
  const { rootSquash = true, server = {}, backup = {}, restore = {} } = variant ?? {};
  const chart = new Chart(new App(), 'home-lab', { namespace: 'data' });
  const storage = { storageClass: 'nfs-client', rootSquash };
  const of = new Postgres(chart, 'server', {
    name: SERVER,
    image: IMAGES[major],
    storage: Storage.claimTemplate({ size: Size.gibibytes(8), ...storage }),
    superuser: Credentials.fromSecret(SERVER, { passwordKey: 'postgres-password' }),
    ...server,
  });
  const to = new BackupVolume(chart, 'backups', { name: BACKUP, size: Size.gibibytes(10), ...storage });
  const from = new LogicalBackup(chart, 'nightly', { of, to, schedule: Schedule.daily('02:00'), ...backup });
  new LogicalRestore(chart, 'restore', { from, name: 'postgres-restore', ...restore });
  return [...forDebian(Testing.synth(chart)), ...secrets];
}
