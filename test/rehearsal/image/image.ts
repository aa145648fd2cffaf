import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Major } from '../runner/types';

const run = promisify(execFile);

/** An unpacked image: its root file system and what an image's configuration would say. */
export interface Image {
  readonly root: string;
  readonly major: Major;
  /** The exact PostgreSQL inside, e.g. `18.1`. */
  readonly version: string;
  readonly suite: string;
  readonly env: Record<string, string>;
  /** Declared VOLUMEs: containerd lays an anonymous folder over each that the pod does not mount itself. */
  readonly volumes: string[];
  readonly entrypoint: string[];
  readonly cmd: string[];
  readonly stopSignal: string;
  /** docker-entrypoint.sh that is bound into every container (ours, or REHEARSAL_ENTRYPOINT). */
  readonly entrypointFile: string;
}

const BUILD = join(__dirname, 'build.sh');
const ENTRYPOINT = join(__dirname, 'entrypoint.sh');

export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'cdk8s-postgres');
}

/** The recipe is the key: another build.sh makes another image. The entrypoint is bound in at start, so it is no part of it. */
export function imageFolder(major: Major): string {
  const recipe = createHash('sha256').update(readFileSync(BUILD)).digest('hex').slice(0, 12);
  return join(cacheFolder(), 'images', `${major}-${recipe}`);
}

/** Unpacks the image if the cache does not hold it yet; several test processes may ask at once (flock). */
export async function image(major: Major): Promise<Image> {
  const folder = imageFolder(major);
  const configuration = join(folder, 'image.json');
  if (!existsSync(configuration)) {
    mkdirSync(join(cacheFolder(), 'images'), { recursive: true });
    const lock = join(cacheFolder(), 'images', `.${major}.lock`);
    // Asked again under the lock: another process may have built it while we waited.
    const script = '[ -e "$2/image.json" ] || exec "$0" "$1" "$2"';
    await run('flock', [lock, 'bash', '--norc', '-c', script, BUILD, String(major), folder], { timeout: 600_000 });
  }
  return {
    ...JSON.parse(readFileSync(configuration, 'utf8')),
    root: join(folder, 'root'),
    entrypointFile: process.env['REHEARSAL_ENTRYPOINT'] || ENTRYPOINT,
  };
}
