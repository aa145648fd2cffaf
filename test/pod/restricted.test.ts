import { App, Chart, Size, Testing } from 'cdk8s';
import { describe, expect, it } from 'vitest';
import {
  BackupVolume,
  Credentials,
  LogicalBackup,
  LogicalRestore,
  Metrics,
  MonitoringRole,
  Postgres,
  PostgresEndpoint,
  PostgresImage,
  Schedule,
  Storage,
  Tls,
  WalArchive,
} from '../../lib';
import { HomeLab } from '../../systems/home-lab';
import { RecordPlatform } from '../../systems/record-platform';
import type { Manifest } from '../helpers/render';

/** Every construct of the library with other choices than home-lab's. */
function everything(): Manifest[] {
  const chart = new Chart(new App(), 'all', { namespace: 'ns' });
  const credentials = Credentials.fromSecret('metrics', { passwordKey: 'password', usernameKey: 'user' });
  const of = new Postgres(chart, 'server', {
    name: 'pg',
    image: PostgresImage.alpine('17.6', { release: '3.22' }),
    storage: Storage.claim({ name: 'pg-data', size: Size.gibibytes(1) }),
    superuser: Credentials.fromSecret('pg', { passwordKey: 'password', usernameKey: 'user' }),
    service: 'Headless',
    initScripts: { '01.sql': 'SELECT 1;' },
    metrics: Metrics.exporter({ credentials }),
    walArchive: new WalArchive(chart, 'wal', { name: 'pg-wal', size: Size.gibibytes(1) }),
  });
  new MonitoringRole(chart, 'role', { of, credentials });
  const to = new BackupVolume(chart, 'volume', { name: 'pg-backup', size: Size.gibibytes(1) });
  const from = new LogicalBackup(chart, 'backup', { of, to, schedule: Schedule.daily('02:00') });
  new LogicalRestore(chart, 'restore', { from });
  const theirs = PostgresEndpoint.fromService(chart, 'theirs', {
    host: 'theirs',
    credentials: Credentials.fromSecret('theirs', { passwordKey: 'postgres-password' }),
    image: PostgresImage.bitnami('17.6.0-debian-12-r4'),
    tls: Tls.verifyFull({ ca: { configMap: 'ca' }, clientCertificate: { secret: 'client' } }),
  });
  const theirVolume = new BackupVolume(chart, 'their-volume', { name: 'their-backup', size: Size.gibibytes(1) });
  new LogicalBackup(chart, 'their-backup', { of: theirs, to: theirVolume, schedule: Schedule.daily('03:00') });
  return Testing.synth(chart);
}

const objects = [
  ...Testing.synth(new HomeLab(new App(), 'home-lab')),
  ...Testing.synth(new RecordPlatform(new App(), 'record-platform')),
  ...everything(),
];

function podTemplates(node: unknown, path = ''): [string, Manifest][] {
  if (typeof node !== 'object' || node === null) return [];
  const here = node as Manifest;
  const found: [string, Manifest][] = Array.isArray(here['containers']) ? [[path, here]] : [];
  return [...found, ...Object.entries(here).flatMap(([key, value]) => podTemplates(value, `${path}/${key}`))];
}

const pods = objects.flatMap((object, i) => podTemplates(object, `${i} ${object.kind}/${object.metadata.name}`));
const containers = pods.flatMap(([path, pod]) =>
  [...(pod['initContainers'] ?? []), ...pod['containers']].map((container: Manifest): [string, Manifest, Manifest] => [
    `${path} ${container['name']}`,
    container,
    pod,
  ]),
);

/** https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted */
const ALLOWED_VOLUMES = [
  'configMap',
  'csi',
  'downwardAPI',
  'emptyDir',
  'ephemeral',
  'persistentVolumeClaim',
  'projected',
  'secret',
];

describe('Pod Security "restricted", over all objects', () => {
  it('finds the pods of every kind that makes some', () => {
    expect(pods).toHaveLength(15);
    expect(containers).toHaveLength(20);
  });

  it.each(pods)('%s', (_, pod) => {
    expect(pod['hostNetwork'] ?? pod['hostPID'] ?? pod['hostIPC'] ?? false).toBe(false);
    expect(pod['securityContext']).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
    expect(pod['securityContext'].runAsUser).toBeGreaterThan(0);
    expect(pod['securityContext']).not.toHaveProperty('sysctls');
    for (const { name, ...source } of pod['volumes']) {
      expect(ALLOWED_VOLUMES, name).toContain(Object.keys(source)[0]);
    }
  });

  it.each(containers)('%s', (_, container) => {
    expect(container['securityContext']).toMatchObject({
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      runAsNonRoot: true,
    });
    expect(container['securityContext'].runAsUser).toBeGreaterThan(0);
    expect(container['securityContext'].capabilities).not.toHaveProperty('add');
    expect(container['securityContext']).not.toHaveProperty('privileged');
    for (const port of container['ports'] ?? []) expect(port).not.toHaveProperty('hostPort');
  });
});

describe('beyond "restricted"', () => {
  it.each(pods)('%s has no token and no environment from Services', (_, pod) => {
    expect(pod['automountServiceAccountToken']).toBe(false);
    expect(pod['enableServiceLinks']).toBe(false);
  });

  it.each(containers)('%s: read-only root, requests and limits, the image that was named', (_, container) => {
    expect(container['securityContext'].readOnlyRootFilesystem).toBe(true);
    for (const kind of ['requests', 'limits']) {
      expect(Object.keys(container['resources'][kind]).sort()).toEqual(['cpu', 'memory']);
    }
    expect(container['imagePullPolicy']).toBe('IfNotPresent');
  });

  it('every Job has a deadline and a time to live, every CronJob forbids two at once', () => {
    const jobs = objects.filter((o) => o['kind'] === 'Job').map((o) => o['spec']);
    const crons = objects.filter((o) => o['kind'] === 'CronJob').map((o) => o['spec']);
    for (const spec of [...jobs, ...crons.map((cron) => cron.jobTemplate.spec)]) {
      expect(spec.activeDeadlineSeconds).toBeGreaterThan(0);
      expect(spec.ttlSecondsAfterFinished).toBeGreaterThan(0);
    }
    for (const spec of crons) {
      expect(spec).toMatchObject({
        concurrencyPolicy: 'Forbid',
        successfulJobsHistoryLimit: 3,
        failedJobsHistoryLimit: 3,
      });
      expect(spec.startingDeadlineSeconds).toBeGreaterThan(10);
    }
  });
});
