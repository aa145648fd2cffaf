import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { badDay, type Outcome, outcome } from '../helpers/bad-day';
import { image, majors } from '.';
import {
  Backups,
  failed,
  goOn,
  good,
  neverEnds,
  night,
  nights,
  PG_DUMPALL,
  pgDumpall,
  untilTold,
  writes,
} from './backup-kit';
import { type BackupFiles, fault } from './backup-volume';
import { BACKUP, homeLab, PASSWORD, SERVER } from './home-lab';
import type { Attempt, JobOptions, JobResult, Major, Overlay } from './runner/types';

// ---- what is dumped ------------------------------------------------------------------------------------------------

const HOSTILE = `a b"c'd;$(e)`;
const CONTENT = `
  CREATE ROLE app LOGIN PASSWORD 'secret of app';
  CREATE DATABASE backup_test OWNER app;
  CREATE DATABASE "a b""c'd;$(e)";
  GRANT CONNECT ON DATABASE backup_test TO pg_monitor;
  ALTER DATABASE backup_test SET work_mem = '7MB';`;
const TABLES = `
  CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);
  CREATE TABLE transactions (id serial PRIMARY KEY, user_id int REFERENCES users, amount numeric, at timestamptz);
  INSERT INTO users (name) VALUES ('Ann'), ('Bob'), ('Cyd');
  INSERT INTO transactions (user_id, amount, at) SELECT 1 + i % 3, i * 1.5, now() FROM generate_series(1, 5) i;
  GRANT SELECT ON users TO pg_read_all_data;
  CREATE TABLE "odd ""name""" AS SELECT E'-- PostgreSQL database cluster dump complete\\n\\\\.' AS t;
  CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $f$ SELECT E'\\n\\\\connect other\\n' $f$;`;

async function fill({ cluster }: Backups): Promise<void> {
  await cluster.psql(CONTENT);
  await cluster.psql(TABLES, { db: 'backup_test' });
  await cluster.psql(TABLES, { db: HOSTILE });
}

/** pg_dumpall's text without what differs from run to run. */
const comparable = (sql: string) =>
  sql.replace(/^\\(un)?restrict .*$/gm, '').replace(/^-- (Dumped|Started|Completed).*$/gm, '');

