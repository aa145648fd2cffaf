import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { complaints, type Dump, dumpsOn, type Evidence, flawOf } from '../../bench/rivals/judge';

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'judge-'));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

const COPY = 'COPY public.orders (id) FROM stdin;\n1\n2\n\\.\n';
const END = '--\n-- PostgreSQL database cluster dump complete\n--\n\n';
const WHOLE = `\\restrict a\n\n${COPY}\n${END}\\unrestrict a\n\n`;

describe('a dump', () => {
  const flaw = (content: string | Buffer, name = 'dump.pgdump') => {
    const file = path.join(folder, name);
    fs.writeFileSync(file, content);
    return flawOf(file, { rows: 2 });
  };

  it.each([
    ['is whole', WHOLE, undefined],
    ['of one database is whole, too', WHOLE.replace('cluster dump', 'dump'), undefined],
    ['without its last lines', WHOLE.slice(0, -60), 'has no end'],
    ['that is empty', '', 'has no end'],
    ['whose rows spell the end', COPY.replace('2', '-- PostgreSQL database dump complete'), 'has no end'],
    ['with the start of another', WHOLE.replace('restrict a', 'restrict b'), 'is mixed of two dumps'],
    ['begun twice', `\\restrict a\n${WHOLE}`, 'is mixed of two dumps'],
    ['that holds a table twice', WHOLE.replace(COPY, COPY + COPY), 'holds the table 2 times'],
    ['that lacks a table', WHOLE.replace(COPY, ''), 'holds the table 0 times'],
    ['that lacks a row', WHOLE.replace('2\n', ''), 'holds 1 of 2 rows'],
  ])('%s', (_, content, expected) => {
    expect(flaw(content)).toBe(expected);
    expect(flaw(gzipSync(content), 'dump.sql.gz')).toBe(expected);
  });

  it('that was cut is not decompressed', () => {
    expect(flaw(gzipSync(WHOLE).subarray(0, 60), 'cut.sql.gz')).toBe('cannot be decompressed');
  });

  it('counts under a final name only', () => {
    const volume = path.join(folder, 'volume');
    fs.mkdirSync(path.join(volume, 'daily'), { recursive: true });
    for (const name of ['a.pgdump', '.partial-b.pgdump', 'a.pgdump.manifest.json', 'filler', 'daily/c.pgdump']) {
      fs.writeFileSync(path.join(volume, name), WHOLE);
    }
    const found = dumpsOn(volume, { rows: 2 }, new Map()).map((dump) => dump.path);
    expect(found.sort()).toEqual(['a.pgdump', 'daily/c.pgdump']);
  });
});

describe('a candidate', () => {
  const dump = (sha256: string, flaw?: string, where = sha256): Dump => ({ path: where, sha256, flaw });
  const good = ['1', '2', '3', '4', '5', '6', '7'];
  const before = good.map((one) => dump(one));
  const said = (after: Dump[], rest: Partial<Evidence> = {}) =>
    complaints({ good, before, after, runs: ['failure'], replaceable: true, foreign: [], ...rest });

  it('survives when all is as it was and the run says so', () => {
    expect(said(before)).toEqual([]);
  });
  it('survives when a new dump takes the place of the oldest', () => {
    expect(said([...before.slice(1), dump('8')], { runs: ['success'] })).toEqual([]);
  });
  it('survives when a good dump has another name only', () => {
    expect(said([...before.slice(1), dump('1', undefined, 'weekly/1')])).toEqual([]);
  });
  it.each<[string, Dump[], Partial<Evidence>, string]>([
    ['the oldest goes for nothing', before.slice(1), {}, '1 of 7 good dumps lost'],
    ['the newest goes for a new one', [...before.slice(0, 6), dump('8')], {}, '1 of 7 good dumps lost'],
    [
      'an empty server pushes one out',
      [...before.slice(1), dump('8')],
      { replaceable: false },
      '1 of 7 good dumps lost',
    ],
    ['a broken one is left', [...before, dump('8', 'has no end')], {}, 'a dump that has no end'],
    ['a good one is overwritten', [...before.slice(1), dump('8', 'has no end', '1')], {}, '1 of 7 good dumps lost'],
    ['nothing is made and 0 returned', before, { runs: ['success'] }, 'reports success without a dump'],
    ['a run does not end', before, { runs: ['never'] }, 'never ends'],
    ['a file of others goes', before, { foreign: ['x'] }, 'removes files of others'],
  ])('does not survive when %s', (_, after, rest, expected) => {
    expect(said(after, rest)).toContain(expected);
  });
});
