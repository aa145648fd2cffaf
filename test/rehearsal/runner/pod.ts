import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Container, signalOf } from './container';
import type { Context } from './context';
import type { PodIdentity } from './env';
import { Health } from './health';
import type { ContainerYaml, PodTemplate, PodYaml } from './podspec';
import { PodVolumes } from './podvolumes';
import { checkContainer, type PodParts, resolveContainer } from './resolve';
import { checkPorts, selects } from './services';
import type { ExecOptions, ExecResult, PodEvent, PodHandle, PodPhase, StartOptions } from './types';

/** The kubelet waits 10 s, 20 s, ... up to 5 min before it restarts a container; nobody wants to watch that. */
const BACK_OFF_MS = 200;
const MAX_BACK_OFF_MS = 5_000;

export interface PodRun {
  container: string;
  init: boolean;
  exitCode: number;
  log: string;
}

export interface PodOptions extends StartOptions {
  /** A Job's backoffLimit under OnFailure. */
  maxRestarts?: number;
  backoffMs?: number;
}

/** What the kubelet and the engine make of one pod. */
export class Pod implements PodHandle {
  readonly events: PodEvent[] = [];
  readonly runs: PodRun[] = [];
  phase: PodPhase = 'Pending';
  restartCount = 0;
  /** Resolves when the pod is gone. */
  readonly done: Promise<void>;
  private finished: () => void = () => {};
  private over = false;
  private stopping = false;
  private wake = new AbortController();
  private failure: Error | undefined;
  private readonly output: Array<{ container: string; chunk: Buffer }> = [];
  private readonly running = new Map<string, Container>();
  private readonly health = new Map<string, Health>();
  private served: Promise<void> = Promise.resolve();

  private constructor(
    private readonly parts: PodParts,
    private readonly options: PodOptions,
  ) {
    this.done = new Promise((resolve) => {
      this.finished = resolve;
    });
  }

  /** Makes volumes and network. What would leave the pod Pending for ever on a cluster rejects here, with its message. */
  static async create(context: Context, name: string, template: PodTemplate, options: PodOptions): Promise<Pod> {
    const identity = await identityOf(context, name, template);
    const folder = join(context.folder, 'pods', identity.uid);
    const yaml = template.spec;
    for (const service of context.objects.all('Service')) {
      if (selects(service, identity.labels)) checkPorts(service, yaml.containers);
    }
    const network = await context.network.addPod(identity.labels);
    identity.address = network.address;
    const volumes = new PodVolumes(context, folder, yaml, identity);
    const pod = new Pod({ context, folder, yaml, identity, network, volumes, options }, options);
    try {
      await volumes.prepare();
      for (const container of [...(yaml.initContainers ?? []), ...yaml.containers]) {
        await checkContainer(container, pod.parts);
      }
    } catch (error) {
      await pod.release();
      throw error;
    }
    return pod;
  }

  begin(): this {
    this.live()
      .catch((error) => {
        this.failure = error;
        this.phase = 'Failed';
        this.event('Error', String(error));
      })
      .then(() => this.release())
      .finally(() => {
        this.over = true;
        this.finished();
      });
    return this;
  }

  get name(): string {
    return this.parts.identity.name;
  }

  get ready(): boolean {
    const { containers } = this.yaml;
    return !this.stopping && containers.every(({ name }) => this.health.get(name)?.ready === true);
  }

  get ended(): boolean {
    return this.over;
  }

  async waitReady(timeoutMs = 60_000): Promise<void> {
    const until = Date.now() + timeoutMs;
    while (!this.ready) {
      if (this.failure) throw this.failure;
      const late = Date.now() > until;
      if (late || this.over) {
        const what = late ? `is not ready after ${timeoutMs / 1000} s` : `ended as ${this.phase} before it was ready`;
        throw new Error(`pod ${this.name} ${what}\n${this.story()}`);
      }
      await sleep(20);
    }
    await this.served;
  }

  logs(container?: string): string {
    const wanted = this.output.filter((one) => container === undefined || one.container === container);
    return Buffer.concat(wanted.map((one) => one.chunk)).toString();
  }