describe.each(majors('all'))('backup, PostgreSQL %i', (major) => {
  let system: Backups;
  beforeAll(async () => {
    system = await Backups.open(major);
    await fill(system);
  });
  afterAll(() => system?.close());
  beforeEach(() => system.files.clear());

  it('dumps the whole server by the pod of the CronJob, with a manifest that is true', async () => {
    const { files, cluster } = system;
    const { log } = good(await system.dump({ clock: night(21) }));
    const [name] = files.dumps() as [string];
    expect(name).toMatch(/^postgres-backup-2026-11-21-0\d{5}\.sql\.gz$/);
    expect(files.names()).toEqual([name, `${name}.manifest.json`]);

    const data = files.read(name);
    const sql = files.sql(name);
    const manifest = files.manifest(name);
    expect(manifest).toMatchObject({
      formatVersion: 1,
      kind: 'logical',
      job: BACKUP,
      file: name,
      bytes: data.length,
      sha256: createHash('sha256').update(data).digest('hex'),
      uncompressedBytes: Buffer.byteLength(sql),
      scope: 'server',
      serverVersion: expect.stringContaining(cluster.version),
      clientVersion: expect.stringContaining(cluster.version),
      systemIdentifier: await cluster.psql('SELECT system_identifier FROM pg_control_system()'),
    });
    expect(name).toContain(manifest.start.slice(0, 10));
    expect(Date.parse(manifest.end)).toBeGreaterThanOrEqual(Date.parse(manifest.start));
    expect(manifest.databases.map((one) => one.name).sort()).toEqual([HOSTILE, 'backup_test', 'postgres', 'template1']);
    for (const database of ['backup_test', HOSTILE]) {
      const found = manifest.databases.find((one) => one.name === database)!;
      expect(found.bytes).toBeGreaterThan(1_000_000);
      expect(found.tables).toEqual([
        { name: 'public."odd ""name"""', rows: 1 },
        { name: 'public.transactions', rows: 5 },
        { name: 'public.users', rows: 3 },
      ]);
    }
    expect(log.trimEnd().split('\n').at(-1)).toMatch(
      new RegExp(
        `finished: ${name}: ${data.length} bytes \\(\\d+ uncompressed\\) in \\d+ s, 4 databases, 6 tables, 18 rows$`,
      ),
    );
    expect(comparable(sql)).toBe(comparable((await system.server.exec(['pg_dumpall', '-U', 'postgres'])).stdout));
  });

  it('is restored by stock tools on an empty server', async () => {
    good(await system.dump({ clock: night(1) }));
    good(await system.dump({ clock: night(2), env: { COMPRESSION: 'zstd' } }));
    const [gzip, zstd] = system.files.dumps() as [string, string];
    const other = await Backups.open(major);
    try {
      const restore = ['bash', '-c', 'zcat | psql -Xq -U postgres'];
      const done = await other.server.exec(restore, { input: system.files.read(gzip) });
      expect(done.exitCode).toBe(0);
      // The one thing that an empty server has already.
      expect(done.stderr.trim()).toMatch(/^ERROR: {2}role "postgres" already exists$/);
      const sums = 'SELECT count(*), sum(amount) FROM transactions';
      expect(await other.cluster.psql(sums, { db: HOSTILE })).toBe('5|22.5');
      const dumpall = ['pg_dumpall', '-U', 'postgres'];
      const [restored, original] = [await other.server.exec(dumpall), await system.server.exec(dumpall)];
      expect(comparable(restored.stdout)).toBe(comparable(original.stdout));
    } finally {
      await other.close();
    }
    expect(zstd).toMatch(/\.sql\.zst$/);
    expect(comparable(system.files.sql(zstd))).toBe(comparable(system.files.sql(gzip)));
  });
});

