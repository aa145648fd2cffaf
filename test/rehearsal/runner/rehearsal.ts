import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { image, imageOf } from '../image/image';
import { prepare } from '../setup/prepare';
import { ArgumentsSeen } from './arguments';
import { removeCgroups } from './cgroup';
import { Claims } from './claims';
import type { Context } from './context';
import { JobRun, type JobYaml, suffix } from './job';
import { ownFolder, removeLeftovers } from './leftovers';
import { Namespace } from './namespace';
import { Network } from './network';
import { Objects } from './objects';
import { Pod } from './pod';
import type { PodTemplate } from './podspec';
import { Psql } from './psql';
import { statefulPod } from './statefulset';
import type {
  ClaimHandle,
  JobHandle,
  JobOptions,
  JobResult,
  KubeObject,
  OpenOptions,
  PodHandle,
  PsqlOptions,
  StartOptions,
} from './types';

const open = new Set<Rehearsal>();
// Containers and mounts end with the process whatever happens; this takes the files as well.
process.on('exit', () => {
  for (const one of open) one.abandon();
});

/** One small cluster: a network of its own, objects, claims, and the pods started from them. */
export class Rehearsal {
  private readonly pods = new Map<string, Pod>();
  private readonly jobs: JobRun[] = [];
  private closed = false;

  private constructor(
    private readonly context: Context,
    private readonly seen: ArgumentsSeen,
  ) {
    open.add(this);
  }

  static async open(options: OpenOptions): Promise<Rehearsal> {
    const objects = new Objects(options.objects);
    prepare();
    removeLeftovers();
    const { major } = options;
    const unpacked = await image(major);
    const folder = ownFolder(options.name ?? 'rehearsal');
    chmodSync(folder, 0o711);
    for (const part of ['layers', 'pods', 'claims']) mkdirSync(join(folder, part));
    const id = basename(folder);
    const [ns, seen] = await Promise.all([Namespace.open(folder), ArgumentsSeen.open(id)]);
    const network = new Network(ns, () => objects.all('Service'), objects.namespace);
    const claims = new Claims(ns, join(folder, 'claims'), options.volumes ?? {});
    const images = { major, image: unpacked, imageOf: (reference?: string) => imageOf(reference, major) };
    const rehearsal = new Rehearsal({ id, folder, ns, objects, claims, network, ...images }, seen);
    const rendered = objects.all('PersistentVolumeClaim').map((one) => String(one.metadata.name));
    try {
      for (const name of new Set([...rendered, ...Object.keys(options.volumes ?? {})])) await claims.bind(name);
    } catch (error) {
      await rehearsal.close();
      throw error;
    }
    return rehearsal;
  }

  /** The exact PostgreSQL that is executed. */
  get version(): string {
    return this.context.image.version;
  }

  /** Kills everything, unmounts and removes all files of this rehearsal. Safe to call twice. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    open.delete(this);
    this.seen.close();
    for (const one of [...this.pods.values(), ...this.jobs]) one.abandon();
    await this.context.ns.close();
    await Promise.all([...this.pods.values()].map((pod) => pod.done));
    await Promise.allSettled(this.jobs.map((job) => job.wait()));
    // The kernel has sent KILL to all; their cgroups can go when they are gone.
    for (let tries = 0; tries < 200 && !removeCgroups(this.context.id); tries++) await sleep(10);
    rmSync(this.context.folder, { recursive: true, force: true });
  }

  /** @internal What can be done without waiting, when the process ends. */
  abandon(): void {
    try {
      process.kill(this.context.ns.pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
    rmSync(this.context.folder, { recursive: true, force: true });
  }

  /** Adds or replaces objects (by kind and name), as another `kubectl apply` would; running pods stay as they are. */
  apply(objects: KubeObject[]): void {
    this.context.objects.apply(objects);
  }

  /** Starts the StatefulSet's pod: claims from its templates, init containers, containers. Resolves before it is ready. */
  async startStatefulSet(name: string, options: StartOptions = {}): Promise<PodHandle> {
    const { podName, template, claims } = statefulPod(this.context.objects.get('StatefulSet', name));
    for (const claim of claims) await this.context.claims.bind(claim);
    return this.start(options.podName ?? podName, template, options);
  }

  /** A bare Pod. */
  async startPod(name: string, options: StartOptions = {}): Promise<PodHandle> {
    const { metadata, spec } = this.context.objects.get('Pod', name);
    return this.start(options.podName ?? metadata.name ?? `${name}${suffix()}`, { metadata, spec: spec }, options);
  }

  private async start(name: string, template: PodTemplate, options: StartOptions): Promise<Pod> {
    if (this.pods.get(name)?.ended === false) throw new Error(`pod ${name} runs already; stop it first`);
    const pod = await Pod.create(this.context, name, template, options);
    this.pods.set(name, pod);
    return pod.begin();
  }

  /** A Job by its name or generateName. */
  async startJob(name: string, options: JobOptions = {}): Promise<JobHandle> {
    const { metadata, spec } = this.context.objects.get('Job', name);
    if (spec.suspend) throw new Error(`Job/${name} is suspended: no pod of it would ever start`);
    return this.control(metadata.name ?? `${name}${suffix()}`, spec as JobYaml, options);
  }

  /** A Job from the CronJob's jobTemplate, like `kubectl create job --from=cronjob/NAME`. */
  async startCronJob(name: string, options: JobOptions = {}): Promise<JobHandle> {
    const { spec } = this.context.objects.get('CronJob', name);
    return this.control(`${name}-${suffix()}`, spec.jobTemplate.spec as JobYaml, options);
  }

  private async control(name: string, yaml: JobYaml, options: JobOptions): Promise<JobHandle> {
    const job = await JobRun.start(this.context, name, yaml, options);
    this.jobs.push(job);
    return job;
  }

  async runJob(name: string, options: JobOptions = {}): Promise<JobResult> {
    return (await this.startJob(name, options)).wait();
  }

  async runCronJob(name: string, options: JobOptions = {}): Promise<JobResult> {
    return (await this.startCronJob(name, options)).wait();
  }

  /** A claim that is bound: named by `volumes`, rendered, or made from a template by a StatefulSet that was started. */
  claim(name: string): ClaimHandle {
    return this.context.claims.get(name);
  }

  /** psql -XAtq of the image, from outside all pods; rejects with psql's message. The last newline is cut. */
  psql(sql: string, options: PsqlOptions = {}): Promise<string> {
    return new Psql(this.context).query(sql, options);
  }

  /** Every argv seen in the rehearsal's pods so far. */
  processArguments(): string[][] {
    return this.seen.list();
  }
}
