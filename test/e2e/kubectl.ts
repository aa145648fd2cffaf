import { execFile } from 'node:child_process';

export interface Result {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/**
 * Runs kubectl, which finds its cluster by $KUBECONFIG as always, whatever it ends with.
 *
 * @param program another kubectl than the one on the PATH
 */
export function tryKubectl(args: readonly string[], input?: string, program = 'kubectl'): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') {
        reject(new Error(`kubectl could not be run (${error.message}); install it and put it on the PATH`));
        return;
      }
      resolve({ status: (error?.code as number | undefined) ?? 0, stdout, stderr });
    });
    // A kubectl that ends early does not read its input: the exit code says what was wrong.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input ?? '');
  });
}

/** @returns stdout */
export async function kubectl(args: readonly string[], input?: string, program?: string): Promise<string> {
  const { status, stdout, stderr } = await tryKubectl(args, input, program);
  if (status !== 0) throw new Error(`kubectl ${args.join(' ')} ended with ${status}\n${stderr}${stdout.slice(-2000)}`);
  return stdout;
}

export async function getJson<T>(args: readonly string[]): Promise<T> {
  return JSON.parse(await kubectl(['get', ...args, '-o', 'json'])) as T;
}

export async function getItems<T>(args: readonly string[]): Promise<readonly T[]> {
  return (await getJson<{ items: readonly T[] }>(args)).items;
}

export const sleep = (seconds: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, seconds * 1000);
  });

/** Asks until the answer is not undefined. What it throws ends the wait: more time would not help. */
export async function poll<T>(what: string, seconds: number, ask: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(`${what} did not happen within ${seconds} s`);
    await sleep(0.5);
  }
}
