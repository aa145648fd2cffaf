import fs from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { majors, Rehearsal } from '.';
import { DATA_CLAIM, homeLab, SERVER, type Variant } from './home-lab';
import type { KubeObject, Major, OpenOptions, PodHandle, VolumeKind } from './runner/types';

let cluster: Rehearsal | undefined;
afterEach(() => cluster?.close());

type Claims = { data: VolumeKind['kind'] };
async function open(major: Major, objects: KubeObject[], { data }: Claims = { data: 'squash' }): Promise<Rehearsal> {
  const options: OpenOptions = { major, objects, volumes: { [DATA_CLAIM]: { kind: data } } };
  cluster = await Rehearsal.open(options);
  return cluster;
}

async function start(rehearsal: Rehearsal): Promise<PodHandle> {
  const pod = await rehearsal.startStatefulSet(SERVER);
  await pod.waitReady(60_000);
  return pod;
}

/** Mode and owner of PGDATA, as they are on the volume. */
function pgdata(rehearsal: Rehearsal, major: Major): string {
  const { mode, uid, gid } = fs.statSync(path.join(rehearsal.claim(DATA_CLAIM).path, folder(major)));
  return `${(mode & 0o7777).toString(8)} ${uid}:${gid}`;
}
const folder = (major: Major) => (major >= 18 ? 'data' : 'pgdata');

const rows = 'SELECT count(*), min(at)::text = max(at)::text FROM t';
const fill = 'CREATE TABLE t AS SELECT i, now() AS at FROM generate_series(1, 1000) i';

describe.each(majors('all'))('server, PostgreSQL %i', (major) => {
  it.each([
    ['a claim that squashes root', 'squash', true],
    ['a block volume, root:root 0755 with lost+found', 'block', false],
  ] as const)(
    'starts on %s as 999, keeps rows and 0700 over restart, -9 and a new pod',
    async (_, data, rootSquash) => {
      const rehearsal = await open(major, homeLab(major, { rootSquash }), { data });
      let pod = await start(rehearsal);
      expect((await pod.exec(['id', '-u'])).stdout.trim()).toBe('999');
      expect((await pod.exec(['id', '-g'])).stdout.trim()).toBe('999');
      await rehearsal.psql(`${fill}; CREATE TABLE stamp AS SELECT now() AS at`);
      const stamp = await rehearsal.psql('SELECT at FROM stamp');
      expect(pgdata(rehearsal, major)).toMatch(/^700 999:/);

      await pod.stop();
      pod = await start(rehearsal);
      expect(await rehearsal.psql(rows)).toBe('1000|t');
      expect(pgdata(rehearsal, major)).toMatch(/^700 999:/);

      await pod.kill9();
      pod = await start(rehearsal);
      expect(await rehearsal.psql(rows)).toBe('1000|t');
      expect(await rehearsal.psql('SELECT at FROM stamp')).toBe(stamp);
      expect(pgdata(rehearsal, major)).toMatch(/^700 999:/);
      expect(pod.logs('postgres')).toContain('database system was not properly shut down');
    },
  );
});

describe.each(majors())('server, PostgreSQL %i', (major) => {
  it('keeps what was committed when it is killed with -9 in the middle of a load', async () => {
    const rehearsal = await open(major, homeLab(major));
    let pod = await start(rehearsal);
    await rehearsal.psql('CREATE TABLE load (id int PRIMARY KEY)');
    let committed = 0;
    let running = true;
    const load = (async () => {
      while (running) {
        try {
          await rehearsal.psql(`INSERT INTO load VALUES (${committed + 1})`);
          committed += 1;
        } catch {
          return;
        }
      }
    })();
    while (committed < 10) await new Promise((resolve) => setTimeout(resolve, 20));
    await pod.kill9();
    running = false;
    await load;
    pod = await start(rehearsal);
    const [count, newest] = (await rehearsal.psql('SELECT count(*), max(id) FROM load')).split('|').map(Number);
    // The one whose answer the kill cut off may be there or not.
    expect(count).toBe(newest);
    expect(count! - committed).toBeOneOf([0, 1]);
  });

  it('stops fast with clients connected, and the next start needs no recovery', async () => {
    const rehearsal = await open(major, homeLab(major));
    const pod = await start(rehearsal);
    const client = rehearsal.psql('SELECT pg_sleep(60)').catch((error: Error) => error.message);
    await expect
      .poll(() => rehearsal.psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)'"))
      .not.toBe('0');
    await pod.stop();
    await expect(client).resolves.toMatch(/terminating connection|closed the connection/);
    expect(pod.logs('postgres')).toContain('received fast shutdown request');
    expect((await start(rehearsal)).logs('postgres')).not.toContain('not properly shut down');
  });
});

