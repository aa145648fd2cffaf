import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type KubeObject, Rehearsal, type StartOptions } from '.';

const HARDENED = { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } };
const AS_999 = { runAsUser: 999, runAsGroup: 999, runAsNonRoot: true };

interface Parts {
  script: string;
  container?: object;
  pod?: object;
  job?: object;
  labels?: Record<string, string>;
}

function template({ script, container = {}, pod = {}, labels = {} }: Parts) {
  const main = { name: 'main', command: ['bash', '-c', script], securityContext: HARDENED, ...container };
  const spec = { restartPolicy: 'Never', automountServiceAccountToken: false, securityContext: AS_999, ...pod };
  return { metadata: { labels }, spec: { ...spec, containers: [main] } };
}

/** The machine may be busy: what comes, comes within seconds. */
const soon = <T>(look: () => T) => expect.poll(look, { timeout: 15_000 });

let cluster: Rehearsal;
let folder: string;
let count = 0;

/** One try of a script in a pod; the log on success, otherwise an error with the log. */
async function run(parts: Parts, options: StartOptions = {}): Promise<string> {
  const result = await runJob(parts, options);
  if (!result.succeeded) throw new Error(result.log);
  return result.log.trim();
}

function runJob(parts: Parts, options: StartOptions = {}) {
  const name = `job-${++count}`;
  const spec = { backoffLimit: 0, ...parts.job, template: template(parts) };
  cluster.apply([{ apiVersion: 'batch/v1', kind: 'Job', metadata: { name, namespace: 'data' }, spec }]);
  return cluster.runJob(name, options);
}

async function start(parts: Parts) {
  const name = `pod-${++count}`;
  cluster.apply([
    { apiVersion: 'v1', kind: 'Pod', ...template(parts), metadata: { name, labels: parts.labels ?? {} } },
  ]);
  return cluster.startPod(name);
}

const claim = (claimName: string) => ({ name: 'v', persistentVolumeClaim: { claimName } });
const mounted = (mountPath: string, more: object = {}) => ({ volumeMounts: [{ name: 'v', mountPath, ...more }] });

const OBJECTS: KubeObject[] = [
  { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'files', namespace: 'data' }, stringData: { a: 'A', b: 'B' } },
  { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'scripts' }, data: { 'run.sh': 'echo run' } },
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'data' },
    spec: { selector: { app: 'web' }, ports: [{ port: 8080 }] },
  },
];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'runner-test-'));
  cluster = await Rehearsal.open({
    objects: OBJECTS,
    major: 18,
    name: 'runner',
    volumes: {
      plain: { kind: 'plain' },
      block: { kind: 'block', sizeMiB: 32 },
      squash: { kind: 'squash' },
      full: { kind: 'full', sizeMiB: 8 },
      'small-squash': { kind: 'squash', sizeMiB: 4 },
      other: { kind: 'block' },
    },
  });
});
afterAll(async () => {
  await cluster?.close();
  rmSync(folder, { recursive: true });
});

describe('which image a container runs', () => {
  const OTHER = 'registry.example.com/other:1';
  const without = { command: undefined, image: OTHER };

  it('is the one that it names, each container its own', async () => {
    const mine = {
      name: 'init',
      image: 'postgres:18.3-trixie',
      command: ['bash', '-c', 'type -P psql; echo [$OTHER]'],
    };
    const script = 'type psql; echo [$OTHER] [$PG_MAJOR]';
    const pod = { initContainers: [mine], securityContext: { runAsUser: 999 } };
    const log = await run({ script, pod, container: { image: OTHER, command: ['sh', '-c', script] } });
    expect(log).toBe('/usr/bin/psql\n[]\npsql: not found\n[yes] []');
  });

  it('has that one’s entrypoint, command, user and declared volume', async () => {
    const pod = { securityContext: {} };
    expect(await run({ script: '', pod, container: without })).toBe('this is the other image');
    const args = ['id -u; id -g; cat /declared/file; stat -c %u:%g /declared; touch /declared/x /tmp/x'];
    const log = await run({ script: '', pod, container: { ...without, args, securityContext: {} } });
    expect(log).toBe('1234\n1234\nfrom the image\n1234:5678');
  });

  it('gets that one’s stop signal', async () => {
    const args = ['trap "echo quit; exit 0" QUIT; while :; do sleep 0.1; done'];
    const pod = await start({ script: '', pod: { securityContext: {} }, container: { ...without, args } });
    await pod.waitReady();
    await pod.stop();
    expect(pod.logs()).toBe('quit\n');
    expect(pod.events.map((one) => one.message)).toContain('stopping container with SIGQUIT');
  });

  it('is refused as by a kubelet that can’t tell whether a named user is root', async () => {
    const pod = { securityContext: { runAsNonRoot: true } };
    await expect(run({ script: '', pod, container: without })).rejects.toThrow(
      'CreateContainerConfigError: container has runAsNonRoot and image has non-numeric user (one), cannot verify user is non-root',
    );
  });

  it('is never PostgreSQL for a name that nobody knows', async () => {
    await expect(run({ script: 'id', container: { image: 'alpine:3' } })).rejects.toThrow(
      'the rehearsal has no image `alpine:3`; add a recipe to test/rehearsal/image/recipes and list it in recipes.ts',
    );
  });
});

