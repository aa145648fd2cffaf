import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { image, type KubeObject, majors, type PodHandle, Rehearsal } from '..';

/** A server as the image's entrypoint makes it when a pod says little: no script of the library in between. */
function server(major: number, env: Record<string, string>, init: Record<string, string | Buffer>): KubeObject[] {
  const files = Object.entries(init).map(([name, text]) => [name, Buffer.from(text).toString('base64')]);
  const mounts = { data: '/var/lib/postgresql', init: '/docker-entrypoint-initdb.d', pw: '/secret' };
  const variables = { PGDATA: '/var/lib/postgresql/pgdata', ...env };
  const labels = { app: 'pg' };
  const pod = {
    securityContext: { runAsUser: 999, runAsGroup: 999 },
    volumes: [
      { name: 'data', emptyDir: {} },
      { name: 'init', configMap: { name: 'init' } },
      { name: 'pw', secret: { secretName: 'pw' } },
    ],
    containers: [
      {
        name: 'postgres',
        args: ['postgres', '-c', 'work_mem=5MB'],
        env: Object.entries(variables).map(([name, value]) => ({ name, value })),
        volumeMounts: Object.entries(mounts).map(([name, mountPath]) => ({ name, mountPath })),
        startupProbe: { tcpSocket: { port: 5432 }, periodSeconds: 1, failureThreshold: 30 },
      },
    ],
  };
  return [
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'init' }, binaryData: Object.fromEntries(files) },
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'pw' }, stringData: { password: 'from a file' } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'pg' },
      spec: { selector: labels, ports: [{ port: 5432 }] },
    },
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: `pg${major}`, labels }, spec: pod },
  ];
}

const INIT = {
  '10.sql': 'CREATE TABLE steps AS SELECT 10 AS n',
  '20.sql.gz': gzipSync(
    "INSERT INTO steps SELECT 20; INSERT INTO steps SELECT setting::int FROM pg_settings WHERE name = 'work_mem'",
  ),
  '30.sh': 'psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO steps VALUES (30), ($(id -u))"',
  'readme.txt': 'not for psql',
};

describe.each(majors('all'))('image of PostgreSQL %i', (major) => {
  let cluster: Rehearsal;
  let pod: PodHandle;
  const sh = async (script: string) => (await pod.exec(['bash', '-c', script])).stdout.trim();

  beforeAll(async () => {
    const env = {
      POSTGRES_USER: 'boss',
      POSTGRES_DB: "it's $(own)",
      POSTGRES_PASSWORD_FILE: '/secret/password',
      POSTGRES_INITDB_ARGS: "--encoding='UTF8' --data-checksums",
    };
    cluster = await Rehearsal.open({ objects: server(major, env, INIT), major, name: 'image' });
    pod = await cluster.startPod(`pg${major}`);
    await pod.waitReady();
  });
  afterAll(() => cluster?.close());

  it('is the PostgreSQL that its description says', async () => {
    const { version, env, volumes } = await image(major);
    expect(await sh('postgres --version')).toContain(` ${version} `);
    expect(env['PG_MAJOR']).toBe(String(major));
    expect(volumes).toEqual([major >= 18 ? '/var/lib/postgresql' : '/var/lib/postgresql/data']);
  });

  it('has the tools and the locale of the official image, and no more', async () => {
    expect(
      await sh('for t in bash gzip xz zstd flock mawk perl psql pg_dumpall; do type -P $t >/dev/null || echo $t; done'),
    ).toBe('');
    expect(await sh('for t in ps curl jq python3; do type -P $t; done')).toBe('');
    expect(await sh('locale -a | grep en_US; echo $LANG')).toBe('en_US.utf8\nen_US.utf8');
    expect(await sh('getent passwd postgres; stat -c "%u %a" /run/postgresql; readlink /var/run')).toBe(
      'postgres:x:999:999::/var/lib/postgresql:/bin/bash\n999 3777\n/run',
    );
  });

  it('runs init scripts in order, with the given options, against a server on the socket only', async () => {
    const options = { user: 'boss', db: "it's $(own)", password: 'from a file' };
    expect(await cluster.psql('SELECT string_agg(n::text, $$ $$) FROM steps', options)).toBe('10 20 5120 30 999');
    expect(await cluster.psql("SELECT current_setting('data_checksums')", options)).toBe('on');
    expect(pod.logs()).toContain('ignoring /docker-entrypoint-initdb.d/readme.txt');
    const listened = pod.logs().match(/listening on IPv4/g);
    expect(listened).toHaveLength(1);
  });

  it('asks for the password from elsewhere', async () => {
    await expect(cluster.psql('SELECT 1', { user: 'boss', password: 'wrong' })).rejects.toThrow(
      'password authentication failed',
    );
    expect(await sh('grep "^host all all all" $PGDATA/pg_hba.conf')).toBe('host all all all scram-sha-256');
  });
});

describe('the entrypoint', () => {
  const folder = mkdtempSync(join(tmpdir(), 'entrypoint-'));
  // Another one may have been asked for; these are about ours.
  const asked = process.env['REHEARSAL_ENTRYPOINT'];
  beforeAll(() => {
    delete process.env['REHEARSAL_ENTRYPOINT'];
  });
  afterAll(() => {
    if (asked) process.env['REHEARSAL_ENTRYPOINT'] = asked;
    rmSync(folder, { recursive: true });
  });

  /** Everything that a failing pod has said by the time it says `until`. */
  async function log(until: RegExp, env: Record<string, string>, init: Record<string, string> = {}): Promise<string> {
    const cluster = await Rehearsal.open({ objects: server(18, env, init), major: 18, name: 'refused' });
    try {
      const pod = await cluster.startPod('pg18');
      await expect.poll(() => pod.logs(), { timeout: 20_000 }).toMatch(until);
      return pod.logs();
    } finally {
      await cluster.close();
    }
  }

  it('refuses an empty password, and one that is given twice', async () => {
    const given = { POSTGRES_PASSWORD: 'x', POSTGRES_PASSWORD_FILE: '/secret/password' };
    expect(await log(/error/, {})).toMatch(/POSTGRES_PASSWORD is empty/);
    expect(await log(/error/, given)).toMatch(/POSTGRES_PASSWORD_FILE are set; set one of them/);
  });

  it('leaves a half-made database after an init script that failed, as the official one does', async () => {
    const init = { '10.sql': 'CREATE TABLE t (); SELECT 1/0; CREATE TABLE never ()' };
    const text = await log(/contain a database; Skipping initialization/, { POSTGRES_PASSWORD: 'x' }, init);
    expect(text).toContain('division by zero');
  });

  it('can be replaced by another one', async () => {
    const file = join(folder, 'entrypoint.sh');
    writeFileSync(file, '#!/bin/sh\necho official; exit 1\n');
    process.env['REHEARSAL_ENTRYPOINT'] = file;
    try {
      expect((await image(18)).files).toEqual({ '/usr/local/bin/docker-entrypoint.sh': file });
      expect(await log(/official/, { POSTGRES_PASSWORD: 'x' })).toMatch(/^official\n/);
    } finally {
      delete process.env['REHEARSAL_ENTRYPOINT'];
    }
    const [own = ''] = Object.values((await image(18)).files);
    expect(readFileSync(own, 'utf8')).toContain('our own stand-in');
  });
});
