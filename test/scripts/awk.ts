import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SCRIPTS } from './shell';

/** The awks that the scripts have to run on: Debian's, GNU's, and the one of Alpine. The tests' set-up installs them. */
export const AWKS: string[][] = [['mawk'], ['gawk'], ['busybox', 'awk']];
for (const [command] of AWKS) {
  if (spawnSync('sh', ['-c', `command -v ${command}`]).status !== 0) {
    throw new Error(`${command} was not found: apt-get install ${command}`);
  }
}

/** Runs one of the awk programs, after the lexer, over `input`. */
export function awk(
  interpreter: string[],
  program: string,
  input: string | Buffer,
  variables: Record<string, string> = {},
): string {
  const given = Object.entries(variables).flatMap(([name, value]) => ['-v', `${name}=${value}`]);
  const files = ['dump-lexer.awk', program].flatMap((file) => ['-f', join(SCRIPTS, file)]);
  const done = spawnSync(interpreter[0]!, [...interpreter.slice(1), ...given, ...files], {
    input,
    encoding: 'latin1',
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    maxBuffer: 1 << 28,
  });
  if (done.status !== 0 || done.stderr)
    throw new Error(`${interpreter.join(' ')} ended with ${done.status}: ${done.stderr}`);
  return done.stdout;
}

/** A dump of `fixtures/nasty.sql`, written by the real pg_dump or pg_dumpall of that version. */
export function fixture(name: string): string {
  return readFileSync(join(__dirname, 'fixtures', name), 'latin1');
}

/** The inventory as lists of fields, by the first one. */
export function inventory(interpreter: string[], input: string | Buffer): Record<string, string[][]> {
  const result: Record<string, string[][]> = {};
  for (const line of awk(interpreter, 'dump-inventory.awk', input).trimEnd().split('\n')) {
    const [kind, ...fields] = line.split('\t');
    result[kind!] = [...(result[kind!] ?? []), fields];
  }
  return result;
}

export const isComplete = (interpreter: string[], input: string | Buffer): boolean => {
  const [[complete]] = inventory(interpreter, input)['complete'] as [[string]];
  return complete === '1';
};