describe.each(majors())('server, PostgreSQL %i', (major) => {
  it('asks for the password on TCP, from 127.0.0.1 too, and is configured by the rendered file', async () => {
    const rehearsal = await open(major, homeLab(major, { server: { settings: { work_mem: '17MB' } } }));
    const pod = await start(rehearsal);
    const local = await pod.exec(['psql', '-XAtwc', 'SELECT 1', '-h', '127.0.0.1', '-U', 'postgres'], {
      env: { PGPASSWORD: 'wrong' },
    });
    expect(local).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('password authentication failed') });
    await expect(rehearsal.psql('SELECT 1', { password: 'wrong' })).rejects.toThrow('password authentication failed');
    expect(await rehearsal.psql("SELECT current_setting('work_mem'), current_setting('data_checksums')")).toBe(
      '17MB|on',
    );
  });

  it('is not Ready before an init script that takes its time has ended, and is not killed meanwhile', async () => {
    const initScripts = {
      '01-slow.sql': 'CREATE TABLE slow AS SELECT now() AS at FROM pg_sleep(60); CREATE DATABASE made_last;',
    };
    const rehearsal = await open(major, homeLab(major, { server: { initScripts } }));
    const pod = await rehearsal.startStatefulSet(SERVER);
    await pod.waitReady(120_000);
    expect(pod.restartCount).toBe(0);
    expect(await rehearsal.psql("SELECT count(*) FROM pg_database WHERE datname = 'made_last'")).toBe('1');
    const started = pod.events.find((event) => event.reason === 'Started' && event.container === 'postgres')!.at;
    const ready = pod.events.find((event) => event.reason === 'Ready')!.at;
    expect(ready.getTime() - started.getTime()).toBeGreaterThan(60_000);
  }, 180_000);

  it('refuses a half-made database after an init script that failed, and says what to do', async () => {
    const initScripts = { '01-good.sql': 'CREATE DATABASE good;', '02-bad.sql': 'SELECT 1/0;' };
    const rehearsal = await open(major, homeLab(major, { server: { initScripts } }));
    const pod = await rehearsal.startStatefulSet(SERVER);
    await expect.poll(() => pod.restartCount, { timeout: 60_000 }).toBeGreaterThan(0);
    await expect
      .poll(() => pod.logs('postgres'), { timeout: 30_000 })
      .toMatch(
        /server: error: the first start did not end .* is half-made .* correct the init script, then delete the new claim/,
      );
    expect(pod.ready).toBe(false);
    await expect(rehearsal.psql('SELECT 1')).rejects.toThrow();
  });

  it('refuses a second server on its volume', async () => {
    const rehearsal = await open(major, homeLab(major));
    const pod = await start(rehearsal);
    const second = await pod.exec(['bash', '/scripts/server.sh'], { env: { LOCK_PATIENCE: '2' } });
    expect(second.exitCode).toBe(1);
    expect(second.stderr).toMatch(/error: another server runs on this volume; stop it first/);
  });
});

// On 17 and older the runtime lays the declared volume over `data` on the claim: prep-dirs must see what lies there all the same.
describe.each([...new Set<Major>([17, ...majors()])])('server, PostgreSQL %i', (major) => {
  describe('prep-dirs refuses, changes nothing and names what it found', () => {
    const foreign = async (make: (claim: string) => void, variant?: Variant): Promise<string> => {
      const rehearsal = await open(major, homeLab(major, variant), { data: 'plain' });
      const { path: claim } = rehearsal.claim(DATA_CLAIM);
      make(claim);
      const before = rehearsal.claim(DATA_CLAIM).list();
      const pod = await rehearsal.startStatefulSet(SERVER);
      await expect.poll(() => pod.logs('prep-dirs'), { timeout: 30_000 }).toContain('error: ');
      expect(pod.ready).toBe(false);
      expect(rehearsal.claim(DATA_CLAIM).list()).toEqual(before);
      return pod.logs('prep-dirs');
    };
    const database = (at: string, uid: number, version = '15') => {
      fs.mkdirSync(at, { recursive: true });
      fs.chmodSync(at, 0o700);
      fs.writeFileSync(path.join(at, 'PG_VERSION'), `${version}\n`);
      fs.chownSync(path.join(at, 'PG_VERSION'), uid, uid);
      fs.chownSync(at, uid, uid);
    };

    it("a Bitnami chart's data: same claim name, same folder, uid 1001", async () => {
      const log = await foreign((claim) => database(path.join(claim, 'data'), 1001));
      expect(log).toMatch(
        major >= 18
          ? /data belongs to uid 1001, and this server runs as uid 999/
          : /the claim holds \/claim\/data \(mode 700, owner 1001\), which uid 999 cannot look into/,
      );
    });

    it('a Deployment whose data lies at the top of the claim', async () => {
      const log = await foreign((claim) => {
        fs.writeFileSync(path.join(claim, 'PG_VERSION'), '14\n');
      });
      expect(log).toMatch(/the claim holds a database of PostgreSQL 14 in \/(var\/lib\/postgresql|claim) \(owner 0\)/);
    });

    it('a database of its own uid where another image has it', async () => {
      const log = await foreign((claim) => database(path.join(claim, major >= 18 ? 'pgdata' : 'data'), 999));
      expect(log).toMatch(/the claim holds a database of PostgreSQL 15 in \S+\/(pg)?data \(owner 999\)/);
    });

    it("the official image's own layout, and how to name it", async () => {
      const log = await foreign((claim) => database(path.join(claim, '18', 'docker'), 999, '18'));
      expect(log).toContain('dataSubdirectory: "18/docker"');
    });

    it('a folder that it cannot look into: it may be a database', async () => {
      const log = await foreign((claim) => database(path.join(claim, 'bitnami', 'data'), 1001));
      expect(log).toMatch(/the claim holds \S+bitnami\/data \(mode 700, owner 1001\), which uid 999 cannot look into/);
    });

    it('a data directory of another major', async () => {
      const log = await foreign((claim) => database(path.join(claim, folder(major)), 999, '13'));
      expect(log).toMatch(/was made by PostgreSQL 13, and the image is 1[78]; go back to an image of 13, dump/);
    });

    it('a volume that 999 may not write to', async () => {
      const log = await foreign((claim) => fs.chmodSync(claim, 0o755));
      expect(log).toMatch(/\/(var\/lib\/postgresql|claim) is not writable for uid 999 \(mode 755, owner 0:0\)/);
    });
  });
});

