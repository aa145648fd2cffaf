import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Retention } from '../../lib';
import { badDay, type Outcome, outcome } from '../helpers/bad-day';
import { random } from '../helpers/random';
import { majors } from '.';
import { Backups, failed, goOn, good, held, holdAt } from './backup-kit';
import { homeLab } from './home-lab';
import type { Attempt, JobResult, Overlay } from './runner/types';

const KEEP = 3;
/** Kills of the last test. */
const KILLS = 50;

describe.each(majors())('a dump that is killed with -9, PostgreSQL %i', (major) => {
  let system: Backups;
  /** What was published, by file name. It must never change, and goes only by retention. */
  const published: Record<string, string> = {};
  let runs = 0;
  /** Of the last good run, in milliseconds: other tests slow it down. */
  let duration = 0;

  const keeping = (count: number) => homeLab(major, { backup: { retries: 0, retention: Retention.last(count) } });
  beforeAll(async () => {
    system = await Backups.open(major, undefined, { backup: { retention: Retention.last(KEEP) } });
    await system.psql('CREATE TABLE numbers AS SELECT i, md5(i::text) AS t FROM generate_series(1, 10000) i');
    for (let i = 0; i < KEEP; i++) await goodRun();
  });
  afterAll(() => system?.close());

  /** Every run of this file in a night of its own: names sort as they were made. */
  const nextNight = () => new Date(Date.UTC(2026, 0, ++runs, 2)).toISOString().slice(0, 19).replace('T', ' ');

  /** What was published is as it was. */
  function unchanged(): void {
    for (const [file, sum] of Object.entries(system.files.contents())) {
      if (file in published) expect(sum, file).toBe(published[file]);
    }
  }

  /** A good run, after which the volume holds exactly the newest good dumps as they were published, and nothing else. */
  async function goodRun(): Promise<JobResult> {
    const had = system.files.dumps();
    const job = await system.start({ clock: nextNight() });
    const from = await started(job);
    const result = good(await job.wait());
    duration = Date.now() - from;
    const name = / finished: (\S+):/.exec(result.log)![1]!;
    const kept = [...had, name].sort().slice(-KEEP);
    expect(kept.at(-1)).toBe(name);
    expect(system.files.names()).toEqual(kept.flatMap((one) => [one, `${one}.manifest.json`]));
    unchanged();
    for (const [file, sum] of Object.entries(system.files.contents())) {
      published[file] = sum;
      if (!file.endsWith('.json')) expect(system.files.manifest(file)).toMatchObject({ file, sha256: sum });
    }
    return result;
  }

  /** Of the dumps that were there, retention has removed at most the oldest, and only for a new one. */
  function nothingLost(before: string[]): void {
    const now = system.files.dumps();
    const gone = before.filter((name) => !now.includes(name));
    const made = now.filter((name) => !before.includes(name));
    expect(gone).toEqual(before.slice(0, gone.length));
    expect(gone.length).toBeLessThanOrEqual(made.length);
    expect(made.length).toBeLessThanOrEqual(1);
    unchanged();
  }

  /** A run is held at a point, killed there, and followed by a good one. */
  async function killedAt(overlay: Overlay): Promise<Outcome> {
    const before = system.files.contents();
    const job = await system.start({ overlay, clock: nextNight() });
    await held(job);
    await job.kill9();
    const [attempt] = (await job.wait()).attempts as [Attempt];
    expect(attempt.exitCode).toBe(137);
    const after = system.files.contents();
    unchanged();
    await goodRun();
    return outcome(attempt, before, after, system.files.contents());
  }

  const lastArgument = (pattern: string) => `[[ \${@: -1} == ${pattern} ]]`;
  const data = lastArgument('*/postgres-backup-*.gz');
  const hidden = lastArgument('*-removed.manifest.json');
  const flush = (number: number) => `{ echo >>/tmp/flushes; [ "$(wc -l </tmp/flushes)" = ${number} ]; }`;

  badDay('dump', '-9 before it connects', () => killedAt(holdAt('psql')));
  badDay('dump', '-9 while it lists the databases', () => killedAt(holdAt('psql', '[[ $* == *datallowconn* ]]')));
  badDay('dump', '-9 before pg_dumpall writes', () => killedAt(holdAt('pg_dumpall', '[ "$1" != --version ]')));
  badDay('dump', '-9 while it reads the dump back', () => killedAt(holdAt('sha256sum')));
  badDay('dump', '-9 while it writes the manifest', () => killedAt(holdAt('sed')));
  badDay('dump', '-9 before the first rename of a publish', () => killedAt(holdAt('mv', data)));
  badDay('dump', '-9 before the second rename of a publish', () =>
    killedAt(holdAt('mv', lastArgument('*/postgres-backup-*.json'))),
  );
  badDay('dump', '-9 after a publish, before retention', () => killedAt(holdAt('sync', flush(4))));
  badDay('dump', '-9 in retention, before it takes the manifest away', () => killedAt(holdAt('mv', hidden)));
  badDay('dump', '-9 in retention, before it removes the data file', () => killedAt(holdAt('rm', data)));
  badDay('dump', '-9 in retention, before it removes the manifest', () => killedAt(holdAt('rm', hidden)));

  badDay('dump', '-9 in retention, between two removals', async () => {
    const before = system.files.contents();
    system.cluster.apply(keeping(KEEP - 1));
    const job = await system.start({
      clock: nextNight(),
      overlay: holdAt('mv', `${hidden} && { [ -e /tmp/first ] || ! touch /tmp/first; }`),
    });
    system.cluster.apply(keeping(KEEP));
    await held(job);
    await job.kill9();
    const [attempt] = (await job.wait()).attempts as [Attempt];
    expect(attempt.exitCode).toBe(137);
    const after = system.files.contents();
    expect(system.files.dumps()).toHaveLength(KEEP);
    await goodRun();
    return outcome(attempt, before, after, system.files.contents());
  });

  badDay('dump', '-9 while it clears up after a run that was killed', async () => {
    const dead = await system.start({ overlay: holdAt('pg_dumpall', '[ "$1" != --version ]'), clock: nextNight() });
    await held(dead);
    await dead.kill9();
    await dead.wait();
    expect(system.files.partials()).toHaveLength(1);
    return killedAt(holdAt('rm', lastArgument('*/.partial-*')));
  });

  badDay('dump', 'SIGINT in retention', async () => {
    const before = system.files.contents();
    const job = await system.start({ overlay: holdAt('rm', data), clock: nextNight() });
    await held(job);
    await job.pod!.signal('dump', 'SIGINT');
    await goOn(job);
    const attempt = failed(await job.wait(), /error: stopped by SIGINT; .* was published before/);
    expect(attempt.exitCode).toBe(130);
    const after = system.files.contents();
    unchanged();
    await goodRun();
    return outcome(attempt, before, after, system.files.contents());
  });

  it(`at any of ${KILLS} random moments leaves nothing that the next good run does not put right`, async () => {
    const seed = Number(process.env['KILL_SEED'] ?? randomInt(2 ** 31));
    const next = random(seed);
    // One in each of as many slices of a run, so that no stage is left out, in random order.
    const moments = shuffled(
      Array.from({ length: KILLS }, (_, slice) => (slice + next()) / KILLS),
      next,
    );
    await goodRun();
    const stages: Record<string, number> = {};
    const begun = Date.now();
    for (const moment of moments) {
      const before = system.files.dumps();
      const job = await system.start({ clock: nextNight() });
      const from = await started(job);
      const delay = Math.round(moment * duration);
      await sleep(Math.max(0, delay - (Date.now() - from)));
      await job.kill9();
      const [attempt] = (await job.wait()).attempts as [Attempt];
      const stage =
        attempt.exitCode === 0 ? 'over' : (/^\d\S+Z ([^:]+):/.exec(lastLine(attempt.log))?.[1] ?? 'nothing');
      stages[stage] = (stages[stage] ?? 0) + 1;
      const context = `KILL_SEED=${seed}, killed after ${delay} of ${duration} ms, in ${stage}:\n${attempt.log}`;
      try {
        nothingLost(before);
        await goodRun();
      } catch (error) {
        throw new Error(`${context}\n${error}`, { cause: error });
      }
    }
    const seconds = Math.round((Date.now() - begun) / 1000);
    console.log(
      `KILL_SEED=${seed}: ${KILLS} kills of runs of ${duration} ms in ${seconds} s; what they said last:`,
      stages,
    );
    // How long a run takes depends on what else the machine does.
    expect(stages['over'] ?? 0, JSON.stringify(stages)).toBeLessThan(KILLS / 2);
  }, 600_000);
});

const lastLine = (log: string) => log.trimEnd().split('\n').at(-1) ?? '';

/** When the container's first process was there. */
async function started(job: { pid: number | undefined }): Promise<number> {
  while (job.pid === undefined) await sleep(2);
  return Date.now();
}

function shuffled<T>(list: T[], next: () => number): T[] {
  const rest = [...list];
  return list.map(() => rest.splice(Math.floor(next() * rest.length), 1)[0] as T);
}
