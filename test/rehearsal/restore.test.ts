import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from 'vitest';
import { majors } from '.';
import { Lab, ODD } from './restore-kit';
import type { Major, Overlay } from './runner/types';

const labs: Lab[] = [];
const use = (lab: Lab) => {
  labs.push(lab);
  return lab;
};
afterEach(async () => {
  await Promise.all(labs.splice(0).map((lab) => lab.close()));
});

/** An extension whose table is dumped with it, as PostGIS' spatial_ref_sys is. */
function extension(major: Major): Overlay {
  const folder = mkdtempSync(join(tmpdir(), 'extension-'));
  const files = {
    'conf.control': "default_version = '1'\nrelocatable = false\nschema = public\n",
    'conf--1.sql':
      "CREATE TABLE conf_rows (i int);\nINSERT INTO conf_rows VALUES (1);\nSELECT pg_extension_config_dump('conf_rows', '');\n",
  };
  return Object.fromEntries(
    Object.entries(files).map(([name, text]) => {
      writeFileSync(join(folder, name), text);
      return [`/usr/share/postgresql/${major}/extension/${name}`, join(folder, name)];
    }),
  );
}

const kept = (name: string) => expect.stringMatching(new RegExp(`^${name}_before_restore_\\d{14}$`));

describe.each(majors('all'))('restore, PostgreSQL %i', (major) => {
  it('brings one dropped database back while another one is being written to', async () => {
    const lab = use(await Lab.filled(major));
    await lab.psql('CREATE DATABASE busy');
    await lab.psql('CREATE TABLE log (n int, at timestamptz DEFAULT now())', 'busy');
    await lab.backup();
    const everything = await lab.everything();
    const content = await lab.content('backup_test');
    expect(content).toContain('alice');
    await lab.psql('DROP DATABASE backup_test');

    let written = 0;
    let writing = true;
    const writer = (async () => {
      while (writing) {
        await lab.psql(`INSERT INTO log (n) VALUES (${written + 1})`, 'busy');
        written += 1;
      }
    })();
    await expect.poll(() => written).toBeGreaterThan(0);
    const before = written;
    const log = await lab.restored({ DATABASE: 'backup_test' });
    const during = written - before;
    writing = false;
    await writer;

    expect(during).toBeGreaterThan(3);
    expect(await lab.psql('SELECT count(*), max(n) FROM log', 'busy')).toBe(`${written}|${written}`);
    expect(log).toContain('compare: backup_test: 2 tables, rows as in the manifest');
    expect(await lab.content('backup_test')).toBe(content);
    await lab.psql('TRUNCATE log', 'busy');
    expect(await lab.everything()).toBe(everything);
    expect(
      await lab.psql(
        'SELECT count(*) > 0 FROM pg_statistic s JOIN pg_class c ON c.oid = starelid WHERE relname = $$users$$',
        'backup_test',
      ),
    ).toBe('t');
    // The constraint is back, not only its name; the sequence goes on where it stood.
    await expect(
      lab.psql('INSERT INTO transactions (user_id, amount, at) VALUES (99, 1, now())', 'backup_test'),
    ).rejects.toThrow('violates foreign key constraint');
    expect(await lab.psql("SELECT nextval('users_id_seq')", 'backup_test')).toBe('42');
  });

  it('brings a whole server into an empty one', async () => {
    const lab = use(await Lab.filled(major));
    await lab.psql("CREATE TABLE own (t text); INSERT INTO own VALUES ('in postgres')");
    await lab.psql("CREATE EXTENSION hstore; CREATE TABLE h AS SELECT hstore('a', 'it''s') AS h", 'backup_test');
    await lab.psql("CREATE TABLE in_template (t text); INSERT INTO in_template VALUES ('in template1')", 'template1');
    const name = await lab.backup();
    const everything = await lab.everything();
    const contents = await Promise.all(['backup_test', ODD, 'postgres'].map(lab.content));

    const empty = use(await Lab.open(major));
    for (const file of [name, `${name}.manifest.json`]) empty.put(file, lab.read(file));
    await empty.restored();
    expect(await empty.databases()).toEqual([
      ODD,
      'backup_test',
      'postgres',
      kept('postgres'),
      'template0',
      'template1',
    ]);
    await empty.dropKept();
    expect(await empty.everything()).toBe(everything);
    expect(await Promise.all(['backup_test', ODD, 'postgres'].map(empty.content))).toEqual(contents);
    // Roles that the restore has made come with the dump's passwords.
    expect(await empty.cluster.psql('SELECT 1', { user: 'app', password: 'app-secret', db: 'backup_test' })).toBe('1');
  });
});

