import { afterAll, beforeAll, expect } from 'vitest';
import { claimOf } from './cluster';
import { CLAIM, HomeLabOnCluster, NAMESPACE } from './home-lab';
import { getItems, getJson, kubectl, poll, tryKubectl } from './kubectl';
import { isTrue, type Node, type Pod, type Volume } from './objects';
import { say } from './progress';
import { steps } from './steps';
import { Writer } from './writer';

const step = steps();
let lab: HomeLabOnCluster;
let content: string;
let claim: string;
/** The server's identity, made by initdb: another one means another, empty database. */
let identity: string;

beforeAll(async () => {
  lab = await HomeLabOnCluster.prepare();
  await lab.apply();
  await lab.server.waitReady();
  await lab.loadData();
  // A crash lets a sequence that was used since the last checkpoint skip up to 32 values, as PostgreSQL documents it.
  await lab.server.psql('CHECKPOINT');
  content = await lab.content('backup_test');
  claim = (await claimOf(NAMESPACE, CLAIM)).metadata.uid;
  identity = await systemIdentifier();
});
afterAll(async () => {
  await lab?.close();
});

step('every process under the server killed with -9 in the middle of a load: no committed row is lost', async () => {
  const before = await lab.server.get();
  const writer = await startLoad();
  // Signal 9 to all but the first process of the container, which the kernel protects: the server must recover by itself.
  await tryKubectl(lab.server.execArgs(['bash', '-c', 'kill -9 -1']));
  await expectNothingLost(writer);
  expect(await lab.server.logs()).toMatch(/all server processes terminated; reinitializing/);
  const after = await lab.server.get();
  expect(after.metadata.uid).toBe(before.metadata.uid);
  expect(restarts(after)).toBe(0);
});

step('the pod killed with -9, first process and all, in the middle of a load: no committed row is lost', async () => {
  const before = await lab.server.get();
  const writer = await startLoad();
  // A stopped checkpointer keeps the server from ending by itself in the moment that even --force leaves it.
  const checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
  await lab.server.exec(['kill', '-STOP', await lab.server.psql(checkpointer)]);
  await kubectl(['delete', 'pod', lab.server.pod, '-n', NAMESPACE, '--force', '--grace-period=0']);
  const started = Date.now();
  const after = await lab.server.waitReady(180, before.metadata.uid);
  say(`Ready again ${seconds(started)} after --force, ${restarts(after)} restart(s)`);
  expect(await lab.server.logs()).toMatch(/was not properly shut down; automatic recovery in progress/);
  await expectNothingLost(writer);
});

step('the pod deleted as usual: the same claim, the same rows, unchanged timestamps', async () => {
  const before = await lab.server.get();
  const started = Date.now();
  await kubectl(['delete', 'pod', lab.server.pod, '-n', NAMESPACE]);
  await lab.server.waitReady(180, before.metadata.uid);
  say(`Ready again ${seconds(started)} after kubectl delete`);
  await expectUnchanged();
  const log = await lab.server.logs();
  expect(log).toMatch(/database system was shut down at/);
  expect(log).not.toMatch(/was not properly shut down/);
});

step('the StatefulSet scaled to 0 and deleted: the claim stays, and the rows with it', async () => {
  const { uid } = (await lab.server.get()).metadata;
  await kubectl(['scale', 'statefulset', 'postgres-postgresql', '--replicas=0', '-n', NAMESPACE]);
  await kubectl(['wait', '--for=delete', `pod/${lab.server.pod}`, '-n', NAMESPACE, '--timeout=150s']);
  expect((await claimOf(NAMESPACE, CLAIM)).metadata.uid).toBe(claim);
  await kubectl(['delete', 'statefulset', 'postgres-postgresql', '-n', NAMESPACE, '--wait']);
  const { metadata, status } = await claimOf(NAMESPACE, CLAIM);
  expect([metadata.uid, metadata.deletionTimestamp, status.phase]).toEqual([claim, undefined, 'Bound']);
  await lab.apply();
  await lab.server.waitReady(180, uid);
  await expectUnchanged();
});

