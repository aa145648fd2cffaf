import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClaimHandle, Overlay } from './runner/types';

export interface Manifest {
  formatVersion: number;
  kind: string;
  job: string;
  file: string;
  bytes: number;
  sha256: string;
  start: string;
  end: string;
  serverVersion: string;
  clientVersion: string;
  systemIdentifier: string;
  uncompressedBytes: number;
  scope: string;
  databases: { name: string; bytes: number; tables: { name: string; rows: number | null }[] }[];
}

const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

/** What an operator sees of a backup volume. */
export class BackupFiles {
  constructor(private readonly claim: ClaimHandle) {}

  path(name: string): string {
    return join(this.claim.path, name);
  }

  /** Names, without the lock files. */
  names(): string[] {
    return this.claim.list().filter((name) => !/^\..*\.lock$/.test(name));
  }

  dumps(): string[] {
    return this.names().filter((name) => /\.sql\.(gz|zst)$/.test(name) && !name.startsWith('.'));
  }

  partials(): string[] {
    return this.names().filter((name) => name.startsWith('.partial-'));
  }

  /** Names and what they hold: equal only if nothing was touched. */
  contents(): Record<string, string> {
    return Object.fromEntries(this.names().map((name) => [name, name.endsWith('/') ? '' : sha256(this.read(name))]));
  }

  put(name: string, content = `content of ${name}`): string {
    writeFileSync(this.path(name), content, { mode: 0o666 });
    return name;
  }

  read(name: string): Buffer {
    return readFileSync(this.path(name));
  }

  manifest(name: string): Manifest {
    return JSON.parse(this.read(`${name}.manifest.json`).toString());
  }

  /** The SQL in a dump, as stock tools show it. */
  sql(name: string): string {
    const tool = name.endsWith('.gz') ? 'zcat' : 'zstdcat';
    const done = spawnSync(tool, [this.path(name)], { maxBuffer: 2 ** 28 });
    if (done.status !== 0) throw new Error(`${tool} ${name}: ${done.stderr}`);
    return done.stdout.toString();
  }

  clear(): void {
    for (const name of this.claim.list()) rmSync(this.path(name), { recursive: true, force: true });
  }
}

const folders: string[] = [];
process.on('exit', () => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

/** A program that the container finds instead of the real one, which it calls by its full path. */
export function fault(name: string, script: string): Overlay {
  const folder = mkdtempSync(join(tmpdir(), 'fault-'));
  folders.push(folder);
  const file = join(folder, name);
  writeFileSync(file, `#!/bin/bash\n${script}\n`);
  return { [`/usr/local/bin/${name}`]: file };
}
