import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const SETUP = join(__dirname, 'setup.sh');

/** How this machine can execute pods. */
export type Way = 'packages' | 'docker' | 'podman';

function setup(action: 'decide' | 'install'): string {
  const done = spawnSync(SETUP, [action], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (done.status !== 0) throw new Error((done.stderr || String(done.error)).trim());
  process.stderr.write(done.stderr);
  return done.stdout.trim();
}

export const decide = () => setup('decide') as Way;

/** The same `npm test` in a privileged Debian container of Node; its own node_modules, a cache that is kept. */
export function containerCommand(engine: 'docker' | 'podman', repository: string): string[] {
  const cache = 'cdk8s-postgres-rehearsal-cache:/root/.cache';
  const tests = ['npx', 'vitest', 'run', '--config', 'test/vitest.config.ts'];
  const pass = ['TEST_MAJORS', 'REHEARSAL_ENTRYPOINT', 'CI'].flatMap((name) => ['-e', name]);
  return [
    ...[engine, 'run', '--rm', '--privileged', '-e', 'REHEARSAL_IN_CONTAINER=1', ...pass],
    ...['-v', `${repository}:${repository}`, '-v', `${repository}/node_modules`, '-v', cache, '-v', '/tmp'],
    ...['-w', repository, 'node:20-bookworm', 'test/rehearsal/setup/inside.sh', ...tests],
  ];
}

let prepared = false;

/** Makes sure, once per process, that what the runner calls is installed. */
export function prepare(): void {
  if (prepared) return;
  const way = decide();
  if (way !== 'packages')
    throw new Error(`this machine rehearses in a container of ${way}: run \`npm test\`, which starts it`);
  setup('install');
  prepared = true;
}
