import { getItems, getJson, kubectl, poll, tryKubectl } from './kubectl';
import type { Lacks } from './left-out';
import type { Claim, Node, StorageClass, Volume } from './objects';
import { readVersion, type ServerVersion } from './older-servers';
import { say } from './progress';

/** Marks the namespaces that this suite made, and may remove. */
const OURS = 'cdk8s-postgres/e2e';
/** Of every namespace but `data`, which home-lab's chart names. */
const PREFIX = 'cdk8s-postgres-e2e-';
const NFS_CLASS = 'nfs-client';
/** Made by this file of tests. */
const made = new Set<string>();

export interface Cluster {
  readonly version: ServerVersion;
  /** Takes the place of home-lab's class. */
  readonly storageClass: string;
  /** A class of block devices, or of what behaves like them. */
  readonly blockClass: StorageClass;
  /** Whether the container runtime lays anonymous volumes over the paths that an image declares. */
  readonly mountsDeclaredVolumes: boolean;
  readonly lacks: Lacks;
}

/** Finds out what the cluster is, and refuses one that the suite can't work on or must not touch. */
export async function openCluster(): Promise<Cluster> {
  const answer = await tryKubectl(['version', '-o', 'json']);
  if (answer.status !== 0) {
    throw new Error(
      `no cluster answers to kubectl (${lastLine(answer.stderr)}); set KUBECONFIG, see test/e2e/README.md`,
    );
  }
  const version = readVersion(JSON.parse(answer.stdout).serverVersion);
  const classes = await getItems<StorageClass>(['storageclass']);
  const storageClass = process.env['E2E_STORAGE_CLASS'] ?? NFS_CLASS;
  if (!classes.some(({ metadata }) => metadata.name === storageClass)) {
    const names = classes.map(({ metadata }) => metadata.name).join(', ') || 'none';
    throw new Error(`the cluster has no storage class "${storageClass}", only: ${names}; set E2E_STORAGE_CLASS to one`);
  }
  const nodes = await getItems<Node>(['nodes']);
  const runtimes = [...new Set(nodes.map((node) => node.status.nodeInfo.containerRuntimeVersion))];
  say(`Kubernetes ${version.major}.${version.minor}, ${nodes.length} node(s), ${runtimes}, class ${storageClass}`);
  await removeLeftovers();
  return {
    version,
    storageClass,
    blockClass: blockClass(classes),
    mountsDeclaredVolumes: !runtimes.every((runtime) => runtime.startsWith('cri-o:')),
    lacks: {
      serviceMonitors: (await tryKubectl(['get', 'crd', 'servicemonitors.monitoring.coreos.com'])).status !== 0,
      exporter: process.env['E2E_EXPORTER'] === 'no',
    },
  };
}

function blockClass(classes: readonly StorageClass[]): StorageClass {
  const isDefault = ({ metadata }: StorageClass) =>
    metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true';
  const wanted = process.env['E2E_BLOCK_CLASS'];
  const found = classes.find(wanted ? ({ metadata }) => metadata.name === wanted : isDefault);
  if (found) return found;
  const got = wanted ? `"${wanted}"` : 'no default class';
  throw new Error(
    `a storage class of block devices is needed, got ${got}; set E2E_BLOCK_CLASS to one of the cluster's`,
  );
}

/** A namespace of our own that lets only restricted pods in, where the server knows Pod Security admission. */
export async function createNamespace(name: string): Promise<void> {
  const labels = { [OURS]: 'true', 'pod-security.kubernetes.io/enforce': 'restricted' };
  const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } };
  await kubectl(['create', '-f', '-'], JSON.stringify(namespace));
  made.add(name);
}

export function ownNamespace(purpose: string): string {
  return `${PREFIX}${purpose}`;
}

/**
 * Removes a namespace that {@link createNamespace} made and its volumes, also those of a class that retains them.
 * E2E_KEEP=1 leaves all for a look.
 */
export async function removeNamespace(name: string): Promise<void> {
  if (!made.has(name)) return;
  if (process.env['E2E_KEEP']) {
    say(`namespace ${name} stays, as E2E_KEEP asks for; the next run removes it`);
    return;
  }
  await remove(name);
}

async function remove(name: string): Promise<void> {
  await handOver(name);
  // A namespace that finds pods in itself looks again after 5, 10, 20, 40 s.
  await tryKubectl(['delete', 'statefulsets,jobs,pods', '--all', '-n', name, '--wait', '--timeout=150s']);
  await kubectl(['delete', 'namespace', name, '--wait', '--timeout=180s', '--ignore-not-found']);
  const gone = async () => (await handOver(name)) === 0 || undefined;
  await poll(`removal of the volumes of namespace ${name}`, 60, gone).catch((error: Error) => say(error.message));
}

/** Gives a namespace's volumes to their provisioner for removal. @returns how many there are */
async function handOver(namespace: string): Promise<number> {
  const all = await getItems<Volume>(['persistentvolumes']);
  const ours = all.filter(({ spec }) => spec.claimRef?.namespace === namespace);
  for (const { metadata, spec } of ours) {
    if (spec.persistentVolumeReclaimPolicy === 'Delete') continue;
    const policy = '{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}';
    await kubectl(['patch', 'persistentvolume', metadata.name, '-p', policy]);
  }
  return ours.length;
}

async function removeLeftovers(): Promise<void> {
  type Namespace = { metadata: { name: string; labels?: Record<string, string> } };
  const isOurs = ({ metadata }: Namespace) => metadata.labels?.[OURS] === 'true';
  const all = await getItems<Namespace>(['namespaces']);
  const taken = all.filter((namespace) => !isOurs(namespace)).map(({ metadata }) => metadata.name);
  if (taken.includes('data')) {
    throw new Error(
      'the cluster has a namespace "data" that this suite did not make; use another cluster, never that one',
    );
  }
  for (const { metadata } of all.filter(isOurs)) {
    say(`removing namespace ${metadata.name} of an earlier run`);
    await remove(metadata.name);
  }
}

/** What a reader of a failure wants to see first. */
export async function describeNamespace(namespace: string): Promise<string> {
  const parts = await Promise.all([
    tryKubectl(['get', 'pods,persistentvolumeclaims,jobs', '-n', namespace, '-o', 'wide']),
    tryKubectl(['get', 'events', '-n', namespace, '--sort-by=.lastTimestamp']),
  ]);
  return parts.map(({ stdout, stderr }) => (stdout || stderr).split('\n').slice(-25).join('\n')).join('\n');
}

export function lastLine(text: string): string {
  return text.trimEnd().split('\n').at(-1) ?? '';
}

export async function claimOf(namespace: string, name: string): Promise<Claim> {
  return await getJson(['persistentvolumeclaim', name, '-n', namespace]);
}
