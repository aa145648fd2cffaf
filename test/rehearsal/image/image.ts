import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { majors } from '../majors';
import type { Major } from '../runner/types';
import { OFFICIAL, RECIPES, type Recipe, recipeOf } from './recipes';

const run = promisify(execFile);

/** An unpacked image: its root file system and what an image's configuration would say. */
export interface Image {
  readonly root: string;
  /** The exact version of the program inside, e.g. `18.1`. */
  readonly version: string;
  readonly suite: string;
  readonly env: Record<string, string>;
  /** Declared VOLUMEs: containerd lays an anonymous folder over each that the pod does not mount itself. */
  readonly volumes: string[];
  readonly entrypoint: string[];
  readonly cmd: string[];
  /** USER: empty for root, a name, a number, or `uid:gid`. */
  readonly user: string;
  readonly stopSignal: string;
  /** Files of this machine that are bound into every container, by their path there. */
  readonly files: Record<string, string>;
}

const BUILD = join(__dirname, 'build.sh');
const ENTRYPOINT = join(__dirname, 'entrypoint.sh');
const recipeFile = (name: string) => join(__dirname, 'recipes', `${name}.sh`);

export function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'cdk8s-postgres');
}

const nameOf = (recipe: Recipe, major: Major) => (recipe.perMajor ? `${recipe.name}-${major}` : recipe.name);

/** The recipe is the key: another one makes another image. What is bound in at start is no part of it. */
export function imageFolder(major: Major, recipe = OFFICIAL): string {
  const hash = createHash('sha256').update(readFileSync(BUILD));
  for (const one of [recipe.name, ...(recipe.reads ?? [])]) hash.update(readFileSync(recipeFile(one)));
  return join(cacheFolder(), 'images', `${nameOf(recipe, major)}-${hash.digest('hex').slice(0, 12)}`);
}

/** Unpacks the image if the cache does not hold it yet; several test processes may ask at once (flock). */
async function unpacked(recipe: Recipe, major: Major): Promise<Image> {
  const folder = imageFolder(major, recipe);
  const configuration = join(folder, 'image.json');
  if (!existsSync(configuration)) {
    mkdirSync(join(cacheFolder(), 'images'), { recursive: true });
    const lock = join(cacheFolder(), 'images', `.${nameOf(recipe, major)}.lock`);
    // Asked again under the lock: another process may have built it while we waited.
    const script = '[ -e "$3/image.json" ] || exec "$0" "$@"';
    const build = ['bash', '--norc', '-c', script, BUILD, recipe.name, String(major), folder];
    await run('flock', [lock, ...build], { timeout: 600_000 });
  }
  const entrypoint = process.env['REHEARSAL_ENTRYPOINT'] || ENTRYPOINT;
  return {
    ...JSON.parse(readFileSync(configuration, 'utf8')),
    root: join(folder, 'root'),
    files: recipe === OFFICIAL ? { '/usr/local/bin/docker-entrypoint.sh': entrypoint } : {},
  };
}

/** PostgreSQL of a major version, as the official image has it. */
export const image = (major: Major): Promise<Image> => unpacked(OFFICIAL, major);

/** What a container that names this image runs; PostgreSQL is always the one of the rehearsal's major version. */
export const imageOf = async (reference: string | undefined, major: Major): Promise<Image> =>
  unpacked(recipeOf(reference), major);

/** Unpacks all that the tests may ask for. */
export async function unpackAll(): Promise<Array<Image & { name: string }>> {
  const wanted = RECIPES.flatMap((recipe) => {
    if (recipe === OFFICIAL) return majors('all').map((major) => ({ recipe, major }));
    return (recipe.perMajor ? majors() : majors().slice(0, 1)).map((major) => ({ recipe, major }));
  });
  return Promise.all(
    wanted.map(async ({ recipe, major }) => ({ ...(await unpacked(recipe, major)), name: recipe.name })),
  );
}