describe('the trap: a data directory that a declared volume shadows', () => {
  /** The layout that the library refuses, patched into the rendered objects. */
  const shadowed = (objects: KubeObject[]): KubeObject[] =>
    JSON.parse(JSON.stringify(objects).replaceAll('/var/lib/postgresql/pgdata', '/var/lib/postgresql/data'));

  it.each([15, 17] as const)('loses the rows with the pod on %i', async (major) => {
    const rehearsal = await open(major, shadowed(homeLab(major)));
    const pod = await start(rehearsal);
    await rehearsal.psql(fill);
    expect(await rehearsal.psql('SELECT count(*) FROM t')).toBe('1000');
    await pod.delete();
    await rehearsal.startStatefulSet(SERVER).then((again) => again.waitReady(60_000).catch(() => undefined));
    await expect(rehearsal.psql('SELECT count(*) FROM t')).rejects.toThrow();
  });

  it.each([15, 17, 18] as const)('keeps them with ours on %i', async (major) => {
    const rehearsal = await open(major, homeLab(major));
    const pod = await start(rehearsal);
    await rehearsal.psql(fill);
    await pod.delete();
    await start(rehearsal);
    expect(await rehearsal.psql('SELECT count(*) FROM t')).toBe('1000');
  });
});

describe('the mistakes that the guard refuses are real', () => {
  /** What a block volume's server says at its first start without anything of ours in front of the image's entrypoint. */
  const firstStart = async (change: (containers: KubeObject['spec'][]) => void): Promise<string> => {
    const objects: KubeObject[] = JSON.parse(JSON.stringify(homeLab(18, { rootSquash: false })));
    const pod = objects.find((object) => object.kind === 'StatefulSet')!['spec'].template.spec;
    pod.initContainers = undefined;
    for (const container of pod.containers) container.command = ['docker-entrypoint.sh', 'postgres'];
    change(pod.containers);
    const rehearsal = await open(18, JSON.parse(JSON.stringify(objects)), { data: 'block' });
    const running = await rehearsal.startStatefulSet(SERVER);
    await expect.poll(() => running.logs('postgres'), { timeout: 30_000 }).toContain('initdb: ');
    return running.logs('postgres');
  };

  it('the claim mounted at the data directory alone: it holds lost+found', async () => {
    const log = await firstStart(([postgres]) => {
      const pgdata = postgres.env.find((variable: { name: string }) => variable.name === 'PGDATA');
      pgdata.value = '/var/lib/postgresql';
    });
    expect(log).toContain('directory "/var/lib/postgresql" exists but is not empty');
  });

  it('the claim mounted twice: the data directory holds what the mount point holds', async () => {
    const log = await firstStart(([postgres]) => {
      postgres.volumeMounts.push({ name: 'data', mountPath: '/var/lib/postgresql/data' });
    });
    expect(log).toContain('directory "/var/lib/postgresql/data" exists but is not empty');
  });
});

describe('root', () => {
  it('is refused by the squash: the same pod as root fails on the claim', async () => {
    const objects: KubeObject[] = JSON.parse(JSON.stringify(homeLab(18)));
    const set = objects.find((object) => object.kind === 'StatefulSet')!;
    const pod = set['spec'].template.spec;
    for (const holder of [pod, ...pod.initContainers, ...pod.containers]) {
      Object.assign(holder.securityContext, { runAsUser: 0, runAsGroup: 0, runAsNonRoot: false });
    }
    const rehearsal = await open(18, objects);
    const running = await rehearsal.startStatefulSet(SERVER);
    await expect
      .poll(() => running.logs() + JSON.stringify(running.events), { timeout: 30_000 })
      .toMatch(/error|denied|not permitted/i);
    expect(running.ready).toBe(false);
  });
});
