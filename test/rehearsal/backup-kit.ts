import { expect } from 'vitest';
import { Rehearsal } from '.';
import { BackupFiles, fault } from './backup-volume';
import { BACKUP, DATA_CLAIM, homeLab, SERVER, type Variant } from './home-lab';
import type { Attempt, JobHandle, JobOptions, JobResult, Major, Overlay, PodHandle, VolumeKind } from './runner/types';

/** Home-lab's server with its backup job and volume, running. */
export class Backups {
  private constructor(
    readonly cluster: Rehearsal,
    public server: PodHandle,
    readonly files: BackupFiles,
  ) {}

  static async open(major: Major, volume: VolumeKind = { kind: 'squash' }, variant: Variant = {}): Promise<Backups> {
    const cluster = await Rehearsal.open({
      major,
      // One attempt per Job: what is tried again, and how often, is Kubernetes' business.
      objects: homeLab(major, { ...variant, backup: { retries: 0, ...variant.backup } }),
      volumes: { [DATA_CLAIM]: { kind: 'squash' }, [BACKUP]: volume },
    });
    try {
      const server = await cluster.startStatefulSet(SERVER);
      await server.waitReady(60_000);
      return new Backups(cluster, server, new BackupFiles(cluster.claim(BACKUP)));
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  close = () => this.cluster.close();
  psql = (sql: string, db?: string) => this.cluster.psql(sql, { db });
  dump = (options?: JobOptions): Promise<JobResult> => this.cluster.runCronJob(BACKUP, options);
  start = (options?: JobOptions): Promise<JobHandle> => this.cluster.startCronJob(BACKUP, options);
  /** Sessions of the dump on the server, without that of its lock. */
  sessions = () => this.psql(`SELECT count(*) FROM pg_stat_activity WHERE application_name = '${BACKUP}'`);

  /** Until the run has its files and its lock. */
  async dumping(): Promise<void> {
    await expect.poll(() => this.files.partials().length, { timeout: 30_000 }).toBe(1);
    await expect.poll(this.sessions, { timeout: 30_000 }).toBe('1');
  }
}

export const night = (day: number) => `2026-11-${String(day).padStart(2, '0')} 02:00:00`;
export const nights = (...days: number[]) => days.map((day) => expect.stringContaining(`-${night(day).slice(0, 10)}-`));

export function good(result: JobResult): JobResult {
  expect(result.succeeded, result.log).toBe(true);
  return result;
}

/** The only attempt failed, and its last line gives cause and remedy in our form. */
export function failed(result: JobResult, reason = /./): Attempt {
  expect(result.succeeded, result.log).toBe(false);
  expect(result.attempts).toHaveLength(1);
  const [attempt] = result.attempts as [Attempt];
  expect(attempt.exitCode).not.toBe(0);
  const last = attempt.log.trimEnd().split('\n').at(-1);
  expect(last).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [\w.-]+: error: .+; .+$/);
  expect(last).toMatch(reason);
  return attempt;
}

/** How tests and the tools that stand in for real ones tell each other. */
const HELD = '/tmp/held';
const GO = '/tmp/go';

/** pg_dumpall as it is, for a script that stands in its place. */
export const PG_DUMPALL = '/usr/lib/postgresql/*/bin/pg_dumpall "$@"';
const ASKED_FOR_VERSION = `[ "$1" != --version ] || { ${PG_DUMPALL}; exit; };`;

/** A pg_dumpall that knows its version, and otherwise does this. */
export const pgDumpall = (script: string): Overlay => fault('pg_dumpall', `${ASKED_FOR_VERSION} ${script}`);
/** Writes the whole dump and then does not come to an end. */
export const neverEnds = () => pgDumpall(`${PG_DUMPALL}; sleep 600`);
/** Writes the whole dump and ends when it may go on. */
export const untilTold = () => pgDumpall(`${PG_DUMPALL}; until [ -e ${GO} ]; do sleep 0.1; done`);
/** Writes that part of the dump, in ‰. */
export const writes = (permille: number, then = 'true'): Overlay =>
  pgDumpall(
    `all=$(${PG_DUMPALL}; echo x); all=\${all%x}; printf %s "\${all:0:\${#all} * ${permille} / 1000}"; ${then}`,
  );

/** Before the first call of that tool for which the condition holds, the run stands still until it may go on. */
export const holdAt = (tool: string, condition = 'true'): Overlay =>
  fault(
    tool,
    `if [ ! -e ${HELD} ] && ${condition}; then touch ${HELD}; until [ -e ${GO} ]; do sleep 0.1; done; fi
     PATH=\${PATH//\\/usr\\/local\\/bin:} ${tool} "$@"`,
  );

/** Until a run stands still there. */
export async function held(job: JobHandle): Promise<void> {
  await expect
    .poll(async () => (await job.pod!.exec(['test', '-e', HELD])).exitCode, { timeout: 30_000, interval: 100 })
    .toBe(0);
}

export async function goOn(job: JobHandle): Promise<void> {
  await job.pod!.exec(['touch', GO]);
}
