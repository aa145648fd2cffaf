import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Namespace } from './namespace';
import type { ClaimHandle, VolumeKind } from './types';

const SQUASH = join(__dirname, '..', 'squashfs.py');
const NOBODY = 65534;

/** A bound claim. */
export class Claim implements ClaimHandle {
  constructor(
    readonly name: string,
    /** What is mounted into pods, as seen inside the rehearsal. */
    readonly mount: string,
    readonly path: string,
    /** NFS and its like ignore fsGroup. */
    readonly takesFsGroup: boolean,
  ) {}

  list(): string[] {
    const walk = (folder: string, prefix: string): string[] =>
      readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
        entry.isDirectory()
          ? [`${prefix}${entry.name}/`, ...walk(join(folder, entry.name), `${prefix}${entry.name}/`)]
          : [`${prefix}${entry.name}`],
      );
    return walk(this.path, '').sort();
  }
}

export class Claims {
  private readonly bound = new Map<string, Promise<Claim>>();
  private readonly ready = new Map<string, Claim>();

  constructor(
    private readonly ns: Namespace,
    private readonly folder: string,
    private readonly kinds: Record<string, VolumeKind>,
  ) {}

  /** A claim that the test names exists although nothing rendered it. */
  exists(name: string): boolean {
    return this.bound.has(name) || this.kinds[name] !== undefined;
  }

  /** One that is bound already. */
  get(name: string): Claim {
    const found = this.ready.get(name);
    if (found) return found;
    const names = [...this.ready.keys()].map((one) => `\`${one}\``).join(', ');
    throw new Error(`claim \`${name}\` is not bound; bound are ${names || 'none'}`);
  }

  /** Makes the volume on first use; from then on it keeps its files until the rehearsal ends. */
  bind(name: string): Promise<Claim> {
    const bound = this.bound.get(name) ?? this.make(name, this.kinds[name] ?? { kind: 'plain' });
    this.bound.set(name, bound);
    return bound.then((claim) => {
      this.ready.set(name, claim);
      return claim;
    });
  }

  private async make(name: string, { kind, sizeMiB }: VolumeKind): Promise<Claim> {
    const base = join(this.folder, name);
    const files = join(base, 'files');
    mkdirSync(files, { recursive: true });
    const size = sizeMiB ?? (kind === 'full' ? 16 : undefined);
    if (size !== undefined) await (kind === 'block' ? this.disk(base, files, size) : this.memory(files, size));
    // A mount is seen only inside; a plain folder from both sides.
    const path = size === undefined ? files : this.ns.path(files);
    if (kind === 'block') {
      chmodSync(path, 0o755);
      if (!existsSync(join(path, 'lost+found'))) mkdirSync(join(path, 'lost+found'), { mode: 0o700 });
    } else {
      chmodSync(path, 0o777);
    }
    if (kind !== 'squash') return new Claim(name, files, path, true);
    chownSync(path, NOBODY, NOBODY);
    const mount = join(base, 'mount');
    mkdirSync(mount);
    await this.squash(files, mount);
    return new Claim(name, mount, path, false);
  }

  private async disk(base: string, files: string, sizeMiB: number): Promise<void> {
    const file = join(base, 'disk');
    writeFileSync(file, '');
    truncateSync(file, sizeMiB * 2 ** 20);
    await this.ns.must(['mkfs.ext4', '-q', '-F', '-m', '0', file]);
    await this.ns.must(['mount', '-o', 'loop', file, files]);
  }

  private async memory(files: string, sizeMiB: number): Promise<void> {
    await this.ns.must(['mount', '-t', 'tmpfs', '-o', `size=${sizeMiB}m`, 'limited', files]);
  }

  private async squash(files: string, mount: string): Promise<void> {
    const server = this.ns.spawn(['/usr/bin/python3', SQUASH, files, mount]);
    const said: Buffer[] = [];
    server.stderr?.on('data', (chunk) => said.push(chunk));
    server.unref();
    for (const stream of [server.stdin, server.stdout, server.stderr]) (stream as unknown as { unref(): void }).unref();
    for (let waited = 0; waited < 10_000; waited += 10) {
      if ((await this.ns.run(['mountpoint', '-q', mount])).exitCode === 0) return;
      if (server.exitCode !== null) break;
      await sleep(10);
    }
    throw new Error(`the root-squashed export did not come up: ${Buffer.concat(said).toString() || 'no message'}`);
  }
}
