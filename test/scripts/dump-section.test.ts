import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AWKS, awk, fixture } from './awk';

const NASTY = `a b"c'd;$(e)`;
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'section-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const escaped = (name: string) => name.replaceAll('\\', '\\\\').replaceAll('\t', '\\t').replaceAll('\n', '\\n');

/** What goes to psql when each of these databases is wanted under another name. */
function cut(
  interpreter: string[],
  dump: string,
  names: Record<string, string>,
  more: Record<string, string> = {},
): string {
  const map = join(folder, 'map');
  const lines = Object.entries(names).map(([from, to]) => `${escaped(from)}\t${escaped(to)}\n`);
  writeFileSync(map, lines.join(''));
  return awk(interpreter, 'dump-section.awk', dump, { map, server_major: '18', ...more });
}

/** The lines between two texts of a dump, without comments, blank lines and psql's commands. */
function statements(text: string): string[] {
  return text.split('\n').filter((line) => !/^(--|\\(connect|encoding|(un)?restrict)\b|$)/.test(line));
}

const section = (dump: string, from: string, to: string) => {
  const begin = dump.indexOf(from);
  return dump.slice(begin, dump.indexOf(to, begin));
};

describe.each(AWKS.map((interpreter) => [interpreter.join(' '), interpreter] as const))(
  'section, %s',
  (_, interpreter) => {
    const dump = fixture('pg_dumpall-18.sql');

    it('holds every statement of its database and none of another, under the new name', () => {
      const result = cut(interpreter, dump, { backup_test: 'b2' });
      const expected = section(dump, '--\n-- Database "backup_test" dump\n--\n', '-- Database "postgres" dump');
      const renamed = statements(expected).map((line) =>
        line.replace(
          /^((CREATE|ALTER|COMMENT ON|GRANT|REVOKE|ALTER ROLE app IN).* ?DATABASE) backup_test\b/,
          '$1 "b2"',
        ),
      );
      expect(statements(result)).toEqual(renamed);
      expect(result).not.toContain('backup_test');
      expect(result).toMatch(/^CREATE DATABASE "b2" WITH TEMPLATE = template0/m);
      expect(result.match(/DATABASE "b2"/g)).toHaveLength(9);
    });

    it('is not fooled by data, function bodies and names', () => {
      const result = cut(interpreter, dump, { [NASTY]: 'n2' });
      for (const text of [
        '\n--\n-- PostgreSQL database cluster dump complete\n--\n\n\\\\connect postgres\n\\\\.\n-- Database "backup_test" dump\nCREATE DATABASE x;\n',
        '\n\\connect postgres\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n--\n-- Database "fake" dump\n--\nCREATE DATABASE fake;\nCOPY public.fake (a) FROM stdin;\n1\n\\.\n*/\n',
        `COPY public."t ""q"" ';$(x)" ("c ""q"" ';$(x)", n) FROM stdin;\nx\t1\ny\t2\n\\.\n`,
        `COMMENT ON DATABASE "n2" IS 'back\\slash and\n\\connect postgres';\n`,
        'REFRESH MATERIALIZED VIEW public.totals;',
      ]) {
        expect(result).toContain(text);
      }
      expect(result).not.toContain('backup_test;');
      expect(result).not.toMatch(/public\.users/);
    });

    it('connects only to new databases, with any name, and keeps \\restrict in pairs', () => {
      const name = `x "y" 'z' \\ \t;$(e)`;
      const result = cut(interpreter, dump, { backup_test: name, [NASTY]: 'n2' });
      const commands = result.split('\n').filter((line) => /^\\(connect -reuse-previous=on|(un)?restrict) /.test(line));
      const connects = commands.filter((line) => line.startsWith('\\connect'));
      expect(connects).toEqual([
        ...Array(2).fill(`\\connect -reuse-previous=on "dbname='n2'"`),
        ...Array(2).fill(`\\connect -reuse-previous=on "dbname='x ""y"" \\'z\\' \\\\ \t;$(e)'"`),
      ]);
      let token = '';
      for (const line of commands) {
        const [command, argument] = line.split(' ');
        if (command === '\\restrict') {
          expect(token).toBe('');
          token = argument!;
        } else if (command === '\\unrestrict') {
          expect(argument).toBe(token);
          token = '';
        } else {
          expect(token).toBe('');
        }
      }
      expect(token).toBe('');
      expect(result).toContain(`CREATE DATABASE "x ""y"" 'z' \\ \t;$(e)" WITH`);
    });

    it('passes no command of psql that the dump should not have', () => {
      const evil = dump.replace('COPY public.users', '\\! id\n\\o |sh\n\\copy t to program x\nCOPY public.users');
      expect(evil).not.toBe(dump);
      expect(cut(interpreter, evil, { backup_test: 'b2' })).toBe(cut(interpreter, dump, { backup_test: 'b2' }));
    });

    it('holds no roles, no tablespaces, and no databases that nobody wants', () => {
      expect(cut(interpreter, dump, { nothing: 'x' })).toBe('');
      const all = cut(interpreter, dump, { backup_test: 'b2', [NASTY]: 'n2', postgres: 'p2', template1: 't2' });
      expect(all).not.toMatch(/^(CREATE ROLE|ALTER ROLE \S+ WITH|GRANT readers|COMMENT ON ROLE)/m);
    });

    it('of a --clean dump drops nothing', () => {
      const clean = cut(interpreter, fixture('pg_dumpall-18-clean.sql'), { backup_test: 'b2' });
      const making = (text: string) =>
        statements(text).filter((line) => !/^(SET |SELECT pg_catalog.set_config)/.test(line));
      expect(making(clean)).toEqual(making(cut(interpreter, dump, { backup_test: 'b2' })));
      const plain = `--\n-- PostgreSQL database dump\n--\n\nALTER TABLE ONLY public.t DROP CONSTRAINT c;\nDROP TABLE public.t;\nSELECT pg_catalog.lo_unlink('1');\nCREATE TABLE public.t (i int);\nALTER TABLE public.t ALTER COLUMN i DROP DEFAULT;\n`;
      expect(statements(cut(interpreter, plain, { '': 'n' }))).toEqual([
        'CREATE TABLE public.t (i int);',
        'ALTER TABLE public.t ALTER COLUMN i DROP DEFAULT;',
      ]);
    });

    it('of a pg_dump file is all of it, with and without --create', () => {
      const plain = fixture('pg_dump-18.sql');
      const result = cut(interpreter, plain, { '': 'n' });
      expect(statements(result)).toEqual(statements(plain));
      expect(result).toMatch(/^\\encoding SQL_ASCII\n\\connect -reuse-previous=on "dbname='n'"\n\\restrict /);
      const created = cut(interpreter, fixture('pg_dump-18-create.sql'), { backup_test: 'b2' });
      expect(created).toMatch(/^CREATE DATABASE "b2" /m);
      expect(created.match(/^COPY /gm)).toHaveLength(2);
    });

    it('leaves out transaction_timeout for servers that do not know it', () => {
      expect(cut(interpreter, dump, { backup_test: 'b2' })).toContain('SET transaction_timeout = 0;');
      expect(cut(interpreter, dump, { backup_test: 'b2' }, { server_major: '16' })).not.toContain(
        'transaction_timeout',
      );
    });

    it('marks a new database at once', () => {
      const marked = cut(interpreter, dump, { backup_test: 'b2' }, { mark: '20261121' });
      expect(marked).toMatch(
        /^CREATE DATABASE "b2" .*;\nALTER DATABASE "b2" SET cdk8s_postgres\.restoring = '20261121';\n/m,
      );
    });

    it('beside the live databases has no subscription, and all the rest', () => {
      const feed = `CREATE SUBSCRIPTION feed CONNECTION 'a\nb; c' PUBLICATION p WITH (connect = false);\n`;
      const more = `${feed}ALTER SUBSCRIPTION feed OWNER TO app;\nCOMMENT ON SUBSCRIPTION feed IS 'x\n;y';\n`;
      const subscribed = dump.replace('COPY public.users', `${more}COPY public.users`);
      expect(cut(interpreter, subscribed, { backup_test: 'b2' })).toContain(more);
      const beside = cut(interpreter, subscribed, { backup_test: 'b2' }, { beside: '1' });
      expect(beside).toBe(cut(interpreter, dump, { backup_test: 'b2' }));
    });

    it('for a transaction in one database has no \\connect, no CREATE DATABASE and no transaction', () => {
      const blob = dump.replace('COPY public.users', 'BEGIN;\n\nSELECT 1;\n\nCOMMIT;\n\nCOPY public.users');
      const result = cut(interpreter, blob, { backup_test: 'b2' }, { stay: '1' });
      expect(result).not.toMatch(/^(\\connect|CREATE DATABASE|BEGIN|COMMIT)/m);
      expect(result).toContain('COPY public.users');
      expect(result).toContain('SELECT 1;');
    });
  },
);
