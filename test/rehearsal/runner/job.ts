import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { signalOf } from './container';
import type { Context } from './context';
import { Pod } from './pod';
import type { PodTemplate } from './podspec';
import type { Attempt, JobHandle, JobOptions, JobResult } from './types';

export interface JobYaml {
  template: PodTemplate;
  backoffLimit?: number;
  activeDeadlineSeconds?: number;
  podFailurePolicy?: { rules: FailureRule[] };
}

interface FailureRule {
  action: 'FailJob' | 'Ignore' | 'Count';
  onExitCodes?: { containerName?: string; operator: 'In' | 'NotIn'; values: number[] };
}

/** Kubernetes: 10 s, doubled each time, up to 6 min. */
const BACK_OFF_MS = 200;

export const suffix = () => randomBytes(3).toString('hex').slice(0, 5);

/** The Job controller for one Job of one completion. */
export class JobRun implements JobHandle {
  pod: Pod | undefined;
  private readonly attempts: Attempt[] = [];
  private log = '';
  private result: Promise<JobResult> | undefined;
  private over: 'DeadlineExceeded' | 'Deleted' | undefined;
  private readonly wake = new AbortController();

  private constructor(
    private readonly context: Context,
    readonly name: string,
    private readonly yaml: JobYaml,
    private readonly options: JobOptions,
  ) {}

  /** Rejects if the first pod would stay Pending for ever. */
  static async start(context: Context, name: string, yaml: JobYaml, options: JobOptions): Promise<JobRun> {
    const policy = yaml.template.spec.restartPolicy;
    if (policy !== 'OnFailure' && policy !== 'Never') {
      throw new Error(`Job/${name}: restartPolicy must be \`OnFailure\` or \`Never\`, got \`${policy}\``);
    }
    const run = new JobRun(context, name, yaml, options);
    const first = await run.nextPod();
    run.result = run.control(first);
    return run;
  }

  wait(): Promise<JobResult> {
    return this.result as Promise<JobResult>;
  }

  get pid(): number | undefined {
    return this.pod?.pid;
  }

  async kill9(): Promise<void> {
    await this.pod?.killAll();
  }

  async stop(): Promise<void> {
    await this.quit('Deleted');
    await this.result;
  }

  /** The rehearsal is being closed: nothing is started any more. */
  abandon(): void {
    this.over ??= 'Deleted';
    this.wake.abort();
    this.pod?.abandon();
  }

  private async quit(reason: 'DeadlineExceeded' | 'Deleted'): Promise<void> {
    this.over ??= reason;
    this.wake.abort();
    await this.pod?.stop();
  }

  private async nextPod(): Promise<Pod> {
    const { metadata, spec } = this.yaml.template;
    const added = { 'job-name': this.name, 'batch.kubernetes.io/job-name': this.name };
    const template = { spec, metadata: { ...metadata, labels: { ...metadata?.labels, ...added } } };
    const { backoffMs } = this.options;
    this.pod = await Pod.create(this.context, this.options.podName ?? `${this.name}-${suffix()}`, template, {
      ...this.options,
      ...(spec.restartPolicy === 'OnFailure' && { maxRestarts: this.backoffLimit }),
      ...(backoffMs !== undefined && { backoffMs }),
    });
    return this.pod.begin();
  }

  private get backoffLimit(): number {
    return this.yaml.backoffLimit ?? 6;
  }

  private async control(first: Pod): Promise<JobResult> {
    const seconds = this.yaml.activeDeadlineSeconds;
    const scale = this.options.deadlineScale ?? 1;
    const timer =
      seconds === undefined ? undefined : setTimeout(() => this.quit('DeadlineExceeded'), seconds * scale * 1000);
    try {
      return await this.attemptAll(first);
    } finally {
      clearTimeout(timer);
    }
  }

  private async attemptAll(first: Pod): Promise<JobResult> {
    let pod = first;
    for (let failures = 0; ; ) {
      await pod.done;
      this.record(pod);
      if (this.over) return this.end(this.over);
      if (pod.phase === 'Succeeded') return this.end();
      const action = this.actionFor(pod);
      if (action === 'FailJob') return this.end('PodFailurePolicy');
      if (action === 'Count') failures++;
      if (this.yaml.template.spec.restartPolicy === 'OnFailure' || failures > this.backoffLimit) {
        return this.end('BackoffLimitExceeded');
      }
      const base = this.options.backoffMs ?? BACK_OFF_MS;
      await sleep(base * 2 ** Math.min(failures, 5), undefined, { signal: this.wake.signal }).catch(() => {});
      if (this.over) return this.end(this.over);
      pod = await this.nextPod();
    }
  }

  /** One attempt per run of a container, and per failed run of an init container. */
  private record(pod: Pod): void {
    for (const { exitCode, log, init } of pod.runs) {
      if (init && exitCode === 0) continue;
      const signal = signalOf(exitCode);
      this.attempts.push({ exitCode, log, ...(signal && { signal }) });
    }
    this.log += pod.logs();
  }

  private actionFor(pod: Pod): FailureRule['action'] {
    for (const { action, onExitCodes } of this.yaml.podFailurePolicy?.rules ?? []) {
      if (!onExitCodes) continue;
      const { containerName, operator, values } = onExitCodes;
      const codes = pod.runs.filter((one) => one.exitCode !== 0 && (containerName ?? one.container) === one.container);
      if (codes.some((one) => values.includes(one.exitCode) === (operator === 'In'))) return action;
    }
    return 'Count';
  }

  private end(reason?: string): JobResult {
    return { succeeded: reason === undefined, ...(reason && { reason }), attempts: this.attempts, log: this.log };
  }
}
