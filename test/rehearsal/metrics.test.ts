import fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Rehearsal } from '.';
import { BACKUP, homeLab, METRICS_PASSWORD, METRICS_SECRET, PASSWORD, RESTORE, SECRET, SERVER } from './home-lab';
import type { KubeObject, PodHandle } from './runner/types';

const ROLE = 'postgres_exporter';
const JOB = 'postgres-monitoring-role-';
/** What stands in for Prometheus: a pod of its own, which has nothing but the network. */
const CLIENT: KubeObject = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'prometheus', namespace: 'data' },
  spec: { containers: [{ name: 'client', image: 'postgres:18.3-trixie', command: ['sleep', 'infinity'] }] },
};

let cluster: Rehearsal;
let server: PodHandle;
let client: PodHandle;
beforeAll(async () => {
  cluster = await Rehearsal.open({ objects: [...homeLab(18), CLIENT], major: 18 });
  server = await cluster.startStatefulSet(SERVER);
  client = await cluster.startPod('prometheus');
  await Promise.all([server.waitReady(60_000), client.waitReady()]);
});
afterAll(() => cluster?.close());

/** The metrics, by name and labels; the label `server`, which is the same everywhere, left out. */
async function scrape(): Promise<Record<string, string>> {
  const get = `exec 3<>/dev/tcp/${SERVER}-metrics/9187; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`;
  const { stdout } = await client.exec(['bash', '-c', get]);
  const lines = stdout.split('\n').filter((line) => /^\w+({.*})? \S+$/.test(line));
  return Object.fromEntries(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [
        line
          .slice(0, at)
          .replace(/,?server="127.0.0.1:5432"/, '')
          .replace('{}', ''),
        line.slice(at + 1),
      ];
    }),
  );
}

const read = (pid: number, file: string) => fs.readFileSync(`/proc/${pid}/${file}`, 'utf8');
/** As soon as the exporter, which may just have been restarted, says so. */
const up = (value: '0' | '1') =>
  expect.poll(async () => (await scrape())['pg_up'], { timeout: 30_000, interval: 500 }).toBe(value);
const asRole = (sql: string, db?: string) =>
  cluster.psql(sql, { user: ROLE, password: METRICS_PASSWORD, db, service: SERVER });
const age = (job: string) => `pg_backup_age_seconds{backup="${job}"}`;
const setting = (value: string) => cluster.psql(`ALTER DATABASE postgres ${value}`);
const settings = () =>
  cluster.psql("SELECT c FROM pg_db_role_setting, unnest(setconfig) c WHERE c LIKE 'cdk8s%' ORDER BY 1");

describe('a new server', () => {
  it('is up, and every collector works with the rights of the role', async () => {
    const metrics = await scrape();
    expect(metrics).toMatchObject({ pg_up: '1', pg_exporter_last_scrape_error: '0' });
    const loaded = Object.entries(metrics).filter(([name]) => name.startsWith('pg_exporter_user_queries_load_error'));
    expect(loaded).toEqual([[expect.stringContaining('/etc/postgres_exporter/exporter-queries.yaml'), '0']]);
    const success = Object.entries(metrics).filter(([name]) => name.startsWith('pg_scrape_collector_success'));
    expect(success.length).toBeGreaterThanOrEqual(8);
    expect(success.filter(([, value]) => value !== '1')).toEqual([]);
    expect(Number(metrics['pg_database_size_bytes{datname="postgres"}'])).toBeGreaterThan(5_000_000);
    expect(metrics['pg_database_connection_limit{datname="postgres"}']).toBe('-1');
  });

  it('has no backup: infinitely old, and not just missing', async () => {
    expect(await scrape()).toMatchObject({
      [age('none')]: '+Inf',
      'pg_backup_last_success_timestamp_seconds{backup="none"}': '0',
      'pg_backup_bytes{backup="none"}': '0',
    });
  });

  it('runs the exporter as the user of the pod, out of an image without a shell', async () => {
    const exporters = server.processes().filter((pid) => read(pid, 'cmdline').startsWith('/bin/postgres_exporter\0'));
    expect(exporters).toHaveLength(1);
    expect(read(exporters[0]!, 'status')).toMatch(/^Uid:\t999\t999\t999\t999$/m);
    expect((await server.exec(['sh', '-c', 'true'], { container: 'metrics' })).exitCode).not.toBe(0);
  });
});

