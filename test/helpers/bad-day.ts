import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'vitest';
import type { Attempt } from '../rehearsal/runner/types';
import { compare, type Day, inRepository, type Kind, type Outcome, TABLE } from './fault-table';

export type { Outcome } from './fault-table';

/** Names and what stands under them: files with checksums, databases with oids. */
export type Listing = Record<string, string>;

/**
 * A test of a bad day. `run` does its assertions and returns what came of it, which must be what docs/faults.md says.
 * The title must be a literal. `npm run faults` sets FAULTS_FOLDER: then outcomes are collected there, and become the table.
 */
export function badDay(
  on: Kind,
  title: string,
  run: () => Promise<Outcome>,
  { timeoutMs, command }: { timeoutMs?: number; command?: string } = {},
): void {
  it(
    title,
    async ({ task }) => {
      const outcome = await run();
      const day: Day = { on, title, file: inRepository(task.file.filepath), ...outcome, ...(command && { command }) };
      const folder = process.env['FAULTS_FOLDER'];
      if (!folder) compare(day, readFileSync(TABLE, 'utf8'));
      else writeFileSync(join(folder, `${randomBytes(8).toString('hex')}.json`), JSON.stringify(day));
    },
    timeoutMs,
  );
}

/** What an attempt came to, between two listings taken right before and right after it, and one after the next good run. */
export function outcome(attempt: Attempt, before: Listing, after: Listing, next?: Listing): Outcome {
  return {
    exitCode: attempt.exitCode,
    message: lastWords(attempt.log),
    left: changes(before, after),
    ...(next && { next: changes(before, next) }),
  };
}

const LINE = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ([^:]+: .*)$/;

/** The last error; without one the last warning; without one how it finished; a run that was killed has said nothing. */
export function lastWords(log: string): string {
  const lines = log.split('\n').flatMap((line) => LINE.exec(line)?.[1] ?? []);
  const last = (pattern: RegExp) => lines.filter((line) => pattern.test(line)).at(-1);
  return normalized(last(/^[^:]+: error: /) ?? (last(/^finished: /) ? (last(/: warning: /) ?? lines.at(-1)!) : ''));
}

/** `unchanged`, or what is new, gone and changed, with how many where names differ only in what is normalized. */
export function changes(before: Listing, after: Listing): string {
  const sign = (name: string): string => {
    if (!(name in before)) return name in after ? '+' : '';
    if (!(name in after)) return '−';
    return before[name] === after[name] ? '' : '~';
  };
  const all = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  const marks = all.flatMap((name) => {
    const own = sign(name);
    const data = name.endsWith(MANIFEST) ? name.slice(0, -MANIFEST.length) : undefined;
    // Said together with its file.
    if (own === '' || (data && sign(data) === own)) return [];
    return [`${own} ${normalized(name)}${sign(name + MANIFEST) === own ? ' with its manifest' : ''}`];
  });
  const counted = [...new Set(marks)].map((mark) => {
    const count = marks.filter((one) => one === mark).length;
    return count === 1 ? mark : mark.replace(' ', ` ${count} × `);
  });
  return counted.join(', ') || 'unchanged';
}

const MANIFEST = '.manifest.json';

const CHANGING: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b\d{1,3}(\.\d{1,3}){3}\b/g, '<address>'],
  [/\b[0-9a-f]{64}\b/g, '<sha256>'],
  [/(\.partial-[\w.-]*?)\d{4}-\d\d-\d\d-\d{6}-(?:\d+x\d+)/g, '$1<time>-<random>'],
  [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g, '<time>'],
  [/\b\d{4}-\d\d-\d\d-\d{6}/g, '<time>'],
  [/_(restoring|before_restore)_\d{14}/g, '_$1_<time>'],
  [/\d{4}_?\d\d_?\d\d_\d{6}/g, '<time>'],
  [/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?([+-]\d\d)?/g, '<time>'],
  [/\b\d+\.\d+(\.\d+)? \([^)]*\)/g, '<version>'],
  [/\bPostgreSQL (15|16|17|18)(\.\d+)?\b/g, 'PostgreSQL <version>'],
  [/\b(server|version) \d+\.\d+\b/g, '$1 <version>'],
  [/\bsystem identifier \d+/g, 'system identifier <n>'],
  [/\bpsql \d+\.\d+/g, 'psql <version>'],
  [/\b\d+ MiB/g, '<n> MiB'],
  [/\bpids? \d+/g, 'pid <n>'],
  [/\bmanifest says \d+/g, 'manifest says <bytes>'],
  [/"base\/\d+\/\d+(\.\d+)?"/g, '"base/<n>/<n>"'],
  [/\b\d+ bytes/g, '<bytes> bytes'],
  [/\bnewest backup has \d+/g, 'newest backup has <bytes>'],
  [/\b\d+ uncompressed/g, '<bytes> uncompressed'],
  [/\bin \d+ s\b/g, 'in <n> s'],
  [/\b\d+x\d+\b/g, '<random>'],
];

/** Without what differs from run to run. */
export function normalized(text: string): string {
  return CHANGING.reduce((done, [pattern, by]) => done.replace(pattern, by), text);
}
