import { Duration, Size } from 'cdk8s';
import { describe, expect, it } from 'vitest';
import { PostgresImage, type PostgresProps, Storage } from '../../lib';
import { find, type Manifest, render, server } from '../helpers/render';

const objects = (props: Partial<PostgresProps> = {}) => render((chart) => void server(chart, props));
const pod = (props: Partial<PostgresProps> = {}): Manifest => find(objects(props), 'StatefulSet')['spec'].template.spec;
const env = (props: Partial<PostgresProps>): Record<string, string> =>
  Object.fromEntries(pod(props)['containers'][0].env.map((e: Manifest) => [e['name'], e['value']]));

describe('where the data lies', () => {
  it.each([
    ['15.14', 'bookworm', '/var/lib/postgresql/pgdata'],
    ['16.10', 'bookworm', '/var/lib/postgresql/pgdata'],
    ['17.6', 'trixie', '/var/lib/postgresql/pgdata'],
    ['18.1', 'trixie', '/var/lib/postgresql/data'],
  ] as const)('PostgreSQL %s on %s: %s, no declared volume in between', (version, suite, path) => {
    const image = PostgresImage.official(version, { suite });
    expect(env({ image })).toMatchObject({ PGDATA: path, DATA_MOUNT: '/var/lib/postgresql' });
  });

  it.each([
    ['17.6', '/claim', '/claim/pgdata'],
    ['18.1', '/var/lib/postgresql', '/var/lib/postgresql/data'],
  ])('prep-dirs of %s sees the whole claim, at %s', (version, mountPath, path) => {
    const image = PostgresImage.official(version, { suite: 'trixie' });
    const [prepare] = pod({ image })['initContainers'];
    expect(prepare.volumeMounts).toContainEqual({ name: 'data', mountPath });
    expect(prepare.env).toEqual(
      expect.arrayContaining([
        { name: 'PGDATA', value: path },
        { name: 'DATA_MOUNT', value: mountPath },
      ]),
    );
  });

  it('an adopted claim: where its layout says, and nothing is rendered for it', () => {
    const storage = Storage.existingClaim('old', { dataSubdirectory: '18/docker' });
    expect(env({ storage })['PGDATA']).toBe('/var/lib/postgresql/18/docker');
    expect(pod({ storage })['volumes']).toContainEqual({ name: 'data', persistentVolumeClaim: { claimName: 'old' } });
    expect(objects({ storage }).map((o) => o['kind'])).not.toContain('PersistentVolumeClaim');
    expect(find(objects({ storage }), 'StatefulSet')['spec']).not.toHaveProperty('volumeClaimTemplates');
  });

  it('a claim of its own: rendered, never pruned', () => {
    const storage = Storage.claim({ name: 'pgdata-big', size: Size.gibibytes(100), storageClass: 'fast' });
    const claim = find(objects({ storage }), 'PersistentVolumeClaim');
    expect(claim['metadata'].annotations).toEqual({ 'argocd.argoproj.io/sync-options': 'Prune=false,Delete=false' });
    expect(claim['spec']).toMatchObject({ storageClassName: 'fast', resources: { requests: { storage: '100Gi' } } });
  });
});

describe('uid', () => {
  it('is 70 on alpine, and fsGroup follows', () => {
    const image = PostgresImage.alpine('18.1', { release: '3.22' });
    expect(pod({ image })['securityContext']).toMatchObject({ runAsUser: 70, runAsGroup: 70, fsGroup: 70 });
    expect(pod({ image })['containers'][0].image).toBe('postgres:18.1-alpine3.22');
  });

  it('is what a custom image says', () => {
    const image = PostgresImage.custom({ reference: 'example.com/pg:17.6-1', major: 17, uid: 1001, gid: 1002 });
    expect(pod({ image })['securityContext']).toMatchObject({ runAsUser: 1001, runAsGroup: 1002, fsGroup: 1002 });
  });
});

describe('probes', () => {
  const { startupProbe, readinessProbe, livenessProbe } = pod({ startupTimeout: Duration.minutes(10) })[
    'containers'
  ][0];

  it('ask over TCP: the temporary server of the first start answers on the socket only', () => {
    for (const probe of [startupProbe, readinessProbe]) {
      expect(probe.exec.command).toEqual(['pg_isready', '-q', '-h', '127.0.0.1', '-p', '5432']);
    }
    expect(livenessProbe.exec.command.at(-1)).toContain('pg_isready -q -h 127.0.0.1 -p 5432');
  });

  it('give a start the time that was asked for', () => {
    expect(startupProbe.periodSeconds * startupProbe.failureThreshold).toBe(600);
  });

  it('let a server live that is recovering (pg_isready ends in 1)', () => {
    expect(livenessProbe.exec.command.at(-1)).toMatch(/\|\| \[ \$\? -eq 1 \]$/);
  });
});

describe('configuration', () => {
  const conf = (settings: PostgresProps['settings']): string =>
    find(objects({ settings }), 'ConfigMap', 'pg-config')['data']['postgresql.conf'];

  it("goes on top of initdb's file", () => {
    expect(conf({ work_mem: '16MB', max_connections: 50, fsync: true, search_path: "a'b\\c" }).split('\n')).toEqual([
      expect.stringMatching(/^#/),
      "include = '/var/lib/postgresql/data/postgresql.conf'",
      "listen_addresses = '*'",
      'port = 5432',
      "work_mem = '16MB'",
      'max_connections = 50',
      'fsync = on',
      "search_path = 'a''b\\\\c'",
      '',
    ]);
  });

  it('rolls the pod when it changes, and only then', () => {
    const hash = (settings: PostgresProps['settings']) =>
      find(objects({ settings }), 'StatefulSet')['spec'].template.metadata.annotations;
    expect(hash({ work_mem: '16MB' })).not.toEqual(hash({ work_mem: '32MB' }));
    expect(hash({ work_mem: '16MB' })).toEqual(hash({ work_mem: '16MB' }));
  });

  it('makes host connections need a password, 127.0.0.1 (port-forward) included, and checksums pages', () => {
    const args = '--data-checksums --auth-local=trust --auth-host=scram-sha-256';
    expect(env({})['POSTGRES_INITDB_ARGS']).toBe(args);
  });
});

describe('the rest of the pod', () => {
  it('has a quarter of its memory as /dev/shm, and as much as asked for', () => {
    const shm = (props: Partial<PostgresProps>) =>
      pod(props)['volumes'].find((volume: Manifest) => volume['name'] === 'shm').emptyDir;
    expect(shm({})).toEqual({ medium: 'Memory', sizeLimit: '256Mi' });
    expect(shm({ sharedMemory: Size.mebibytes(64) })).toEqual({ medium: 'Memory', sizeLimit: '64Mi' });
  });

  it('gets time for a fast shutdown', () => {
    expect(pod()['terminationGracePeriodSeconds']).toBe(120);
    expect(pod({ stopTimeout: Duration.minutes(5) })['terminationGracePeriodSeconds']).toBe(300);
  });

  it('runs init scripts and, after them, the one that marks the first start as complete', () => {
    const scripts = find(objects({ initScripts: { '01.sql': 'SELECT 1;' } }), 'ConfigMap', 'pg-init-scripts')['data'];
    expect(Object.keys(scripts).sort()).toEqual(['01.sql', 'zzz-initialized.sh']);
  });

  it('is reached at an address of its own, or headless', () => {
    expect(find(objects(), 'Service')['spec']).not.toHaveProperty('clusterIP');
    expect(find(objects({ service: 'Headless' }), 'Service')['spec'].clusterIP).toBe('None');
  });
});
