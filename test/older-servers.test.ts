import { Testing } from 'cdk8s';
import { describe, expect, it } from 'vitest';
import { HomeLab } from '../systems/home-lab';
import { leaveOut } from './e2e/left-out';
import { fitTo, isOlder, jobOf, type Manifest, NEWER, readVersion } from './e2e/older-servers';

const version = (text: string) => {
  const [major = 0, minor = 0] = text.split('.').map(Number);
  return { major, minor };
};
const before = (text: string) => {
  const { major, minor } = version(text);
  return { major, minor: minor - 1 };
};
const CURRENT = version('1.34');

const homeLab = Testing.synth(new HomeLab(Testing.app(), 'home-lab')) as Manifest[];
const cronJob = homeLab.find(({ kind }) => kind === 'CronJob')!;
const ofKind = (kind: string, objects: readonly Manifest[]) => objects.find((object) => object.kind === kind);
const at = (object: unknown, keys: string): unknown =>
  keys.split('.').reduce((node, key) => (node as Record<string, unknown> | undefined)?.[key], object);

describe('what an older server does not know', () => {
  it('is nothing on a current server: the objects are the rendered ones', () => {
    const { objects, stripped } = fitTo(CURRENT, homeLab);
    expect(stripped).toEqual([]);
    expect(objects).toEqual(homeLab);
    expect(objects.every((object, i) => object === homeLab[i])).toBe(true);
  });

  it('is on the list because home-lab uses it', () => {
    const unused = NEWER.filter(({ apiVersion, kind, path: field }) => {
      const users = homeLab.filter((object) => object.apiVersion === apiVersion && object.kind === kind);
      return !users.some((object) => field === undefined || at(object, field) !== undefined);
    });
    expect(unused).toEqual([]);
  });

  it.each(NEWER)('$kind $path goes before $since, and stays from $since on', (entry) => {
    const alone = [entry];
    const users = homeLab.filter(
      (object) =>
        object.apiVersion === entry.apiVersion &&
        object.kind === entry.kind &&
        (entry.path === undefined || at(object, entry.path) !== undefined),
    );
    const kept = fitTo(version(entry.since), users, alone);
    expect(kept).toEqual({ objects: users, stripped: [] });

    const { objects, stripped } = fitTo(before(entry.since), users, alone);
    expect(stripped.length).toBe(users.length);
    if (entry.path === undefined) {
      const put = users.map((object) => ({ ...object, apiVersion: entry.before }));
      expect(objects).toEqual(entry.before ? put : []);
    } else {
      const field = entry.path;
      expect(objects.map((object) => at(object, field))).toEqual(users.map(() => undefined));
      // All else is as it was.
      const parent = field.slice(0, field.lastIndexOf('.'));
      const key = field.slice(field.lastIndexOf('.') + 1);
      for (const [i, object] of objects.entries()) {
        const { [key]: _, ...rest } = at(users[i], parent) as Record<string, unknown>;
        expect(at(object, parent)).toEqual(rest);
        expect(object.metadata).toEqual(users[i]!.metadata);
      }
    }
  });

  it('is told line by line', () => {
    expect(fitTo(version('1.20'), homeLab).stripped).toEqual(
      expect.arrayContaining([
        'StatefulSet postgres-postgresql: spec.persistentVolumeClaimRetentionPolicy, known since 1.27; the server is 1.20',
        'CronJob postgres-backup: batch/v1, put as batch/v1beta1, known since 1.21; the server is 1.20',
        'CronJob postgres-backup: spec.timeZone, known since 1.25; the server is 1.20',
        'CronJob postgres-backup-now: batch/v1, put as batch/v1beta1, known since 1.21; the server is 1.20',
        'CronJob postgres-restore-fresh: spec.jobTemplate.spec.ttlSecondsAfterFinished, known since 1.21; the server is 1.20',
        'Job postgres-restore-*: spec.ttlSecondsAfterFinished, known since 1.21; the server is 1.20',
        'Job postgres-monitoring-role-*: spec.ttlSecondsAfterFinished, known since 1.21; the server is 1.20',
      ]),
    );
    expect(fitTo(version('1.20'), homeLab).stripped.length).toBe(10);
    expect(fitTo(version('1.24'), homeLab).stripped.map((line) => line.split(',')[0])).toEqual([
      'StatefulSet postgres-postgresql: spec.persistentVolumeClaimRetentionPolicy',
      'CronJob postgres-backup: spec.timeZone',
    ]);
  });

  it('leaves the rendered objects as they are', () => {
    const copy = structuredClone(homeLab);
    fitTo(version('1.20'), homeLab);
    expect(homeLab).toEqual(copy);
    expect(ofKind('StatefulSet', homeLab)?.spec).toHaveProperty('persistentVolumeClaimRetentionPolicy');
  });

  it('is decided by numbers, not by text', () => {
    expect(isOlder(version('1.9'), '1.21')).toBe(true);
    expect(isOlder(version('1.100'), '1.21')).toBe(false);
    expect(isOlder(version('2.0'), '1.21')).toBe(false);
    expect(readVersion({ major: '1', minor: '31+' })).toEqual({ major: 1, minor: 31 });
    expect(() => readVersion({ major: '', minor: '' })).toThrow(/must name the server's version, got/);
  });
});

describe('a CronJob where it is run as a Job', () => {
  it('is run with the pod and the limits of its template', () => {
    const job = jobOf(cronJob, 'manual-backup');
    expect(job.metadata).toMatchObject({ name: 'manual-backup', namespace: 'data' });
    expect(job.metadata.labels).toEqual(at(cronJob, 'spec.jobTemplate.metadata.labels'));
    expect(job.spec).toBe(at(cronJob, 'spec.jobTemplate.spec'));
    expect(at(job, 'spec.template.spec.containers.0.command')).toEqual(['bash', '/scripts/logical-backup.sh']);
  });
});

describe('what a cluster lacks', () => {
  const nothing = { serviceMonitors: false, exporter: false };

  it('is nothing where all is there', () => {
    expect(leaveOut(nothing, homeLab)).toEqual({ objects: homeLab, stripped: [] });
  });

  it('is left out, told line by line, and nothing else', () => {
    const monitors = leaveOut({ ...nothing, serviceMonitors: true }, homeLab);
    expect(monitors.objects).toEqual(homeLab.filter(({ kind }) => kind !== 'ServiceMonitor'));
    expect(monitors.stripped).toEqual([
      'ServiceMonitor postgres-postgresql: all of it; the cluster has no Prometheus Operator',
    ]);

    const { objects, stripped } = leaveOut({ ...nothing, exporter: true }, homeLab);
    expect(at(ofKind('StatefulSet', objects), 'spec.template.spec.containers')).toEqual([
      at(ofKind('StatefulSet', homeLab), 'spec.template.spec.containers.0'),
    ]);
    expect(objects.filter(({ kind }) => kind !== 'StatefulSet')).toEqual(
      homeLab.filter(({ kind }) => kind !== 'StatefulSet'),
    );
    expect(stripped).toEqual([
      'StatefulSet postgres-postgresql: container metrics; E2E_EXPORTER=no says that its image is missing',
    ]);
  });
});