describe('the role', () => {
  beforeAll(async () => {
    await cluster.psql(`CREATE DATABASE closed; REVOKE CONNECT ON DATABASE closed FROM PUBLIC; CREATE DATABASE app;
      CREATE TABLE here AS SELECT 'secret' AS value; ANALYZE here; SELECT lo_from_bytea(4711, 'secret')`);
    await cluster.psql("CREATE TABLE t AS SELECT 'secret' AS value", { db: 'app' });
  });

  it('is what it shall be, and a member of nothing', async () => {
    expect(
      await cluster.psql(`SELECT rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconnlimit,
        (SELECT count(*) FROM pg_auth_members WHERE member = r.oid), array_to_string(rolconfig, ', ')
        FROM pg_roles r WHERE rolname = '${ROLE}'`),
    ).toBe(
      't|f|f|f|f|f|5|0|default_transaction_read_only=on, search_path=pg_catalog, statement_timeout=30s, lock_timeout=5s, ' +
        'idle_in_transaction_session_timeout=1min',
    );
  });

  it.each([
    ['tables', 'SELECT * FROM public.here'],
    ['tables of other databases', 'SELECT * FROM public.t', 'app'],
    ['a database that is not open to all', 'SELECT 1', 'closed'],
    ['password hashes', 'SELECT * FROM pg_authid'],
    ['password hashes, the other way', 'SELECT * FROM pg_shadow'],
    ['files of the server', "SELECT pg_read_file('postgresql.conf')"],
    ['folders of the server', "SELECT pg_ls_dir('.')"],
    ['files of the server by COPY', "COPY pg_class (relname) FROM '/etc/passwd'"],
    ['programs of the server', "COPY (SELECT 1) TO PROGRAM 'cat'"],
    ['large objects', 'SELECT lo_get(4711)'],
    ['settings that may hold passwords', 'SHOW data_directory'],
    ['other roles', 'SET ROLE postgres'],
  ])('cannot read %s', async (_, sql, db?: string) => {
    await expect(asRole(sql, db)).rejects.toThrow(/permission denied|division by zero/);
  });

  it('does not see what statistics know of rows', async () => {
    const sql = "SELECT count(*) FROM pg_stats WHERE tablename = 'here'";
    expect(await cluster.psql(sql)).toBe('1');
    expect(await asRole(sql)).toBe('0');
  });

  it('does not see what others ask the server', async () => {
    const other = server.exec(['psql', '-U', 'postgres', '-c', "SELECT 'their own business', pg_sleep(60)"]);
    const theirs = "pg_stat_activity WHERE query LIKE '%own business%pg_sleep%' AND pid <> pg_backend_pid()";
    await expect.poll(() => cluster.psql(`SELECT count(*) FROM ${theirs}`)).toBe('1');
    const seen = await asRole('SELECT DISTINCT query FROM pg_stat_activity WHERE usename = $$postgres$$');
    expect(seen).toBe('<insufficient privilege>');
    await cluster.psql(`SELECT pg_terminate_backend(pid) FROM ${theirs}`);
    await other;
  });

  it.each([
    'CREATE TABLE public.x ()',
    'CREATE SCHEMA x',
    'CREATE DATABASE x',
    'CREATE ROLE x',
    'CREATE EXTENSION pgcrypto',
    'ALTER DATABASE postgres SET cdk8s_postgres.backup_x = 1',
    "SELECT lo_create(0), pg_notify('x', 'y'), pg_switch_wal()",
    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $$postgres$$ AND pid <> pg_backend_pid()',
  ])('cannot change anything, not even in a transaction that may write: %s', async (sql) => {
    await expect(asRole(sql)).rejects.toThrow(/permission denied|read-only|must be/);
    await expect(asRole(`SET default_transaction_read_only = off; ${sql}`)).rejects.toThrow(
      /permission denied|must be/,
    );
  });

  it('measures databases that it may connect to, and says so of the others', async () => {
    const metrics = await scrape();
    expect(metrics['pg_database_size_bytes{datname="closed"}']).toBe('NaN');
    expect(Number(metrics['pg_database_size_bytes{datname="app"}'])).toBeGreaterThan(5_000_000);
    expect(metrics['pg_exporter_last_scrape_error']).toBe('0');
  });
});

