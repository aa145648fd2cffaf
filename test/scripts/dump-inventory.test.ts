import { describe, expect, it } from 'vitest';
import { AWKS, awk, fixture, inventory, isComplete } from './awk';

const NASTY = `a b"c'd;$(e)`;
const NASTY_IDENTIFIER = `"a b""c'd;$(e)"`;
const ROWS = {
  [NASTY]: {
    'public.child': '2',
    'public.empty': '0',
    'public.marker': '17',
    'public.nothing': '2',
    'public.parent': '1',
    'public.parted_1': '5',
    'public.parted_2': '6',
    'public.quoted': '1',
    'public.secured': '1',
    [`public."t ""q"" ';$(x)"`]: '2',
  },
  backup_test: { 'public.transactions': '5', 'public.users': '3' },
};

const rows = (found: Record<string, string[][]>) => {
  const result: Record<string, Record<string, string>> = {};
  for (const [database, table, count] of found['table'] ?? []) {
    result[database!] = { ...result[database!], [table!]: count! };
  }
  return result;
};

/** A complete pg_dump file around some SQL. */
const dumpOf = (sql: string) =>
  `--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n${sql}\n--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict abc\n\n`;

describe.each(AWKS.map((interpreter) => [interpreter.join(' '), interpreter] as const))(
  'inventory, %s',
  (_, interpreter) => {
    it.each(['15', '17', '18', '18-clean'])('lists what pg_dumpall %s has written', (name) => {
      const text = fixture(`pg_dumpall-${name}.sql`);
      const found = inventory(interpreter, text);
      expect(found).toMatchObject({
        format: [['pg_dumpall']],
        restrict: [['1']],
        role: [[`"Ann O'Neil;$(id)"`], ['app'], ['postgres'], ['readers']],
        bytes: [[String(Buffer.byteLength(text, 'latin1'))]],
        complete: [['1']],
      });
      const [[from], [by]] = [found['dumped-from']![0]!, found['dumped-by']![0]!] as [[string], [string]];
      expect(from).toMatch(new RegExp(`^${name.slice(0, 2)}\\.\\d+ \\(Debian`));
      expect(by).toBe(from);
      expect(rows(found)).toEqual(ROWS);
      const created = name.endsWith('clean') ? '1' : '0';
      expect(found['database']!.map((fields) => fields.slice(0, 3))).toEqual([
        ['template1', 'template1', created],
        [NASTY, NASTY_IDENTIFIER, '1'],
        ['backup_test', 'backup_test', '1'],
        ['postgres', 'postgres', created],
      ]);
      const objects = Object.fromEntries(found['database']!.map(([database, , , count]) => [database, Number(count)]));
      expect(objects).toMatchObject({ template1: 0, postgres: 0 });
      expect(objects[NASTY]).toBeGreaterThan(60);
      expect(objects['backup_test']).toBeGreaterThan(20);
    });

    it('counts no rows that are INSERT statements, and is not fooled by strings over several lines', () => {
      const found = inventory(interpreter, fixture('pg_dumpall-18-inserts.sql'));
      expect(found['complete']).toEqual([['1']]);
      expect(found['database']!.map(([database]) => database)).toEqual(['template1', NASTY, 'backup_test', 'postgres']);
      expect(rows(found)['backup_test']).toEqual({ 'public.transactions': 'null', 'public.users': 'null' });
      expect(Object.keys(rows(found)[NASTY]!)).not.toContain('public.fake');
    });

    it('a pg_dump file says which database it is of only with --create', () => {
      expect(inventory(interpreter, fixture('pg_dump-18.sql'))).toMatchObject({
        format: [['pg_dump']],
        database: [['', '', '0', '22', '0', expect.stringMatching(/^[1-9]/)]],
        table: [
          ['', 'public.transactions', '5'],
          ['', 'public.users', '3'],
        ],
        complete: [['1']],
      });
      expect(inventory(interpreter, fixture('pg_dump-18-create.sql'))).toMatchObject({
        format: [['pg_dump']],
        database: [['backup_test', 'backup_test', '1', '22', '6', expect.stringMatching(/^[1-9]/)]],
        complete: [['1']],
      });
    });

    it('writes them whole, however long: the rest of a comment must not become a statement', () => {
      const comment = `COMMENT ON ROLE helper IS '${`${'x'.repeat(99)}\n`.repeat(1000)}';`;
      const next = "COMMENT ON ROLE other IS '; ALTER ROLE mallory WITH SUPERUSER; --';";
      const text = `-- PostgreSQL database cluster dump\n${comment}\n${next}\n`;
      const kept = awk(interpreter, 'dump-inventory.awk', text, { statements: '/dev/stdout' });
      expect(kept.slice(0, comment.length + next.length + 2) === `${comment}\n${next}\n`).toBe(true);
    });

    it('writes the statements about roles and databases to a file, each as it is in the dump', () => {
      const text = fixture('pg_dumpall-18.sql');
      const kept = awk(interpreter, 'dump-inventory.awk', text, { statements: '/dev/stdout' });
      expect(kept).toContain('COMMENT ON ROLE readers IS \'reads\n-- Database "fake" dump\nonly\';\n');
      expect(kept).toContain(`COMMENT ON DATABASE ${NASTY_IDENTIFIER} IS 'back\\slash and\n\\connect postgres';\n`);
      expect(kept).toContain('GRANT CONNECT ON DATABASE backup_test TO readers;\n');
      expect(kept).not.toMatch(/CREATE TABLE|GRANT SELECT/);
    });

    it('names the extensions of each database', () => {
      const found = inventory(
        interpreter,
        dumpOf('CREATE EXTENSION IF NOT EXISTS "uuid-ossp" WITH SCHEMA public;\n\n\nCREATE EXTENSION hstore;\n'),
      );
      expect(found['extension']).toEqual([
        ['', 'uuid-ossp'],
        ['', 'hstore'],
      ]);
    });

    describe('complete', () => {
      it('no, wherever a line ends before the last one that counts', () => {
        const text = fixture('pg_dump-18-create.sql');
        const lines = text.split('\n');
        const last = lines.findLastIndex((line) => line.startsWith('\\unrestrict'));
        const wrong = lines.flatMap((_line, n) => {
          const complete = isComplete(interpreter, `${lines.slice(0, n + 1).join('\n')}\n`);
          return complete === n >= last ? [] : [n];
        });
        expect(wrong).toEqual([]);
      });

      it('no, for every byte missing at the end, until only white space is', () => {
        for (const name of ['pg_dumpall-18.sql', 'pg_dump-18.sql']) {
          const text = fixture(name);
          const end = name.startsWith('pg_dumpall') ? 'cluster dump complete' : text.trimEnd().split('\n').at(-1)!;
          const needed = text.lastIndexOf(end) + end.length;
          for (let bytes = needed - 90; bytes < needed; bytes++) {
            expect([name, bytes, isComplete(interpreter, text.slice(0, bytes))]).toEqual([name, bytes, false]);
          }
          expect(isComplete(interpreter, text.slice(0, needed))).toBe(true);
        }
      });

      it('no, right after rows of data that spell the end marker', () => {
        for (const [name, marker] of [
          ['pg_dumpall-18.sql', '--\n-- PostgreSQL database cluster dump complete\n--\n\n'],
          ['pg_dumpall-15.sql', '--\n-- PostgreSQL database cluster dump complete\n--\n\n'],
        ] as const) {
          const text = fixture(name);
          const data = text.indexOf(marker, text.indexOf('COPY public.marker'));
          expect(data).toBeGreaterThan(0);
          expect(data).toBeLessThan(text.lastIndexOf(marker));
          expect(isComplete(interpreter, text.slice(0, data + marker.length))).toBe(false);
        }
        const row = '--\n-- PostgreSQL database dump complete\n--\n\n';
        const copy = `--\n-- PostgreSQL database dump\n--\n\nCOPY public.t (line) FROM stdin;\n${row}`;
        expect(isComplete(interpreter, copy)).toBe(false);
        expect(isComplete(interpreter, `${copy}\\.\n\n${row}`)).toBe(true);
      });

      it.each([
        ['a string', `INSERT INTO t VALUES ('`, `');`],
        ['a string with backslashes', `INSERT INTO t VALUES (E'\\\\\\'`, `');`],
        ['a string that begins with a doubled quote', `INSERT INTO t VALUES ('''`, `');`],
        ['an identifier', 'COMMENT ON TABLE "', `" IS 'x';`],
        ['a dollar quote', 'CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $_$', '$_$;'],
        ['a dollar quote inside another', 'DO $a$ BEGIN EXECUTE $b$', '$b$; END $a$;'],
        ['a nested comment', '/* one /* two */', '*/'],
        ['an open parenthesis of a rule', 'CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1;', ');'],
        [
          'a function of SQL',
          'CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END;',
          'END;',
        ],
      ])('not inside %s', (_what, opens, closes) => {
        const row = '--\n-- PostgreSQL database dump complete\n--\n\n';
        const start = '--\n-- PostgreSQL database dump\n--\n\n';
        expect(isComplete(interpreter, `${start}${opens}\n${row}`)).toBe(false);
        expect(isComplete(interpreter, `${start}${opens}\n${row}${closes}\n\n`)).toBe(false);
        expect(isComplete(interpreter, `${start}${opens}\n${row}${closes}\n\n${row}`)).toBe(true);
      });

      it('not if something follows, nor with another token', () => {
        const good = dumpOf('SELECT 1;');
        expect(isComplete(interpreter, good)).toBe(true);
        expect(isComplete(interpreter, `${good}SELECT 2;\n`)).toBe(false);
        expect(isComplete(interpreter, `${good}\\connect x\n`)).toBe(false);
        expect(isComplete(interpreter, good.replace('\\unrestrict abc', '\\unrestrict ab'))).toBe(false);
      });

      it('not for something else, nor for nothing', () => {
        expect(inventory(interpreter, 'hello\n')).toMatchObject({ format: [['unknown']], complete: [['0']] });
        expect(inventory(interpreter, '')).toMatchObject({ format: [['unknown']], bytes: [['0']], complete: [['0']] });
      });
    });

    it('knows that $ in a name or before a number opens nothing', () => {
      const found = inventory(
        interpreter,
        dumpOf('CREATE TABLE a$b$c (d$ int);\nPREPARE p AS SELECT $1 + $2;\nCOPY a$b$c (d$) FROM stdin;\n1\n2\n\\.\n'),
      );
      expect(found['table']).toEqual([['', 'a$b$c', '2']]);
      expect(found['complete']).toEqual([['1']]);
    });

    it('knows which backslashes escape a quote', () => {
      expect(isComplete(interpreter, dumpOf("SELECT E'a\\\\';"))).toBe(true);
      expect(isComplete(interpreter, dumpOf("SELECT E'a\\';"))).toBe(false);
      expect(isComplete(interpreter, dumpOf("SELECT E'a''\\';';"))).toBe(true);
      expect(isComplete(interpreter, dumpOf("SELECT 'a\\';"))).toBe(true);
      expect(isComplete(interpreter, dumpOf("SELECT type'a\\';"))).toBe(true);
    });

    it('follows standard_conforming_strings', () => {
      const sql = "COMMENT ON TABLE t IS 'it\\'s';\nCOPY public.t (a) FROM stdin;\n1\n\\.\n";
      expect(isComplete(interpreter, dumpOf(`SET standard_conforming_strings = off;\n${sql}`))).toBe(true);
      expect(isComplete(interpreter, dumpOf(`SET standard_conforming_strings = on;\n${sql}`))).toBe(false);
    });

    it('takes names with a line break, a tab or a backslash', () => {
      const sql = 'CREATE TABLE public."a\nb\t\\" (i int);\n\nCOPY public."a\nb\t\\" (i) FROM stdin;\n1\n\\.\n';
      expect(inventory(interpreter, dumpOf(sql))['table']).toEqual([['', 'public."a\\nb\\t\\\\"', '1']]);
    });

    it('reads long lines in linear time', () => {
      const quotes = `INSERT INTO t VALUES ('${`it''s "quoted" $x$ `.repeat(200_000)}');`;
      expect(isComplete(interpreter, dumpOf(quotes))).toBe(true);
    }, 20_000);
  },
);

describe('speed', () => {
  it('reads data of COPY faster than any disk or decompressor gives it', () => {
    const row = '12345\t7\t99.50\t2026-04-01 00:00:00+00\tsome text of a row of ordinary length, with more\n';
    const text = dumpOf(`COPY public.t (a) FROM stdin;\n${row.repeat(1_000_000)}\\.\n`);
    const began = performance.now();
    expect(inventory(['mawk'], text)['table']).toEqual([['', 'public.t', '1000000']]);
    const megabytesPerSecond = text.length / 1000 / (performance.now() - began);
    // 1100 MB/s where it was written, without the cost of handing the text over; the machine may be busy.
    expect(megabytesPerSecond).toBeGreaterThan(60);
  });
});
