import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { changes, lastWords, normalized, outcome } from './bad-day';
import { compare, type Day, declared, declaredIn, drift, render, row, rowsOf, TABLE } from './fault-table';

const DAY: Day = {
  on: 'dump',
  title: 'the disk is full',
  file: 'test/rehearsal/some.test.ts',
  exitCode: 1,
  message: 'dump: error: the volume is full; grow the claim',
  left: '+ a, − b',
};
const DECLARED = { on: DAY.on, title: DAY.title, file: DAY.file };
const tableOf = (...days: Day[]) => render(days, days, '');

describe('docs/faults.md', () => {
  it('has a row for each bad day of the tests, and no other, whichever tests are run', () => {
    expect(drift(declared(), readFileSync(TABLE, 'utf8'))).toEqual([]);
  });

  it('is what its generator writes', () => {
    const table = readFileSync(TABLE, 'utf8');
    expect(render(declared(), [], table)).toBe(table);
  });
});

describe('a bad day', () => {
  it('passes when its row says what happened', () => {
    expect(() => compare(DAY, tableOf(DAY))).not.toThrow();
    expect(row(DAY)).toBe(
      '| the disk is full | 1 | `dump: error: the volume is full; grow the claim` | `+ a`, `− b` | [some.test.ts](../test/rehearsal/some.test.ts) |',
    );
  });

  it.each<[string, Partial<Day>]>([
    ['exit code', { exitCode: 2 }],
    ['message', { message: 'dump: error: no; no' }],
    ['rest', { left: 'unchanged' }],
    ['rest after the next run', { next: '+ c' }],
    ['file', { file: 'test/rehearsal/other.test.ts' }],
    ['command', { command: 'npm run other' }],
  ])('fails when its %s is another, and says how to write the row', (_, change) => {
    expect(() => compare({ ...DAY, ...change }, tableOf(DAY))).toThrow(
      /docs\/faults\.md says\n {2}.*\n.*npm run faults -- test/,
    );
  });

  it('fails without a row, and with that of the other kind', () => {
    expect(() => compare(DAY, tableOf())).toThrow(/docs\/faults\.md has no row for it/);
    expect(() => compare(DAY, tableOf({ ...DAY, on: 'restore' }))).toThrow(/has no row for it/);
  });

  it('holds what a table cell can trip over', () => {
    const odd = { ...DAY, title: 'a | b', message: 'say `x` | y; z', next: '+ c' };
    expect(() => compare(odd, tableOf(odd))).not.toThrow();
    expect(row(odd)).toContain(
      '| a \\| b | 1 | `` say `x` \\| y; z `` | `+ a`, `− b`; after the next good run: `+ c` |',
    );
    expect(rowsOf(tableOf(odd))).toHaveLength(1);
  });
});

