import { createHash } from 'node:crypto';
import { App, Testing } from 'cdk8s';
import { beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { Schedule } from '../../lib';
import { manifestSerializer } from '../../lib/testing';
import { HomeLab } from '../../systems/home-lab';
import { find, type Manifest } from '../helpers/render';

expect.addSnapshotSerializer(manifestSerializer);

let objects: Manifest[];
beforeAll(() => {
  objects = Testing.synth(new HomeLab(new App(), 'home-lab'));
});

const SERVER = 'postgres-postgresql';
const RESTORE = 'postgres-restore-';
const get = (kind: string, name = NAMES[kind]) => find(objects, kind, name);
/** Of the kinds that there are several of. */
const NAMES: Record<string, string> = { CronJob: 'postgres-backup', Job: RESTORE, Service: SERVER };
const BUTTONS = { 'postgres-backup-now': 'backup', 'postgres-restore-fresh': 'restore' };
const podOf = (object: Manifest): Manifest =>
  (object.kind === 'CronJob' ? object.spec.jobTemplate.spec : object.spec).template.spec;
const pods = () => objects.filter(({ kind }) => ['StatefulSet', 'CronJob', 'Job'].includes(kind)).map(podOf);
const env = (container: Manifest): Record<string, unknown> =>
  Object.fromEntries(container.env.map((e: Manifest) => [e.name, e.value ?? e.valueFrom]));
const labels = { 'app.kubernetes.io/name': 'postgres', 'app.kubernetes.io/part-of': 'home-lab' };

describe('home-lab', () => {
  it('is rendered as it was, scripts aside (they have tests of their own)', () => {
    const withoutScripts = objects.map((object) =>
      object.metadata.name?.endsWith('-scripts') ? { ...object, data: Object.keys(object.data) } : object,
    );
    expect(withoutScripts).toMatchSnapshot();
  });

  it('HL-1: server postgres-postgresql in namespace data, password by reference', () => {
    const set = get('StatefulSet');
    expect(set.metadata).toMatchObject({ name: 'postgres-postgresql', namespace: 'data' });
    expect(set.spec).toMatchObject({ replicas: 1, serviceName: 'postgres-postgresql' });
    const service = get('Service');
    expect(service.metadata).toMatchObject({ name: 'postgres-postgresql', namespace: 'data' });
    expect(service.spec.ports).toEqual([{ name: 'postgres', port: 5432, targetPort: 'postgres' }]);
    const [container] = podOf(set).containers;
    expect(container.image).toMatch(/^postgres:18\.\d+-trixie$/);
    expect(env(container)).toMatchObject({
      POSTGRES_USER: 'postgres',
      POSTGRES_PASSWORD: { secretKeyRef: { name: 'postgres-postgresql', key: 'postgres-password' } },
    });
  });

  it('HL-1, RP-1: the Service matches the server and no pod of a Job', () => {
    const selector = Object.entries(get('Service').spec.selector);
    const matches = (template: Manifest) => selector.every(([key, value]) => template.metadata.labels[key] === value);
    expect(matches(get('StatefulSet').spec.template)).toBe(true);
    for (const { spec } of objects.filter(({ kind }) => kind === 'CronJob')) {
      expect(matches(spec.jobTemplate.spec.template)).toBe(false);
    }
    for (const job of objects.filter(({ kind }) => kind === 'Job')) expect(matches(job.spec.template)).toBe(false);
    expect(get('StatefulSet').spec.selector.matchLabels).toEqual(get('Service').spec.selector);
  });

  it('HL-2: data on NFS through the claim template data, kept when the StatefulSet goes', () => {
    const { spec } = get('StatefulSet');
    expect(spec.volumeClaimTemplates).toEqual([
      {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: expect.objectContaining({ name: 'data' }),
        spec: {
          accessModes: ['ReadWriteOnce'],
          storageClassName: 'nfs-client',
          resources: { requests: { storage: '8Gi' } },
        },
      },
    ]);
    expect(spec.persistentVolumeClaimRetentionPolicy).toEqual({ whenDeleted: 'Retain', whenScaled: 'Retain' });
  });

  it('mounts the data once, at /var/lib/postgresql, with PGDATA=/var/lib/postgresql/data', () => {
    const pod = podOf(get('StatefulSet'));
    for (const container of [...pod.initContainers, pod.containers[0]]) {
      const mounts = container.volumeMounts.filter((m: Manifest) => m.name === 'data');
      expect(mounts).toEqual([{ name: 'data', mountPath: '/var/lib/postgresql' }]);
      expect(env(container)['PGDATA']).toBe('/var/lib/postgresql/data');
    }
    const others = pod.containers.slice(1).flatMap((container: Manifest) => container.volumeMounts);
    expect(others.filter((m: Manifest) => m.name === 'data')).toEqual([]);
  });

  it('HL-3: resources', () => {
    expect(podOf(get('StatefulSet')).containers[0].resources).toEqual({
      requests: { cpu: '100m', memory: '256Mi' },
      limits: { cpu: '500m', memory: '1Gi' },
    });
  });

  describe('HL-4: metrics', () => {
    const metrics = () => podOf(get('StatefulSet')).containers[1];
    const secret = (more = {}) => ({ secretKeyRef: { name: 'postgres-metrics', key: 'password', ...more } });

    it('come from an exporter of one release in the pod of the server, on port 9187, as 999', () => {
      expect(podOf(get('StatefulSet')).containers.map((c: Manifest) => c.name)).toEqual(['postgres', 'metrics']);
      expect(metrics().image).toBe('quay.io/prometheuscommunity/postgres-exporter:v0.20.1');
      expect(metrics().command[0]).toBe('/bin/postgres_exporter');
      expect(metrics().ports).toEqual([{ name: 'metrics', containerPort: 9187 }]);
      expect(metrics().securityContext).toMatchObject({ runAsUser: 999, readOnlyRootFilesystem: true });
      expect(metrics().resources.limits).toEqual({ cpu: '200m', memory: '128Mi' });
    });

    it('are read inside the pod with a role of its own, whose password is never put together with anything', () => {
      expect(env(metrics())).toEqual({
        DATA_SOURCE_URI: '127.0.0.1:5432/postgres?sslmode=disable&connect_timeout=5&application_name=postgres_exporter',
        DATA_SOURCE_USER: 'postgres_exporter',
        DATA_SOURCE_PASS: secret({ optional: true }),
      });
      expect(env(podOf(get('StatefulSet')).containers[0])).toMatchObject({
        MONITORING_USER: 'postgres_exporter',
        MONITORING_PASSWORD: secret({ optional: true }),
      });
      const [job] = podOf(get('Job', 'postgres-monitoring-role-')).containers;
      expect(env(job)).toMatchObject({ MONITORING_USER: 'postgres_exporter', MONITORING_PASSWORD: secret() });
    });

    it('cut no application off: no readiness of the exporter counts, nor does its Secret', () => {
      expect(metrics()).not.toHaveProperty('readinessProbe');
      expect(metrics()).not.toHaveProperty('startupProbe');
      expect(metrics().livenessProbe.tcpSocket).toEqual({ port: 'metrics' });
      expect(get('Service').spec.publishNotReadyAddresses).toBe(true);
    });

    it('have a Service of their own that leads to the server, and the ServiceMonitor selects that one only', () => {
      const service = get('Service', 'postgres-postgresql-metrics');
      expect(service.spec).toMatchObject({
        clusterIP: 'None',
        selector: get('StatefulSet').spec.selector.matchLabels,
        publishNotReadyAddresses: true,
        ports: [{ name: 'metrics', port: 9187, targetPort: 'metrics' }],
      });
      const monitor = get('ServiceMonitor');
      expect(monitor.apiVersion).toBe('monitoring.coreos.com/v1');
      expect(monitor.metadata.namespace).toBe(service.metadata.namespace);
      expect(monitor.spec.endpoints).toEqual([{ port: service.spec.ports[0].name }]);
      const wanted = Object.entries(monitor.spec.selector.matchLabels);
      const selected = objects.filter(
        ({ kind, metadata }) => kind === 'Service' && wanted.every(([key, value]) => metadata.labels[key] === value),
      );
      expect(selected).toEqual([service]);
    });

    it('tell the age of the backup: the exporter mounts the queries, and a change of them rolls the pod', () => {
      expect(metrics().command).toContain('--extend.query-path=/etc/postgres_exporter/exporter-queries.yaml');
      expect(metrics().volumeMounts).toEqual([
        { name: 'metrics', mountPath: '/etc/postgres_exporter', readOnly: true },
      ]);
      const queries = get('ConfigMap', 'postgres-postgresql-metrics').data['exporter-queries.yaml'];
      expect(Object.keys(parse(queries))).toEqual(['pg_backup', 'pg_database']);
      const sum = createHash('sha256').update(queries).digest('hex');
      expect(get('StatefulSet').spec.template.metadata.annotations['cdk8s-postgres/metrics-sha256']).toBe(sum);
    });

    it('get their role at the first start, before it counts as complete, or by a Job that only `kubectl create` takes', () => {
      const init = Object.keys(get('ConfigMap', 'postgres-postgresql-init-scripts').data);
      expect(init.sort()).toEqual(['zzy-monitoring-role.sh', 'zzz-initialized.sh']);
      const scripts = Object.keys(get('ConfigMap', 'postgres-postgresql-scripts').data);
      expect(scripts).toEqual(expect.arrayContaining(['lib.sh', 'monitoring-role.sh', 'monitoring-role.sql']));
      const { metadata } = get('Job', 'postgres-monitoring-role-');
      expect(metadata).not.toHaveProperty('name');
    });
  });

  it('HL-5: no disruption budget blocks a drain', () => {
    expect(objects.filter((object) => object.kind === 'PodDisruptionBudget')).toEqual([]);
  });

  it('HL-6: backup claim of its own, never pruned', () => {
    const claim = get('PersistentVolumeClaim');
    expect(claim.metadata).toMatchObject({ name: 'postgres-backup', namespace: 'data' });
    expect(claim.metadata.annotations).toEqual({ 'argocd.argoproj.io/sync-options': 'Prune=false,Delete=false' });
    expect(claim.spec).toEqual({
      accessModes: ['ReadWriteOnce'],
      storageClassName: 'nfs-client',
      resources: { requests: { storage: '10Gi' } },
    });
  });

  it('HL-7: CronJob postgres-backup at 02:00 UTC', () => {
    const cron = get('CronJob', 'postgres-backup');
    expect(cron.metadata).toMatchObject({ namespace: 'data' });
    expect(cron.spec).not.toHaveProperty('suspend');
    expect(cron.spec).toMatchObject({ schedule: '0 2 * * *', timeZone: 'Etc/UTC', concurrencyPolicy: 'Forbid' });
    expect(cron.spec.jobTemplate.spec).toMatchObject({ backoffLimit: 3, ttlSecondsAfterFinished: 86400 });
    expect(podOf(cron).restartPolicy).toBe('OnFailure');
    for (const { labels: found } of [cron.metadata, cron.spec.jobTemplate.spec.template.metadata]) {
      expect(found).toMatchObject({ ...labels, 'app.kubernetes.io/component': 'backup' });
    }
  });

  it('HL-8, HL-9: dumps go to /backup as gzip, the newest 7 stay', () => {
    const [dump] = podOf(get('CronJob', 'postgres-backup')).containers;
    expect(dump.volumeMounts).toContainEqual({ name: 'backup', mountPath: '/backup' });
    expect(podOf(get('CronJob', 'postgres-backup')).volumes).toContainEqual({
      name: 'backup',
      persistentVolumeClaim: { claimName: 'postgres-backup' },
    });
    expect(env(dump)).toMatchObject({
      BACKUP_DIR: '/backup',
      BACKUP_NAME: 'postgres-backup',
      COMPRESSION: 'gzip',
      RETENTION_LAST: '7',
    });
  });

  it('HL-10, HL-11: the restore is a Job that only `kubectl create` takes, and it cannot write to the backups', () => {
    const { metadata } = get('Job');
    expect(metadata).toMatchObject({ generateName: 'postgres-restore-', namespace: 'data' });
    expect(metadata).not.toHaveProperty('name');
    expect(podOf(get('Job')).containers[0].volumeMounts).toContainEqual({
      name: 'backup',
      mountPath: '/backup',
      readOnly: true,
    });
  });

  it('runs every pod as 999:999, init containers too, and leaves the squashed volumes without fsGroup', () => {
    for (const pod of pods()) {
      for (const context of [pod, ...(pod.initContainers ?? []), ...pod.containers].map((c) => c.securityContext)) {
        expect(context).toMatchObject({ runAsUser: 999, runAsGroup: 999, runAsNonRoot: true });
      }
      expect(pod.securityContext).not.toHaveProperty('fsGroup');
    }
  });

  it('sets no variable to nothing, which the API server drops and each `kubectl apply` would set again', () => {
    const all = pods().flatMap((pod) => [...(pod.initContainers ?? []), ...pod.containers].flatMap((c) => c.env));
    expect(all.length).toBeGreaterThan(20);
    expect(all.filter((variable) => variable.value === '')).toEqual([]);
  });

  it('reads passwords from the Secret and holds none', () => {
    const text = JSON.stringify(objects.filter((object) => object.kind !== 'ConfigMap'));
    expect(objects.map((object) => object.kind)).not.toContain('Secret');
    expect(text.match(/"name":"\w*PASS(WORD)?","value":/g)).toBeNull();
    expect(text.match(/"name":"(PGPASSWORD|POSTGRES_PASSWORD)","valueFrom":/g)).toHaveLength(6);
    expect(text.match(/"name":"(MONITORING_PASSWORD|DATA_SOURCE_PASS)","valueFrom":/g)).toHaveLength(3);
  });

  describe('buttons', () => {
    it('are suspended CronJobs with a schedule that is valid and as rare as can be', () => {
      const suspended = objects.filter((object) => object.kind === 'CronJob' && object.spec.suspend);
      expect(suspended.map((object) => object.metadata.name).sort()).toEqual(Object.keys(BUTTONS));
      for (const { metadata, spec } of suspended) {
        expect(metadata.namespace).toBe('data');
        expect(spec.schedule).toBe('0 0 29 2 *');
        expect(Schedule.cron(spec.schedule)._render().schedule).toBe(spec.schedule);
        expect(spec.suspend).toBe(true);
        // Resumed by mistake, it does not catch up on what it has missed.
        expect(spec.startingDeadlineSeconds).toBe(30);
        // One suspended CronJob would make Argo CD call the whole application suspended.
        expect(metadata.annotations).toEqual({ 'argocd.argoproj.io/ignore-healthcheck': 'true' });
      }
    });

    it.each(Object.entries(BUTTONS))('%s is labelled as %s, and runs as 999 without root', (name, component) => {
      const cron = get('CronJob', name);
      for (const { labels: found } of [cron.metadata, cron.spec.jobTemplate.metadata]) {
        expect(found).toMatchObject({ ...labels, 'app.kubernetes.io/component': component });
      }
      expect(podOf(cron).securityContext).toMatchObject({ runAsUser: 999, runAsGroup: 999, runAsNonRoot: true });
    });

    it('HL-10: backup now is the scheduled dump, with its name, scripts and retention', () => {
      const now = get('CronJob', 'postgres-backup-now');
      expect(now.spec.jobTemplate).toEqual(get('CronJob', 'postgres-backup').spec.jobTemplate);
      expect(podOf(now).containers[0].volumeMounts).toEqual([
        { name: 'backup', mountPath: '/backup' },
        { name: 'scripts', mountPath: '/scripts', readOnly: true },
        { name: 'tmp', mountPath: '/tmp' },
      ]);
    });

    it('restore into fresh databases is the restore of ops/, beside instead of over, and cannot write to the backups', () => {
      const fresh = get('CronJob', 'postgres-restore-fresh').spec.jobTemplate.spec;
      const restore = get('Job').spec;
      const { INTO, ...same } = env(fresh.template.spec.containers[0]);
      const { SESSIONS: _, ...others } = env(restore.template.spec.containers[0]);
      expect(INTO).toBe('fresh');
      expect(same).toEqual(others);
      const withoutEnv = (spec: Manifest) => ({
        ...spec,
        template: {
          ...spec.template,
          spec: { ...spec.template.spec, containers: [{ ...spec.template.spec.containers[0], env: [] }] },
        },
      });
      expect(withoutEnv(fresh)).toEqual(withoutEnv(restore));
      expect(fresh).toMatchObject({ backoffLimit: 0, activeDeadlineSeconds: 43200, ttlSecondsAfterFinished: 604800 });
      expect(fresh.template.spec.restartPolicy).toBe('Never');
      expect(fresh.template.spec.containers[0].volumeMounts).toContainEqual({
        name: 'backup',
        mountPath: '/backup',
        readOnly: true,
      });
    });
  });
});