describe.each(majors())('backup, PostgreSQL %i', (major) => {
  let system: Backups;
  let files: BackupFiles;
  beforeAll(async () => {
    system = await Backups.open(major);
    files = system.files;
    await fill(system);
  });
  afterAll(() => system?.close());

  /** A good dump and files of others, there before the bad day, which must not touch them. */
  async function earlier(): Promise<Record<string, string>> {
    if (untouched && isDeepStrictEqual(files.contents(), untouched)) return untouched;
    files.clear();
    good(await system.dump({ clock: night(1) }));
    files.put('notes.txt');
    files.put('postgres-backup-2026-10-31-020000.sql.gz');
    files.put('postgres-backup-extra-2026-10-31-020000.sql.gz');
    untouched = files.contents();
    return untouched;
  }
  let untouched: Record<string, string> | undefined;

  const only = (result: JobResult) => result.attempts.at(-1) as Attempt;

  /** A run that must fail for that reason; everything that was there is still there. */
  async function fails(options: JobOptions, reason: RegExp): Promise<Outcome> {
    const before = await earlier();
    const attempt = failed(await system.dump({ clock: night(2), ...options }), reason);
    expect(files.contents()).toEqual(before);
    return outcome(attempt, before, files.contents());
  }

  it('keeps 7 of 12, and the same 7 after a 13th that fails', async () => {
    files.clear();
    const foreign = [
      files.put('postgres-backup-extra-2026-11-01-020000.sql.gz'),
      files.put('postgres-backup-2026-10-01-020000.sql.gz'),
    ];
    for (let day = 1; day <= 12; day++) good(await system.dump({ clock: night(day) }));
    const kept = [...nights(6, 7, 8, 9, 10, 11, 12)];
    const own = () => files.dumps().filter((name) => !foreign.includes(name));
    expect(own()).toEqual(kept);
    expect(files.names()).toEqual(expect.arrayContaining(foreign));
    expect(files.names()).toHaveLength(7 * 2 + 2);
    const before = files.contents();
    failed(await system.dump({ clock: night(13), env: { PGPASSWORD: 'wrong' } }), /password/);
    failed(await system.dump({ clock: night(14), overlay: fault('pg_dumpall', 'exit 1') }), /./);
    expect(files.contents()).toEqual(before);
  });

  badDay('dump', 'the clock jumped back', async () => {
    files.clear();
    for (const day of [20, 21, 22]) good(await system.dump({ clock: night(day), env: { RETENTION_LAST: '3' } }));
    const before = files.contents();
    const done = good(await system.dump({ clock: night(2), env: { RETENTION_LAST: '3' } }));
    const { log } = done;
    expect(files.dumps()).toEqual(nights(2, 20, 21, 22));
    expect(files.contents()).toMatchObject(before);
    expect(log).toMatch(/warning: the newest backup, .*-2026-11-22-.* is from after now/);
    expect(log).toMatch(/warning: .*-2026-11-20-.* is from the future: not counted and not removed/);
    return outcome(only(done), before, files.contents());
  });

  it('counts gzip and zstd together', async () => {
    files.clear();
    for (const [day, format] of [
      [1, 'gzip'],
      [2, 'zstd'],
      [3, 'gzip'],
      [4, 'zstd'],
    ] as const) {
      good(await system.dump({ clock: night(day), env: { RETENTION_LAST: '2', COMPRESSION: format } }));
    }
    expect(files.dumps()).toEqual([expect.stringMatching(/-11-03-.*gz$/), expect.stringMatching(/-11-04-.*zst$/)]);
  });

  badDay('dump', 'the name of the new dump is taken', async () => {
    files.clear();
    // The pod's clock starts somewhere in this second or the next ones.
    for (let second = 0; second < 60; second++)
      files.put(`postgres-backup-2026-11-21-0200${String(second).padStart(2, '0')}.sql.zst`);
    const before = files.contents();
    const attempt = failed(
      await system.dump({ clock: '2026-11-21 02:00:05' }),
      /exists already and is never overwritten/,
    );
    expect(attempt.log).not.toContain(' dump: ');
    expect(files.contents()).toEqual(before);
    return outcome(attempt, before, files.contents());
  });

  it('is tried again by the Job when a run fails', async () => {
    files.clear();
    const cluster = system.cluster;
    cluster.apply(homeLab(major, {}));
    try {
      const once = fault(
        'pg_dumpall',
        'if [ "$1" = --version ] || [ -e /tmp/failed ]; then /usr/lib/postgresql/*/bin/pg_dumpall "$@"; exit; fi; touch /tmp/failed; exit 1',
      );
      const result = await system.dump({ overlay: once });
      expect(result.attempts.map((one) => one.exitCode)).toEqual([1, 0]);
      expect(files.dumps()).toHaveLength(1);
      expect(files.partials()).toEqual([]);
    } finally {
      cluster.apply(homeLab(major, { backup: { retries: 0 } }));
    }
  });

  // ---- bad days: exit code, message, and everything that was there is still there --------------------------------

  badDay('dump', 'pg_dumpall dies at 60 %', () =>
    fails(
      { overlay: writes(600, 'echo "pg_dumpall: error: pg_dump failed" >&2; exit 1') },
      /dump: error: pg_dumpall ended with status 1; look at the lines above/,
    ),
  );
  badDay('dump', 'pg_dumpall is killed at 60 %', () =>
    fails(
      { overlay: writes(600, 'kill -9 $$') },
      /dump: error: pg_dumpall was killed by signal 9; was the pod out of memory\? raise its memory limit/,
    ),
  );
  const NO_END = /verify: error: the dump has no end: .*; run it again/;
  badDay('dump', 'pg_dumpall ends at 10 % and says that all is well', () => fails({ overlay: writes(100) }, NO_END));
  badDay('dump', 'pg_dumpall ends at 60 % and says that all is well', () => fails({ overlay: writes(600) }, NO_END));
  badDay('dump', 'pg_dumpall ends at 99.9 % and says that all is well', () => fails({ overlay: writes(999) }, NO_END));
  badDay('dump', 'the dump ends right after a row that spells the end marker', () =>
    fails(
      {
        overlay: pgDumpall(
          `${PG_DUMPALL} | sed '/^COPY public.users/q'; printf '1\\tx\\n-- PostgreSQL database cluster dump complete\\n'`,
        ),
      },
      /verify: error: the dump has no end/,
    ),
  );
  badDay('dump', 'a database is missing in the dump', () =>
    fails(
      { overlay: pgDumpall(`${PG_DUMPALL} --exclude-database=backup_test`) },
      /verify: error: databases of the server are missing in the dump: backup_test; run it again/,
    ),
  );
  /** Longer than what a pipe holds, so that a compressor's end always ends pg_dumpall, too. */
  const long = `${PG_DUMPALL}; yes 2>/dev/null || exit 1`;
  badDay('dump', 'the compressor is killed', () =>
    fails(
      {
        overlay: {
          ...fault('zstd', 'exit 1'),
          ...pgDumpall(long),
          ...fault('gzip', '[ "$1" != -c ] || { head -c 100 >/dev/null; kill -9 $$; }; /bin/gzip "$@"'),
        },
      },
      /dump: error: gzip was killed by signal 9 and pg_dumpall .*; was the pod out of memory\?/,
    ),
  );
  badDay('dump', 'the compressor fails', () =>
    fails(
      {
        env: { COMPRESSION: 'zstd' },
        overlay: {
          ...pgDumpall(long),
          ...fault('zstd', 'head -c 100 >/dev/null; echo "zstd: strange" >&2; exit 3'),
        },
      },
      /dump: error: zstd ended with status 3 and pg_dumpall .*; look at the lines above and at the backup volume/,
    ),
  );
  badDay('dump', 'the password is wrong', () =>
    fails(
      { env: { PGPASSWORD: 'wrong' } },
      /connect: error: .* rejects the password of user postgres; the Secret must hold/,
    ),
  );
  badDay('dump', 'the host is unknown', () =>
    fails(
      { env: { PGHOST: 'nosuch.data.svc', CONNECT_WAIT: '1' } },
      /connect: error: the host name nosuch.data.svc is unknown; check host/,
    ),
  );
  badDay('dump', 'nothing listens on the port', () =>
    fails(
      { env: { PGPORT: '5433', CONNECT_WAIT: '1' } },
      /connect: error: .* cannot be reached .*; check that its pod is ready/,
    ),
  );
  badDay('dump', 'the database to connect to does not exist', () =>
    fails({ env: { PGDATABASE: 'gone' } }, /connect: error: .* has no database gone; set PGDATABASE/),
  );
  badDay('dump', 'the client is older than the server', async () =>
    fails(
      { overlay: await olderClient(major) },
      /connect: error: pg_dumpall 1[0-9.]+ .* is older than the server .*; use an image with PostgreSQL \d+ or newer/,
    ),
  );
  badDay('dump', 'a parameter is missing', () =>
    fails({ env: { RETENTION_LAST: '' } }, /environment: error: not set or empty: RETENTION_LAST; set it/),
  );
  badDay('dump', 'a parameter is nonsense', () =>
    fails({ env: { RETENTION_LAST: '0' } }, /environment: error: RETENTION_LAST must be a whole number from 1/),
  );

  /** The file is damaged between writing and reading back: what sync flushes first is what is about to be read. */
  async function damaged(damage: string): Promise<Outcome> {
    const sync = fault(
      'sync',
      `f=\${@: -1}; case $f in */.partial-*) size=$(stat -c %s "$f"); ${damage}"$f" ;; esac; /bin/sync "$@"`,
    );
    const reason = /verify: error: (what was written to the volume is damaged|the dump has no end).*;/;
    await fails({ env: { COMPRESSION: 'zstd' }, overlay: sync }, reason);
    return fails({ overlay: sync }, reason);
  }
  badDay('dump', 'the volume keeps 10 % of what was written', () => damaged('truncate -s $((size / 10)) '));
  badDay('dump', 'the volume keeps 60 % of what was written', () => damaged('truncate -s $((size * 6 / 10)) '));
  badDay('dump', 'the volume keeps 99.9 % of what was written', () =>
    damaged('truncate -s $((size - (size + 999) / 1000)) '),
  );
  badDay('dump', 'the volume keeps nothing of what was written', () => damaged('truncate -s 0 '));
  badDay('dump', 'the volume flips bytes of what was written', () =>
    damaged("printf '\\x5a\\xa5\\x5a\\xa5' | dd bs=1 conv=notrunc status=none seek=$((size / 2)) of="),
  );

  badDay('dump', 'the user is no superuser', () =>
    fails(
      { env: { PGUSER: 'app', PGPASSWORD: 'secret of app' } },
      /connect: error: user app .*; use the superuser's Secret/,
    ),
  );

  badDay('dump', 'somebody has locked a table for longer than LOCK_WAIT_TIMEOUT', async () => {
    await earlier();
    const holder = system.cluster
      .psql('BEGIN; LOCK TABLE users; SELECT pg_sleep(20)', { db: 'backup_test' })
      .catch(() => {});
    await expect
      .poll(() =>
        system.cluster.psql(
          "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation IS NOT NULL",
        ),
      )
      .not.toBe('0');
    const came = await fails(
      { env: { LOCK_WAIT_TIMEOUT: '1' } },
      /dump: error: pg_dumpall ended with status 1; a table was locked for more than 1 s: end the session/,
    );
    await system.cluster.psql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()",
    );
    await holder;
    return came;
  });

  badDay('dump', 'a database allows no connections', async () => {
    const before = await earlier();
    await system.cluster.psql(
      'CREATE DATABASE closed; ALTER DATABASE closed ALLOW_CONNECTIONS false'.replace(/; /, ';\n'),
    );
    try {
      const done = good(await system.dump());
      expect(done.log).toMatch(
        /list: warning: database closed is NOT in this backup: it allows no connections; ALTER DATABASE/,
      );
      const held = files.manifest(/ finished: (\S+):/.exec(done.log)![1]!).databases.map((one) => one.name);
      expect(held).toContain('backup_test');
      expect(held).not.toContain('closed');
      expect(files.contents()).toMatchObject(before);
      return outcome(only(done), before, files.contents());
    } finally {
      await system.cluster.psql('DROP DATABASE closed');
    }
  });

  badDay('dump', '-9 in the middle of pg_dumpall', async () => {
    const before = await earlier();
    const job = await system.start({ overlay: neverEnds() });
    await system.dumping();
    await job.kill9();
    const killed = await job.wait();
    expect(killed.succeeded).toBe(false);
    expect(files.partials()).toHaveLength(1);
    const after = files.contents();
    await expect.poll(system.sessions).toBe('0');
    const { log } = good(await system.dump());
    expect(log).toMatch(/leftovers: removed \.partial-postgres-backup-.* of a run that was killed/);
    expect(files.partials()).toEqual([]);
    expect(files.contents()).toMatchObject(before);
    expect(files.dumps()).toHaveLength(4);
    return outcome(only(killed), before, after, files.contents());
  });

  badDay('dump', '-9 between the two renames of a publish', async () => {
    files.clear();
    const before = files.contents();
    // The third flush is the one after the data file got its final name.
    const sync = fault('sync', 'echo >>/tmp/syncs; [ "$(wc -l </tmp/syncs)" != 3 ] || sleep 600; /bin/sync "$@"');
    const job = await system.start({ overlay: sync, clock: night(1) });
    await expect.poll(() => files.dumps().length, { timeout: 30_000 }).toBe(1);
    await job.kill9();
    const killed = await job.wait();
    const after = files.contents();
    const [name] = files.dumps() as [string];
    expect(files.names()).not.toContain(`${name}.manifest.json`);
    const { log } = good(await system.dump({ clock: night(2) }));
    expect(log).toContain(`leftovers: put the manifest of ${name} in place`);
    expect(files.manifest(name)).toMatchObject({ file: name, bytes: files.read(name).length });
    expect(log).toMatch(/retention: kept 2 of at most 7/);
    expect(files.partials()).toEqual([]);
    return outcome(only(killed), before, after, files.contents());
  });

  async function stopped(signal: 'SIGINT' | 'SIGTERM'): Promise<Outcome> {
    const before = await earlier();
    const job = await system.start({ overlay: neverEnds() });
    await system.dumping();
    const from = Date.now();
    await job.pod!.signal('dump', signal);
    const attempt = failed(await job.wait(), new RegExp(`error: stopped by ${signal}; nothing was published`));
    expect(Date.now() - from).toBeLessThan(15_000);
    expect(attempt.exitCode).toBe(signal === 'SIGINT' ? 130 : 143);
    expect(files.contents()).toEqual(before);
    await expect.poll(system.sessions).toBe('0');
    return outcome(attempt, before, files.contents());
  }
  badDay('dump', 'SIGINT in the middle of pg_dumpall', () => stopped('SIGINT'));
  badDay('dump', 'SIGTERM in the middle of pg_dumpall', () => stopped('SIGTERM'));

  badDay('dump', 'the Job is deleted while it dumps', async () => {
    const before = await earlier();
    const job = await system.start({ overlay: neverEnds() });
    await system.dumping();
    await job.stop();
    const attempt = only(await job.wait());
    expect(attempt.exitCode).toBe(130);
    expect(files.contents()).toEqual(before);
    return outcome(attempt, before, files.contents());
  });

  /** While a run works; it is not disturbed. */
  async function beside(options: JobOptions, reason: RegExp): Promise<Outcome> {
    files.clear();
    const first = await system.start({ overlay: untilTold() });
    await system.dumping();
    const before = files.names();
    const attempt = failed(await system.dump(options), reason);
    const left = outcome(attempt, listing(before), listing(files.names()));
    expect(files.partials()).toHaveLength(1);
    await goOn(first);
    good(await first.wait());
    expect(files.dumps()).toHaveLength(1);
    return left;
  }
  const listing = (names: string[]) => Object.fromEntries(names.map((name) => [name, '']));

  badDay('dump', 'a second run starts while the first works', () =>
    beside(
      {},
      /lock: error: another run of postgres-backup is working on this volume .*; wait for it to end, or delete its Job/,
    ),
  );
  badDay('dump', 'a second run starts while the first works, on a volume without locks', () =>
    beside(
      { overlay: fault('flock', 'exit 71') },
      /lock: error: another dump or restore is running on this server: postgres-backup \(pid .*\); wait for it to end/,
    ),
  );

  badDay('dump', 'a restore is running on the server', async () => {
    await earlier();
    const restore = system.cluster
      .psql("SELECT pg_advisory_lock(hashtext('cdk8s-postgres'), hashtext('server')); SELECT pg_sleep(30)")
      .catch(() => {});
    await expect.poll(() => system.cluster.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).toBe('1');
    const came = await fails(
      {},
      /lock: error: another dump or restore is running on this server: .*; wait for it to end/,
    );
    await system.cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
    await restore;
    return came;
  });

  badDay('dump', 'the lock on the server is lost while it dumps', async () => {
    const before = await earlier();
    const job = await system.start({ overlay: untilTold() });
    await system.dumping();
    await system.cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
    await goOn(job);
    const attempt = failed(
      await job.wait(),
      /lock: error: the lock on the server was lost during this run .*; .*run it again/,
    );
    expect(files.contents()).toEqual(before);
    return outcome(attempt, before, files.contents());
  });

  it('makes gzip files where zstd cannot, and reads them back', async () => {
    files.clear();
    const { log } = good(await system.dump({ overlay: fault('zstd', 'exit 1') }));
    expect(log).toMatch(/dump: pg_dumpall .* \| gzip -c -\d into/);
    expect(files.sql(files.dumps()[0]!)).toContain('PostgreSQL database cluster dump complete');
  });

  it('shows the password in no process list, no log and no file', async () => {
    files.clear();
    good(await system.dump());
    const [name] = files.dumps() as [string];
    const seen = system.cluster.processArguments();
    expect(seen.some((argv) => argv.some((one) => one.includes('pg_dumpall')))).toBe(true);
    expect(seen.filter((argv) => argv.some((one) => one.includes(PASSWORD)))).toEqual([]);
    const { log } = good(await system.dump({ clock: night(2) }));
    expect(log).not.toContain(PASSWORD);
    expect(files.read(`${name}.manifest.json`).toString()).not.toContain(PASSWORD);
    expect(files.sql(name)).not.toContain(PASSWORD);
  });

  badDay('dump', 'the server is still starting', async () => {
    await system.server.stop();
    files.clear();
    const before = files.contents();
    const job = await system.start();
    system.server = await system.cluster.startStatefulSet(SERVER);
    const result = good(await job.wait());
    expect(result.log).toMatch(/connect: .*; trying|connect: .*trying for up to/);
    await system.server.waitReady();
    return outcome(only(result), before, files.contents());
  });
});

