import { readFileSync } from 'node:fs';
import { Size } from 'cdk8s';
import { Cpu } from 'cdk8s-plus-28';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { badDay, type Outcome, outcome } from '../helpers/bad-day';
import { Backups, failed, good } from './backup-kit';
import { homeLab, RESTORE, SERVER, type Variant } from './home-lab';
import type { Attempt, JobHandle, JobResult } from './runner/types';

const DATABASES = 500;
const TABLES = 20_000;
const MIB = 2 ** 20;
const minutes = (n: number) => n * 60_000;
/** Several minutes each: not part of `npm test`. */
const LARGE = { command: 'npm run test:large', timeoutMs: minutes(60) };

/** A bytea is twice as long in a dump, and the server builds each row in memory. */
const resources = (gibibytes: number) => ({
  cpu: { request: Cpu.millis(100), limit: Cpu.units(2) },
  memory: { request: Size.mebibytes(128), limit: Size.gibibytes(gibibytes) },
});

/** On the newest only: what is large here is large on each version. */
describe('what is large, PostgreSQL 18', () => {
  let system: Backups;
  beforeAll(async () => {
    system = await Backups.open(18, undefined, { server: { resources: resources(4) } });
  });
  afterAll(() => system?.close());

  const run = (sql: string, db?: string) => system.cluster.psql(sql, { db, timeoutMs: minutes(15) });
  const last = (result: JobResult) => result.attempts.at(-1) as Attempt;
  const filename = (result: JobResult) => / finished: (\S+):/.exec(result.log)![1]!;

  /** Waits for a Job and says how long it took, and what its processes held in memory at most. */
  async function measured(what: string, job: JobHandle): Promise<JobResult> {
    const peaks = new Map<number, [string, number]>();
    const look = setInterval(() => {
      for (const pid of job.pod?.processes() ?? []) {
        try {
          const status = readFileSync(`/proc/${pid}/status`, 'utf8');
          peaks.set(pid, [
            /^Name:\s*(.*)$/m.exec(status)![1]!,
            Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0) * 1024,
          ]);
        } catch {
          // it has ended
        }
      }
    }, 50);
    const from = Date.now();
    const result = await job.wait().finally(() => clearInterval(look));
    const largest = [...peaks.values()].sort((a, b) => b[1] - a[1]).slice(0, 4);
    const memory = largest.map(([name, bytes]) => `${name} ${Math.round(bytes / MIB)} MiB`).join(', ');
    console.log(`${what}: ${(Date.now() - from) / 1000} s; ${memory}`);
    return result;
  }

  /** A dump of what is there, and a restore that brings it back: `lose` takes it away, `content` says what there is. */
  async function comesBack(
    what: string,
    content: () => Promise<string>,
    lose: () => Promise<unknown>,
    env: Record<string, string> = {},
  ): Promise<Outcome> {
    system.files.clear();
    const original = await content();
    const result = good(await measured(`dump of ${what}`, await system.start()));
    await lose();
    const restore = await system.cluster.startJob(RESTORE, { env: { BACKUP_FILE: filename(result), ...env } });
    const restored = await measured(`restore of ${what}`, restore);
    expect(restored.succeeded, restored.log).toBe(true);
    expect(await content()).toBe(original);
    return outcome(last(result), {}, system.files.contents());
  }

  /** The server with other settings, the Jobs as they are rendered then. */
  async function restarted({ server, backup, ...others }: Variant): Promise<void> {
    await system.server.stop();
    const variant = {
      server: { resources: resources(4), ...server },
      backup: { retries: 0, ...backup },
      ...others,
    };
    system.cluster.apply(homeLab(18, variant));
    system.server = await system.cluster.startStatefulSet(SERVER);
    await system.server.waitReady();
  }

  // ---- a row of 300 MiB ------------------------------------------------------------------------------------------

  const hash = () => run('SELECT length(value), md5(value) FROM large', 'large');

  async function row(type: 'text' | 'bytea', then: () => Promise<Outcome>): Promise<Outcome> {
    const text = `repeat(md5('x'), ${((type === 'text' ? 300 : 600) * MIB) / 32})`;
    const value = type === 'text' ? text : `decode(${text}, 'hex')`;
    await run('CREATE DATABASE large');
    try {
      await run(`CREATE TABLE large AS SELECT ${value} AS value`, 'large');
      return await then();
    } finally {
      await run('DROP DATABASE IF EXISTS large');
    }
  }
  const rowComesBack = (what: string) => comesBack(what, hash, () => run('DROP DATABASE large'), { DATABASE: 'large' });

  badDay('dump', 'a row holds a text of 300 MiB', () => row('text', () => rowComesBack('a text of 300 MiB')), LARGE);
  badDay(
    'dump',
    'a row holds a bytea of 300 MiB, and the pod the memory that it has by default',
    () =>
      row('bytea', async () => {
        system.files.clear();
        const attempt = failed(
          await measured('dump that fails', await system.start()),
          /dump: error: .*; the pod ran out of memory: raise its memory limit/,
        );
        return outcome(attempt, {}, system.files.contents());
      }),
    LARGE,
  );
  badDay(
    'dump',
    'a row holds a bytea of 300 MiB, and the pods 3 GiB of memory',
    async () => {
      await restarted({ backup: { resources: resources(3) }, restore: { resources: resources(3) } });
      return row('bytea', () => rowComesBack('a bytea of 300 MiB'));
    },
    LARGE,
  );

  badDay(
    'dump',
    'a database has 20 000 tables, and the server the default max_locks_per_transaction',
    async () => {
      await run('CREATE DATABASE wide');
      await run(
        // One transaction would need a lock for each of them.
        `DO $$ BEGIN FOR i IN 1..${TABLES} LOOP
           EXECUTE format('CREATE TABLE t%s AS SELECT %s AS i', i, i);
           IF i % 100 = 0 THEN COMMIT; END IF;
         END LOOP; END $$`,
        'wide',
      );
      system.files.clear();
      const attempt = failed(
        await measured('dump that fails', await system.start()),
        /raise max_locks_per_transaction/,
      );
      return outcome(attempt, {}, system.files.contents());
    },
    LARGE,
  );

  badDay(
    'dump',
    'a database has 20 000 tables, and the server room for as many locks',
    async () => {
      await restarted({ server: { settings: { max_locks_per_transaction: '512' } } });
      const content = () =>
        run(
          `SELECT count(*), sum((xpath('/row/i/text()', query_to_xml(format('SELECT i FROM %I', relname), false, true, '')))[1]::text::bigint)
         FROM pg_class WHERE relname ~ '^t\\d+$'`,
          'wide',
        );
      const came = await comesBack('20 000 tables', content, () => run('DROP DATABASE wide'), { DATABASE: 'wide' });
      await run('DROP DATABASE wide');
      return came;
    },
    LARGE,
  );

  badDay(
    'dump',
    'the server has 500 databases',
    async () => {
      const numbers = Array.from({ length: DATABASES }, (_, index) => index + 1);
      const each = (line: (i: number) => string) => run(numbers.map(line).join('\n'));
      await each(
        (i) => `CREATE DATABASE d${i};\n\\connect d${i}\nCREATE TABLE t AS SELECT ${i} AS i;\n\\connect postgres`,
      );
      return comesBack(
        '500 databases',
        () => each((i) => `\\connect d${i}\nTABLE t;`),
        () => each((i) => `DROP DATABASE d${i};`),
      );
    },
    LARGE,
  );
});
