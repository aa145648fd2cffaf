import { App, Chart, type ChartProps, Size } from 'cdk8s';
import type { Construct } from 'constructs';
import {
  BackupVolume,
  type BackupVolumeProps,
  Credentials,
  InputError,
  LogicalBackup,
  type LogicalBackupProps,
  Postgres,
  PostgresImage,
  type PostgresProps,
  Schedule,
  Storage,
  SystemApp,
  WalArchive,
  type WalArchiveProps,
} from '../../lib';

// biome-ignore lint/suspicious/noExplicitAny: manifests are looked into at any depth
export type Manifest = Record<string, any>;

/** The objects of a chart, as they would be written. */
export function render(build: (chart: Chart) => void, props?: ChartProps): Manifest[] {
  const app = new App();
  const chart = new Chart(app, 'chart', { namespace: 'ns', ...props });
  build(chart);
  return chart.toJson();
}

/** What a user is told who builds this: the one line of the error. */
export function refusal(build: (chart: Chart) => void, props?: ChartProps): string {
  const app = new SystemApp({ outdir: '/nonexistent/not-written' });
  try {
    build(new Chart(app, 'chart', { namespace: 'ns', ...props }));
    app.synth();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') throw new Error('nothing was refused');
    throw error;
  }
  throw new Error('nothing was refused');
}

export function find(objects: Manifest[], kind: string, name?: string): Manifest {
  const found = objects.filter(
    (o) => o.kind === kind && (name === undefined || (o.metadata.name ?? o.metadata.generateName) === name),
  );
  if (found.length !== 1) throw new Error(`expected one ${kind} ${name ?? ''}, found ${found.length}`);
  return found[0]!;
}

/** A server that nothing is wrong with, but for what the test says. */
export function server(scope: Construct, props: Partial<PostgresProps> = {}, id = 'server'): Postgres {
  return new Postgres(scope, id, {
    name: 'pg',
    image: PostgresImage.official('18.1', { suite: 'trixie' }),
    storage: Storage.claimTemplate({ size: Size.gibibytes(1) }),
    superuser: Credentials.fromSecret('pg', { passwordKey: 'password' }),
    ...props,
  });
}

export function volume(scope: Construct, props: Partial<BackupVolumeProps> = {}, id = 'backups'): BackupVolume {
  return new BackupVolume(scope, id, { name: 'pg-backup', size: Size.gibibytes(1), ...props });
}

export function walArchive(scope: Construct, props: Partial<WalArchiveProps> = {}, id = 'wal'): WalArchive {
  return new WalArchive(scope, id, { name: 'pg-wal', size: Size.gibibytes(1), ...props });
}

export function backup(scope: Construct, props: Partial<LogicalBackupProps> = {}): LogicalBackup {
  return new LogicalBackup(scope, 'nightly', {
    of: props.of ?? server(scope),
    to: props.to ?? volume(scope),
    schedule: Schedule.daily('02:00'),
    ...props,
  });
}
