import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AWKS, awk, fixture } from './awk';

const ANN = `"Ann O'Neil;$(id)"`;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'globals-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const defaults = { bootstrap: 'postgres', current: 'postgres', server_major: '18', dumped_by_major: '18' };

function globals(
  interpreter: string[],
  part: 'new' | 'stand-in' | 'existing',
  roles: string[],
  dump: string,
  more = {},
): string[] {
  const existing = join(folder, 'roles');
  writeFileSync(existing, roles.map((role) => `${role}\n`).join(''));
  const text = awk(interpreter, 'dump-globals.awk', dump, { existing, part, ...defaults, ...more });
  return text.split(/(?<=;)\n/).filter((line) => line);
}

describe.each(AWKS.map((interpreter) => [interpreter.join(' '), interpreter] as const))(
  'globals, %s',
  (_, interpreter) => {
    const dump = fixture('pg_dumpall-18.sql');
    const all = ['postgres', 'app', 'readers', `Ann O'Neil;$(id)`];

    it('creates what the server lacks, with passwords, settings, comments and memberships', () => {
      const made = globals(interpreter, 'new', ['postgres'], dump);
      expect(made).toHaveLength(10);
      expect(made).toEqual(
        expect.arrayContaining([
          `CREATE ROLE ${ANN};`,
          expect.stringMatching(
            /^ALTER ROLE "Ann.* PASSWORD 'SCRAM-SHA-256\$.*' VALID UNTIL '2031-01-01 00:00:00\+00';$/,
          ),
          "ALTER ROLE app SET statement_timeout TO '61s';",
          'COMMENT ON ROLE readers IS \'reads\n-- Database "fake" dump\nonly\';',
          'GRANT readers TO app WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;',
        ]),
      );
      expect(made.join('\n')).not.toMatch(/ROLE postgres/);
      expect(globals(interpreter, 'existing', ['postgres'], dump)).toEqual([]);
    });

    it('stands in for what the server lacks with names that hold nothing, whatever a comment spells', () => {
      const created = join(folder, 'created');
      const stand = { created };
      const comment = `COMMENT ON ROLE app IS 'x\nCREATE ROLE admin SUPERUSER;\ny';\n`;
      const made = globals(interpreter, 'stand-in', ['postgres', 'readers'], comment + dump, stand);
      expect(made).toEqual([`CREATE ROLE ${ANN} NOLOGIN;`, 'CREATE ROLE app NOLOGIN;']);
      expect(readFileSync(created, 'utf8')).toBe(`${ANN}\napp\n`);
      expect(globals(interpreter, 'stand-in', all, dump, stand)).toEqual([]);
    });

    it('never brings a password or its expiry to a role that is there', () => {
      const changed = globals(interpreter, 'existing', all, dump);
      expect(changed.join('\n')).not.toMatch(/PASSWORD|VALID UNTIL|SCRAM|CREATE ROLE/);
      expect(changed).toContain(
        'ALTER ROLE app WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 20;',
      );
      expect(globals(interpreter, 'new', all, dump)).toEqual([]);
    });

    it('finds the password behind any name, and whatever it is made of', () => {
      const sql = `ALTER ROLE "x PASSWORD 'y'" WITH LOGIN PASSWORD 'it''s; VALID UNTIL ''never''' VALID UNTIL 'infinity';\n`;
      expect(globals(interpreter, 'existing', [`x PASSWORD 'y'`], sql)).toEqual([
        `ALTER ROLE "x PASSWORD 'y'" WITH LOGIN;`,
      ]);
    });

    it('leaves the attributes of the first superuser, and of the one who restores, as they are', () => {
      const changed = globals(interpreter, 'existing', all, dump, { current: 'app' });
      expect(changed.join('\n')).not.toMatch(/^ALTER ROLE (postgres|app) WITH/m);
      expect(changed.join('\n')).toMatch(/^ALTER ROLE readers WITH/m);
      expect(changed).toContain("ALTER ROLE app SET statement_timeout TO '61s';");
    });

    it('gives a membership to the part that one of its roles belongs to', () => {
      const grant = 'GRANT readers TO app WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;';
      for (const roles of [
        ['postgres', 'app'],
        ['postgres', 'readers'],
      ]) {
        expect(globals(interpreter, 'new', roles, dump)).toContain(grant);
        expect(globals(interpreter, 'existing', roles, dump)).not.toContain(grant);
      }
      expect(globals(interpreter, 'existing', ['postgres', 'app', 'readers'], dump)).toContain(grant);
    });

    it('names no grantor that the server would not accept', () => {
      const old = globals(interpreter, 'new', ['postgres'], fixture('pg_dumpall-15.sql'), { dumped_by_major: '15' });
      expect(old).toContain('GRANT readers TO app WITH ADMIN OPTION;');
      const same = globals(interpreter, 'new', ['postgres'], fixture('pg_dumpall-15.sql'), {
        dumped_by_major: '15',
        server_major: '15',
      });
      expect(same).toContain('GRANT readers TO app WITH ADMIN OPTION GRANTED BY postgres;');
      const elsewhere = globals(interpreter, 'new', ['admin'], dump, { bootstrap: 'admin', current: 'admin' });
      expect(elsewhere).toContain('GRANT readers TO app WITH ADMIN OPTION, INHERIT TRUE;');
    });

    it('names the roles that it creates, not those that a comment spells', () => {
      const created = join(folder, 'created');
      writeFileSync(created, '');
      const comment = "COMMENT ON ROLE helper IS 'x\nCREATE ROLE auditor; ALTER ROLE mallory SUPERUSER;\ny';\n";
      const sql = `CREATE ROLE app;\nCREATE ROLE helper;\n${comment}CREATE ROLE "a\nb";\n`;
      globals(interpreter, 'new', ['app', 'auditor', 'mallory'], sql, { created });
      expect(readFileSync(created, 'utf8')).toBe('helper\n"a\\nb"\n');
    });

    it('drops nothing and makes no tablespace, but keeps rights on them', () => {
      const sql = `DROP ROLE app;\nCREATE TABLESPACE fast OWNER app LOCATION '/fast';\nGRANT ALL ON TABLESPACE fast TO app;\nGRANT SET ON PARAMETER work_mem TO app;\nCREATE DATABASE x;\nALTER ROLE app IN DATABASE x SET work_mem TO '1MB';\n`;
      expect(globals(interpreter, 'existing', ['app'], sql)).toEqual([
        'GRANT ALL ON TABLESPACE fast TO app;',
        'GRANT SET ON PARAMETER work_mem TO app;',
      ]);
      expect(globals(interpreter, 'new', [], sql)).toEqual([]);
      expect(globals(interpreter, 'new', all, fixture('pg_dumpall-18-clean.sql'))).toEqual([]);
    });
  },
);
