import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupProcesses } from './cgroup';
import type { Namespace } from './namespace';
import { type ContainerSpec, ociConfig, processOf } from './oci';
import type { ExecOptions, ExecResult } from './types';

/**
 * Through one real pipe, as under a container engine. What Node calls a pipe is a socket: /dev/stderr can't be opened then,
 * and bash reads start-up files, because it takes a socket for a remote login (hence also --norc).
 */
const PIPED = ['bash', '--norc', '-c', '"$@" 2>&1 </dev/null | cat; exit "${PIPESTATUS[0]}"', 'run'];
const SHIM = join(__dirname, 'shim.py');

/** Which of 128 + n is a signal's doing. */
export function signalOf(exitCode: number): string | undefined {
  return Object.entries(constants.signals).find(([, number]) => exitCode === 128 + number)?.[0];
}

/** One run of one container by runc: from its own fresh root file system to its exit code. */
export class Container {
  private output: Buffer[] = [];
  private processes = 0;
  private readonly bundle: string;
  private readonly pidFile: string;
  /** Set once the process has ended. */
  exitCode: number | undefined;
  readonly startedAt = new Date();

  constructor(
    private readonly ns: Namespace,
    folder: string,
    readonly spec: ContainerSpec,
    private readonly onOutput: (chunk: Buffer) => void,
  ) {
    this.bundle = join(folder, 'bundles', spec.id);
    this.pidFile = join(this.bundle, 'pid');
  }

  get log(): string {
    return Buffer.concat(this.output).toString();
  }

  /** PID 1 of the container as the host sees it. */
  get hostPid(): number | undefined {
    return cgroupProcesses(this.spec.cgroup).find((pid) => {
      try {
        const ids = /^NSpid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]?.split(/\s+/) ?? [];
        return ids.length > 2 && ids.at(-1) === '1';
      } catch {
        return false;
      }
    });
  }

  get hostPids(): number[] {
    return cgroupProcesses(this.spec.cgroup);
  }

  /** Runs it to its end; `started` is called as soon as its process is there. */
  async run(started: () => void): Promise<number> {
    try {
      this.exitCode = await this.execute(started);
      return this.exitCode;
    } finally {
      // Whatever went wrong, nobody may wait for it any longer.
      this.exitCode ??= 128;
    }
  }

  private async execute(started: () => void): Promise<number> {
    mkdirSync(this.bundle, { recursive: true });
    writeFileSync(join(this.bundle, 'config.json'), JSON.stringify(ociConfig(this.spec)));
    await this.mountRoot();
    const shim = [SHIM, join(this.bundle, 'state'), this.bundle, this.pidFile, this.spec.id];
    const child = this.ns.spawn([...PIPED, ...shim]);
    child.stdout?.on('data', (chunk) => {
      this.output.push(chunk);
      this.onOutput(chunk);
    });
    child.stdin?.end();
    const ended = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? 137)));
    let over = false;
    ended.then(() => {
      over = true;
    });
    while (!over && !existsSync(this.pidFile)) await sleep(5);
    started();
    const exitCode = await ended;
    await this.unmountRoot();
    return exitCode;
  }

  /** Like `kubectl exec`. A timeout kills the process inside, too, and ends with 124 as timeout(1) does. */
  async exec(args: string[], options: ExecOptions = {}): Promise<ExecResult> {
    const base = join(this.bundle, `exec-${++this.processes}`);
    writeFileSync(`${base}.json`, JSON.stringify(processOf(this.spec, args, options.env)));
    const command = ['exec', '--process', `${base}.json`, '--pid-file', `${base}.pid`, this.spec.id];
    const { timeoutMs = 600_000, input } = options;
    const runc = ['runc', '--root', join(this.bundle, 'state'), ...command];
    const running = this.ns.run(runc, {
      timeoutMs: timeoutMs + 5_000,
      ...(input !== undefined && { input }),
    });
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      if (existsSync(`${base}.pid`)) this.ns.run(['kill', '-KILL', readFileSync(`${base}.pid`, 'utf8')]);
    }, timeoutMs);
    const result = await running;
    clearTimeout(timer);
    rmSync(`${base}.json`, { force: true });
    rmSync(`${base}.pid`, { force: true });
    return timedOut ? { ...result, exitCode: 124 } : result;
  }

  /** False if there is nothing to signal. */
  signal(signal: NodeJS.Signals): boolean {
    const pid = this.hostPid;
    if (pid === undefined) return false;
    try {
      process.kill(pid, signal);
      return true;
    } catch {
      return false;
    }
  }

  /** KILL, also to one that is only about to start; resolves when it has ended. */
  async kill(): Promise<void> {
    while (this.exitCode === undefined) {
      this.signal('SIGKILL');
      await sleep(10);
    }
  }

  private async mountRoot(): Promise<void> {
    const layers = this.spec.root.replace(/\/root$/, '');
    const inside = this.ns.path(layers);
    for (const folder of ['upper', 'work', 'root']) mkdirSync(join(inside, folder), { recursive: true });
    const options = `lowerdir=${this.spec.image},upperdir=${layers}/upper,workdir=${layers}/work`;
    await this.ns.must(['mount', '-t', 'overlay', 'overlay', '-o', options, this.spec.root]);
  }

  private async unmountRoot(): Promise<void> {
    const layers = this.spec.root.replace(/\/root$/, '');
    await this.ns.run(['bash', '--norc', '-c', 'umount -l "$1/root" && rm -rf "$1"', 'unmount', layers]);
  }
}
