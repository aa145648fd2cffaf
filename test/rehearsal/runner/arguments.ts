import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** Remembers every argument list that was executed in a rehearsal's containers. */
export class ArgumentsSeen {
  private readonly seen = new Map<string, string[]>();
  private constructor(private readonly watcher: ChildProcess) {}

  static async open(rehearsal: string): Promise<ArgumentsSeen> {
    const script = ['/usr/bin/python3', join(__dirname, '..', 'watch-exec.py'), rehearsal];
    const watcher = spawn('setpriv', ['--pdeathsig', 'KILL', ...script], { stdio: ['ignore', 'pipe', 'inherit'] });
    const watched = new ArgumentsSeen(watcher);
    const lines = createInterface({ input: watcher.stdout });
    await new Promise<void>((resolve, reject) => {
      lines.on('line', (line) => {
        if (line === 'ready') resolve();
        else watched.seen.set(line, JSON.parse(line));
      });
      watcher.once('close', () => reject(new Error('the watcher of executed programs has ended')));
      watcher.once('error', reject);
    });
    watcher.unref();
    (watcher.stdout as unknown as { unref(): void }).unref();
    return watched;
  }

  list(): string[][] {
    return [...this.seen.values()];
  }

  close(): void {
    this.watcher.kill('SIGKILL');
  }
}
