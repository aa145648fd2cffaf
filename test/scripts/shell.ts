import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Where the scripts of the pods are. */
export const SCRIPTS = join(__dirname, '..', '..', 'lib', 'scripts');

export interface Ended {
  status: number | null;
  signal: NodeJS.Signals | null;
  out: string;
  err: string;
}

/** A folder of one test: `tmp` is the scripts' TMPDIR, `bin` comes first in their PATH, `volume` is the backup volume. */
export class Sandbox {
  readonly root = mkdtempSync(join(tmpdir(), 'scripts-'));
  readonly volume = join(this.root, 'volume');
  readonly tmp = join(this.root, 'tmp');
  readonly bin = join(this.root, 'bin');

  constructor() {
    for (const folder of [this.volume, this.tmp, this.bin]) mkdirSync(folder);
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }

  /** A program that the scripts find instead of the real one. */
  fake(name: string, script: string): void {
    writeFileSync(join(this.bin, name), `#!/bin/bash\n${script}\n`);
    chmodSync(join(this.bin, name), 0o755);
  }

  /** The scripts' clock. */
  setClock(now: string): void {
    this.fake('date', `exec /bin/date -d '${now}' "$@"`);
  }

  /** Runs a few lines of bash after the named scripts were sourced, with the settings that all scripts have. */
  run(scripts: string[], lines: string, env: Record<string, string> = {}): Ended {
    const done = spawnSync('bash', ['-c', this.program(scripts, lines)], {
      encoding: 'utf8',
      env: this.env(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return { status: done.status, signal: done.signal, out: done.stdout, err: done.stderr };
  }

  /** Like `run`, in the background; `ready` resolves when the lines have printed `ready`. */
  start(scripts: string[], lines: string, env: Record<string, string> = {}) {
    const child = spawn('bash', ['-c', this.program(scripts, lines)], {
      env: this.env(env),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const ended: Ended = { status: null, signal: null, out: '', err: '' };
    child.stderr.on('data', (chunk) => {
      ended.err += chunk;
    });
    const ready = new Promise<void>((resolve) => {
      child.stdout.on('data', (chunk) => {
        ended.out += chunk;
        if (ended.out.includes('ready')) resolve();
      });
    });
    const end = new Promise<Ended>((resolve) => {
      // A process that outlives the shell keeps the pipes open: then `close` does not come.
      child.on('exit', () => setTimeout(() => child.emit('close', child.exitCode, child.signalCode), 1000));
      child.on('close', (status, signal) => resolve({ ...ended, status, signal }));
    });
    return { child, ready, end };
  }

  private program(scripts: string[], lines: string): string {
    const sourced = scripts.map((script) => `. '${join(SCRIPTS, script)}'\n`).join('');
    return `set -Eeuo pipefail\n${sourced}${lines}`;
  }

  private env(extra: Record<string, string>): Record<string, string> {
    const path = `${this.bin}:/usr/local/bin:/usr/bin:/bin`;
    return { PATH: path, TMPDIR: this.tmp, BACKUP_DIR: this.volume, BACKUP_NAME: 'postgres-backup', ...extra };
  }

  /** A file on the volume. */
  put(name: string, content = `content of ${name}\n`): string {
    writeFileSync(join(this.volume, name), content);
    return name;
  }

  /** A backup as the job publishes it; `lies` replaces what its manifest says. */
  backup(name: string, lies: Record<string, unknown> = {}): string {
    const content = `content of ${name}\n`;
    this.put(name, content);
    this.put(`${name}.manifest.json`, manifest(name, content, lies));
    return name;
  }

  /** Every name on the volume, sorted. */
  names(): string[] {
    return readdirSync(this.volume).sort();
  }

  /** Every name on the volume with what it holds: equal only if nothing was touched. */
  contents(): Record<string, string> {
    const entries = this.names().map((name) => {
      const path = join(this.volume, name);
      const kind = lstatSync(path);
      if (!kind.isFile()) return [name, kind.isSymbolicLink() ? 'link' : 'folder'];
      return [name, createHash('sha256').update(readFileSync(path)).digest('hex')];
    });
    return Object.fromEntries(entries);
  }
}

/** A manifest in the scripts' own layout. */
export function manifest(name: string, content: string, lies: Record<string, unknown> = {}): string {
  const facts = {
    formatVersion: 1,
    kind: 'logical',
    job: 'postgres-backup',
    file: name,
    bytes: Buffer.byteLength(content),
    sha256: createHash('sha256').update(content).digest('hex'),
    start: '2026-11-21T02:00:00Z',
    ...lies,
  };
  const lines = Object.entries(facts).map(([key, value]) => `  "${key}": ${JSON.stringify(value)},\n`);
  return `{\n${lines.join('')}  "databases": [\n    {"name": "bytes", "bytes": 1, "tables": []}\n  ]\n}\n`;
}

/** `postgres-backup-2026-11-DD-020000.sql.gz` for each day. */
export function nights(days: number[], suffix = 'gz'): string[] {
  return days.map((day) => `postgres-backup-2026-11-${String(day).padStart(2, '0')}-020000.sql.${suffix}`);
}
