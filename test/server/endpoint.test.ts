import { type Chart, Testing } from 'cdk8s';
import { describe, expect, it } from 'vitest';
import {
  Credentials,
  LogicalRestore,
  MonitoringRole,
  type Postgres,
  PostgresEndpoint,
  type PostgresEndpointProps,
  PostgresImage,
  Tls,
} from '../../lib';
import { backup, find, type Manifest, render, server, volume } from '../helpers/render';

const digest = `sha256:${'0a'.repeat(32)}`;
const latest = PostgresImage.bitnami('latest', { major: 18, digest });

function endpoint(chart: Chart, props: Partial<PostgresEndpointProps> = {}): PostgresEndpoint {
  return PostgresEndpoint.fromService(chart, 'theirs', {
    host: 'postgres-postgresql',
    credentials: Credentials.fromSecret('postgres-postgresql', { passwordKey: 'postgres-password' }),
    image: latest,
    ...props,
  });
}

function pods(props: Partial<PostgresEndpointProps> = {}): { dump: Manifest; restore: Manifest; objects: Manifest[] } {
  const objects = render((chart) => {
    const from = backup(chart, { of: endpoint(chart, props) });
    new LogicalRestore(chart, 'restore', { from });
  });
  const dump = find(objects, 'CronJob', 'pg-backup')['spec'].jobTemplate.spec.template.spec;
  return { dump, restore: find(objects, 'Job')['spec'].template.spec, objects };
}

const envOf = (pod: Manifest): Record<string, unknown> =>
  Object.fromEntries(pod['containers'][0].env.map((e: Manifest) => [e['name'], e['value'] ?? e['valueFrom']]));
const mountsOf = (pod: Manifest): Record<string, string> =>
  Object.fromEntries(pod['containers'][0].volumeMounts.map((m: Manifest) => [m['mountPath'], m['name']]));
const volumeOf = (pod: Manifest, name: string): Manifest => pod['volumes'].find((v: Manifest) => v['name'] === name);

describe('an endpoint', () => {
  it('gives the monitoring role’s Job the files of its TLS, and a name without its domain', () => {
    const tls = Tls.verifyFull({ ca: { secret: 'pg-tls' }, clientCertificate: { secret: 'pg-client' } });
    const objects = render((chart) => {
      const of = endpoint(chart, { host: 'pg.data.svc', tls });
      const credentials = Credentials.fromSecret('m', { username: 'postgres_exporter', passwordKey: 'password' });
      new MonitoringRole(chart, 'role', { of, credentials });
    });
    const job = find(objects, 'Job');
    const pod = job['spec'].template.spec;
    expect(job['metadata'].generateName).toBe('pg-monitoring-role-');
    expect(envOf(pod)).toMatchObject({ PGSSLROOTCERT: '/tls/ca/ca.crt', PGSSLKEY: '/tls/client/tls.key' });
    expect(mountsOf(pod)).toMatchObject({ '/tls/ca': 'tls-ca', '/tls/client': 'tls-client' });
  });

  it('renders nothing of its own', () => {
    expect(render((chart) => void endpoint(chart))).toEqual([]);
    expect(pods().objects.map((o) => o['kind'])).not.toContain('StatefulSet');
  });

  it('is what dump and restore connect to, as 1001 with Bitnami’s image', () => {
    const { dump, restore } = pods({ port: 6432 });
    for (const pod of [dump, restore]) {
      expect(envOf(pod)).toMatchObject({
        PGHOST: 'postgres-postgresql',
        PGPORT: '6432',
        PGUSER: 'postgres',
        PGPASSWORD: { secretKeyRef: { name: 'postgres-postgresql', key: 'postgres-password' } },
      });
      const [container] = pod['containers'];
      expect(container.image).toBe(`bitnami/postgresql:latest@${digest}`);
      expect(pod['securityContext']).toMatchObject({ runAsUser: 1001, runAsGroup: 1001, fsGroup: 1001 });
      expect(container.securityContext).toMatchObject({ runAsUser: 1001, runAsGroup: 1001 });
    }
  });

  it('may be of the official image, and then the files are 999’s', () => {
    const image = PostgresImage.official('18.1', { suite: 'trixie' });
    expect(pods({ image }).dump['securityContext']).toMatchObject({ runAsUser: 999, fsGroup: 999 });
  });

  it.each([
    ['postgres-postgresql', 'postgres-postgresql-restore-'],
    ['pg.data.svc.cluster.local', 'pg-restore-'],
    ['10.1.2.3', '10-1-2-3-restore-'],
    ['fd00::12', 'fd00-12-restore-'],
  ])('at %s has restores with a name that Kubernetes takes: %s', (host, name) => {
    const job = find(pods({ host, tls: Tls.require() }).objects, 'Job');
    expect(job['metadata'].generateName).toBe(name);
  });

  it('is where the monitoring role can be made, by the same connection as a dump’s', () => {
    const tls = Tls.verifyFull({ ca: { secret: 'pg-ca' }, clientCertificate: { secret: 'pg-client' } });
    const credentials = Credentials.fromSecret('pg-metrics', { username: 'watcher', passwordKey: 'password' });
    const objects = render((chart) => {
      const of = endpoint(chart, { host: 'pg.data.svc', tls });
      new MonitoringRole(chart, 'role', { of, credentials });
      backup(chart, { of });
    });
    const job = find(objects, 'Job');
    const pod = job['spec'].template.spec;
    const dump = find(objects, 'CronJob', 'pg-backup')['spec'].jobTemplate.spec.template.spec;
    expect(job['metadata'].generateName).toBe('pg-monitoring-role-');
    expect(envOf(pod)).toMatchObject({ PGSSLMODE: 'verify-full', PGSSLROOTCERT: '/tls/ca/ca.crt' });
    expect(mountsOf(pod)).toMatchObject({ '/tls/ca': 'tls-ca', '/tls/client': 'tls-client' });
    for (const name of ['tls-ca', 'tls-client']) expect(volumeOf(pod, name)).toEqual(volumeOf(dump, name));
  });

  it('can be restored from and into by a server of another user, with the image that wrote the dumps', () => {
    const objects = render((chart) => {
      const theirs = endpoint(chart);
      const into: Postgres = server(chart);
      new LogicalRestore(chart, 'restore', { from: backup(chart, { of: theirs }), into });
    });
    const pod = find(objects, 'Job')['spec'].template.spec;
    expect(envOf(pod)).toMatchObject({ PGHOST: 'pg' });
    expect(pod.containers[0].image).toContain('bitnami');
    expect(pod.securityContext.runAsUser).toBe(1001);
  });

  it('gives the image of the server that is restored into where both are of one user', () => {
    const newer = PostgresImage.official('18.3', { suite: 'trixie' });
    const objects = render((chart) => {
      const into = server(chart, { name: 'new', image: newer }, 'new');
      new LogicalRestore(chart, 'restore', { from: backup(chart), into });
    });
    expect(find(objects, 'Job')['spec'].template.spec.containers[0].image).toBe('postgres:18.3-trixie');
  });
});

