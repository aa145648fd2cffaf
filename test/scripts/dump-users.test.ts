import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AWKS, awk, fixture } from './awk';

const ODD = `a b"c'd;$(e)`;
const ANN = `Ann O'Neil;$(id)`;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'users-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const lines = (file: string) => readFileSync(file, 'latin1').split('\n').filter(Boolean);

/** The roles that each database of a whole-server dump names. */
function usersOf(interpreter: string[], dump: string): Record<string, string[]> {
  const users = join(folder, 'users');
  writeFileSync(users, '');
  awk(interpreter, 'dump-inventory.awk', dump, { users });
  const found: Record<string, string[]> = {};
  for (const line of lines(users)) {
    const [database, role] = line.split('\t') as [string, string];
    found[database] = [...(found[database] ?? []), role].sort();
  }
  return found;
}

const inDatabase = (...sql: string[]) =>
  `--\n-- PostgreSQL database cluster dump\n--\n\n\\connect d\n\n--\n-- PostgreSQL database dump\n--\n\n${sql.join('\n')}\n`;

describe.each(AWKS.map((interpreter) => [interpreter.join(' '), interpreter] as const))(
  'the roles that a database names, %s',
  (_, interpreter) => {
    it.each(['15', '17', '18', '18-clean'])('in what pg_dumpall %s has written', (name) => {
      const users = usersOf(interpreter, fixture(`pg_dumpall-${name}.sql`));
      expect(users['backup_test']).toEqual(
        [ANN, 'PUBLIC', 'app', 'readers'].filter((one) => users['backup_test']!.includes(one)),
      );
      expect(users['backup_test']).toEqual(expect.arrayContaining([ANN, 'app', 'readers']));
      expect(users[ODD]!.filter((one) => one !== 'PUBLIC' && one !== 'postgres')).toEqual([ANN, 'app']);
    });

    it.each<[string, string[]]>([
      ['ALTER TABLE public.t OWNER TO "o ""w";', ['o "w']],
      ['ALTER FUNCTION public."f OWNER TO x;"(integer) OWNER TO app;', ['app']],
      ['GRANT SELECT(id),UPDATE(n) ON TABLE public.t TO "a TO b" WITH GRANT OPTION;', ['a TO b']],
      ['REVOKE ALL ON SCHEMA public FROM gone;', ['gone']],
      [
        'SET SESSION AUTHORIZATION grantor;\nGRANT SELECT ON TABLE t TO reader;\nRESET SESSION AUTHORIZATION;',
        ['grantor', 'reader'],
      ],
      [
        'ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT SELECT ON TABLES TO reader;',
        ['maker', 'reader'],
      ],
      [
        'CREATE POLICY own ON public."s t" AS RESTRICTIVE FOR SELECT TO one, "t, wo" USING ((a = \'x OWNER TO y;\'::text));',
        ['one', 't, wo'],
      ],
      ['CREATE USER MAPPING FOR mapped SERVER far OPTIONS (\n    "user" \'far\'\n);', ['mapped']],
      ["CREATE VIEW v AS SELECT 'it''s'::regrole AS r;", ["it's"]],
      ["COMMENT ON TABLE t IS 'GRANT a TO b;\nALTER TABLE t OWNER TO c;';", []],
      ['CREATE FUNCTION f() RETURNS void LANGUAGE sql AS $$\nALTER TABLE t OWNER TO inside;\n$$;', []],
      ['COPY public.t (a) FROM stdin;\nALTER TABLE t OWNER TO data;\n\\.\n', []],
    ])('%s', (sql, roles) => {
      expect(usersOf(interpreter, inDatabase(sql))['d'] ?? []).toEqual(roles);
    });

    it('are made with the groups whose rights they need, but neither with members nor with superusers', () => {
      const dump = `${['app', 'group', 'group of groups', 'boss', 'alice', 'other']
        .map(
          (role) =>
            `CREATE ROLE "${role}";\nALTER ROLE "${role}" WITH ${role === 'boss' ? 'SUPERUSER INHERIT' : 'NOSUPERUSER INHERIT'};`,
        )
        .join('\n')}
GRANT "group" TO "app" GRANTED BY "boss";
GRANT "group of groups" TO "group" GRANTED BY postgres;
GRANT "boss" TO "app" GRANTED BY "boss";
GRANT "app" TO "alice" GRANTED BY postgres;\n`;
      const file = (name: string, text: string) => {
        writeFileSync(join(folder, name), text);
        return join(folder, name);
      };
      const defaults = { bootstrap: 'postgres', current: 'postgres', server_major: '18', dumped_by_major: '18' };
      const run = (part: string, needed: string) =>
        awk(interpreter, 'dump-globals.awk', dump, {
          ...defaults,
          existing: file('roles', 'postgres\n'),
          part,
          needed,
        });
      const needed = run('needed', file('named', 'app\n'));
      expect(needed.trimEnd().split('\n').sort()).toEqual(['app', 'group', 'group of groups']);
      const made = run('new', file('needed', needed));
      expect(made.match(/^(CREATE|GRANT) .*$/gm)).toEqual([
        'CREATE ROLE "app";',
        'CREATE ROLE "group";',
        'CREATE ROLE "group of groups";',
        'GRANT "group" TO "app";',
        'GRANT "group of groups" TO "group" GRANTED BY postgres;',
      ]);
    });

    it('and no mark of a restore that died comes back with a role', () => {
      const existing = join(folder, 'roles');
      writeFileSync(existing, 'postgres\napp\n');
      const dump =
        "ALTER ROLE app SET \"cdk8s_postgres.restoring\" TO '20261121020000';\nALTER ROLE app SET work_mem TO '1MB';\n";
      const made = awk(interpreter, 'dump-globals.awk', dump, {
        existing,
        part: 'existing',
        bootstrap: 'postgres',
        current: 'x',
      });
      expect(made).toBe("ALTER ROLE app SET work_mem TO '1MB';\n");
    });
  },
);
