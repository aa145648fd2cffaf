import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { containerCommand } from './prepare';

const SETUP = join(__dirname, 'setup.sh');
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'setup-'));
  mkdirSync(join(folder, 'bin'));
  for (const tool of ['bash', 'grep', 'env']) symlinkSync(`/bin/${tool}`, join(folder, 'bin', tool));
  fake('id', 'echo 0');
  fake('unshare', 'exit 0');
  fake('apt-get', 'echo "$@" >>"$LOG"; echo "Setting up"');
  writeFileSync(join(folder, 'os-release'), 'ID=debian\n');
});
afterEach(() => rmSync(folder, { recursive: true }));

function fake(name: string, script: string): void {
  const file = join(folder, 'bin', name);
  writeFileSync(file, `#!/bin/bash\n${script}\n`);
  chmodSync(file, 0o755);
}

function setup(action: string, env: Record<string, string> = {}) {
  const done = spawnSync('/bin/bash', [SETUP, action], {
    encoding: 'utf8',
    env: { PATH: join(folder, 'bin'), OS_RELEASE: join(folder, 'os-release'), LOG: join(folder, 'log'), ...env },
  });
  return { status: done.status, out: done.stdout, err: done.stderr };
}

describe('deciding how to execute pods', () => {
  it('takes Debian as root', () => {
    fake('docker', 'exit 0');
    expect(setup('decide')).toEqual({ status: 0, out: 'packages\n', err: '' });
  });

  it.each([
    ['another user', () => fake('id', 'echo 1000')],
    ['another system', () => writeFileSync(join(folder, 'os-release'), 'ID=fedora\n')],
    ['a container without privileges', () => fake('unshare', 'exit 1')],
  ])('takes an engine for %s', (_, change) => {
    change();
    fake('podman', 'exit 0');
    expect(setup('decide').out).toBe('podman\n');
    fake('docker', 'exit 0');
    expect(setup('decide').out).toBe('docker\n');
  });

  it('does not take an engine that is installed and does not run', () => {
    fake('id', 'echo 1000');
    fake('docker', 'exit 1');
    fake('podman', 'exit 0');
    expect(setup('decide').out).toBe('podman\n');
  });

  it('fails with one line that says what helps', () => {
    fake('id', 'echo 1000');
    const { status, out, err } = setup('decide');
    expect(status).toBe(1);
    expect(out).toBe('');
    expect(err).toBe(
      'rehearsal: error: pods are executed on Debian as root, or anywhere with docker or podman; ' +
        'start one of these engines, or run npm test on Debian as root\n',
    );
  });

  it('does not start a container in a container', () => {
    fake('unshare', 'exit 1');
    fake('docker', 'exit 0');
    const { status, err } = setup('decide', { REHEARSAL_IN_CONTAINER: '1' });
    expect(status).toBe(1);
    expect(err).toContain('must run with --privileged');
  });

  it('mounts the repository and the cache, and keeps node_modules of the other platform away', () => {
    const command = containerCommand('podman', '/src/repo').join(' ');
    expect(command).toMatch(/^podman run --rm --privileged -e REHEARSAL_IN_CONTAINER=1 /);
    expect(command).toContain(' -v /src/repo:/src/repo -v /src/repo/node_modules -v cdk8s-postgres-rehearsal-cache:/');
    expect(command).toContain(' -w /src/repo node:20-bookworm test/rehearsal/setup/inside.sh npx vitest run ');
  });
});

describe('installing packages', () => {
  const log = () => spawnSync('cat', [join(folder, 'log')], { encoding: 'utf8' }).stdout;

  it('calls apt-get for nothing when all is there', () => {
    fake(
      'dpkg-query',
      'while [ "${1#-}" != "$1" ] || [[ $1 == *Status* ]]; do shift; done; printf "%s installed\\n" "$@"',
    );
    expect(setup('install')).toEqual({ status: 0, out: '', err: '' });
    expect(log()).toBe('');
  });

  it('installs only what is missing', () => {
    fake('dpkg-query', 'shift 3; for p; do [ "$p" = runc ] && echo "runc not-installed" || echo "$p installed"; done');
    expect(setup('install').err).toBe('rehearsal: installing runc\n');
    expect(log()).toMatch(/ install runc\n$/);
  });

  it('updates the lists once, and says what to install by hand if that does not help', () => {
    fake('dpkg-query', 'exit 1');
    fake('apt-get', 'echo "$@" >>"$LOG"; [[ $* == *update* ]]');
    const { status, err } = setup('install');
    expect(status).toBe(1);
    expect(err).toMatch(/apt-get could not install runc .*; install them by hand\n$/);
    expect(log().match(/update/g)).toHaveLength(1);
  });
});
