import { Duration } from 'cdk8s';
import type { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { guardApp } from '../guard/guard-app';
import { InputError, refuse } from '../guard/input-error';
import { checkName } from '../guard/names';
import { isBelow } from '../guard/paths';
import { seconds } from '../guard/seconds';
import { claimMount, type Mount } from '../pod/hardened-pod';
import { labels } from '../pod/labels';
import { runScript } from '../pod/scripts';
import type { Settings } from '../server/settings';
import { renderClaim } from '../storage/claim';
import { checkClaim, type OwnClaimProps } from '../storage/storage';

export interface WalArchiveProps extends OwnClaimProps {
  /**
   * Where the server and the jobs of the archive see it, outside the claim of the data.
   *
   * @default "/wal-archive"
   */
  readonly mountPath?: string;
  /**
   * How much work can at most be lost with the data volume: a segment that has anything in it is archived after this time,
   * full or not. One that is not full takes little space where the volume knows sparse files.
   *
   * @default Duration.minutes(5)
   * @see https://www.postgresql.org/docs/current/runtime-config-wal.html#GUC-ARCHIVE-TIMEOUT
   */
  readonly archiveTimeout?: Duration;
}

/**
 * The claim that a server copies its write-ahead log to, a folder for each system identifier; the prop `walArchive` of a
 * `Postgres` takes it. With a base backup, which the library does not make yet, it restores to any moment since. It is
 * rendered into `claims.yaml`: never mutated, never pruned.
 *
 * Servers may share one; a full one stops the archiving of all.
 */
export class WalArchive extends Construct {
  readonly claimName: string;
  readonly rootSquash: boolean;
  readonly mountPath: string;
  private readonly timeout: number;

  /** @throws InputError if the claim could not exist or be mounted */
  constructor(scope: Construct, id: string, props: WalArchiveProps) {
    super(scope, id);
    this.claimName = props.name;
    this.rootSquash = props.rootSquash ?? false;
    this.mountPath = props.mountPath ?? '/wal-archive';
    this.timeout = InputError.at(this, () => {
      checkName('PersistentVolumeClaim', props.name);
      checkClaim(props);
      checkPath(this.mountPath);
      renderClaim(this, 'claim', { name: props.name, labels: labels(this, 'wal-archive', props.name) }, props);
      return seconds('archiveTimeout', props.archiveTimeout ?? Duration.minutes(5), 1, 86_400);
    });
    guardApp(this);
  }

  /** @internal */
  _mount(readOnly?: boolean): Mount {
    return claimMount('wal-archive', this.mountPath, this, readOnly);
  }

  /** @internal */
  get _env(): k8s.EnvVar[] {
    return [{ name: ARCHIVE_ENV, value: this.mountPath }];
  }

  /**
   * What a server that archives here is configured with, on top of the user's own settings.
   *
   * @throws InputError if these say otherwise
   * @internal
   */
  _settings(own: Settings = {}): Settings {
    for (const [name, value] of Object.entries(own)) {
      if (/^(archive_(mode|command|library|timeout)|restore_command)$/i.test(name)) {
        const fix = 'leave it out; `archiveTimeout` is a prop of `WalArchive`';
        refuse('settings', 'leave the archive to `walArchive`', name, fix);
      }
      if (/^wal_level$/i.test(name) && /^minimal$/i.test(String(value))) {
        const must = 'have a wal_level that can be archived, "replica" or "logical"';
        refuse('settings', must, value, 'leave it out');
      }
    }
    return {
      ...own,
      archive_mode: true,
      archive_command: [...runScript('archive-wal.sh'), '%p', '%f'].join(' '),
      archive_timeout: this.timeout,
      // Read only by a server that is told to recover (recovery.signal, standby.signal).
      restore_command: [...runScript('fetch-wal.sh'), '%f', '%p'].join(' '),
    };
  }

  /**
   * @throws InputError if the archive's mount and the data's would hide each other, or both are one claim
   * @internal
   */
  _checkBeside(data: { readonly mountPath: string; readonly claimName: string }): void {
    if (data.claimName === this.claimName) {
      const must = "be another claim than the server's data: a full or lost volume would take both";
      refuse('walArchive', must, this.claimName, 'make a `WalArchive` with a name of its own');
    }
    const { mountPath } = this;
    if (mountPath === data.mountPath || isBelow(mountPath, data.mountPath) || isBelow(data.mountPath, mountPath)) {
      const must = `be mounted outside the data's claim, which is at ${data.mountPath}`;
      refuse('walArchive.mountPath', must, mountPath, 'leave it out for "/wal-archive"');
    }
  }
}

/** Names the archive's folder in every pod that has one. The guard tells the archive from data and backups by it. */
const ARCHIVE_ENV = 'WAL_ARCHIVE';

/** What a pod needs that archives, fetches or tells how the archiver does. */
export const ARCHIVE_SCRIPTS = ['archive-health.sh', 'archive-wal.sh', 'fetch-wal.sh', 'lib.sh', 'wal-archive.sh'];

function checkPath(path: string): void {
  if (!/^(\/[-._a-zA-Z0-9]+)+$/.test(path) || path.split('/').some((part) => part === '.' || part === '..')) {
    const must = 'be an absolute path of letters, digits, "-", "_" and ".", without a slash at the end';
    refuse('mountPath', must, path, 'write for example "/wal-archive"');
  }
}
