import { createHash } from 'node:crypto';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { badDay, type Listing, type Outcome, outcome } from '../helpers/bad-day';
import { majors } from '.';
import { failed } from './backup-kit';
import { BACKUP, RESTORE, SERVER } from './home-lab';
import { Lab, ODD } from './restore-kit';

describe.each(majors())('restore refuses and changes nothing, PostgreSQL %i', (major) => {
  let lab: Lab;
  let nothingThere: string[];
  let emptyVolume: Outcome;
  let backup: string;
  let all: string;
  let before: Listing;
  /** What the last refusal came to. */
  let day: Outcome;

  beforeAll(async () => {
    lab = await Lab.filled(major, { server: { settings: { max_prepared_transactions: '5' } } });
    before = await lab.serverListing();
    const empty = await refused();
    emptyVolume = day;
    nothingThere = [empty, await named('other.sql', 'x', { BACKUP_FILE: '' })];
    backup = await lab.backup();
    all = await lab.tool('pg_dumpall');
  });
  afterAll(() => lab.close());

  /** The last line of a run that had to fail; nothing may be different afterwards. */
  const refused = async (env: Record<string, string> = {}) => {
    const files = lab.files();
    const attempt = failed(await lab.restore(env));
    const after = await lab.listing();
    expect(after).toEqual({ ...files, ...before });
    day = outcome(attempt, { ...files, ...before }, after);
    return attempt.log.trimEnd().split('\n').at(-1)!;
  };
  const named = (name: string, content: string | Buffer, env: Record<string, string> = {}) =>
    refused({ BACKUP_FILE: lab.put(name, content), ...env });

  badDay('restore', 'an empty volume', async () => {
    expect(nothingThere).toEqual([
      expect.stringContaining('choose: error: /backup is empty; run the backup first, or copy a dump there'),
      expect.stringMatching(/no verified dump of postgres-backup .*; set BACKUP_FILE to one of: other\.sql$/),
    ]);
    return emptyVolume;
  });

  const cutAfter = async (part: number) => {
    const whole = lab.read(backup);
    const cut = whole.subarray(0, Math.floor(whole.length * part));
    expect(await named('cut.sql.gz', cut)).toMatch(
      /read: error: cut\.sql\.gz cannot be unpacked .*truncated or damaged/,
    );
    const plain = all.slice(0, Math.floor(all.length * part));
    expect(await named('cut.sql', plain)).toMatch(/read: error: cut\.sql is incomplete: .* set BACKUP_FILE to another/);
    return day;
  };
  badDay('restore', 'a dump that ends after 10 % of its bytes', () => cutAfter(0.1));
  badDay('restore', 'a dump that ends after 60 % of its bytes', () => cutAfter(0.6));
  badDay('restore', 'a dump that ends after 99.9 % of its bytes', () => cutAfter(0.999));

  badDay(
    'restore',
    'a dump that ends right after a row that spells the end marker, whatever its manifest says',
    async () => {
      const marker = '--\n-- PostgreSQL database cluster dump complete\n--\n\n';
      const at = all.indexOf(marker, all.indexOf('COPY public.marker'));
      expect(at).toBeLessThan(all.lastIndexOf(marker));
      const file = gzipSync(all.slice(0, at + marker.length));
      expect(await named('marker.sql.gz', file)).toMatch(/read: error: marker\.sql\.gz is incomplete/);
      const name = 'postgres-backup-2030-01-01-000000.sql.gz';
      lab.put(name, file);
      lab.put(`${name}.manifest.json`, fitting(name, file));
      expect(await refused({ BACKUP_FILE: name })).toMatch(new RegExp(`read: error: ${name} is incomplete`));
      rmSync(join(lab.volume, `${name}.manifest.json`));
      rmSync(join(lab.volume, name));
      return day;
    },
  );

  /** The manifest of the real backup, made to fit another file. */
  const fitting = (name: string, content: Buffer) =>
    lab
      .read(`${backup}.manifest.json`)
      .toString()
      .replaceAll(backup, name)
      .replace(/"bytes": \d+,\n {2}"sha256": "\w+"/, () => {
        const sha256 = createHash('sha256').update(content).digest('hex');
        return `"bytes": ${content.length},\n  "sha256": "${sha256}"`;
      });

  badDay('restore', 'a flipped byte in a compressed dump', async () => {
    const flipped = Buffer.from(lab.read(backup));
    flipped[Math.floor(flipped.length / 2)]! ^= 0x10;
    expect(await named('flipped.sql.gz', flipped)).toMatch(/read: error: flipped\.sql\.gz cannot be unpacked/);
    return day;
  });

  badDay('restore', 'a changed letter in a dump that is not compressed', async () => {
    // In plain text only the checksum tells.
    const changed = all.replace('\talice\t', '\talicf\t');
    expect(changed).not.toBe(all);
    lab.put('plain.sql.manifest.json', fitting('plain.sql', Buffer.from(all)));
    expect(await named('plain.sql', changed)).toMatch(
      /read: error: the checksum of plain\.sql is \w{64}, its manifest says/,
    );
    return day;
  });

  badDay('restore', 'a file that is not as long as its manifest says', async () => {
    lab.put('short.sql.manifest.json', fitting('short.sql', Buffer.from(`${all} `)));
    expect(await named('short.sql', all)).toMatch(
      /short\.sql has \d+ bytes, its manifest says \d+; the file is damaged/,
    );
    return day;
  });

  badDay('restore', 'a manifest that is not whole', async () => {
    lab.put('half.sql.manifest.json', fitting('half.sql', Buffer.from(all)).slice(0, -3));
    expect(await named('half.sql', all)).toMatch(
      /the manifest of half\.sql is damaged, of another file, or of a newer/,
    );
    return day;
  });

  badDay('restore', 'a manifest that tells of other rows than the dump', async () => {
    const content = lab.read(backup);
    lab.put('rows.sql.gz.manifest.json', fitting('rows.sql.gz', content).replace('"rows": 5}', '"rows": 6}'));
    expect(await named('rows.sql.gz', content)).toMatch(/lists other tables or rows than the dump holds/);
    return day;
  });

  badDay('restore', 'a file that is no dump', async () => {
    expect(await named('notes.txt', 'hello\n')).toMatch(
      /notes\.txt is not the output of pg_dump or pg_dumpall in plain/,
    );
    return day;
  });

  badDay('restore', 'an archive of pg_dump -Fc', async () => {
    const archive = await lab.server.exec(['sh', '-c', 'pg_dump -U postgres -Fc backup_test | base64']);
    expect(await named('archive.dump', Buffer.from(archive.stdout, 'base64'))).toMatch(/pg_restore -f FILE\.sql first/);
    return day;
  });

  badDay('restore', 'a file of 0 bytes', async () => {
    expect(await named('nothing.sql', '')).toMatch(/nothing\.sql is empty/);
    return day;
  });

  it('names that are wrong, and says which ones would do', async () => {
    const { volume } = lab;
    symlinkSync('/etc/passwd', join(volume, 'link.sql'));
    mkdirSync(join(volume, 'folder.sql'));
    expect(await refused({ BACKUP_FILE: 'nosuch.sql' })).toMatch(
      /there is no nosuch\.sql in \/backup; set .* postgres-backup-/,
    );
    expect(await refused({ BACKUP_FILE: 'link.sql' })).toMatch(/link\.sql is not a regular file/);
    expect(await refused({ BACKUP_FILE: 'folder.sql' })).toMatch(/folder\.sql is not a regular file/);
    expect(await refused({ BACKUP_FILE: '../backup/x' })).toMatch(
      /must be the name of a file in \/backup, without folders/,
    );
    expect(await refused({ BACKUP_FILE: `${backup}.manifest.json` })).toMatch(
      /is a manifest, not a dump; set BACKUP_FILE to/,
    );
    expect(await refused({ DATABASE: 'nosuch' })).toContain(
      `holds no database \`nosuch\`; set DATABASE to one of: template1, ${ODD}, backup_test, postgres`,
    );
    expect(await refused({ TARGET_DATABASE: 'x' })).toMatch(/TARGET_DATABASE is for one database/);
    expect(await refused({ DATABASE: 'template1' })).toMatch(/a template database cannot be restored by itself/);
    expect(await refused({ SESSIONS: 'maybe' })).toMatch(/SESSIONS must be refuse or terminate, got `maybe`/);
    const one = await lab.tool('pg_dump', 'backup_test');
    expect(await named('one.sql', one)).toMatch(/does not say which database it is of; set TARGET_DATABASE/);
  });

  badDay('restore', 'a host that nobody knows', async () => {
    expect(await refused({ PGHOST: 'nowhere', CONNECT_WAIT: '1' })).toMatch(
      /connect: error: the host name nowhere is unknown/,
    );
    return day;
  });

  badDay('restore', 'a server that cannot be reached', async () => {
    expect(await refused({ PGPORT: '5999', CONNECT_WAIT: '1' })).toMatch(/:5999 cannot be reached/);
    return day;
  });

  badDay('restore', 'a wrong password', async () => {
    expect(await refused({ PGPASSWORD: 'wrong' })).toMatch(/rejects the password of user postgres; the Secret must/);
    return day;
  });

  badDay('restore', 'a user who is no superuser', async () => {
    expect(await refused({ PGUSER: 'app', PGPASSWORD: 'app-secret' })).toMatch(/user app is no superuser/);
    return day;
  });

  badDay(
    'restore',
    'a dump of a newer server and client, with an extension and a tablespace that the server lacks',
    async () => {
      const newer = all
        .replaceAll('-- Dumped from database version 1', '-- Dumped from database version 9')
        .replaceAll('-- Dumped by pg_dump version 1', '-- Dumped by pg_dump version 9')
        .replace(
          'CREATE TABLE public.users',
          'CREATE EXTENSION IF NOT EXISTS nosuch WITH SCHEMA public;\n\nCREATE TABLE public.users',
        )
        .replace('CREATE ROLE app;', "CREATE ROLE app;\nCREATE TABLESPACE fast OWNER app LOCATION '/fast';");
      const line = await named('newer.sql', newer);
      expect(line).toContain('preflight: error: nothing was changed: ');
      expect(line).toMatch(/the dump was made by pg_dump 9\d\..* and this pod has psql 1\d/);
      expect(line).toMatch(/the dump is of a server 9\d\..* and this one is 1\d/);
      expect(line).toContain('the server has no extension nosuch; use a server image that contains it');
      expect(line).toContain('the server has no tablespace fast; mount a volume for it');
      return day;
    },
  );

  badDay('restore', 'a server without enough space', async () => {
    const content = lab.read(backup);
    lab.put(
      'big.sql.gz.manifest.json',
      fitting('big.sql.gz', content).replace(
        /"bytes": \d+, "tables": \[\n/g,
        '"bytes": 900000000000000, "tables": [\n',
      ),
    );
    expect(await named('big.sql.gz', content)).toMatch(
      /need about \d{9,} MiB beside the old ones and the server's volume has \d+ MiB free/,
    );
    return day;
  });

  badDay('restore', 'clients are connected', async () => {
    const app = "pg_stat_activity WHERE application_name = 'the app'";
    const client = lab.psql("SET application_name = 'the app'; SELECT pg_sleep(60)", 'backup_test').catch(() => {});
    await expect.poll(() => lab.psql(`SELECT count(*) FROM ${app}`)).toBe('1');
    expect(await refused()).toMatch(
      /clients are connected: postgres on backup_test from [\d.]+ \(the app\); stop them/,
    );
    await lab.psql(`SELECT pg_terminate_backend(pid) FROM ${app}`);
    await client;
    return day;
  });

  badDay('restore', 'a prepared transaction is open', async () => {
    await lab.psql("BEGIN; CREATE TABLE half (i int); PREPARE TRANSACTION 'half'", 'backup_test');
    expect(await refused()).toMatch(/prepared transactions are open in backup_test; end them with COMMIT PREPARED/);
    await lab.psql("ROLLBACK PREPARED 'half'", 'backup_test');
    return day;
  });

  badDay('restore', 'a dump that fails in the middle of its load', async () => {
    const failing = all.replace('ALTER TABLE ONLY public.transactions\n', 'ALTER TABLE ONLY public.nosuch\n');
    expect(await named('failing.sql', failing)).toMatch(
      /load: error: the dump cannot be loaded \(ERROR: +relation "public\.nosuch" does not exist\); nothing on the server was changed; /,
    );
    const one = await lab.tool('pg_dump', 'backup_test');
    // Roles that this run has made go, too.
    await lab.psql('DROP DATABASE backup_test; ALTER ROLE app RENAME TO was_app');
    before = await lab.serverListing();
    expect(await named('failing.sql', failing)).toContain('nothing on the server was changed');
    const failed = day;
    expect(await named('one.sql', one, { TARGET_DATABASE: 'backup_test' })).toMatch(
      /role "app" does not exist.*the file says nothing about roles; create that one on the server/,
    );
    await lab.psql('ALTER ROLE was_app RENAME TO app');
    await lab.restored({ DATABASE: 'backup_test' });
    before = await lab.serverListing();
    return failed;
  });

  badDay('restore', 'rows that are not those of the dump', async () => {
    const lossy = all.replace(
      /^REFRESH MATERIALIZED VIEW/m,
      'DELETE FROM public.marker WHERE line IS NULL;\nREFRESH MATERIALIZED VIEW',
    );
    expect(await named('lossy.sql', lossy)).toMatch(
      /differs from the dump \(table: rows expected, rows found\): public\.marker: 17, 16;/,
    );
    return day;
  });
});

describe.each(majors())('restore that is disturbed, PostgreSQL %i', (major) => {
  let lab: Lab;
  let slow: string;
  let before: string;

  beforeAll(async () => {
    lab = await Lab.filled(major);
    await lab.backup();
    const all = await lab.tool('pg_dumpall');
    slow = lab.put('slow.sql', all.replace('COPY public.users', 'SELECT pg_sleep(6);\nCOPY public.users'));
    before = await lab.identity();
  });
  afterAll(() => lab.close());

  const loading = () =>
    expect
      .poll(
        () =>
          lab.psql(
            "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND pid <> pg_backend_pid()",
          ),
        {
          timeout: 15_000,
        },
      )
      .toBe('1');
  const half = async () => (await lab.databases()).filter((name) => name.includes('_restoring_'));
  const start = async (env: Record<string, string> = {}) => {
    const job = await lab.cluster.startJob(RESTORE, { env: { BACKUP_FILE: slow, ...env } });
    await loading();
    return job;
  };

  badDay('restore', 'another restore is running', async () => {
    const job = await lab.paused('before it loads');
    const day = await lab.badDay();
    expect(day.message).toMatch(/lock: error: another dump or restore is running on this server: .*logical-restore/);
    const dump = await lab.cluster.runCronJob(BACKUP, { deadlineScale: 0.01 });
    expect(dump.succeeded).toBe(false);
    expect(dump.log).toMatch(/another dump or restore is running on this server/);
    lab.resume(job);
    expect(await job.wait()).toMatchObject({ succeeded: true });
    await lab.dropKept();
    before = await lab.identity();
    return day;
  });

  badDay('restore', 'the Job is deleted in the middle of the load', async () => {
    const listing = await lab.listing();
    const job = await start();
    expect(await half()).toHaveLength(2);
    await job.stop();
    const result = await job.wait();
    expect(result.log).toMatch(/error: stopped by SIG(INT|TERM); nothing on the server was changed, run it again$/m);
    expect(await lab.identity()).toBe(before);
    return outcome(result.attempts[0]!, listing, await lab.listing());
  });

  badDay('restore', '-9 in the middle of the load', async () => {
    const listing = await lab.listing();
    const job = await start();
    await job.kill9();
    const result = await job.wait();
    expect(await half()).toHaveLength(2);
    const after = await lab.listing();
    const log = await lab.restored({ DATABASE: 'backup_test' });
    expect(log.match(/leftovers: dropped .*_restoring_/g)).toHaveLength(2);
    expect(await half()).toEqual([]);
    expect(await lab.psql('SELECT count(*) FROM users', 'backup_test')).toBe('3');
    const next = await lab.listing();
    await lab.dropKept();
    before = await lab.identity();
    return outcome(result.attempts[0]!, listing, after, next);
  });

  badDay('restore', 'a client comes while the dump is loaded', async () => {
    const listing = await lab.listing();
    const client = () => lab.psql('SELECT pg_sleep(60)', 'backup_test').catch((error: Error) => error.message);
    const job = await start();
    const late = client();
    const result = await job.wait();
    expect(result.succeeded).toBe(false);
    expect(result.log.trimEnd().split('\n').at(-1)).toMatch(
      /swap: error: clients kept the databases busy: postgres on backup_test .*SESSIONS=terminate/,
    );
    expect(await lab.identity()).toBe(before);
    const day = outcome(result.attempts[0]!, listing, await lab.listing());
    expect(await lab.psql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'backup_test'")).toBe('1');

    const log = await lab.restored({ SESSIONS: 'terminate', DATABASE: 'backup_test' });
    expect(log).toContain('connected, and cut off at the end: postgres on backup_test');
    expect(await late).toMatch(/terminating connection due to administrator command/);
    expect(await lab.psql('SELECT count(*) FROM transactions', 'backup_test')).toBe('5');
    await lab.dropKept();
    before = await lab.identity();
    return day;
  });

  badDay('restore', 'the server dies in the middle of the load', async () => {
    const listing = await lab.listing();
    const job = await start();
    await lab.server.kill9();
    const result = await job.wait();
    expect(result.succeeded).toBe(false);
    expect(result.log.trimEnd().split('\n').at(-1)).toMatch(
      /load: error: .*; .*; look at the server's log, then run it again$/,
    );
    const server = await lab.cluster.startStatefulSet(SERVER);
    await server.waitReady(60_000);
    const kept = (await lab.identity())
      .split('\n')
      .filter((line) => !/_restoring_|cdk8s_postgres\.restoring/.test(line));
    expect(kept).toEqual(before.split('\n'));
    const after = await lab.listing();
    await lab.restored();
    expect(await half()).toEqual([]);
    return outcome(result.attempts[0]!, listing, after, await lab.listing());
  });
});