describe('the age of the last backup', () => {
  it('is scraped after a run', async () => {
    const { log, succeeded } = await cluster.runCronJob(BACKUP);
    expect({ log, succeeded }).toMatchObject({ succeeded: true });
    expect(log).not.toContain('warning');
    const metrics = await scrape();
    expect(Number(metrics[age(BACKUP)])).toBeGreaterThan(0);
    expect(Number(metrics[age(BACKUP)])).toBeLessThan(60);
    const finished = Number(metrics[`pg_backup_last_success_timestamp_seconds{backup="${BACKUP}"}`]);
    expect(Math.abs(finished - Date.now() / 1000)).toBeLessThan(60);
    const [, bytes] = log.match(/finished: \S+: (\d+) bytes/)!;
    expect(metrics[`pg_backup_bytes{backup="${BACKUP}"}`]).toBe(bytes);
    expect(metrics).not.toHaveProperty(age('none'));
  });

  it('is infinite where a clock was wrong, and what it is for the other jobs', async () => {
    const now = Date.now() / 1000;
    const record = { job: 'clock', file: 'x', bytes: 1, started: now + 3600, finished: now + 3700 };
    await setting(`SET cdk8s_postgres.backup_x = '${JSON.stringify(record)}'`);
    const metrics = await scrape();
    expect(metrics).toMatchObject({
      [age('clock')]: '+Inf',
      'pg_backup_last_success_timestamp_seconds{backup="clock"}': '0',
    });
    expect(Number(metrics[age(BACKUP)])).toBeLessThan(60);
    await setting('RESET cdk8s_postgres.backup_x');
  });

  it('counts from the beginning of a backup, not from its end', async () => {
    const now = Date.now() / 1000;
    const record = { job: 'slow', file: 'x', bytes: 1, started: now - 7200, finished: now };
    await setting(`SET cdk8s_postgres.backup_x = '${JSON.stringify(record)}'`);
    expect(Number((await scrape())[age('slow')])).toBeGreaterThanOrEqual(7199);
    await setting('RESET cdk8s_postgres.backup_x');
  });

  it('is in no dump and outlives a restore, also one that replaces the database `postgres` under the exporter', async () => {
    const before = await settings();
    expect(before).toMatch(/^cdk8s_postgres\.backup_.*\ncdk8s_postgres\.monitoring=postgres_exporter$/);
    await up('1');
    const { log, succeeded } = await cluster.runJob(RESTORE);
    expect({ log, succeeded }).toMatchObject({ succeeded: true });
    expect(log).toMatch(/live since now: .*postgres/);
    expect(
      (await settings())
        .split('\n')
        .filter((line, i, all) => all.indexOf(line) === i)
        .join('\n'),
    ).toBe(before);
    await up('1');
    expect(Number((await scrape())[age(BACKUP)])).toBeLessThan(120);
    await cluster.psql(
      String.raw`SELECT format('DROP DATABASE %I', datname) FROM pg_database WHERE datname ~ '_before_restore_' \gexec`,
    );
  });

  it('stays old, and the backup good, where the record fails', async () => {
    const before = await settings();
    const lock = server.exec([
      ...['psql', '-U', 'postgres', '-c'],
      'BEGIN; ALTER DATABASE postgres SET cdk8s_postgres.other = 1; SELECT pg_sleep(60); ROLLBACK',
    ]);
    const { log, succeeded } = await cluster.runCronJob(BACKUP);
    expect(succeeded).toBe(true);
    expect(log).toMatch(/ record: warning: the backup is good, but the server could not be told/);
    expect(log).toMatch(/ finished: postgres-backup-/);
    expect(await settings()).toBe(before);
    await cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; ALTER%'");
    await lock;
  });
});

