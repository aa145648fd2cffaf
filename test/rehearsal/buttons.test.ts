import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Retention } from '../../lib';
import { majors } from '.';
import { BackupFiles, fault } from './backup-volume';
import { BACKUP } from './home-lab';
import { Lab, ODD } from './restore-kit';
import type { JobOptions } from './runner/types';

const NOW = 'postgres-backup-now';
const FRESH = 'postgres-restore-fresh';
const COPY = /_restored_\d{14}/;
const ANN = `Ann O'Neil;$(id)`;

describe.each(majors())('buttons, PostgreSQL %i', (major) => {
  let lab: Lab;
  let files: BackupFiles;
  /** Databases, roles, memberships and settings before a button was pressed. */
  let before: string;
  let noDump: string;
  let slow: string;

  beforeAll(async () => {
    lab = await Lab.filled(major, { backup: { retention: Retention.last(2) } });
    files = new BackupFiles(lab.cluster.claim(BACKUP));
    await lab.psql(`CREATE ROLE idle LOGIN PASSWORD 'x';
      ALTER DATABASE postgres CONNECTION LIMIT 77; CREATE TABLE own AS SELECT 1 AS i;
      CREATE SUBSCRIPTION feed CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = 'feed');
      COMMENT ON SUBSCRIPTION feed IS 'two\nlines'`);
    before = await lab.identity();
    noDump = await refused();
    await lab.backup();
    const all = await lab.tool('pg_dumpall');
    slow = lab.put('slow.sql', all.replace('COPY public.users', 'SELECT pg_sleep(30);\nCOPY public.users'));
  });
  afterAll(() => lab.close());

  const fresh = (env: Record<string, string> = {}, options: JobOptions = {}) =>
    lab.cluster.runCronJob(FRESH, { env, ...options });
  const last = (log: string) => log.trimEnd().split('\n').at(-1)!;

  /** The log of a good run; all that was there before is the same. */
  const pressed = async (env: Record<string, string> = {}) => {
    const result = await fresh(env);
    expect(result).toMatchObject({ succeeded: true });
    expect(await untouched()).toBe(before);
    return result.log;
  };
  /** The last line of a run that had to fail; it has left nothing at all. */
  const refused = async (env: Record<string, string> = {}) => {
    const result = await fresh(env);
    expect(result.succeeded).toBe(false);
    expect(result.attempts).toHaveLength(1);
    expect(await lab.identity()).toBe(before);
    return last(result.log);
  };
  const untouched = async () =>
    (await lab.identity())
      .split('\n')
      .filter((line) => !COPY.test(line))
      .join('\n');
  const copies = async () => (await lab.databases()).filter((name) => COPY.test(name));
  /** What the log's last line says to paste. */
  const drop = async (line: string) => {
    const commands = /when nobody needs it any more: (.*;)/.exec(line)![1]!;
    for (const command of commands.split(/(?<=;) (?=DROP )/)) await lab.psql(command);
    expect(await lab.identity()).toBe(before);
  };

  const loading = () =>
    expect
      .poll(() => lab.psql("SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep\\(30'"), {
        timeout: 15_000,
      })
      .toBe('1');
  const started = async () => {
    const job = await lab.cluster.startCronJob(FRESH, { env: { BACKUP_FILE: slow } });
    await loading();
    return job;
  };

  describe('backup now', () => {
    it('makes a dump like the scheduled one, which counts in the same retention', async () => {
      const scheduled = await lab.backup('2026-10-01 02:00:00');
      const manual: string[] = [];
      for (const clock of ['2026-10-01 12:00:00', '2026-10-02 12:00:00']) {
        const result = await lab.cluster.runCronJob(NOW, { clock });
        expect(result).toMatchObject({ succeeded: true });
        manual.push(/ publish: (postgres-backup-\S+\.sql\.gz)$/m.exec(result.log)![1]!);
        expect(result.log.includes(`retention: removed ${scheduled}`)).toBe(manual.length === 2);
      }
      expect(files.dumps().filter((name) => name.includes('2026-10-'))).toEqual(manual);
      expect(files.manifest(manual[1]!).job).toBe(BACKUP);
    });

    it('fails clearly while the scheduled one is running, which goes on', async () => {
      const waits = 'until [ -e /backup/go ]; do sleep 0.1; done; exec /usr/lib/postgresql/*/bin/pg_dumpall "$@"';
      const overlay = fault(
        'pg_dumpall',
        `[ "$1" = --version ] || ${waits}; exec /usr/lib/postgresql/*/bin/pg_dumpall "$@"`,
      );
      const scheduled = await lab.cluster.startCronJob(BACKUP, { overlay });
      await expect.poll(() => files.partials(), { timeout: 15_000 }).not.toEqual([]);
      const manual = await lab.cluster.runCronJob(NOW, { backoffMs: 1 });
      expect(manual.succeeded).toBe(false);
      expect(manual.attempts[0]!.log).toMatch(/lock: error: another run of postgres-backup is working on this volume/);
      files.put('go');
      expect(await scheduled.wait()).toMatchObject({ succeeded: true });
      expect(files.partials()).toEqual([]);
    });
  });

  describe('restore into fresh databases', () => {
    it('fails clearly when there is no dump', () => {
      expect(noDump).toMatch(/choose: error: \/backup is empty; run the backup first/);
    });

    it('puts every database beside the live one, with the same content, and touches nothing else', async () => {
      const client = lab.psql("SET application_name = 'the app'; SELECT pg_sleep(60)", 'backup_test').catch(String);
      const dump = files.dumps().at(-1)!;
      const log = await pressed();
      const app = "FROM pg_stat_activity WHERE application_name = 'the app'";
      expect(await lab.psql(`SELECT count(*), count(pg_terminate_backend(pid)) ${app}`)).toBe('1|1');
      expect(await client).toMatch(/terminating connection due to administrator command/);
      const [odd, test, own] = await copies();
      expect(await copies()).toEqual([
        expect.stringMatching(/^a b"c'd;\$\(e\)_restored_\d{14}$/),
        expect.stringMatching(/^backup_test_restored_\d{14}$/),
        expect.stringMatching(/^postgres_restored_\d{14}$/),
      ]);
      expect((await lab.content(own!)).replaceAll(own!, 'postgres')).toBe(await lab.content('postgres'));
      expect(await lab.content('postgres')).toContain('|77|');
      expect(await lab.psql('SELECT datname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid')).toBe(
        'postgres',
      );
      expect((await lab.content(test!)).replaceAll(test!, 'backup_test')).toBe(await lab.content('backup_test'));
      expect((await lab.content(odd!)).replaceAll(odd!, ODD)).toBe(await lab.content(ODD));
      expect(await lab.psql("SELECT count(*) > 0 FROM pg_stats WHERE schemaname = 'public'", test!)).toBe('t');
      expect(log).toMatch(/compare: backup_test_restored_\d{14}: 2 tables, rows as in the manifest/);
      expect(last(log)).toContain(` from ${dump} in `);
      expect(last(log)).toMatch(/finished: restored .* in \d+ s, beside the live ones, .*: DROP DATABASE "a b""c'd;/);
    });

    it('refuses a second copy of a database, and the nightly dump tells what it holds', async () => {
      const names = await copies();
      const again = await fresh();
      expect(again.succeeded).toBe(false);
      expect(last(again.log)).toMatch(/there is a copy from an earlier restore; when nobody needs it any more: DROP/);
      expect(await copies()).toEqual(names);
      const nightly = await lab.cluster.runCronJob(BACKUP);
      for (const name of names) {
        expect(nightly.log).toContain(`list: warning: database ${name} is a copy that a restore has left, `);
      }
      const held = files.manifest(files.dumps().at(-1)!).databases.map(({ name }) => name);
      expect(held).toEqual(expect.arrayContaining(names));
      await drop(last(again.log));
      expect(await copies()).toEqual([]);
    });

    it('leaves out of a dump what a restore has made, and takes one database where that is asked for', async () => {
      const log = await pressed();
      expect(log.match(/plan: .*_restored_\d{14}: made by a restore itself, left out/g)).toHaveLength(3);
      expect(await copies()).toHaveLength(3);
      await drop(last(log));
      const one = await pressed({ DATABASE: 'backup_test' });
      expect(await copies()).toEqual([expect.stringMatching(/^backup_test_restored_/)]);
      expect(last(one)).not.toContain('DROP ROLE');
      await drop(last(one));
    });

    it('takes a file of pg_dump, with what belongs to the live database from there', async () => {
      const file = lab.put('one.sql', await lab.tool('pg_dump', 'backup_test'));
      expect(await refused({ BACKUP_FILE: file })).toMatch(/does not say which database it is of; set DATABASE to its/);
      const log = await pressed({ BACKUP_FILE: file, DATABASE: 'backup_test' });
      const [name] = await copies();
      expect((await lab.content(name!)).replaceAll(name!, 'backup_test')).toBe(await lab.content('backup_test'));
      await drop(last(log));
    });

    it('needs no role that is gone: stand-ins nobody can log in to, out of the way of a later restore', async () => {
      const roles = () => lab.psql('SELECT rolname FROM pg_roles ORDER BY 1');
      const password = () => lab.psql(`SELECT rolpassword FROM pg_authid WHERE rolname = $n$${ANN}$n$`);
      const secret = await password();
      expect(secret).toMatch(/^SCRAM/);
      await lab.psql(`ALTER ROLE "${ANN}" RENAME TO ann; DROP ROLE idle`);
      before = await lab.identity();
      const live = await roles();
      const log = await pressed();
      expect(log).toContain(`roles: the server lacks "${ANN}", idle: roles that nobody can log in to stand in`);
      const added = (await roles()).split('\n').filter((name) => !live.split('\n').includes(name));
      expect(added).toEqual([expect.stringMatching(/^Ann O'Neil;\$\(id\)_restored_\d{14}$/)]);
      expect(
        await lab.psql(`SELECT r.rolcanlogin, r.rolsuper, a.rolpassword IS NULL, r.rolconfig IS NULL,
          (SELECT count(*) FROM pg_auth_members WHERE member = r.oid OR roleid = r.oid)
          FROM pg_authid a JOIN pg_roles r USING (oid) WHERE r.rolname ~ '_restored_'`),
      ).toBe('f|f|t|t|0');
      const [odd] = await copies();
      expect(
        await lab.psql('SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()', odd),
      ).toBe(added[0]);
      await drop(last(log));
    });

    it('killed in the middle, and pressed again: nothing of the first run is left', async () => {
      const job = await started();
      await job.kill9();
      await job.wait();
      expect((await lab.databases()).filter((name) => name.includes('_restoring_'))).toHaveLength(3);
      expect(await lab.psql(`SELECT rolcanlogin FROM pg_roles WHERE rolname = $n$${ANN}$n$`)).toBe('f');
      const log = await pressed();
      expect(log.match(/leftovers: dropped .*_restoring_/g)).toHaveLength(3);
      expect(log.match(/leftovers: dropped the role /g)).toHaveLength(2);
      await drop(last(log));
    });

    it('killed in the middle, a restore that swaps brings the roles with their passwords', async () => {
      const job = await started();
      await job.kill9();
      await job.wait();
      await lab.restored({ DATABASE: ODD });
      const real = `SELECT rolcanlogin, rolpassword ~ '^SCRAM' FROM pg_authid WHERE rolname = $n$${ANN}$n$`;
      expect(await lab.psql(real)).toBe('t|t');
      await lab.dropKept();
      before = await lab.identity();
    });

    it('pressed twice at once, the second fails clearly; stopped, the first leaves nothing', async () => {
      const job = await started();
      const second = await fresh();
      expect(second.succeeded).toBe(false);
      expect(last(second.log)).toMatch(
        /lock: error: another dump or restore is running on this server: .*logical-restore/,
      );
      await job.stop();
      expect((await job.wait()).log).toMatch(/error: stopped by SIG(INT|TERM); nothing on the server was changed/);
      expect(await lab.identity()).toBe(before);
    });

    it('a load that fails leaves no half database', async () => {
      const all = lab.read(slow).toString();
      const failing = lab.put(
        'failing.sql',
        all
          .replace('SELECT pg_sleep(30);\n', '')
          .replace('ALTER TABLE ONLY public.transactions\n', 'ALTER TABLE ONLY public.nosuch\n'),
      );
      expect(await refused({ BACKUP_FILE: failing })).toMatch(/load: error: .*nothing on the server was changed; /);
    });

    it('refuses what the server has no space for, with a reserve that a swap does without', async () => {
      const dump = files.dumps().at(-1)!;
      const manifest = files.read(`${dump}.manifest.json`).toString();
      const df = await lab.server.exec(['df', '-Pk', '/var/lib/postgresql/data']);
      const free = Number(df.stdout.trim().split(/\s+/).at(-3)) * 1024;
      const claiming = (bytes: number) =>
        files.put(`${dump}.manifest.json`, manifest.replace(/("backup_test", "bytes": )\d+/, `$1${Math.round(bytes)}`));
      const one = { DATABASE: 'backup_test' };
      try {
        claiming(free * 2);
        expect(await refused(one)).toMatch(
          /preflight: error: nothing was changed: the new databases need about \d+ MiB/,
        );
        claiming(free * 0.95);
        expect(await refused(one)).toMatch(/the new databases need about \d+ MiB/);
        await lab.restored(one);
        await lab.dropKept();
        before = await lab.identity();
      } finally {
        files.put(`${dump}.manifest.json`, manifest);
      }
    });

    it('refuses a target of its own name, and a word that it does not know', async () => {
      expect(await refused({ TARGET_DATABASE: 'x' })).toMatch(/TARGET_DATABASE has no meaning with INTO=fresh/);
      expect(await refused({ INTO: 'nowhere' })).toMatch(/INTO must be live or fresh, got `nowhere`/);
    });
  });
});