/** A real one where there is one: pg_dumpall and pg_dump of another major version run with the libraries of this one. */
async function olderClient(major: Major): Promise<Overlay> {
  if (major === 15) return fault('pg_dumpall', 'echo "pg_dumpall (PostgreSQL) 14.20 (Debian 14.20-1)"');
  const older = major === 18 ? 17 : 15;
  const { root } = await image(older);
  return Object.fromEntries(
    ['pg_dumpall', 'pg_dump'].map((tool) => [
      `/usr/local/bin/${tool}`,
      join(root, `usr/lib/postgresql/${older}/bin/${tool}`),
    ]),
  );
}

describe.each(majors())('a backup volume that is full, PostgreSQL %i', (major) => {
  let system: Backups;
  beforeAll(async () => {
    system = await Backups.open(major, { kind: 'full', sizeMiB: 4 });
    // Random enough that no compression makes it fit.
    await system.cluster.psql(
      'CREATE TABLE big AS SELECT md5(i::text) || md5((i + 1)::text) AS t FROM generate_series(1, 400000) i',
    );
  });
  afterAll(() => system?.close());

  badDay('dump', 'the volume gets full while it dumps', async () => {
    const kept = system.files.put('postgres-backup-2026-10-31-020000.sql.gz');
    const before = system.files.contents();
    expect(kept in before).toBe(true);
    const full = async (format: string) => {
      const attempt = failed(
        await system.dump({ env: { COMPRESSION: format } }),
        new RegExp(`dump: error: ${format} ended with status \\d+ and .*; the backup volume is full: grow the claim`),
      );
      expect(system.files.contents()).toEqual(before);
      return outcome(attempt, before, system.files.contents());
    };
    await full('zstd');
    return full('gzip');
  });

  badDay('dump', 'the newest dump says that the next one cannot fit', async () => {
    system.files.clear();
    await system.cluster.psql('ALTER TABLE big RENAME TO kept; CREATE TABLE small AS SELECT 1 AS i');
    await system.cluster.psql('TRUNCATE kept');
    good(await system.dump());
    const [name] = system.files.dumps() as [string];
    system.files.put('filler', 'x'.repeat(4 * 2 ** 20 - 49_152));
    const before = system.files.contents();
    const attempt = failed(
      await system.dump(),
      /space: error: only \d+ bytes are free on the backup volume, the newest backup has \d+; grow the claim/,
    );
    expect(attempt.log).not.toContain(' dump: ');
    expect(system.files.contents()).toEqual(before);
    expect(name in before).toBe(true);
    return outcome(attempt, before, system.files.contents());
  });
});