describe('an exporter that fails', () => {
  it('is restarted when it was killed, and its server stays served all the time', async () => {
    const session = server.restartCount;
    const open = client.exec(
      ['psql', '-h', SERVER, '-U', 'postgres', '-XAtc', 'SELECT pg_sleep(6)', '-c', "SELECT 'still here'"],
      { env: { PGPASSWORD: PASSWORD } },
    );
    await expect
      .poll(() => cluster.psql("SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep'"))
      .toBe('1');
    await server.signal('metrics', 'SIGKILL');
    for (let i = 0; i < 10; i++) expect(await cluster.psql('SELECT 1')).toBe('1');
    expect((await open).stdout).toContain('still here');
    expect(server.restartCount).toBe(session + 1);
    await up('1');
  });

  it('for lack of the role: `pg_up 0`; backups leave nothing on a server that is not watched, and the Job in ops/ makes it watched', async () => {
    await setting('RESET ALL');
    await cluster.psql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${ROLE}'; DROP ROLE ${ROLE}`,
    );
    await up('0');
    expect(server.ready).toBe(true);

    expect(await cluster.runCronJob(BACKUP)).toMatchObject({ succeeded: true });
    expect(await settings()).toBe('');

    for (const _ of ['first', 'again']) {
      const { log, succeeded } = await cluster.runJob(JOB);
      expect({ log, succeeded }).toMatchObject({ succeeded: true });
    }
    await up('1');
    expect(await scrape()).toMatchObject({ [age('none')]: '+Inf' });
  });

  it('for a password that changed: the Job gives it to the server, the exporter takes it when it starts', async () => {
    const password = `n"e'w${METRICS_PASSWORD}`;
    cluster.apply([{ ...METRICS_SECRET, stringData: { password } }]);
    await cluster.psql("ALTER SYSTEM SET log_statement = 'all'; ALTER SYSTEM SET log_min_duration_statement = 0");
    await cluster.psql('SELECT pg_reload_conf()');
    // Before 15 everybody could put a function there that fits better than the built-in one.
    await cluster.psql(
      `CREATE FUNCTION public.format(text, name, text) RETURNS text LANGUAGE sql AS $$SELECT 'CREATE TABLE public.foreign ()'$$`,
    );
    const { log, succeeded } = await cluster.runJob(JOB);
    expect({ log, succeeded }).toMatchObject({ succeeded: true });
    expect(await cluster.psql("SELECT to_regclass('public.foreign') IS NULL")).toBe('t');
    await cluster.psql('DROP FUNCTION public.format');
    await expect(asRole('SELECT 1')).rejects.toThrow(/password authentication failed/);

    // What is connected stays so; all that comes later is turned away.
    await cluster.psql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '${ROLE}'`);
    await up('0');
    expect(server.ready).toBe(true);

    await server.signal('metrics', 'SIGTERM');
    await up('1');

    // The server has logged every statement but those that hold the hash.
    expect(server.logs('postgres')).toContain("statement: SET log_statement = 'none'");
    expect(server.logs('postgres')).not.toContain('SCRAM-SHA-256$');
    cluster.apply([METRICS_SECRET]);
  });

  it.each([
    [
      'a role that somebody has',
      'CREATE ROLE postgres_exporter_2 LOGIN; GRANT pg_read_all_data TO postgres_exporter_2',
      { MONITORING_USER: 'postgres_exporter_2' },
      /role: error: role postgres_exporter_2 exists and is a member of pg_read_all_data; a monitoring role has nothing: choose another/,
    ],
    [
      'a superuser',
      'SELECT 1',
      { MONITORING_USER: 'postgres' },
      /environment: error: MONITORING_USER must be another role than PGUSER, got `postgres` for both; .*use a role of its own/,
    ],
    [
      'a password that the exporter would write into its log',
      'SELECT 1',
      { MONITORING_PASSWORD: 'a b' },
      /environment: error: MONITORING_PASSWORD has white space, which postgres_exporter .*; write the Secret without/,
    ],
    [
      'a password with a line break',
      'SELECT 1',
      { MONITORING_PASSWORD: 'ab\n' },
      /environment: error: MONITORING_PASSWORD has white space, which postgres_exporter .*; write the Secret without/,
    ],
  ])('%s is refused by the Job', async (_, sql, env, line) => {
    await cluster.psql(sql);
    const { log, succeeded } = await cluster.runJob(JOB, { env });
    expect(succeeded).toBe(false);
    expect(log.trimEnd().split('\n').at(-1)).toMatch(line);
  });

  it('takes any name for the role', async () => {
    const name = `Odd"n'm$x`;
    const { log, succeeded } = await cluster.runJob(JOB, { env: { MONITORING_USER: name } });
    expect({ log, succeeded }).toMatchObject({ succeeded: true });
    expect(await cluster.psql('SELECT 2', { user: name, password: METRICS_PASSWORD })).toBe('2');
  });
});

it('passwords are in no argument list and in no log', () => {
  const seen = cluster.processArguments();
  expect(seen.some((argv) => argv[0] === '/bin/postgres_exporter')).toBe(true);
  const text = JSON.stringify(seen) + JSON.stringify(server.logs());
  for (const secret of [
    PASSWORD,
    METRICS_PASSWORD,
    METRICS_PASSWORD.slice(4),
    SECRET['stringData']['postgres-password'],
  ]) {
    expect(text.includes(JSON.stringify(secret).slice(1, -1))).toBe(false);
    expect(text.includes(encodeURIComponent(secret))).toBe(false);
  }
});

it('a server is served whose exporter never starts, and whose Secret for metrics is missing', async () => {
  const objects: KubeObject[] = JSON.parse(JSON.stringify(homeLab(18)));
  const set = objects.find(({ kind }) => kind === 'StatefulSet')!;
  for (const container of set['spec'].template.spec.containers) {
    if (container.name === 'metrics') container.command.push('--no-such-flag');
    for (const { valueFrom } of container.env) {
      if (valueFrom?.secretKeyRef.name === 'postgres-metrics') valueFrom.secretKeyRef.name = 'missing';
    }
  }
  await server.stop();
  cluster.apply([set]);
  server = await cluster.startStatefulSet(SERVER);
  await expect.poll(() => cluster.psql('SELECT 1').catch(() => ''), { timeout: 30_000 }).toBe('1');
  await expect.poll(() => server.events.filter(({ reason }) => reason === 'BackOff').length).toBeGreaterThan(2);
  expect(server.ready).toBe(false);
  expect(await cluster.psql('SELECT 1')).toBe('1');
});
