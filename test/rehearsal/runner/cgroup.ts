import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

const MOUNT = '/sys/fs/cgroup';
const PARENT = 'cdk8s-rehearsal';

/** Version 2 has one tree, version 1 (also when mixed with 2) one per controller. */
const unified = existsSync(join(MOUNT, 'cgroup.controllers'));

function trees(): string[] {
  return unified ? [MOUNT] : readdirSync(MOUNT).map((controller) => join(MOUNT, controller));
}

/** Where runc shall put the container, relative to the root of every tree. */
export function cgroupPath(rehearsal: string, container: string): string {
  return `/${PARENT}/${rehearsal}/${container}`;
}

/** Whether memory limits can be enforced: in a nested container the controller may be missing. */
export function limitsMemory(): boolean {
  if (!unified) return existsSync(join(MOUNT, 'memory'));
  return readFileSync(join(MOUNT, 'cgroup.controllers'), 'utf8').split(/\s/).includes('memory');
}

/** The processes of a container as this process sees them; none if it is gone. */
export function cgroupProcesses(path: string): number[] {
  try {
    const tree = unified ? MOUNT : join(MOUNT, 'memory');
    return readFileSync(join(tree, path, 'cgroup.procs'), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map(Number);
  } catch {
    return [];
  }
}

/** Every rehearsal of this machine that has, or had, containers. */
export function rehearsalsWithCgroups(): string[] {
  const parents = trees().map((tree) => join(tree, PARENT));
  return [...new Set(parents.filter((one) => existsSync(one)).flatMap((one) => readdirSync(one)))];
}

/** Removes what is left of a rehearsal's cgroups; those that still hold a process stay. */
export function removeCgroups(rehearsal: string): boolean {
  return trees()
    .map((tree) => removeTree(join(tree, PARENT, rehearsal)))
    .every(Boolean);
}

function removeTree(folder: string): boolean {
  if (!existsSync(folder)) return true;
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) removeTree(join(folder, entry.name));
    }
    rmdirSync(folder);
    return true;
  } catch {
    return false;
  }
}