describe('who a container is', () => {
  it('is 999 with no capability and no way to gain one, as PID 1', async () => {
    const log = await run({ script: 'echo $BASHPID; grep -E "^(Uid|Gid|Groups|Cap|NoNewPrivs)" /proc/self/status' });
    expect(log.split(/\s*\n/)).toEqual([
      '1',
      'Uid:\t999\t999\t999\t999',
      'Gid:\t999\t999\t999\t999',
      'Groups:\t101', // ssl-cert, of which the image makes postgres a member
      ...['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t0000000000000000`),
      'NoNewPrivs:\t1',
    ]);
  });

  it('has fsGroup and supplementalGroups', async () => {
    const pod = { securityContext: { ...AS_999, fsGroup: 1234, supplementalGroups: [4321] } };
    expect(await run({ script: 'id -G', pod })).toBe('999 101 1234 4321');
  });

  it('is root where nobody says otherwise, and refused where runAsNonRoot says so', async () => {
    expect(await run({ script: 'id -u', pod: { securityContext: {} }, container: { securityContext: {} } })).toBe('0');
    await expect(run({ script: 'id', pod: { securityContext: { runAsNonRoot: true } } })).rejects.toThrow(
      'CreateContainerConfigError: container has runAsNonRoot and image will run as root',
    );
  });

  it('execs with the same confinement, real pipes and the exit code', async () => {
    const pod = await start({ script: 'sleep 100' });
    await pod.waitReady();
    const script = 'id -u; grep CapBnd /proc/self/status; cat; echo err >/dev/stderr; exit 3';
    expect(await pod.exec(['bash', '-c', script], { input: 'given' })).toEqual({
      exitCode: 3,
      stdout: '999\nCapBnd:\t0000000000000000\ngiven',
      stderr: 'err\n',
    });
    expect((await pod.exec(['sleep', '30'], { timeoutMs: 200 })).exitCode).toBe(124);
    await soon(() => pod.processes().length).toBe(1);
    await pod.kill9();
  });
});

describe('files', () => {
  it('has a read-only root with the exception of mounts', async () => {
    const script = 'touch /etc/x /tmp/x || touch /v/x && stat -c %a /v';
    const pod = { volumes: [{ name: 'v', emptyDir: {} }] };
    expect(await run({ script, pod, container: mounted('/v') })).toMatch(/Read-only file system\n777$/s);
  });

  it('keeps the order of what is written to output and error', async () => {
    const script = 'for i in 1 2 3 4 5 6 7 8 9; do echo out $i; echo err $i >&2; done';
    const lines = [1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((i) => [`out ${i}`, `err ${i}`]);
    expect(await run({ script })).toBe(lines.join('\n'));
  });

  it('throws a writable root away with the container', async () => {
    const parts = { script: 'ls /tmp; touch /tmp/x', container: { securityContext: {} } };
    expect(await run(parts)).toBe('');
    expect(await run(parts)).toBe('');
  });

  it('lays an anonymous folder on a declared volume that the pod does not mount, gone with the container', async () => {
    const script = 'cd /var/lib/postgresql; stat -c "%u %a" .; ls; touch lost';
    const pod = { volumes: [claim('plain')] };
    expect(await run({ script, pod, container: mounted('/v') })).toBe('999 1777');
    expect(await run({ script, pod, container: mounted('/v') })).toBe('999 1777');
    await run({ script: 'touch /var/lib/postgresql/kept', pod, container: mounted('/var/lib/postgresql') });
    expect(cluster.claim('plain').list()).toEqual(['kept']);
  });

  it('gives Secrets and ConfigMaps as links to read-only files with their modes', async () => {
    const secret = {
      secretName: 'files',
      defaultMode: 0o400,
      items: [
        { key: 'a', path: 'sub/a', mode: 0o444 },
        { key: 'b', path: 'b' },
      ],
    };
    const script = 'cd /v; readlink b ..data; stat -L -c "%n %u:%g %a" b sub/a; cat sub/a; cat b; echo x >sub/a';
    const result = await runJob({ script, pod: { volumes: [{ name: 'v', secret }] }, container: mounted('/v') });
    expect(result.log).toMatch(
      /^\.\.data\/b\n\.\.2026_\S+\nb 0:0 400\nsub\/a 0:0 444\nAcat: b: Permission denied\n.*Read-only file system\n$/s,
    );
    const configMap = { name: 'scripts', defaultMode: 0o555 };
    const parts = { pod: { volumes: [{ name: 'v', configMap }] }, container: mounted('/v') };
    expect(await run({ script: '/v/run.sh', ...parts })).toBe('run');
    const one = mounted('/opt/run.sh', { subPath: 'run.sh' });
    expect(await run({ script: 'stat -c %F /opt/run.sh', ...parts, container: one })).toBe('regular file');
  });

  it('makes secret files readable for fsGroup', async () => {
    const pod = {
      securityContext: { ...AS_999, fsGroup: 999 },
      volumes: [{ name: 'v', secret: { secretName: 'files', defaultMode: 0o400 } }],
    };
    expect(await run({ script: 'stat -L -c "%u:%g %a" /v/a', pod, container: mounted('/v') })).toBe('0:999 440');
  });

  it('limits an emptyDir in memory', async () => {
    const pod = { volumes: [{ name: 'v', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } }] };
    const parts = { script: 'stat -f -c %T /v; head -c 2M /dev/zero >/v/x', pod, container: mounted('/v') };
    const { succeeded, log } = await runJob(parts);
    expect(succeeded).toBe(false);
    expect(log).toMatch(/^tmpfs\n.*No space left on device/s);
  });

  it('mounts inner paths over outer ones, whatever their order', async () => {
    const volumes = [claim('plain'), { name: 'inner', emptyDir: {} }];
    const volumeMounts = [
      { name: 'inner', mountPath: '/v/inner' },
      { name: 'v', mountPath: '/v' },
    ];
    const script = 'grep -c " /v/inner " /proc/self/mountinfo; touch /v/inner/x';
    expect(await run({ script, pod: { volumes }, container: { volumeMounts } })).toBe('1');
    expect(cluster.claim('plain').list()).not.toContain('inner/x');
  });

  it('makes the folder of a subPath when the container starts, after the init containers', async () => {
    const volumes = [{ name: 'v', emptyDir: {} }];
    const init = {
      name: 'init',
      command: ['bash', '-c', 'mkdir -m 750 /all/own'],
      ...mounted('/all'),
      securityContext: HARDENED,
    };
    const pod = { volumes, initContainers: [init] };
    const container = {
      volumeMounts: [
        { name: 'v', mountPath: '/own', subPath: 'own' },
        { name: 'v', mountPath: '/new', subPath: 'new' },
      ],
    };
    expect(await run({ script: 'stat -c "%u %a" /own /new', pod, container })).toBe('999 750\n0 777');
  });

  it('puts files over those of the image', async () => {
    const file = join(folder, 'pg_dumpall');
    writeFileSync(file, '#!/bin/bash\necho broken\nexit 3\n');
    chmodSync(file, 0o600);
    const overlay = { '/usr/local/bin/pg_dumpall': file };
    const result = await runJob({ script: 'pg_dumpall' }, { overlay });
    expect(result.attempts).toEqual([{ exitCode: 3, log: 'broken\n' }]);
  });
});

describe('claims', () => {
  const parts = (name: string, script: string, security: object = AS_999): Parts => ({
    script,
    pod: { volumes: [claim(name)], securityContext: security },
    container: mounted('/v'),
  });

  it('a block volume is of root with lost+found until fsGroup makes it the group’s', async () => {
    const show = 'stat -c "%u:%g %a" /v; ls /v; stat -f -c %T /v; touch /v/x';
    const without = await runJob(parts('block', show));
    expect(without.log).toMatch(/^0:0 755\nlost\+found\next2\/ext3\n.*Permission denied/s);
    const security = { ...AS_999, fsGroup: 999 };
    expect(await run(parts('block', show, security))).toMatch(/^0:999 2775\nlost\+found\n/);
  });

  it('fsGroup loosens what is 0700 on every start, unless OnRootMismatch finds the root as it should be', async () => {
    const make = 'mkdir -p /v/pgdata; chmod 700 /v/pgdata; stat -c %a /v/pgdata';
    const security = { ...AS_999, fsGroup: 999 };
    const careful = { ...security, fsGroupChangePolicy: 'OnRootMismatch' };
    expect(await run(parts('other', make, careful))).toBe('2700');
    expect(await run(parts('other', 'stat -c %a /v/pgdata', careful))).toBe('2700');
    expect(await run(parts('other', 'stat -c %a /v/pgdata', security))).toBe('2770');
  });

  it('a squashed export treats root as nobody, 999 as 999, and ignores fsGroup', async () => {
    const root = { securityContext: {}, volumes: [claim('squash')] };
    const script =
      'id -u; touch /v/of-root; stat -c %u /v/of-root; chown 999 /v/of-root; chmod 777 /v/of-999; cat /v/secret/x';
    const prepare =
      'touch /v/of-999; mkdir -m 700 /v/secret; echo x >/v/secret/x; stat -c "%u %a" /v /v/of-999 /v/secret';
    expect(await run(parts('squash', prepare, { ...AS_999, fsGroup: 999 }))).toBe('65534 777\n999 644\n999 700');
    const { log } = await runJob({ script, pod: root, container: { ...mounted('/v'), securityContext: {} } });
    expect(log).toMatch(
      /^0\n65534\nchown: .*Operation not permitted\nchmod: .*Operation not permitted\ncat: .*Permission denied\n$/s,
    );
    const tools =
      'exec 9>/v/lock; flock -n 9 && sync /v/lock && mv /v/of-999 /v/moved && ln -s moved /v/link && cat /v/link && echo works';
    expect(await run(parts('squash', tools))).toBe('works');
    expect(cluster.claim('squash').list()).toEqual(['link', 'lock', 'moved', 'of-root', 'secret/', 'secret/x']);
  });

  it('a squashed export shows what was changed from outside', async () => {
    const file = join(cluster.claim('squash').path, 'outside');
    writeFileSync(file, 'longer than before');
    chmodSync(file, 0o644);
    expect(await run(parts('squash', 'cat /v/outside'))).toBe('longer than before');
    writeFileSync(file, 'short');
    expect(await run(parts('squash', 'cat /v/outside'))).toBe('short');
  });

  it('a full volume is full', async () => {
    const { log } = await runJob(parts('full', 'head -c 7M /dev/zero >/v/fits && head -c 2M /dev/zero >/v/does-not'));
    expect(log).toMatch(/No space left on device/);
    expect(statSync(join(cluster.claim('full').path, 'fits')).size).toBe(7 * 2 ** 20);
  });

  it('limits other kinds in the same way', async () => {
    const fill = 'stat -c %u /v; head -c 5M /dev/zero >/v/x';
    expect((await runJob(parts('small-squash', fill))).log).toMatch(/^65534\n.*No space left on device/);
    const security = { ...AS_999, fsGroup: 999 };
    expect((await runJob(parts('block', 'head -c 40M /dev/zero >/v/x', security))).log).toMatch(
      /No space left on device/,
    );
  });

  it('refuses a claim that is not there', async () => {
    await expect(run(parts('missing', 'true'))).rejects.toThrow('persistentvolumeclaim "missing" not found');
    expect(() => cluster.claim('missing')).toThrow('claim `missing` is not bound; bound are `plain`');
  });
});

describe('life of a pod', () => {
  it('runs init containers in order, and again until they succeed', async () => {
    const init = (name: string, script: string) => ({ name, command: ['bash', '-c', script], ...mounted('/v') });
    const pod = {
      restartPolicy: 'OnFailure',
      volumes: [{ name: 'v', emptyDir: {} }],
      initContainers: [
        init('one', 'echo one; [ -e /v/again ] || { touch /v/again; exit 1; }'),
        init('two', 'echo two'),
      ],
    };
    const result = await runJob({ script: 'echo main', pod, job: { backoffLimit: 1 } });
    expect(result.log).toBe('one\none\ntwo\nmain\n');
    expect(result.attempts.map((one) => one.exitCode)).toEqual([1, 0]);
  });

  it('stops with the image’s SIGINT, after preStop, and kills what does not listen', async () => {
    const polite = await start({
      script:
        'trap "echo got INT; exit 0" INT; trap "echo got TERM; exit 0" TERM; echo up; while :; do sleep 0.05; done',
      container: { lifecycle: { preStop: { exec: { command: ['bash', '-c', 'echo preStop >/proc/1/fd/1'] } } } },
    });
    await soon(() => polite.logs()).toBe('up\n');
    await polite.stop();
    expect(polite.logs()).toBe('up\npreStop\ngot INT\n');
    const deaf = await start({ script: 'trap "" INT; echo up; sleep 100', pod: { terminationGracePeriodSeconds: 1 } });
    await soon(() => deaf.logs()).toBe('up\n');
    const begun = Date.now();
    await deaf.stop();
    expect(Date.now() - begun).toBeGreaterThan(900);
    expect(deaf.events.at(-1)?.message).toBe('exit code 137 (SIGKILL)');
  });

  it('leaves no orphan when everything is killed at once', async () => {
    const pod = await start({ script: 'setsid sleep 1000 & (sleep 1001 & sleep 1002) & wait' });
    await soon(() => pod.processes().length).toBe(5);
    const pids = pod.processes();
    await pod.kill9();
    expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    expect(pod.phase).toBe('Failed');
  });

  it('restarts a container in place, with a fresh root and the same volumes', async () => {
    const script = 'ls /tmp /v; touch /tmp/x /v/x; echo done; exec sleep 100';
    const pod = { restartPolicy: 'Always', volumes: [{ name: 'v', emptyDir: {} }] };
    const handle = await start({ script, pod, container: { ...mounted('/v'), securityContext: {} } });
    await handle.waitReady();
    await soon(() => handle.logs()).toBe('/tmp:\n\n/v:\ndone\n');
    await handle.signal('main', 'SIGKILL');
    await soon(() => handle.logs()).toBe('/tmp:\n\n/v:\ndone\n/tmp:\n\n/v:\nx\ndone\n');
    expect(handle.restartCount).toBe(1);
    await handle.kill9();
  });

  it('enforces the memory limit', async () => {
    const container = { resources: { limits: { memory: '32Mi' } } };
    const { attempts } = await runJob({ script: 'a=$(head -c 100M /dev/zero | tr "\\0" x); echo ${#a}', container });
    expect(attempts).toEqual([{ exitCode: 137, signal: 'SIGKILL', log: '' }]);
  });
});

describe('probes', () => {
  const exec = (script: string, more: object = {}) => ({
    exec: { command: ['bash', '-c', script] },
    periodSeconds: 1,
    ...more,
  });
  const volumes = [{ name: 'v', emptyDir: {} }];

  it('asks nothing else before the startup probe has succeeded, and is not ready', async () => {
    const container = {
      ...mounted('/v'),
      startupProbe: exec('[ -e /v/up ]', { failureThreshold: 100 }),
      livenessProbe: exec('touch /v/asked'),
    };
    const pod = await start({ script: 'sleep 100', container, pod: { volumes } });
    await sleep(1300);
    expect(pod.ready).toBe(false);
    expect((await pod.exec(['ls', '/v'])).stdout).toBe('');
    await pod.exec(['touch', '/v/up']);
    await pod.waitReady();
    await soon(async () => (await pod.exec(['ls', '/v'])).stdout).toBe('asked\nup\n');
    await pod.kill9();
  });

  it('restarts what is not alive, and what does not start in time', async () => {
    const dead = { livenessProbe: exec('exit 1', { failureThreshold: 2 }) };
    const never = { startupProbe: exec('exit 1', { failureThreshold: 1 }) };
    for (const container of [dead, never]) {
      const script = 'trap "exit 7" INT; while :; do sleep 0.05; done';
      const pod = await start({ script, container, pod: { restartPolicy: 'Always' } });
      await soon(() => pod.restartCount).toBeGreaterThan(0);
      expect(pod.events.map((one) => one.message)).toContain('exit code 7');
      await pod.kill9();
    }
  });

  it('counts a probe that takes too long as failed', async () => {
    const container = { readinessProbe: exec('sleep 30', { timeoutSeconds: 1, failureThreshold: 1 }) };
    const pod = await start({ script: 'sleep 100', container });
    await soon(() => pod.events.map((one) => one.message)).toContain('readiness probe failed: timed out after 1 s');
    await pod.kill9();
  });

  it('leads a Service to a ready pod only', async () => {
    const listen =
      'perl -MSocket -e \'socket(S,2,1,0);setsockopt(S,1,2,1);bind(S,sockaddr_in(8080,"\\0"x4));listen(S,5);while(accept(C,S)){print C "hello\\n";close C}\'';
    const container = {
      ports: [{ containerPort: 8080 }],
      startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
      readinessProbe: exec('[ -e /v/ready ]', { failureThreshold: 1 }),
      ...mounted('/v'),
    };
    const ask = (name: string) => run({ script: `exec 3<>/dev/tcp/${name}/8080 || exit 1; cat <&3; hostname -i` });
    const pod = await start({ script: listen, container, pod: { volumes }, labels: { app: 'web' } });
    await soon(async () => {
      if (!pod.events.some((one) => one.reason === 'Started')) return 'not yet';
      return (await pod.exec(['bash', '-c', '</dev/tcp/127.0.0.1/8080 && echo listens'])).stdout;
    }).toBe('listens\n');
    await expect(ask('web')).rejects.toThrow('Connection refused');
    await pod.exec(['touch', '/v/ready']);
    await pod.waitReady();
    expect(await ask('web')).toMatch(/^hello\n10\.244\./);
    expect(await ask('web.data.svc.cluster.local')).toMatch(/^hello\n/);
    await pod.exec(['rm', '/v/ready']);
    await soon(() => pod.ready).toBe(false);
    await expect(ask('web')).rejects.toThrow('Connection refused');
    await pod.kill9();
  });
});

describe('Jobs', () => {
  const failing = { script: 'echo try; exit 3' };

  it.each(['OnFailure', 'Never'])('tries again as often as backoffLimit says under %s', async (restartPolicy) => {
    const result = await runJob({ ...failing, pod: { restartPolicy }, job: { backoffLimit: 2 } }, {
      backoffMs: 10,
    } as StartOptions);
    const attempt = { exitCode: 3, log: 'try\n' };
    expect(result).toEqual({
      succeeded: false,
      reason: 'BackoffLimitExceeded',
      attempts: [attempt, attempt, attempt],
      log: 'try\ntry\ntry\n',
    });
  });

  it('refuses a restartPolicy that Jobs cannot have', async () => {
    await expect(runJob({ ...failing, pod: { restartPolicy: 'Always' } })).rejects.toThrow(
      'must be `OnFailure` or `Never`',
    );
  });

  it('ends at its deadline, gently', async () => {
    // Half a second was not enough on a busy machine: PID 1 does not get a signal that it has no handler for yet.
    const script = 'trap "echo bye; exit 4" INT; while :; do sleep 0.05; done';
    const result = await runJob({ script, job: { activeDeadlineSeconds: 20 } }, { deadlineScale: 0.1 } as StartOptions);
    expect(result).toMatchObject({ reason: 'DeadlineExceeded', log: 'bye\n', attempts: [{ exitCode: 4 }] });
  });

  it('fails at once where podFailurePolicy says so', async () => {
    const rules = [{ action: 'FailJob', onExitCodes: { operator: 'In', values: [3] } }];
    const result = await runJob({ ...failing, job: { backoffLimit: 5, podFailurePolicy: { rules } } });
    expect(result).toMatchObject({ reason: 'PodFailurePolicy', attempts: [{ exitCode: 3 }] });
  });

  it('goes on after its pod was killed, and ends when it is deleted', async () => {
    const script = 'trap "exit 9" INT; echo begun; while :; do sleep 0.05; done';
    cluster.apply([
      {
        apiVersion: 'batch/v1',
        kind: 'CronJob',
        metadata: { name: 'nightly', namespace: 'data' },
        spec: {
          schedule: '0 2 * * *',
          jobTemplate: { spec: { template: template({ script, pod: { restartPolicy: 'OnFailure' } }) } },
        },
      },
    ]);
    const job = await cluster.startCronJob('nightly');
    await soon(() => job.pod?.logs()).toBe('begun\n');
    expect(existsSync(`/proc/${job.pid}`)).toBe(true);
    await job.kill9();
    await soon(() => job.pod?.logs()).toBe('begun\nbegun\n');
    await job.stop();
    const { reason, attempts } = await job.wait();
    expect(reason).toBe('Deleted');
    expect(attempts.map((one) => one.exitCode)).toEqual([137, 9]);
  });

  it('shows its processes another time', async () => {
    const script = 'date -u +%F_%T; mawk "BEGIN { srand(); print int(srand() / 86400) }"; : >/v/x; date -u -r /v/x +%Y';
    const parts = { script, pod: { volumes: [{ name: 'v', emptyDir: {} }] }, container: mounted('/v') };
    const [now, , year] = (await run(parts, { clock: '2031-11-01 05:30:00' })).split('\n');
    expect(now).toMatch(/^2031-11-01_05:30:0\d$/);
    expect(year).toBe(String(new Date().getUTCFullYear()));
  });

  it('overrides the environment', async () => {
    const container = { env: [{ name: 'A', value: 'rendered' }], command: ['echo', '$(A)', '$(PGDATA)'] };
    expect(await run({ script: '', container }, { env: { A: 'given' } })).toBe('given $(PGDATA)');
  });
});

describe('around the pods', () => {
  it('remembers what was executed', async () => {
    await run({ script: 'sleep 0.0123; true' });
    await soon(() => cluster.processArguments()).toContainEqual(['sleep', '0.0123']);
  });

  it('leaves nothing behind: processes, files, cgroups', async () => {
    const other = await Rehearsal.open({
      objects: OBJECTS,
      major: 18,
      name: `gone-${process.pid}`,
      volumes: { s: { kind: 'squash' } },
    });
    other.apply([{ apiVersion: 'v1', kind: 'Pod', ...template({ script: 'sleep 2345' }), metadata: { name: 'x' } }]);
    const pod = await other.startPod('x');
    await pod.waitReady();
    const pids = pod.processes();
    expect(pids).not.toEqual([]);
    await other.close();
    await soon(() => pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    expect(leftovers(`gone-${process.pid}`)).toEqual([]);
  });

  // The one that ends by itself removes its folder; what it had no time for goes with the next rehearsal.
  it.each(['killed', 'ended'] as const)('cleans up after a test process that was %s', async (how) => {
    const script = `
      const { Rehearsal } = require(${JSON.stringify(join(__dirname, 'index.ts'))});
      const pod = ${JSON.stringify({ apiVersion: 'v1', kind: 'Pod', ...template({ script: 'sleep 3456' }), metadata: { name: 'x' } })};
      Rehearsal.open({ objects: [pod], major: 18, name: '${how}-${process.pid}' })
        .then((one) => one.startPod('x'))
        .then(async (one) => { await one.waitReady(); console.log(JSON.stringify(one.processes())); });
      process.stdin.once('data', () => process.exit(0));`;
    const child = spawn(process.execPath, ['--import', 'tsx', '-e', script], { cwd: join(__dirname, '../..') });
    const pids: number[] = await new Promise((resolve, reject) => {
      child.stdout.once('data', (text) => resolve(JSON.parse(String(text))));
      child.stderr.on('data', (text) => reject(new Error(String(text))));
    });
    expect(pids).not.toEqual([]);
    if (how === 'killed') child.kill('SIGKILL');
    else child.stdin.write('end');
    await soon(() => pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
    // Another rehearsal on this machine may have cleaned up already, so what is left now says nothing.
    // A cgroup can be removed only when the kernel has let go of its last process, a moment after /proc has.
    await soon(async () => {
      await (await Rehearsal.open({ objects: [], major: 18, name: 'next' })).close();
      return leftovers(`${how}-${process.pid}`);
    }).toEqual([]);
  });
});

/** Folders and cgroups of rehearsals of that name. */
function leftovers(name: string): string[] {
  const parents = [
    join(tmpdir(), 'cdk8s-postgres-rehearsal'),
    ...spawnSync('find', ['/sys/fs/cgroup', '-maxdepth', '2', '-name', 'cdk8s-rehearsal'])
      .stdout.toString()
      .trim()
      .split('\n'),
  ];
  return parents.filter(existsSync).flatMap((parent) => readdirSync(parent).filter((one) => one.includes(`-${name}-`)));
}