describe('the table', () => {
  const other: Day = { ...DAY, title: 'the password is wrong', left: 'unchanged' };

  it('keeps the rows of what was not run, and the order of the sources', () => {
    const now = { ...DAY, exitCode: 3 };
    expect(render([DAY, other], [now], tableOf(other, DAY))).toBe(tableOf(now, other));
  });

  it('drops rows without a test', () => expect(render([DECLARED], [], tableOf(DAY, other))).toBe(tableOf(DAY)));

  it('is not written when a day ended differently on different versions', () => {
    expect(() => render([DECLARED], [DAY, { ...DAY, exitCode: 2 }], '')).toThrow(/ended in different ways/);
  });

  it('tells a row without a test, a test without a row, of another file, and of the same name', () => {
    const table = tableOf(DAY);
    expect(drift([DAY], table)).toEqual([]);
    expect(drift([], table)).toEqual([expect.stringMatching(/a row without a test: \| the disk is full/)]);
    expect(drift([DAY, other], table)).toEqual([expect.stringMatching(/no row for `the password is wrong` of test/)]);
    expect(drift([{ ...DAY, file: 'test/moved.test.ts' }], table)).toEqual([
      expect.stringMatching(/no row for .* of test\/moved/),
    ]);
    expect(drift([DAY, DAY], table)).toEqual([expect.stringMatching(/two bad days are called `dump: the disk/)]);
  });

  it('finds the bad days in sources, and refuses titles that nobody can know without running them', () => {
    const source = "it('x', f);\nbadDay('dump', 'one', run);\ndescribe('d', () => badDay('restore', `two`, run, {}));";
    expect(declaredIn('f.ts', source)).toEqual([
      { on: 'dump', title: 'one', file: 'f.ts' },
      { on: 'restore', title: 'two', file: 'f.ts' },
    ]);
    for (const wrong of ["badDay('dump', title, run)", "badDay('dump', `a ${b}`, run)", "badDay('drop', 'x', run)"]) {
      expect(() => declaredIn('f.ts', wrong)).toThrow(/both literals/);
    }
  });
});

describe('what is left', () => {
  it('is computed from two listings', () => {
    expect(changes({ a: '1', b: '1' }, { a: '1', b: '1' })).toBe('unchanged');
    expect(changes({ a: '1', b: '1', c: '1' }, { b: '2', c: '1', d: '1' })).toBe('− a, ~ b, + d');
    const dumps = { 'x-2026-11-01-020000.sql.gz': '1', 'x-2026-11-02-020000.sql.gz': '2' };
    expect(changes({}, dumps)).toBe('+ 2 × x-<time>.sql.gz');
    const whole = { d: '1', 'd.manifest.json': '1' };
    expect(changes({}, whole)).toBe('+ d with its manifest');
    expect(changes(whole, {})).toBe('− d with its manifest');
    expect(changes(whole, { d: '1' })).toBe('− d.manifest.json');
    expect(changes({ d: '1' }, { 'd.manifest.json': '1' })).toBe('− d, + d.manifest.json');
  });

  it('and the last words make the outcome', () => {
    const log = '2026-11-21T02:00:00Z a: error: first; x\nnoise\n2026-11-21T02:00:01Z b: error: last; y\n';
    expect(outcome({ exitCode: 1, log }, {}, { a: '1' }, {})).toEqual({
      exitCode: 1,
      message: 'b: error: last; y',
      left: '+ a',
      next: 'unchanged',
    });
  });
});

describe('the last words', () => {
  const line = (text: string) => `2026-11-21T02:00:00Z ${text}\n`;
  it.each([
    ['an error before a warning', line('a: error: no; do') + line('b: warning: hm'), 'a: error: no; do'],
    ['the warning of a good run', line('b: warning: hm') + line('c: x') + line('finished: y'), 'b: warning: hm'],
    ['how a good run finished', line('c: x') + line('finished: y: 5 bytes'), 'finished: y: <bytes> bytes'],
    ['nothing from a run that was killed', line('b: warning: hm') + line('dump: pg_dumpall'), ''],
  ])('are %s', (_, log, expected) => expect(lastWords(log)).toBe(expected));
});

describe('what differs from run to run is normalized:', () => {
  it.each([
    [
      '.partial-postgres-backup-2026-11-21-020000-17x345.manifest.json',
      '.partial-postgres-backup-<time>-<random>.manifest.json',
    ],
    [
      '.partial-postgres-backup-2026-11-21-020000-removed.manifest.json',
      '.partial-postgres-backup-<time>-removed.manifest.json',
    ],
    [
      'pg_dumpall 14.20 (Debian 14.20-1) is older than the server 18.3 (Debian 18.3-1)',
      'pg_dumpall <version> is older than the server <version>',
    ],
    ['x (pid 17, from 10.1.0.4, since 2026-11-21T02:00:00Z)', 'x (pid <n>, from <address>, since <time>)'],
    [
      'only 4096 bytes are free on the backup volume, the newest backup has 99',
      'only <bytes> bytes are free on the backup volume, the newest backup has <bytes>',
    ],
    ['app_before_restore_20261121_020000', 'app_before_restore_<time>'],
    [
      'RETENTION_LAST must be a whole number from 1 to 100000',
      'RETENTION_LAST must be a whole number from 1 to 100000',
    ],
  ])('%s', (given, expected) => expect(normalized(given)).toBe(expected));
});
