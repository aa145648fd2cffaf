import { Duration } from 'cdk8s';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { guardApp } from '../guard/guard-app';
import { InputError, refuse } from '../guard/input-error';
import { checkName } from '../guard/names';
import { checkNamespace } from '../guard/namespace';
import { seconds, YEAR } from '../guard/seconds';
import { expectUser } from '../guard/user';
import { button } from '../pod/button';
import { claimMount } from '../pod/hardened-pod';
import { jobSpec } from '../pod/job';
import { labels } from '../pod/labels';
import type { Resources } from '../pod/resources';
import { mountScripts, runScript } from '../pod/scripts';
import { checkReach, clientEnv, clientMounts, type IPostgres } from '../server/endpoint';
import type { BackupVolume } from './backup-volume';
import { Compression } from './compression';
import { Retention } from './retention';
import type { Schedule } from './schedule';

export interface LogicalBackupProps {
  /** The server that is dumped: all databases, roles and grants. */
  readonly of: IPostgres;
  /** Where the dumps go, as `<name>-YYYY-MM-DD-HHMMSS.sql.gz` (UTC), each with its `.manifest.json`. */
  readonly to: BackupVolume;
  readonly schedule: Schedule;
  /**
   * Which verified dumps stay.
   *
   * @default Retention.last(7)
   */
  readonly retention?: Retention;
  /**
   * Name of the CronJob and beginning of the dumps' names, at most 48 characters.
   *
   * @default the volume's name
   */
  readonly name?: string;
  /**
   * @default Compression.gzip()
   */
  readonly compression?: Compression;
  /**
   * How long a run may take, retries included, before it counts as hung.
   *
   * @default Duration.hours(6)
   */
  readonly deadline?: Duration;
  /**
   * How long after its time a missed run may still begin.
   *
   * @default Duration.hours(1)
   */
  readonly startingDeadline?: Duration;
  /**
   * How long a dump waits for a table that somebody holds an exclusive lock on, before it fails.
   *
   * @default Duration.minutes(10)
   */
  readonly lockTimeout?: Duration;
  /**
   * How often a failed run is tried again.
   *
   * @default 3
   */
  readonly retries?: number;
  /**
   * How long a finished Job and its log are kept.
   *
   * @default Duration.days(1)
   */
  readonly timeToLive?: Duration;
  /**
   * @default requests 100m / 128Mi, limits 2 CPU / 1Gi
   */
  readonly resources?: Resources;
}

/**
 * A scheduled dump of a whole server; it counts only once it was read back and found complete. The suspended CronJob
 * `<name>-now` beside it is the same dump by hand: `kubectl create job --from=cronjob/<name>-now JOB`.
 */
export class LogicalBackup extends Construct {
  /** Name of the CronJob and beginning of the dumps' names. */
  readonly name: string;
  readonly volume: BackupVolume;
  readonly of: IPostgres;

  /** @throws InputError if the dump could not run */
  constructor(scope: Construct, id: string, props: LogicalBackupProps) {
    super(scope, id);
    this.name = props.name ?? props.to.claimName;
    this.volume = props.to;
    this.of = props.of;
    InputError.at(this, () => this.render(props));
    guardApp(this);
  }

  private render(props: LogicalBackupProps): void {
    const { name, of: server } = this;
    checkName('CronJob', name);
    checkNeighbours(this, server, props.to);
    const image = server.image._facts;
    const compression = (props.compression ?? Compression.gzip())._env;
    if (compression.COMPRESSION === 'zstd' && image.lacks?.includes('zstd')) {
      const fix = 'write `Compression.gzip()`, or give the server an official image';
      refuse('compression', `be one that ${image.reference} has a program for`, 'zstd', fix);
    }
    const lockTimeout = seconds('lockTimeout', props.lockTimeout ?? Duration.minutes(10), 1, 1_000_000);
    const allLabels = labels(this, 'backup', name);
    const env = {
      BACKUP_DIR: BACKUP_PATH,
      BACKUP_NAME: name,
      ...compression,
      ...(props.retention ?? Retention.last(7))._env,
      LOCK_WAIT_TIMEOUT: String(lockTimeout),
    };
    const scheduled = {
      metadata: { name, labels: allLabels },
      spec: {
        ...props.schedule._render(),
        concurrencyPolicy: 'Forbid',
        // The controller looks every 10 s: a shorter deadline may never be met.
        startingDeadlineSeconds: seconds('startingDeadline', props.startingDeadline ?? Duration.hours(1), 30, YEAR),
        successfulJobsHistoryLimit: 3,
        failedJobsHistoryLimit: 3,
        jobTemplate: {
          metadata: { labels: allLabels },
          spec: jobSpec({
            image,
            labels: allLabels,
            container: {
              name: 'dump',
              command: runScript('logical-backup.sh'),
              env: [...clientEnv(server), ...Object.entries(env).map(([key, value]) => ({ name: key, value }))],
              mounts: [
                claimMount('backup', BACKUP_PATH, props.to),
                ...clientMounts(server),
                mountScripts(this, { name: `${name}-scripts`, labels: allLabels }, BACKUP_SCRIPTS),
              ],
            },
            resources: props.resources,
            restartPolicy: 'OnFailure',
            backoffLimit: props.retries ?? 3,
            deadline: props.deadline ?? Duration.hours(6),
            timeToLive: props.timeToLive ?? Duration.days(1),
          }),
        },
      },
    } satisfies k8s.KubeCronJobProps;
    expectUser(new k8s.KubeCronJob(this, 'cron-job', scheduled), image);
    // An object of its own, so that runs by hand don't push the scheduled ones out of their history.
    const metadata = { name: `${name}-now`, labels: allLabels };
    expectUser(button(this, 'now', metadata, scheduled.spec.jobTemplate.spec), image);
  }
}

/** Where backup and restore pods see the backup volume. */
export const BACKUP_PATH = '/backup';

const BACKUP_SCRIPTS = ['dump-inventory.awk', 'dump-lexer.awk', 'lib.sh', 'logical-backup.sh', 'retention.sh'];

/** Refuses a pod that could not reach its server, its Secret or its volume, or that would fill the data's volume. */
export function checkNeighbours(scope: Construct, server: IPostgres, volume: BackupVolume): void {
  checkReach(scope, 'server', server);
  checkNamespace(scope, 'volume', volume);
  if (server.dataClaim !== undefined && server.dataClaim === volume.claimName) {
    const must = "be another claim than the server's data: a full or lost volume would take both";
    refuse('to', must, volume.claimName, 'make a `BackupVolume` with a name of its own');
  }
}
