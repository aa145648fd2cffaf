import { chmodSync, lchownSync, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const RW = 0o660;
const READ = 0o440;
const EXECUTE = 0o110;
const SETGID = 0o2000;

export interface Ownership {
  fsGroup: number | undefined;
  onRootMismatch: boolean;
}

/**
 * What the kubelet does to a volume before a pod gets it: group fsGroup on everything, group bits added (never taken away),
 * setgid on folders. This is why a PGDATA of 0700 comes back as 2770 unless OnRootMismatch spares it.
 */
export function applyFsGroup(root: string, { fsGroup, onRootMismatch }: Ownership, readOnly = false): void {
  if (fsGroup === undefined) return;
  const mask = readOnly ? READ : RW;
  if (onRootMismatch && !readOnly) {
    const { gid, mode } = lstatSync(root);
    const wanted = mask | EXECUTE | SETGID;
    if (gid === fsGroup && (mode & wanted) === wanted) return;
  }
  walk(root, fsGroup, mask);
}

function walk(path: string, gid: number, mask: number): void {
  const found = lstatSync(path);
  lchownSync(path, found.uid, gid);
  if (found.isSymbolicLink()) return;
  const folder = found.isDirectory();
  chmodSync(path, (found.mode & 0o7777) | mask | (folder ? SETGID | EXECUTE : 0));
  if (folder) for (const entry of readdirSync(path)) walk(join(path, entry), gid, mask);
}
