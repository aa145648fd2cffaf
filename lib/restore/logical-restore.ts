import { Duration } from 'cdk8s';
import { Construct } from 'constructs';
import { BACKUP_PATH, checkNeighbours, type LogicalBackup } from '../backup/logical-backup';
import { guardApp } from '../guard/guard-app';
import { InputError, refuse } from '../guard/input-error';
import { checkName } from '../guard/names';
import { expectUser } from '../guard/user';
import { button } from '../pod/button';
import { claimMount } from '../pod/hardened-pod';
import type { ImageFacts } from '../pod/image-facts';
import { jobSpec } from '../pod/job';
import { labels } from '../pod/labels';
import { operation } from '../pod/operation';
import type { Resources } from '../pod/resources';
import { mountScripts, runScript } from '../pod/scripts';
import { clientEnv, clientMounts, type IPostgres, nameOf } from '../server/endpoint';
import { Tls } from '../server/tls';

export interface LogicalRestoreProps {
  /** The backup whose dumps are restored. */
  readonly from: LogicalBackup;
  /**
   * The server that is restored into.
   *
   * @default the server that `from` dumps
   */
  readonly into?: IPostgres;
  /**
   * Beginning of the Job's name, at most 46 characters.
   *
   * @default `<server>-restore`
   */
  readonly name?: string;
  /**
   * A dump by its file name. It can be one without a manifest, made by something else.
   *
   * @default the newest verified dump
   */
  readonly file?: string;
  /**
   * One database out of the dump, restored while the others go on.
   *
   * @default the whole server
   */
  readonly database?: string;
  /**
   * What happens to clients that are connected to a database that is replaced: the restore refuses, or disconnects them at
   * the moment of the swap. What they wrote since the restore began stays in the old database, which is kept.
   *
   * @default "refuse"
   */
  readonly sessions?: 'refuse' | 'terminate';
  /**
   * How long a restore may take.
   *
   * @default Duration.hours(12)
   */
  readonly deadline?: Duration;
  /**
   * How long the finished Job and its log are kept.
   *
   * @default Duration.days(7)
   */
  readonly timeToLive?: Duration;
  /**
   * @default requests 100m / 128Mi, limits 2 CPU / 1Gi
   */
  readonly resources?: Resources;
}

/**
 * A restore that is run by hand: `kubectl create -f dist/<system>/ops/<id>.yaml`. It loads into new databases, compares
 * them with the manifest, and only then swaps them in by rename; the old ones are kept under a dated name.
 *
 * The suspended CronJob `<name>-fresh` is the same without the swap, which harms nothing: each database is loaded into a
 * fresh one beside it, `<database>_restored_<time>`. `kubectl create job --from=cronjob/<name>-fresh JOB`.
 */
export class LogicalRestore extends Construct {
  /** @throws InputError if the restore could not run */
  constructor(scope: Construct, id: string, props: LogicalRestoreProps) {
    super(scope, id);
    InputError.at(this, () => this.render(props));
    guardApp(this);
  }

  private render(props: LogicalRestoreProps): void {
    const server = props.into ?? props.from.of;
    const { volume } = props.from;
    const name = props.name ?? `${nameOf(server)}-restore`;
    // The API server appends five characters to `<name>-`.
    checkName('Job', `${name}-xxxxx`);
    checkNeighbours(this, server, volume);
    const file = props.file ?? '';
    if (/[/\p{Cc}]/u.test(file) || file.startsWith('.') || file.endsWith('.manifest.json')) {
      refuse(
        'file',
        'be a file name on the backup volume',
        file,
        'write for example "postgres-backup-2026-11-21-020000.sql.gz"',
      );
    }
    const { database = '', sessions = 'refuse' } = props;
    if (/[\p{Cc}]/u.test(database) || /^template[01]$/.test(database)) {
      refuse('database', 'be a database of the dump, no template', database, 'leave it out for the whole server');
    }
    if (sessions !== 'refuse' && sessions !== 'terminate') {
      refuse('sessions', 'be "refuse" or "terminate"', sessions, 'write "refuse"');
    }
    const image = imageFor(server, props.from.of);
    // It may be another image than the one that the endpoint was checked with.
    if (server.tls) Tls._check('into.tls', server.tls, image);
    const allLabels = labels(this, 'restore', name);
    const env = {
      BACKUP_DIR: BACKUP_PATH,
      BACKUP_NAME: props.from.name,
      // The API server drops an empty value, and each further `kubectl apply` would try to set it again.
      ...(file !== '' && { BACKUP_FILE: file }),
      ...(database !== '' && { DATABASE: database }),
    };
    const mounts = [
      claimMount('backup', BACKUP_PATH, volume, true),
      ...clientMounts(server),
      mountScripts(this, { name: `${name}-scripts`, labels: allLabels }, RESTORE_SCRIPTS),
    ];
    const spec = (variables: Record<string, string>) =>
      jobSpec({
        image,
        labels: allLabels,
        container: {
          name: 'restore',
          command: runScript('logical-restore.sh'),
          env: [...clientEnv(server), ...Object.entries(variables).map(([key, value]) => ({ name: key, value }))],
          mounts,
        },
        resources: props.resources,
        restartPolicy: 'Never',
        backoffLimit: 0,
        deadline: props.deadline ?? Duration.hours(12),
        timeToLive: props.timeToLive ?? Duration.days(7),
      });
    const fresh = spec({ ...env, INTO: 'fresh' });
    expectUser(button(this, 'fresh', { name: `${name}-fresh`, labels: allLabels }, fresh), image);
    const swapping = spec({ ...env, SESSIONS: sessions });
    expectUser(operation(this, 'job', { name, labels: allLabels }, swapping), image);
  }
}

/**
 * The image of the server that is restored into, unless it runs as another user than the one that wrote the dumps, and could
 * not read them: then the one that wrote them.
 */
function imageFor(into: IPostgres, from: IPostgres): ImageFacts {
  const [theirs, writers] = [into.image._facts, from.image._facts];
  return theirs.uid === writers.uid ? theirs : writers;
}

const RESTORE_SCRIPTS = [
  'dump-globals.awk',
  'dump-inventory.awk',
  'dump-lexer.awk',
  'dump-section.awk',
  'lib.sh',
  'logical-restore.sh',
  'restore-file.sh',
  'restore-fresh.sh',
  'restore-load.sh',
  'restore-preflight.sh',
  'restore-swap.sh',
  'retention.sh',
];