describe('TLS', () => {
  const tlsOf = (pod: Manifest) => Object.fromEntries(Object.entries(envOf(pod)).filter(([key]) => /^PGSSL/.test(key)));

  it.each([
    ['nothing, for a Service', undefined, { PGSSLMODE: 'prefer' }],
    ['prefer', Tls.prefer(), { PGSSLMODE: 'prefer' }],
    ['disable', Tls.disable(), { PGSSLMODE: 'disable' }],
    ['require', Tls.require(), { PGSSLMODE: 'require' }],
    [
      'verify-ca',
      Tls.verifyCa({ ca: { secret: 'pg-tls' } }),
      { PGSSLMODE: 'verify-ca', PGSSLROOTCERT: '/tls/ca/ca.crt' },
    ],
    [
      'verify-full',
      Tls.verifyFull({ ca: { configMap: 'ca' } }),
      { PGSSLMODE: 'verify-full', PGSSLROOTCERT: '/tls/ca/ca.crt' },
    ],
    ['public authorities', Tls.verifyFull(), { PGSSLMODE: 'verify-full', PGSSLROOTCERT: 'system' }],
  ])('%s', (_, tls, expected) => {
    const { dump, restore } = pods(tls ? { tls } : {});
    expect(tlsOf(dump)).toEqual(expected);
    expect(tlsOf(restore)).toEqual(expected);
  });

  it('is left to libpq for our own server, as it was', () => {
    const dump = find(
      render((chart) => void backup(chart, { of: server(chart), to: volume(chart) })),
      'CronJob',
      'pg-backup',
    );
    expect(tlsOf(dump['spec'].jobTemplate.spec.template.spec)).toEqual({});
  });

  it('mounts the one key of the authority, read-only', () => {
    const { dump, restore } = pods({ tls: Tls.verifyFull({ ca: { secret: 'pg-tls', key: 'root.pem' } }) });
    for (const pod of [dump, restore]) {
      expect(mountsOf(pod)['/tls/ca']).toBe('tls-ca');
      const items = [{ key: 'root.pem', path: 'ca.crt' }];
      expect(volumeOf(pod, 'tls-ca')).toEqual({ name: 'tls-ca', secret: { secretName: 'pg-tls', items } });
      expect(pod['containers'][0].volumeMounts.find((m: Manifest) => m['name'] === 'tls-ca').readOnly).toBe(true);
    }
  });

  it('mounts a client certificate and its key, and nothing else of the Secret', () => {
    const tls = Tls.require({ clientCertificate: { secret: 'client', privateKey: 'key.pem' } });
    const { dump } = pods({ tls });
    expect(tlsOf(dump)).toEqual({
      PGSSLMODE: 'require',
      PGSSLCERT: '/tls/client/tls.crt',
      PGSSLKEY: '/tls/client/tls.key',
    });
    expect(volumeOf(dump, 'tls-client')['secret'].items).toEqual([
      { key: 'tls.crt', path: 'tls.crt' },
      { key: 'key.pem', path: 'tls.key' },
    ]);
  });
});

describe('Bitnami’s image', () => {
  const reference = (image: PostgresImage): string => pods({ image }).dump['containers'][0].image;

  it.each([
    [PostgresImage.bitnami('17.6.0-debian-12-r4'), 'bitnamilegacy/postgresql:17.6.0-debian-12-r4'],
    [latest, `bitnami/postgresql:latest@${digest}`],
    [PostgresImage.bitnami('latest', { major: 18, allowFloatingTag: true }), 'bitnami/postgresql:latest'],
    [
      PostgresImage.bitnami('18.1.0', { digest, repository: 'registry.example.com/mirror/pg' }),
      `registry.example.com/mirror/pg:18.1.0@${digest}`,
    ],
  ])('%#', (image, expected) => expect(reference(image)).toBe(expected));
});

describe('the example', () => {
  it('in the documentation of PostgresEndpoint is what home-lab with Bitnami’s chart needs', () => {
    const chart = Testing.chart();
    const theirs = endpoint(chart);
    expect(theirs).toMatchObject({ host: 'postgres-postgresql', port: 5432, image: latest });
    expect(theirs.superuser.username).toBe('postgres');
  });
});