describe.each(majors())('restore, PostgreSQL %i', (major) => {
  it('needs none of our code: zcat FILE | psql does it, too, on an empty server', async () => {
    const lab = use(await Lab.filled(major));
    const name = await lab.backup();
    const everything = await lab.everything();
    const stock = use(await Lab.open(major));
    const psql = ['env', 'PGUSER=postgres', 'psql', '-Xqd', 'postgres'];
    const input = gunzipSync(lab.read(name));
    const done = await stock.server.exec(psql, { input });
    const errors = done.stderr.split('\n').filter((line) => line.includes('ERROR'));
    expect(errors).toContainEqual(expect.stringContaining('role "postgres" already exists'));
    // A new server of home-lab has made its monitoring role, too.
    expect(errors.filter((line) => !/role "postgres(_exporter)?" already exists/.test(line))).toEqual([]);
    expect(await stock.everything()).toBe(everything);
  });

  it('takes over a live server: databases are replaced, roles keep their passwords, others stay', async () => {
    const lab = use(await Lab.filled(major));
    await lab.backup();
    const contents = await Promise.all(['backup_test', ODD].map(lab.content));
    await lab.psql('DELETE FROM transactions; DROP TABLE transactions; ALTER TABLE users ADD x int', 'backup_test');
    await lab.psql(`ALTER ROLE app PASSWORD 'changed since' CONNECTION LIMIT 1 VALID UNTIL 'infinity'`);
    await lab.psql('CREATE DATABASE newer; CREATE ROLE newer LOGIN');
    const password = await lab.psql(
      "SELECT rolpassword FROM pg_authid WHERE rolname IN ('app', 'postgres') ORDER BY 1",
    );
    const log = await lab.restored();
    expect(await lab.databases()).toEqual([
      ODD,
      expect.stringContaining(`${ODD}_before_restore_`),
      'backup_test',
      kept('backup_test'),
      'newer',
      'postgres',
      'template0',
      'template1',
    ]);
    expect(log).toMatch(
      /kept: the former backup_test is now backup_test_before_restore_\d+; .* DROP DATABASE "backup_test_before_restore_\d+";$/m,
    );
    expect(await lab.psql("SELECT rolpassword FROM pg_authid WHERE rolname IN ('app', 'postgres') ORDER BY 1")).toBe(
      password,
    );
    expect(await lab.psql("SELECT rolconnlimit, rolvaliduntil FROM pg_roles WHERE rolname = 'app'")).toBe(
      '20|infinity',
    );
    await lab.dropKept();
    const normal = (text: string) => text.replace(/^(app|newer)\|.*\n/gm, '');
    expect((await Promise.all(['backup_test', ODD].map(lab.content))).map(normal)).toEqual(contents.map(normal));
    expect(await lab.psql("SELECT count(*) FROM pg_db_role_setting, unnest(setconfig) c WHERE c ~ 'restoring'")).toBe(
      '0',
    );
  });

  it('takes any plain file of pg_dumpall and pg_dump by its name', async () => {
    const lab = use(await Lab.filled(major));
    const everything = await lab.everything();
    const one = { TARGET_DATABASE: 'backup_test' };
    const files: [string, string | Buffer, Record<string, string>][] = [
      ['all.sql', await lab.tool('pg_dumpall'), {}],
      ['all.gz', gzipSync(await lab.tool('pg_dumpall')), {}],
      ['clean.txt', await lab.tool('pg_dumpall', '--clean', '--if-exists'), {}],
      ['inserts', await lab.tool('pg_dumpall', '--inserts'), {}],
      ['odd name $(e).sql', await lab.tool('pg_dumpall'), { DATABASE: ODD }],
      ['one.sql', await lab.tool('pg_dump', 'backup_test'), one],
      ['one-clean.sql', await lab.tool('pg_dump', '--clean', 'backup_test'), one],
      ['one-created.sql', await lab.tool('pg_dump', '--create', '--clean', '--if-exists', 'backup_test'), {}],
    ];
    for (const [name, content, env] of files) {
      const log = await lab.restored({ BACKUP_FILE: lab.put(name, content), ...env });
      expect(log).toContain(`choose: ${name}, `);
      await lab.dropKept();
      expect(await lab.everything()).toBe(everything);
    }
  });

  it('puts a database beside the live one, under any name', async () => {
    const lab = use(await Lab.filled(major));
    await lab.backup();
    const identity = await lab.identity();
    const name = `copy "of" $(it)'; ä${'x'.repeat(43)}`;
    expect(Buffer.byteLength(name)).toBe(63);
    for (const expected of [1, 2]) {
      await lab.restored({ DATABASE: 'backup_test', TARGET_DATABASE: name });
      expect(await lab.psql('SELECT count(*) FROM users', name)).toBe('3');
      expect((await lab.databases()).filter((one) => one.startsWith('copy'))).toHaveLength(expected);
    }
    for (const line of identity.split('\n')) expect(await lab.identity()).toContain(line);
  });

  it('carries over what a file of pg_dump does not know of its database', async () => {
    const lab = use(await Lab.filled(major));
    await lab.psql(`ALTER DATABASE backup_test SET search_path TO "$user", 'Odd Schema', public;
      ALTER DATABASE backup_test SET temp_tablespaces TO '';
      ALTER DATABASE backup_test SET my.setting TO 'it''s, "this"';
      ALTER ROLE app IN DATABASE backup_test SET application_name TO 'a, b';
      GRANT CREATE ON DATABASE backup_test TO readers WITH GRANT OPTION`);
    const file = lab.put('one.sql', await lab.tool('pg_dump', 'backup_test'));
    const content = await lab.content('backup_test');
    await lab.restored({ BACKUP_FILE: file, DATABASE: 'backup_test' });
    await lab.dropKept();
    expect(await lab.content('backup_test')).toBe(content);
  });

  it('knows locale providers, and names in the encoding of their database', async () => {
    const lab = use(await Lab.open(major));
    await lab.psql(`CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LOCALE 'C';
      CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'`);
    await lab.psql(`SET client_encoding = UTF8; CREATE TABLE "tä" ("ö" text); INSERT INTO "tä" VALUES ('ü')`, 'latin');
    const content = (db: string) => lab.psql('SET client_encoding = UTF8; TABLE "tä"', db);
    const facts = "SELECT to_jsonb(d) - '{oid,datfrozenxid,datminmxid}'::text[] FROM pg_database d WHERE datname = ";
    const icu = await lab.psql(`${facts}'icu'`);
    const latin = await lab.psql(`${facts}'latin'`);
    await lab.backup();
    const log = await lab.restored();
    expect(log).toContain('compare: latin: 1 tables, rows as in the manifest\n');
    for (const db of ['icu', 'latin']) {
      const done = await lab.server.exec(['pg_dump', '-U', 'postgres', '-f', `/tmp/${db}.sql`, db]);
      expect(done.exitCode).toBe(0);
      const bytes = await lab.server.exec(['base64', `/tmp/${db}.sql`]);
      await lab.restored({ BACKUP_FILE: lab.put(`${db}.sql`, Buffer.from(bytes.stdout, 'base64')), DATABASE: db });
    }
    expect(await lab.psql(`${facts}'icu'`)).toBe(icu);
    expect(await lab.psql(`${facts}'latin'`)).toBe(latin);
    expect(await content('latin')).toBe('ü');
  });

  it('restores postgres itself, and what is in template1 if the live one is empty', async () => {
    const lab = use(await Lab.filled(major));
    await lab.psql('CREATE TABLE own (i int); INSERT INTO own VALUES (1)');
    await lab.psql('CREATE TABLE in_template (i int)', 'template1');
    const file = lab.put('all.sql', await lab.tool('pg_dumpall'));
    await lab.psql('DROP TABLE own; ALTER DATABASE postgres CONNECTION LIMIT 77');
    await lab.restored({ BACKUP_FILE: file, DATABASE: 'postgres' });
    expect(await lab.psql("SELECT i, datconnlimit FROM own, pg_database WHERE datname = 'postgres'")).toBe('1|77');
    expect(await lab.restored({ BACKUP_FILE: file })).toMatch(
      /template1: warning: the dump has \d+ statements for it, but the server's own holds objects: left as it is/,
    );
    await lab.psql('DROP TABLE in_template', 'template1');
    await lab.restored({ BACKUP_FILE: file });
    expect(await lab.psql('SELECT count(*) FROM in_template', 'template1')).toBe('0');
  });

  it('prefers the newest dump that has a manifest, and says what it passes over', async () => {
    const lab = use(await Lab.filled(major));
    const older = await lab.backup('2026-10-01 02:00:00');
    await lab.psql('DELETE FROM transactions', 'backup_test');
    const newer = await lab.backup('2026-10-02 02:00:00');
    const other = lab.put('postgres-backup-extra-2026-10-03-020000.sql.gz', lab.read(older));
    const bare = lab.put('postgres-backup-2026-10-04-020000.sql.gz', lab.read(older));
    const grown = lab.put('postgres-backup-2026-10-05-020000.sql.gz', lab.read(older));
    const manifest = lab.read(`${older}.manifest.json`).toString();
    lab.put(
      `${grown}.manifest.json`,
      manifest.replaceAll(older, grown).replace(/"bytes": \d+,\n {2}"sha/, '"bytes": 7,\n  "sha'),
    );
    lab.put(`${other}.manifest.json`, manifest.replaceAll(older, other));
    const log = await lab.restored({ DATABASE: 'backup_test' });
    expect(log).toContain(`choose: ${newer}, `);
    expect(log).toContain(`choose: passing over ${bare}: it has no manifest`);
    expect(log).toContain(`choose: warning: passing over ${grown}: its manifest does not fit`);
    expect(log).not.toContain('extra');
    expect(await lab.psql('SELECT count(*) FROM transactions', 'backup_test')).toBe('0');
    await lab.restored({ DATABASE: 'backup_test', BACKUP_FILE: older });
    expect(await lab.psql('SELECT count(*) FROM transactions', 'backup_test')).toBe('5');
  });

  it('takes no dump from the future for the newest one, and names the newest of another server', async () => {
    const lab = use(await Lab.filled(major));
    const today = await lab.backup('2026-10-01 02:00:00');
    const manifest = lab.read(`${today}.manifest.json`).toString();
    const again = (name: string, text: string) => {
      lab.put(name, lab.read(today));
      lab.put(`${name}.manifest.json`, text.replaceAll(today, name));
      return name;
    };
    const former = again(
      'postgres-backup-2026-09-01-020000.sql.gz',
      manifest.replace(/(systemIdentifier": ")\d+/, '$17001'),
    );
    expect(await lab.restored({ DATABASE: 'backup_test' })).toMatch(
      new RegExp(
        `warning: ${today} is of the server \\d+; ${former} is the newest one of another server, 7001: set BACKUP_FILE`,
      ),
    );
    const ahead = again('postgres-backup-2126-10-01-020000.sql.gz', manifest);
    expect(await lab.refused({ DATABASE: 'backup_test' })).toMatch(
      new RegExp(
        `choose: error: the newest dump, ${ahead}, is from the future: .*; set BACKUP_FILE to one of: ${ahead}, ${today}, ${former}$`,
      ),
    );
  });

  it("does not compare rows of an extension's own tables, which the extension fills, too", async () => {
    const lab = use(await Lab.open(major, undefined, { overlay: extension(major) }));
    await lab.psql('CREATE DATABASE d');
    await lab.psql('CREATE EXTENSION conf; INSERT INTO conf_rows VALUES (2); CREATE TABLE plain AS SELECT 1 AS i', 'd');
    await lab.backup();
    const log = await lab.restored({ DATABASE: 'd' });
    expect(log).toContain(
      'compare: d: 2 tables, rows as in the manifest; not compared, of extensions: public.conf_rows',
    );
    expect(await lab.psql('SELECT string_agg(i::text, $$ $$ ORDER BY i) FROM conf_rows', 'd')).toBe('1 1 2');
  });

  it('has no password among its arguments, nor in its log', async () => {
    const lab = use(await Lab.filled(major));
    await lab.backup();
    const log = await lab.restored();
    const seen = JSON.stringify([log, lab.cluster.processArguments()]);
    for (const secret of ['app-secret', "o'neil", 'SCRAM-SHA-256', 'rehearsal', '%7;&'])
      expect(seen).not.toContain(secret);
  });
});

describe('from an older server', () => {
  it.each([15, 17] as const)('a dump of %i goes into 18', async (from) => {
    const old = use(await Lab.filled(from));
    const name = await old.backup();
    const rows = await old.psql(
      'SELECT * FROM users ORDER BY id; SELECT * FROM transactions ORDER BY id',
      'backup_test',
    );
    const lab = use(await Lab.open(18));
    for (const file of [name, `${name}.manifest.json`]) lab.put(file, old.read(file));
    await lab.restored();
    expect(
      await lab.psql('SELECT * FROM users ORDER BY id; SELECT * FROM transactions ORDER BY id', 'backup_test'),
    ).toBe(rows);
    expect(await lab.psql('SELECT count(*) FROM marker', ODD)).toBe('17');
  });
});