step('the node drained: the same claim, the same rows, unchanged timestamps', async () => {
  const { metadata, spec } = await lab.server.get();
  const node = spec.nodeName!;
  const others = (await getItems<Node>(['nodes'])).filter((other) => other.metadata.name !== node && takesPods(other));
  const { volumeName } = (await claimOf(NAMESPACE, CLAIM)).spec;
  const volume = await getJson<Volume>(['persistentvolume', volumeName]);
  const moves = others.length > 0 && volume.spec.nodeAffinity === undefined;
  try {
    await kubectl(['cordon', node]);
    const flags = ['--ignore-daemonsets', '--delete-emptydir-data', '--timeout=180s', ...(await sparingOthers(node))];
    await kubectl(['drain', node, ...flags]);
    if (moves) expect((await lab.server.waitReady(180, metadata.uid)).spec.nodeName).not.toBe(node);
    else
      await poll('the drained pod waiting for a node', 60, async () => (await waitsForNode(metadata.uid)) || undefined);
  } finally {
    await kubectl(['uncordon', node]);
  }
  const { spec: now } = await lab.server.waitReady(180, metadata.uid);
  say(`drained from ${node}, back on ${now.nodeName}`);
  await expectUnchanged();
});

async function startLoad(): Promise<Writer> {
  const writer = await Writer.start(lab.restoreJob, lab.server);
  await writer.progress(1000);
  return writer;
}

/** The load goes on after the recovery, and what it was told to be committed is there. */
async function expectNothingLost(writer: Writer): Promise<void> {
  await writer.progress(100);
  const committed = await writer.committed();
  expect(await writer.errors()).not.toBe('');
  expect(await writer.lost()).toEqual([]);
  say(`${committed.length} rows were committed around the crash, none is lost`);
  await writer.stop();
  await expectUnchanged();
}

async function expectUnchanged(): Promise<void> {
  expect((await claimOf(NAMESPACE, CLAIM)).metadata.uid).toBe(claim);
  expect(await systemIdentifier()).toBe(identity);
  expect(await lab.content('backup_test')).toBe(content);
}

async function systemIdentifier(): Promise<string> {
  return await lab.server.psql('SELECT system_identifier FROM pg_control_system()');
}

/** On a node that others use, only the server is evicted. */
async function sparingOthers(node: string): Promise<string[]> {
  const pods = await getItems<Pod>(['pods', '-A', '--field-selector', `spec.nodeName=${node},status.phase=Running`]);
  const others = pods.filter(({ metadata }) => ![NAMESPACE, 'kube-system'].includes(metadata.namespace));
  if (others.length === 0) return [];
  say(`${others.length} pods of others on ${node} are spared: --pod-selector`);
  return ['--pod-selector=app.kubernetes.io/component=server,app.kubernetes.io/instance=postgres-postgresql'];
}

async function waitsForNode(not: string): Promise<boolean> {
  const { status, stdout } = await tryKubectl(['get', 'pod', lab.server.pod, '-n', NAMESPACE, '-o', 'json']);
  if (status !== 0) return false;
  const pod = JSON.parse(stdout) as Pod;
  return pod.metadata.uid !== not && pod.status.phase === 'Pending' && pod.spec.nodeName === undefined;
}

function takesPods({ spec, status }: Node): boolean {
  return (
    !spec.unschedulable &&
    !spec.taints?.some(({ effect }) => effect !== 'PreferNoSchedule') &&
    isTrue(status.conditions, 'Ready')
  );
}

function restarts({ status }: Pod): number {
  return status.containerStatuses?.find(({ name }) => name === 'postgres')?.restartCount ?? Number.NaN;
}

function seconds(since: number): string {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}
