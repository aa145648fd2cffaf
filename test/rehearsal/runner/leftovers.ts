import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rehearsalsWithCgroups, removeCgroups } from './cgroup';

const base = () => join(tmpdir(), 'cdk8s-postgres-rehearsal');

/** A pid alone may be somebody else's by now; with its start time it is one process for ever. */
function processKey(pid: number | string): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return `${pid}-${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
  } catch {
    return undefined;
  }
}

/** A folder whose name says whose it is. Only root lists it, everybody may pass: the squashed export acts as others. */
export function ownFolder(name: string): string {
  mkdirSync(base(), { recursive: true, mode: 0o711 });
  const safe = name.replaceAll(/[^A-Za-z0-9-]/g, '-').slice(0, 30);
  return mkdtempSync(join(base(), `${processKey(process.pid)}-${safe}-`));
}

/** Files and cgroups of rehearsals whose process died: its containers and mounts went with it. */
export function removeLeftovers(): void {
  mkdirSync(base(), { recursive: true, mode: 0o711 });
  // A process that ended by itself has taken its folder with it, and could not wait for its cgroups to be empty.
  for (const name of new Set([...readdirSync(base()), ...rehearsalsWithCgroups()])) {
    const [, key, pid] = /^((\d+)-\d+)-/.exec(name) ?? [];
    if (!pid || processKey(pid) === key) continue;
    removeCgroups(name);
    rmSync(join(base(), name), { recursive: true, force: true });
  }
}
