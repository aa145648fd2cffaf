import { refuse } from '../guard/input-error';
import { isBelow } from '../guard/paths';

export interface DataDirectory {
  /** Where the claim is mounted. */
  readonly mountPath: string;
  /** `PGDATA`. */
  readonly path: string;
}

/**
 * The one rule on where a data directory may lie, for every pod that mounts its claim: strictly below the mount point of
 * the claim, with no path that the image declares as a volume in between, at it or below it. containerd lays an anonymous
 * volume over each declared path that the pod does not mount itself; what is written there goes with the container.
 *
 * @throws InputError naming the pitfall
 * @see docs/decisions.md, "Where the data directory lies"
 */
export function checkDataDirectory({ mountPath, path }: DataDirectory, declaredVolumes: readonly string[]): void {
  checkAbsolute('mountPath', mountPath, '/var/lib/postgresql');
  checkAbsolute('dataDirectory', path, `${mountPath}/data`);
  const below = `${mountPath}/data`;
  if (path === mountPath) {
    const why = 'a fresh volume holds "lost+found", and initdb refuses a directory that exists but is not empty';
    refuse(
      'dataDirectory',
      `lie below the claim's mount point, since ${why}`,
      path,
      `write "${below}" or leave it out`,
    );
  }
  if (!isBelow(path, mountPath)) {
    const must = `lie on the claim, which is mounted at ${mountPath}: anywhere else it goes with the container`;
    refuse('dataDirectory', must, path, `write "${below}" or leave it out`);
  }
  for (const declared of declaredVolumes) {
    if (!isBelow(declared, mountPath)) continue;
    if (declared === path || isBelow(path, declared) || isBelow(declared, path)) {
      const why = `the container runtime lays an anonymous volume there, over the claim, and the database goes with the container`;
      const must = `not lie at ${declared}, which the image declares as a volume: ${why}`;
      refuse('dataDirectory', must, path, `write "${mountPath}/pgdata" or leave it out`);
    }
  }
}

/** A data directory that {@link checkDataDirectory} lets through. */
export function defaultDataDirectory(mountPath: string, declaredVolumes: readonly string[]): string {
  const data = `${mountPath}/data`;
  return declaredVolumes.includes(data) ? `${mountPath}/pgdata` : data;
}

function checkAbsolute(prop: string, path: string, example: string): void {
  if (!/^(\/[^/]+)+$/.test(path) || path.split('/').some((part) => part === '.' || part === '..')) {
    const must = 'be an absolute path without ".", ".." or a slash at the end';
    refuse(prop, must, path, `write for example "${example}"`);
  }
}
