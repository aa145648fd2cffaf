import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

/** How many dumps everybody is expected to keep: ours, the usual script and the other's days all say seven. */
export const KEPT = 7;

/** A file with a final name: not hidden, and named as a dump. */
export interface Dump {
  readonly path: string;
  readonly sha256: string;
  /** What is wrong with it, if anything is. */
  readonly flaw: string | undefined;
}

/** What a dump has to hold to be one of the server that was dumped. */
export type Content = { readonly rows: number } | 'nothing';

/** Every file on the volume that somebody who looks for a backup would take for one; two names of one file are two. */
export function dumpsOn(volume: string, content: Content, known: ReadonlyMap<string, Dump>): Dump[] {
  return fs
    .readdirSync(volume, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /^[^.].*\.(sql\.gz|sql\.zst|pgdump)$/.test(entry.name))
    .map((entry) => {
      const file = path.join(entry.parentPath, entry.name);
      const sha256 = createHash('sha256').update(fs.readFileSync(file)).digest('hex');
      // What was judged once is not judged by what the server holds now.
      const flaw = known.has(sha256) ? known.get(sha256)!.flaw : flawOf(file, content);
      return { path: path.relative(volume, file), sha256, flaw };
    });
}

/** Why a file is not a whole dump. */
export function flawOf(file: string, content: Content): string | undefined {
  const tool = file.endsWith('.gz') ? 'gzip' : file.endsWith('.zst') ? 'zstd' : 'cat';
  const { status, stdout } = spawnSync(tool, tool === 'cat' ? [file] : ['-dc', file], { maxBuffer: 2 ** 28 });
  if (status !== 0) return 'cannot be decompressed';
  const lines = stdout.toString('latin1').split('\n');
  // \unrestrict, empty lines and bare comment signs may follow the marker.
  const last = lines.filter((line) => line !== '' && line !== '--' && !line.startsWith('\\unrestrict ')).at(-1) ?? '';
  if (!/^-- PostgreSQL database (cluster )?dump complete$/.test(last)) return 'has no end';
  return unpaired(lines) ?? (content === 'nothing' ? undefined : missing(lines, content.rows));
}

/** psql stops at an \unrestrict that does not fit the \restrict before it. */
function unpaired(lines: readonly string[]): string | undefined {
  let token: string | undefined;
  for (const line of lines) {
    const found = /^\\(un)?restrict (.+)$/.exec(line);
    if (!found) continue;
    if (found[1] ? found[2] !== token : token !== undefined) return 'is mixed of two dumps';
    token = found[1] ? undefined : found[2];
  }
  return token === undefined ? undefined : 'is mixed of two dumps';
}

function missing(lines: readonly string[], rows: number): string | undefined {
  const starts = lines.flatMap((line, i) => (/^COPY "?public"?\."?orders"? /.test(line) ? [i] : []));
  if (starts.length !== 1) return `holds the table ${starts.length} times`;
  const found = lines.indexOf('\\.', starts[0]) - starts[0]! - 1;
  return found === rows ? undefined : `holds ${found} of ${rows} rows`;
}

/** What one run said about itself; `never`: it did not end. */
export type Ending = 'success' | 'failure' | 'never';

export interface Evidence {
  /** Contents of the good dumps that were there, oldest first. */
  readonly good: readonly string[];
  readonly before: readonly Dump[];
  readonly after: readonly Dump[];
  readonly runs: readonly Ending[];
  /** Whether new dumps may take the place of the oldest. */
  readonly replaceable: boolean;
  /** Files of others that are gone. */
  readonly foreign: readonly string[];
}

/** Looks at nothing but the volume and how the runs ended; empty: the fault was survived. */
export function complaints({ good, before, after, runs, replaceable, foreign }: Evidence): string[] {
  const had = new Set(before.map((dump) => `${dump.path} ${dump.sha256}`));
  const fresh = after.filter((dump) => !had.has(`${dump.path} ${dump.sha256}`));
  const freshGood = new Set(
    fresh.filter((dump) => !dump.flaw && !good.includes(dump.sha256)).map((dump) => dump.sha256),
  );
  const there = new Set(after.map((dump) => dump.sha256));
  const surplus = replaceable ? Math.max(0, good.length + freshGood.size - KEPT) : 0;
  const lost = good.slice(surplus).filter((sha256) => !there.has(sha256));
  const broken = [...new Set(fresh.filter((dump) => dump.flaw).map((dump) => dump.flaw))];
  const found: string[] = [];
  if (lost.length > 0) found.push(`${lost.length} of ${good.length} good dumps lost`);
  if (broken.length > 0) found.push(`a dump that ${broken.join(', ')}`);
  if (runs.includes('never')) found.push('never ends');
  if (runs.includes('success') && freshGood.size === 0) found.push('reports success without a dump');
  if (foreign.length > 0) found.push('removes files of others');
  return found;
}
