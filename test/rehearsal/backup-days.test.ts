import { readFileSync } from 'node:fs';
import { Duration } from 'cdk8s';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { Retention } from '../../lib';
import { badDay, type Outcome, outcome } from '../helpers/bad-day';
import { majors } from '.';
import { Backups, failed, goOn, good, held, holdAt, neverEnds, night, untilTold } from './backup-kit';
import { BACKUP, homeLab, PASSWORD, RESTORE } from './home-lab';
import type { Attempt, JobHandle, JobOptions, JobResult, PodHandle } from './runner/types';

describe.each(majors())('bad days of a dump, PostgreSQL %i', (major) => {
  let system: Backups;
  let before: Record<string, string>;
  beforeAll(async () => {
    // Every dump of this file stays.
    system = await Backups.open(major, undefined, { backup: { retention: Retention.last(100) } });
    await system.psql('CREATE TABLE numbers AS SELECT i FROM generate_series(1, 1000) i');
    good(await system.dump({ clock: night(1) }));
    before = system.files.contents();
  });
  afterAll(() => system?.close());

  const last = (result: JobResult) => result.attempts.at(-1) as Attempt;
  let day = 1;
  const tonight = () => night(++day);

  /** What came of it; the earlier dumps are there, byte for byte, and the next run works. */
  async function cameTo(attempt: Attempt): Promise<Outcome> {
    const had = before;
    const after = system.files.contents();
    expect(after).toMatchObject(had);
    good(await system.dump({ clock: tonight() }));
    before = system.files.contents();
    expect(before).toMatchObject(had);
    expect(system.files.partials()).toEqual([]);
    return outcome(attempt, had, after, before);
  }

  // ---- two at once -----------------------------------------------------------------------------------------------

  /** `kubectl create job --from=cronjob/postgres-backup manual-backup` */
  function manual(): string {
    const name = 'manual-backup';
    const cron = homeLab(major, { backup: { retries: 0, retention: Retention.last(100) } }).find(
      (one) => one.kind === 'CronJob' && one.metadata.name === BACKUP,
    )!;
    const { metadata, spec } = cron['spec'].jobTemplate;
    system.cluster.apply([
      { apiVersion: 'batch/v1', kind: 'Job', metadata: { ...metadata, name, namespace: 'data' }, spec },
    ]);
    return name;
  }

  async function beside(first: JobHandle, second: () => Promise<JobResult>): Promise<Outcome> {
    await system.dumping();
    const attempt = failed(await second(), /lock: error: another run of postgres-backup is working on this volume/);
    await goOn(first);
    good(await first.wait());
    before = system.files.contents();
    return cameTo(attempt);
  }

  badDay('dump', 'a Job is made by hand while the scheduled one works', async () =>
    beside(await system.start({ overlay: untilTold(), clock: tonight() }), () =>
      system.cluster.runJob(manual(), { clock: tonight() }),
    ),
  );
  badDay('dump', 'the schedule comes while a Job made by hand works', async () =>
    beside(await system.cluster.startJob(manual(), { overlay: untilTold(), clock: tonight() }), () =>
      system.dump({ clock: tonight() }),
    ),
  );

  // ---- what hangs ------------------------------------------------------------------------------------------------

  /** Six hours in a few seconds. */
  const soon = { deadlineScale: 10 / Duration.hours(6).toSeconds() };
  const frozen = (pids: number[], signal: NodeJS.Signals) => {
    for (const pid of pids) unlessGone(() => process.kill(pid, signal));
  };
  const called = (pod: PodHandle, name: RegExp) =>
    pod.processes().filter((pid) => unlessGone(() => name.test(readFileSync(`/proc/${pid}/comm`, 'utf8'))));
  /** Backends and probes come and go between being listed and being looked at. */
  const unlessGone = <T>(act: () => T): T | undefined => {
    try {
      return act();
    } catch (error) {
      if (['ESRCH', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw error;
    }
  };

  badDay('dump', 'pg_dumpall hangs until the deadline of the Job', async () => {
    const job = await system.start({ overlay: neverEnds(), clock: tonight(), ...soon });
    await system.dumping();
    const stopped = called(job.pod!, /^(pg_dump|pg_dumpall|sleep)/);
    expect(stopped.length).toBeGreaterThan(0);
    frozen(stopped, 'SIGSTOP');
    const result = await job.wait();
    expect(result.reason).toBe('DeadlineExceeded');
    expect(last(result).exitCode).toBe(130);
    await expect.poll(system.sessions).toBe('0');
    return cameTo(last(result));
  });

  badDay('dump', 'the server hangs while it is dumped, until the deadline of the Job', async () => {
    const job = await system.start({ overlay: untilTold(), clock: tonight(), ...soon });
    await system.dumping();
    frozen(system.server.processes(), 'SIGSTOP');
    try {
      const result = await job.wait();
      expect(result.reason).toBe('DeadlineExceeded');
      return await thawed(() => cameTo(last(result)));
    } finally {
      frozen(system.server.processes(), 'SIGCONT');
    }
  });

  badDay('dump', 'the server hangs before the dump', async () => {
    frozen(system.server.processes(), 'SIGSTOP');
    try {
      const options: JobOptions = { clock: tonight(), env: { PGCONNECT_TIMEOUT: '2', CONNECT_WAIT: '6' } };
      const from = Date.now();
      const attempt = failed(await system.dump(options), /connect: error: .* cannot be reached .*timeout expired/);
      expect(Date.now() - from).toBeLessThan(40_000);
      return await thawed(() => cameTo(attempt));
    } finally {
      frozen(system.server.processes(), 'SIGCONT');
    }
  });

  async function thawed<T>(then: () => Promise<T>): Promise<T> {
    frozen(system.server.processes(), 'SIGCONT');
    await system.server.waitReady();
    return then();
  }

  // ---- how it is stopped -----------------------------------------------------------------------------------------

  async function stoppedAt(tool: string, condition: string, signal: NodeJS.Signals): Promise<Attempt> {
    const job = await system.start({
      overlay: holdAt(tool, condition),
      clock: tonight(),
    });
    await held(job);
    await job.pod!.signal('dump', signal);
    await goOn(job);
    return last(await job.wait());
  }

  badDay('dump', 'SIGTERM while it reads the dump back', async () => {
    const attempt = await stoppedAt('sha256sum', 'true', 'SIGTERM');
    expect(attempt.exitCode).toBe(143);
    return cameTo(attempt);
  });

  // ---- names and passwords ---------------------------------------------------------------------------------------

  const TEXT = `quote ' double " dollar $HOME $(touch /tmp/x) back \\ tick \` semi ; percent %s star * é 漢`;
  const LINES = `${TEXT}\n\\connect postgres\nDROP DATABASE postgres;\n-- PostgreSQL database cluster dump complete\n`;
  const name = (text: string) => `"${text.replace(/"/g, '""')}"`;
  const literal = (text: string) => `E'${text.replace(/[\\']/g, '\\$&')}'`;

  badDay(
    'dump',
    'names, comments and passwords hold quotes, dollar signs, semicolons, backslashes, spaces and line breaks',
    async () => {
      // PostgreSQL cuts names at 63 bytes.
      const database = `d '"$(e);\\ é`;
      const table = `t '"$x;\n\\.\nCOPY`;
      await system.psql(`CREATE ROLE ${name(`r '"$(e);\\`)} LOGIN PASSWORD ${literal(PASSWORD)};
      COMMENT ON ROLE ${name(`r '"$(e);\\`)} IS ${literal(LINES)};
      CREATE DATABASE ${name(database)} OWNER ${name(`r '"$(e);\\`)};
      COMMENT ON DATABASE ${name(database)} IS ${literal(LINES)};`);
      await system.psql(
        `CREATE SCHEMA ${name(`s '"$x;.\n`)};
       CREATE TABLE ${name(`s '"$x;.\n`)}.${name(table)} (${name(`c '";\n`)} text);
       COMMENT ON TABLE ${name(`s '"$x;.\n`)}.${name(table)} IS ${literal(LINES)};
       INSERT INTO ${name(`s '"$x;.\n`)}.${name(table)} SELECT ${literal(LINES)} || i FROM generate_series(1, 3) i;`,
        database,
      );
      const result = good(await system.dump({ clock: tonight() }));
      const file = system.files.dumps().at(-1)!;
      expect(system.files.manifest(file).databases).toContainEqual({
        name: database,
        bytes: expect.any(Number),
        tables: [{ name: `${name(`s '"$x;.\n`)}.${name(table)}`, rows: 3 }],
      });
      // It comes back as it was.
      const content = async () =>
        `${await system.psql(`TABLE ${name(`s '"$x;.\n`)}.${name(table)}`, database)}
       ${await system.psql(`SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = ${literal(database)}`)}`;
      const original = await content();
      await system.psql(`DROP DATABASE ${name(database)}`);
      const restored = await system.cluster.runJob(RESTORE, { env: { DATABASE: database, BACKUP_FILE: file } });
      expect(restored.succeeded, restored.log).toBe(true);
      expect(await content()).toBe(original);
      const came = await cameTo(last(result));
      await system.psql(`DROP DATABASE ${name(database)}`);
      return came;
    },
  );

  badDay('dump', 'the name of a database holds a line break', async () => {
    await system.psql('CREATE DATABASE "two\nlines"');
    try {
      const attempt = failed(
        await system.dump({ clock: tonight() }),
        /a database whose name has a line break: rename it/,
      );
      await system.psql('ALTER DATABASE "two\nlines" RENAME TO one');
      return await cameTo(attempt);
    } finally {
      await system.psql('DROP DATABASE IF EXISTS one');
    }
  });

  badDay('dump', 'the password in the Secret ends in a line break', async () =>
    cameTo(
      failed(
        await system.dump({ clock: tonight(), env: { PGPASSWORD: `${PASSWORD}\n` } }),
        /connect: error: .* rejects the password of user postgres; it ends in a line break: .*printf/,
      ),
    ),
  );
});

describe.each(majors())('an empty server, PostgreSQL %i', (major) => {
  badDay('dump', 'the server holds no database of anybody, and the volume no dump', async () => {
    const system = await Backups.open(major);
    try {
      const result = good(await system.dump({ clock: night(1) }));
      const [file] = system.files.dumps() as [string];
      expect(system.files.manifest(file).databases).toEqual(
        ['template1', 'postgres'].map((name) => ({ name, bytes: expect.any(Number), tables: [] })),
      );
      return outcome(result.attempts[0] as Attempt, {}, system.files.contents());
    } finally {
      await system.close();
    }
  });
});