  async exec(command: string[], options: ExecOptions = {}): Promise<ExecResult> {
    return this.current(options.container).exec(command, options);
  }

  async signal(container: string, signal: NodeJS.Signals): Promise<void> {
    if (!this.current(container).signal(signal)) throw new Error(`container ${container} is not running`);
  }

  processes(): number[] {
    return [...this.running.values()].flatMap((one) => one.hostPids);
  }

  get pid(): number | undefined {
    return [...this.running.values()].map((one) => one.hostPid).find((pid) => pid !== undefined);
  }

  async stop({ gracePeriodSeconds }: { gracePeriodSeconds?: number } = {}): Promise<void> {
    this.quit();
    const grace = (gracePeriodSeconds ?? this.yaml.terminationGracePeriodSeconds ?? 30) * 1000;
    await Promise.all([...this.running].map(([name, one]) => this.terminate(name, one, grace)));
    await this.done;
  }

  delete(): Promise<void> {
    return this.stop();
  }

  async kill9(): Promise<void> {
    this.quit();
    await this.killAll();
    await this.done;
  }

  /** KILL to everything that runs now; what happens then is up to the restartPolicy. */
  async killAll(): Promise<void> {
    for (const one of this.running.values()) await one.kill();
  }

  /** The rehearsal is being closed: nothing is started any more. */
  abandon(): void {
    this.quit();
  }

  private get yaml(): PodYaml {
    return this.parts.yaml;
  }

  private quit(): void {
    this.stopping = true;
    this.wake.abort();
  }

  private async live(): Promise<void> {
    for (const init of this.yaml.initContainers ?? []) {
      if (!(await this.runToSuccess(init))) {
        this.phase = 'Failed';
        return;
      }
    }
    this.phase = this.stopping ? 'Failed' : 'Running';
    const codes = await Promise.all(this.yaml.containers.map((container) => this.keepRunning(container)));
    this.phase = codes.every((code) => code === 0) ? 'Succeeded' : 'Failed';
  }

  private async runToSuccess(container: ContainerYaml): Promise<boolean> {
    for (let run = 0; !this.stopping; run++) {
      if ((await this.runOnce(container, run, true)) === 0) return !this.stopping;
      if (!this.mayRestart(1)) return false;
      await this.backOff(container.name, run);
    }
    return false;
  }

  /** The exit code that was the last. */
  private async keepRunning(container: ContainerYaml): Promise<number> {
    let code = 137;
    for (let run = 0; !this.stopping; run++) {
      code = await this.runOnce(container, run, false);
      if (!this.mayRestart(code)) return code;
      await this.backOff(container.name, run);
    }
    return code;
  }

  private mayRestart(code: number): boolean {
    const policy = this.yaml.restartPolicy ?? 'Always';
    if (this.stopping || policy === 'Never' || (policy === 'OnFailure' && code === 0)) return false;
    if (this.restartCount >= (this.options.maxRestarts ?? Number.POSITIVE_INFINITY)) return false;
    this.restartCount++;
    return true;
  }

  private async backOff(container: string, run: number): Promise<void> {
    const base = this.options.backoffMs ?? BACK_OFF_MS;
    const delay = Math.min(base * 2 ** run, Math.max(base, MAX_BACK_OFF_MS));
    this.event('BackOff', `restarting failed container in ${delay} ms`, container);
    await sleep(delay, undefined, { signal: this.wake.signal }).catch(() => {});
  }

  private async runOnce(yaml: ContainerYaml, run: number, init: boolean): Promise<number> {
    const { context, folder } = this.parts;
    const spec = await resolveContainer(yaml, `${yaml.name}-${run}`, this.parts);
    if (this.stopping) return 137;
    const container = new Container(context.ns, folder, spec, (chunk) =>
      this.output.push({ container: yaml.name, chunk }),
    );
    this.running.set(yaml.name, container);
    const ended = container.run(() => {
      this.event('Started', `run ${run}`, yaml.name);
      if (!init) this.watch(yaml, container);
    });
    const exitCode = await ended.finally(() => {
      this.running.delete(yaml.name);
      this.health.get(yaml.name)?.stop();
      this.health.delete(yaml.name);
      this.serve();
    });
    rmSync(join(folder, 'anonymous', `${yaml.name}-${run}`), { recursive: true, force: true });
    this.runs.push({ container: yaml.name, init, exitCode, log: container.log });
    const signal = signalOf(exitCode);
    this.event('Exited', `exit code ${exitCode}${signal ? ` (${signal})` : ''}`, yaml.name);
    return exitCode;
  }

