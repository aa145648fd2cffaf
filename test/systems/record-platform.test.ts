import { App, Testing } from 'cdk8s';
import { beforeAll, describe, expect, it } from 'vitest';
import { manifestSerializer } from '../../lib/testing';
import { RecordPlatform } from '../../systems/record-platform';
import { find, type Manifest } from '../helpers/render';

expect.addSnapshotSerializer(manifestSerializer);

let objects: Manifest[];
beforeAll(() => {
  objects = Testing.synth(new RecordPlatform(new App(), 'record-platform'));
});

const get = (kind: string, name?: string) => find(objects, kind, name);
const pod = (): Manifest => get('StatefulSet')['spec'].template.spec;
const containers = (): Manifest[] => [...pod()['initContainers'], ...pod()['containers']];
const db = (): Manifest => pod()['containers'][0];
const env = (container: Manifest): Record<string, unknown> =>
  Object.fromEntries(container['env'].map((e: Manifest) => [e['name'], e['value'] ?? e['valueFrom']]));
const mounts = (container: Manifest, name: string) =>
  container['volumeMounts'].filter((mount: Manifest) => mount['name'] === name);

describe('record-platform', () => {
  it('is rendered as it was, scripts aside (they have tests of their own)', () => {
    const withoutScripts = objects.map((object) =>
      object['metadata'].name?.endsWith('-scripts') ? { ...object, data: Object.keys(object['data']) } : object,
    );
    expect(withoutScripts).toMatchSnapshot();
  });

  it('RP-1: container db, database records, Secret postgres-superuser, reachable as postgres', () => {
    for (const kind of ['StatefulSet', 'Service']) {
      expect(get(kind)['metadata']).toMatchObject({ name: 'postgres', namespace: 'record-platform' });
    }
    expect(db()['name']).toBe('db');
    expect(db()['image']).toMatch(/^postgres:18\.\d+-trixie$/);
    expect(env(db())).toMatchObject({
      POSTGRES_DB: 'records',
      POSTGRES_PASSWORD: { secretKeyRef: { name: 'postgres-superuser', key: 'password' } },
    });
  });

  it("RP-1: label app: postgres on the server's pods and nowhere else", () => {
    const labelled = (node: unknown, path = ''): string[] => {
      if (typeof node !== 'object' || node === null) return [];
      const here = (node as Manifest)['labels']?.app === 'postgres' ? [path] : [];
      return [...here, ...Object.entries(node).flatMap(([key, value]) => labelled(value, `${path}/${key}`))];
    };
    expect(objects.flatMap((object) => labelled(object, object['kind']))).toEqual([
      'StatefulSet/spec/template/metadata',
    ]);
    expect(Object.keys(get('Service')['spec'].selector)).not.toContain('app');
  });

  it('RP-2, RP-4: uid and gid 999 in every container and init container, no fsGroup on squashed storage', () => {
    for (const context of [pod(), ...containers()].map((one) => one['securityContext'])) {
      expect(context).toMatchObject({ runAsUser: 999, runAsGroup: 999, runAsNonRoot: true });
    }
    expect(pod()['securityContext']).not.toHaveProperty('fsGroup');
    expect(pod()['initContainers'].map((one: Manifest) => one['name'])).toEqual(['prep-dirs']);
  });

  it('RP-3: the data claim once, at /var/lib/postgresql only, PGDATA=/var/lib/postgresql/data', () => {
    expect(pod()['volumes']).toContainEqual({ name: 'data', persistentVolumeClaim: { claimName: 'pgdata-big' } });
    for (const container of containers()) {
      expect(mounts(container, 'data')).toEqual([{ name: 'data', mountPath: '/var/lib/postgresql' }]);
      expect(env(container)['PGDATA']).toBe('/var/lib/postgresql/data');
    }
  });

  it('RP-5: /var/run/postgresql on an emptyDir', () => {
    expect(pod()['volumes']).toContainEqual({ name: 'run', emptyDir: {} });
    expect(mounts(db(), 'run')).toEqual([{ name: 'run', mountPath: '/var/run/postgresql' }]);
  });

  it('RP-6: pg-wal-archive at /wal-archive, archive_mode on, archive_timeout 5 min', () => {
    const volume = { name: 'wal-archive', persistentVolumeClaim: { claimName: 'pg-wal-archive' } };
    expect(pod()['volumes']).toContainEqual(volume);
    expect(mounts(db(), 'wal-archive')).toEqual([{ name: 'wal-archive', mountPath: '/wal-archive' }]);
    expect(env(db())['WAL_ARCHIVE']).toBe('/wal-archive');
    const conf = get('ConfigMap', 'postgres-config')['data']['postgresql.conf'].split('\n');
    expect(conf).toEqual(
      expect.arrayContaining([
        'archive_mode = on',
        "archive_command = 'bash /scripts/archive-wal.sh %p %f'",
        'archive_timeout = 300',
        "restore_command = 'bash /scripts/fetch-wal.sh %f %p'",
      ]),
    );
    expect(conf.join('\n')).not.toContain('wal_level');
    const scripts = Object.keys(get('ConfigMap', 'postgres-scripts')['data']);
    expect(scripts).toEqual(expect.arrayContaining(['archive-wal.sh', 'fetch-wal.sh', 'archive-health.sh', 'lib.sh']));
  });

  it.each([
    ['pgdata-big', '100Gi'],
    ['pg-wal-archive', '20Gi'],
    ['pgbackups', '50Gi'],
  ])('RP-7: claim %s of %s, never pruned', (name, storage) => {
    const claim = get('PersistentVolumeClaim', name);
    expect(claim['spec']).toEqual({ accessModes: ['ReadWriteOnce'], resources: { requests: { storage } } });
    expect(claim['metadata'].annotations).toEqual({ 'argocd.argoproj.io/sync-options': 'Prune=false,Delete=false' });
  });

  it('RP-8: init scripts from a ConfigMap', () => {
    expect(mounts(db(), 'init-scripts')).toEqual([
      { name: 'init-scripts', mountPath: '/docker-entrypoint-initdb.d', readOnly: true },
    ]);
  });
});
