import { describe, expect, it } from 'vitest';
import { OFFICIAL, recipeOf } from '../image/recipes';
import { majors } from '../majors';
import { clockOf } from './additions';
import { signalOf } from './container';
import { containerEnv, expand, fieldValue, type PodIdentity } from './env';
import { checkKnown } from './known';
import { bytesOf, Objects } from './objects';
import { capabilitiesOf } from './oci';
import { checkPorts, namesOf, selects, serviceLinks } from './services';
import type { KubeObject } from './types';

const pod: PodIdentity = {
  name: 'pg-0',
  namespace: 'data',
  uid: 'u',
  labels: { app: 'pg' },
  annotations: {},
  address: '10.244.0.2',
  serviceAccount: 'default',
};

const job = (spec: object): KubeObject => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: 'dump' },
  spec: { template: { spec } },
});

describe('what the rehearsal knows', () => {
  it('names the path of a field that nobody has taught it', () => {
    expect(() => checkKnown(job({ containers: [{ name: 'a' }, { name: 'b', stdin: true }] }))).toThrow(
      'Job/dump: spec.template.spec.containers[1].stdin is not known to the rehearsal; ' +
        'do what it says in test/rehearsal/runner, or list it in known.ts with the reason why it cannot matter',
    );
  });

  it('refuses a value that it would not act upon', () => {
    expect(() => checkKnown(job({ containers: [], hostNetwork: true }))).toThrow(
      'Job/dump: the rehearsal knows spec.template.spec.hostNetwork only as `false`, got `true`',
    );
  });

  it('refuses an unknown kind', () => {
    const object = { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'x' } };
    expect(() => checkKnown(object)).toThrow('DaemonSet/x is of a kind that the rehearsal does not know');
  });

  it('takes what is acted upon and what is listed', () => {
    expect(() =>
      checkKnown(job({ containers: [{ name: 'a', image: 'x' }], tolerations: [{ key: 'any' }] })),
    ).not.toThrow();
    expect(() =>
      checkKnown({ apiVersion: 'v1', kind: 'ServiceMonitor', metadata: { name: 'x' }, spec: { anything: 1 } }),
    ).not.toThrow();
  });
});

describe('environment', () => {
  const known = new Map([['A', 'one']]);

  it.each([
    ['$(A)-$(A)', 'one-one'],
    ['$(B)', '$(B)'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$one'],
    ['$A ${A} $', '$A ${A} $'],
  ])('expands %s to %s', (text, expected) => expect(expand(text, known)).toBe(expected));

  const objects = new Objects([
    { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's' }, data: { key: Buffer.from('ä').toString('base64') } },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' }, data: { one: '1', two: '2' } },
  ]);
  const env = (...entries: Array<{ name: string; value?: string; valueFrom?: object }>) =>
    Object.fromEntries(containerEnv({ env: entries }, new Map([['SVC', 'x']]), objects, pod));

  it('takes earlier variables, fields, Secrets and ConfigMaps', () => {
    expect(
      env(
        { name: 'S', valueFrom: { secretKeyRef: { name: 's', key: 'key' } } },
        { name: 'C', valueFrom: { configMapKeyRef: { name: 'c', key: 'two' } } },
        { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'ALL', value: '$(S) $(C) $(POD) $(SVC) $(LATER)' },
        { name: 'LATER', value: 'x' },
      ),
    ).toEqual({ SVC: 'x', S: 'ä', C: '2', POD: 'pg-0', ALL: 'ä 2 pg-0 x $(LATER)', LATER: 'x' });
  });

  it('takes all keys of envFrom, and env wins', () => {
    const container = {
      envFrom: [{ prefix: 'P_', configMapRef: { name: 'c' } }],
      env: [{ name: 'P_one', value: '$(P_two)' }],
    };
    expect([...containerEnv(container, new Map(), objects, pod)]).toEqual([
      ['P_one', '2'],
      ['P_two', '2'],
    ]);
  });

  it('fails for a missing key as the kubelet does, unless it is optional', () => {
    const ref = { name: 's', key: 'nope' };
    expect(() => env({ name: 'X', valueFrom: { secretKeyRef: ref } })).toThrow(
      "CreateContainerConfigError: couldn't find key nope in Secret s",
    );
    expect(env({ name: 'X', valueFrom: { secretKeyRef: { ...ref, optional: true } } })).toEqual({ SVC: 'x' });
  });

  it('reads labels and refuses fields it does not know', () => {
    expect(fieldValue("metadata.labels['app']", pod)).toBe('pg');
    expect(() => fieldValue('status.hostIP', pod)).toThrow('fieldPath must be one of metadata.name');
  });
});

