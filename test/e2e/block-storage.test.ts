import { ApiObject, Duration, JsonPatch, Size } from 'cdk8s';
import { afterAll, beforeAll, expect } from 'vitest';
import { BackupVolume, LogicalBackup, Schedule, type SystemApp } from '../../lib';
import { type Cluster, openCluster, ownNamespace, removeNamespace } from './cluster';
import { IMAGES } from './images';
import { kubectl } from './kubectl';
import { jobOf } from './older-servers';
import { say } from './progress';
import { find, type Rendered, render } from './render';
import { Client, Server, waitJob } from './server';
import { steps } from './steps';
import { createSystemNamespace, TestSystem } from './system';

const NAMESPACE = ownNamespace('block');
const MOUNT = '/var/lib/postgresql';

const step = steps();
const server = new Server(NAMESPACE, 'block');
let cluster: Cluster;
let rendered: Rendered;
/** Whether the class makes a real file system, with `lost+found`, for a claim that asks for it. */
let isRealDisk: boolean;

beforeAll(async () => {
  cluster = await openCluster();
  isRealDisk = cluster.blockClass.provisioner === 'rehearsal/standard';
  say(`block-like class: ${cluster.blockClass.metadata.name}, ${cluster.blockClass.provisioner}`);
  await createSystemNamespace('block');
  rendered = render('block', cluster, build);
  await kubectl(['apply', '-f', rendered.folder]);
});
afterAll(() => removeNamespace(NAMESPACE));

function build(app: SystemApp): void {
  const system = new TestSystem(app, 'block');
  const claim = { size: Size.gibibytes(1), storageClass: cluster.blockClass.metadata.name, rootSquash: false };
  const of = system.addServer({ name: 'block', image: IMAGES[18], claim });
  const to = new BackupVolume(system, 'backups', { name: 'block-backup', ...claim });
  new LogicalBackup(system, 'nightly', { of, to, schedule: Schedule.daily('02:00'), deadline: Duration.minutes(5) });
  if (isRealDisk) for (const object of system.node.findAll().filter(ApiObject.isApiObject)) formatAsDisk(object);
}

/** The rehearsal cluster's own annotations: a loop-mounted ext4 of that size, root:root 0755 like a fresh disk. */
function formatAsDisk(object: ApiObject): void {
  const annotations = { 'rehearsal/size-limit': '256Mi', 'rehearsal/mode': '0755' };
  if (object.kind === 'PersistentVolumeClaim') {
    for (const [key, value] of Object.entries(annotations)) object.metadata.addAnnotation(key, value);
  } else if (object.kind === 'StatefulSet') {
    object.addJsonPatch(JsonPatch.add('/spec/volumeClaimTemplates/0/metadata/annotations', annotations));
  }
}

step('a server on a block volume gets it by fsGroup, and PGDATA is 0700', async () => {
  const { spec } = await server.waitReady();
  expect(spec.securityContext?.fsGroup).toBe(999);
  await expectOwnership();
  await server.psql('CREATE TABLE t AS SELECT generate_series(1, 1000) AS i');
});

step('after each restart the rows are there and PGDATA is 0700 again', async () => {
  for (const _ of [1, 2]) {
    const { uid } = (await server.get()).metadata;
    await kubectl(['delete', 'pod', server.pod, '-n', NAMESPACE]);
    await server.waitReady(180, uid);
    await expectOwnership();
    expect(await server.psql('SELECT count(*) FROM t')).toBe('1000');
  }
});

step('a dump is written to a block volume as 999', async () => {
  const job = jobOf(find(rendered, 'CronJob', 'block-backup'), 'manual-backup');
  await kubectl(['create', '-f', '-'], JSON.stringify(job));
  await waitJob(NAMESPACE, 'manual-backup');
  const client = await Client.start(job, NAMESPACE, 'e2e-client');
  const files = await client.exec(['bash', '-c', 'stat -c "%u %n" /backup/block-backup-*']);
  expect(files).toMatch(
    /^999 \/backup\/block-backup-[-\d]+\.sql\.gz\n999 \/backup\/block-backup-.*\.manifest\.json\n$/,
  );
  if (isRealDisk) expect(await client.exec(['ls', '/backup'])).toContain('lost+found');
});

async function expectOwnership(): Promise<void> {
  expect((await server.exec(['stat', '-c', '%a %u:%g', `${MOUNT}/data`])).trim()).toBe('700 999:999');
  // The kubelet has given the top of the volume to the group, which nothing but fsGroup does.
  expect((await server.exec(['stat', '-c', '%g', MOUNT])).trim()).toBe('999');
  if (isRealDisk) expect(await server.exec(['ls', MOUNT])).toContain('lost+found');
}