  private watch(yaml: ContainerYaml, container: Container): void {
    if (container.exitCode !== undefined) return;
    const health = new Health(yaml, this.parts.network.address, this.parts.context.ns, container, {
      onReady: (ready) => {
        this.event(
          ready ? 'Ready' : 'NotReady',
          ready ? 'the container is ready' : 'the container is not ready',
          yaml.name,
        );
        this.serve();
      },
      onUnhealthy: (kind, message) => this.event('Unhealthy', `${kind} probe failed: ${message}`, yaml.name),
      onKill: (kind, grace) => {
        this.event('Killing', `container failed ${kind} probe, will be restarted`, yaml.name);
        const given = grace ?? this.yaml.terminationGracePeriodSeconds ?? 30;
        this.terminate(yaml.name, container, given * 1000);
      },
    });
    this.health.set(yaml.name, health);
    health.begin();
  }

  private async terminate(name: string, container: Container, graceMs: number): Promise<void> {
    const until = Date.now() + graceMs;
    const preStop = this.yaml.containers.find((one) => one.name === name)?.lifecycle?.preStop;
    if (preStop?.exec) {
      const { exitCode } = await container.exec(preStop.exec.command, { timeoutMs: Math.max(1, graceMs) });
      if (exitCode !== 0) this.event('FailedPreStopHook', `exit code ${exitCode}`, name);
    }
    if (preStop?.sleep) await sleep(Math.min(preStop.sleep.seconds * 1000, graceMs));
    const { stopSignal } = container.spec;
    this.event('Killing', `stopping container with ${stopSignal}`, name);
    const waiting = () => container.exitCode === undefined && Date.now() < until;
    // A container that is about to start has no process yet.
    while (waiting() && !container.signal(stopSignal as NodeJS.Signals)) await sleep(10);
    while (waiting()) await sleep(10);
    await container.kill();
  }

  /**
   * One change of the routes after the other, so that the last one wins. A pod that is stopping keeps its routes to the end:
   * connections outlive their Service's endpoint, and clients must hear what the server says when it ends them.
   */
  private serve(): void {
    if (this.stopping) return;
    const { context, network, identity } = this.parts;
    this.served = this.served
      .then(() => context.network.setReady(network, identity.labels, this.ready, this.running.size > 0))
      .catch(() => {}); // the rehearsal is being closed
  }

  private async release(): Promise<void> {
    const { context, folder, network, identity } = this.parts;
    await this.served;
    // A closed rehearsal has no network and no mounts left to give back.
    await context.network
      .setReady(network, identity.labels, false, false)
      .then(() => context.network.removePod(network))
      .catch(() => {});
    await this.parts.volumes.release().catch(() => {});
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }

  private current(container?: string): Container {
    const name = container ?? this.yaml.containers[0]?.name ?? '';
    const found = this.running.get(name);
    if (!found) throw new Error(`container ${name} of pod ${this.name} is not running\n${this.story()}`);
    return found;
  }

  private event(reason: string, message: string, container?: string): void {
    this.events.push({ at: new Date(), reason, message, ...(container !== undefined && { container }) });
  }

  private story(): string {
    const events = this.events.map(
      (one) => `  ${one.at.toISOString()} ${one.container ?? ''} ${one.reason}: ${one.message}`,
    );
    return [...events, ...this.logs().trimEnd().split('\n').slice(-40)].join('\n');
  }
}

async function identityOf(context: Context, name: string, { metadata, spec }: PodTemplate): Promise<PodIdentity> {
  return {
    name,
    namespace: context.objects.namespace,
    uid: randomBytes(6).toString('hex'),
    labels: metadata?.labels ?? {},
    annotations: metadata?.annotations ?? {},
    address: '',
    serviceAccount: spec.serviceAccountName ?? 'default',
  };
}