describe('Services', () => {
  const service = (spec: object): KubeObject => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'my-pg', namespace: 'data' },
    spec,
  });

  it('selects by all labels, and nothing without a selector', () => {
    expect(selects(service({ selector: { app: 'pg' } }), { app: 'pg', more: 'x' })).toBe(true);
    expect(selects(service({ selector: { app: 'pg', role: 'x' } }), { app: 'pg' })).toBe(false);
    expect(selects(service({}), { app: 'pg' })).toBe(false);
  });

  it('has the short name in its own namespace only', () => {
    expect(namesOf(service({}), 'data')).toEqual([
      'my-pg',
      'my-pg.data',
      'my-pg.data.svc',
      'my-pg.data.svc.cluster.local',
    ]);
    expect(namesOf(service({}), 'other')).not.toContain('my-pg');
  });

  it('sets the variables that collide with those of images', () => {
    const links = serviceLinks([service({ ports: [{ port: 5432, name: 'sql' }] })], () => '10.96.0.10');
    expect(links.get('MY_PG_PORT')).toBe('tcp://10.96.0.10:5432');
    expect(links.get('MY_PG_SERVICE_PORT_SQL')).toBe('5432');
    expect(serviceLinks([service({ clusterIP: 'None', ports: [{ port: 1 }] })], () => '').size).toBe(0);
  });

  it('refuses a target port that is not there or not the same', () => {
    const containers = [{ ports: [{ name: 'sql', containerPort: 5432 }] }];
    expect(() => checkPorts(service({ ports: [{ port: 5432, targetPort: 'sql' }] }), containers)).not.toThrow();
    expect(() => checkPorts(service({ ports: [{ port: 5432, targetPort: 'sq' }] }), containers)).toThrow(
      'no container',
    );
    expect(() => checkPorts(service({ ports: [{ port: 80, targetPort: 5432 }] }), containers)).toThrow(
      'targetPort = port, got 5432 for 80',
    );
  });
});

describe('which image a reference means', () => {
  it.each([
    undefined,
    'postgres',
    'postgres:18.3-trixie',
    'docker.io/library/postgres:18',
    `postgres@sha256:${'0'.repeat(64)}`,
  ])('takes %s for the official one', (reference) => expect(recipeOf(reference)).toBe(OFFICIAL));

  it('takes a mirror of a registry that does not exist for the official one', () => {
    expect(recipeOf('registry.example.com/mirror/postgres:18.3-trixie')).toBe(OFFICIAL);
    expect(recipeOf('registry.example.com/other:1').name).toBe('other');
  });

  it.each([
    'postgres:18.3-alpine3.22',
    'x',
    'postgis/postgis:18-3.6',
    'registry.example.com:5000/postgresql',
    'me/postgres:18',
  ])('never runs PostgreSQL for %s', (reference) =>
    expect(() => recipeOf(reference)).toThrow(
      `the rehearsal has no image \`${reference}\`; add a recipe to test/rehearsal/image/recipes and list it in recipes.ts`,
    ),
  );
});

describe('small things', () => {
  it('reads quantities', () => {
    expect([bytesOf('64Mi'), bytesOf('1G'), bytesOf(5), bytesOf('1.5Ki')]).toEqual([67108864, 1e9, 5, 1536]);
    expect(() => bytesOf('64MB')).toThrow('a size must be like 64Mi or 1Gi, got `64MB`');
  });

  it('drops capabilities', () => {
    expect(capabilitiesOf({ drop: ['ALL'] })).toEqual([]);
    expect(capabilitiesOf({ drop: ['ALL'], add: ['CHOWN'] })).toEqual(['CAP_CHOWN']);
    expect(capabilitiesOf({ drop: ['CHOWN'] })).not.toContain('CAP_CHOWN');
    expect(capabilitiesOf()).toContain('CAP_CHOWN');
  });

  it('knows signals by exit code', () => {
    expect([137, 143, 130, 1].map(signalOf)).toEqual(['SIGKILL', 'SIGTERM', 'SIGINT', undefined]);
  });

  it('refuses a clock it cannot read', () => {
    expect(() => clockOf('tomorrow')).toThrow('clock must be like `2026-11-01 05:30:00` (UTC), got `tomorrow`');
  });

  it('chooses majors', () => {
    const before = process.env['TEST_MAJORS'];
    const with_ = (text: string, wanted: 'newest' | 'all') => {
      process.env['TEST_MAJORS'] = text;
      return majors(wanted);
    };
    expect(with_('', 'newest')).toEqual([18]);
    expect(with_('', 'all')).toEqual([15, 17, 18]);
    expect(with_('all', 'newest')).toEqual([15, 17, 18]);
    expect(with_('15,17', 'newest')).toEqual([15, 17]);
    expect(() => with_('16', 'all')).toThrow('TEST_MAJORS must be `all` or a list of 15, 17, 18, got `16`');
    if (before === undefined) delete process.env['TEST_MAJORS'];
    else process.env['TEST_MAJORS'] = before;
  });
});
