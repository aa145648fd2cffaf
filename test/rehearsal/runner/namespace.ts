import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';

export interface Output {
  exitCode: number;
  stdout: string;
  stderr: string;
}

interface RunOptions {
  input?: string | Buffer;
  timeoutMs?: number;
  env?: Record<string, string>;
}

/** Collects a process's output; never rejects for an exit code. */
export function collect(child: ChildProcess, options: RunOptions = {}): Promise<Output> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on('data', (chunk) => out.push(chunk));
    child.stderr?.on('data', (chunk) => err.push(chunk));
    const timer =
      options.timeoutMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), options.timeoutMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const exitCode = code ?? 128 + (signal === 'SIGKILL' ? 9 : 15);
      resolve({ exitCode, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
    // A process that reads no input and ends closes the pipe: its exit code says what matters.
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** A network, mount and process namespace of the rehearsal's own; closing it ends and unmounts all that is inside. */
export class Namespace {
  private closed = false;

  private constructor(
    private readonly holder: ChildProcess,
    readonly pid: number,
  ) {}

  static async open(folder: string): Promise<Namespace> {
    const isolate = ['unshare', '--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const command = [...isolate, '--propagation', 'private', join(__dirname, 'holder.sh'), folder];
    const holder = spawn('setpriv', ['--pdeathsig', 'KILL', ...command], { stdio: ['pipe', 'pipe', 'pipe'] });
    const errors: Buffer[] = [];
    holder.stderr.on('data', (chunk) => errors.push(chunk));
    await new Promise<void>((resolve, reject) => {
      holder.stdout.once('data', () => resolve());
      holder.once('error', reject);
      holder.once('close', () => reject(new Error(`cannot make namespaces: ${Buffer.concat(errors).toString()}`)));
    });
    // A test process must be able to end while a rehearsal is open; the holder then ends, too.
    holder.unref();
    for (const stream of [holder.stdin, holder.stdout, holder.stderr]) (stream as unknown as { unref(): void }).unref();
    return new Namespace(holder, holder.pid as number);
  }

  /** A path inside, as this process can open it. */
  path(inside: string): string {
    // Node's recursive mkdir never returns below a process that is gone.
    if (this.closed) throw new Error('the rehearsal is closed');
    return `/proc/${this.pid}/root${inside}`;
  }

  spawn(command: string[], env?: Record<string, string>): ChildProcess {
    const enter = ['--target', String(this.pid), '--mount', '--net', `--pid=/proc/${this.pid}/ns/pid_for_children`];
    return spawn('nsenter', [...enter, '--', ...command], { stdio: ['pipe', 'pipe', 'pipe'], ...(env && { env }) });
  }

  run(command: string[], options: RunOptions = {}): Promise<Output> {
    return collect(this.spawn(command, options.env), options);
  }

  /** Rejects with what the command said when it fails. */
  async must(command: string[], options: RunOptions = {}): Promise<string> {
    const done = await this.run(command, options);
    if (done.exitCode !== 0)
      throw new Error(`\`${command.join(' ')}\` failed (${done.exitCode}): ${done.stderr.trim()}`);
    return done.stdout;
  }

  async close(): Promise<void> {
    this.closed = true;
    if (this.holder.exitCode !== null || this.holder.signalCode !== null) return;
    const gone = new Promise((resolve) => this.holder.once('exit', resolve));
    this.holder.ref();
    this.holder.kill('SIGKILL');
    await gone;
  }
}
