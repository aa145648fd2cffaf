import { spawnSync } from 'node:child_process';
import { resolve } from 'node:path';
import { unpackAll } from '../image/image';
import { containerCommand, decide, prepare } from './prepare';

/** Each project of Vitest runs its set-up with modules of its own, all in one process. */
const DONE = Symbol.for('cdk8s-postgres/set-up');

/** globalSetup of all tests: installs what is missing, unpacks images, and says what will be executed. */
export default async function setup(): Promise<void> {
  if (Reflect.get(globalThis, DONE)) return;
  Reflect.set(globalThis, DONE, true);
  const way = decide();
  if (way === 'packages') {
    prepare();
    const images = await unpackAll();
    const versions = images.map((one) => `${one.name} ${one.version} (${one.suite})`).join(', ');
    process.stderr.write(`rehearsal: executing images ${versions}\n`);
    return;
  }
  // Not runnable on the machine this was written on (no engine runs there): the decision and the command are unit-tested.
  const [engine = way, ...args] = containerCommand(way, resolve(__dirname, '../../..'));
  process.stderr.write(`rehearsal: this is not Debian as root, running the tests in a container of ${engine}\n`);
  process.exit(spawnSync(engine, args, { stdio: 'inherit' }).status ?? 1);
}
