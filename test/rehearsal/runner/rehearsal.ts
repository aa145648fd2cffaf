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

/** One small cluster: a network of its own, objects, claims, and the pods started from them. */
export class Rehearsal {
  static async open(_options: OpenOptions): Promise<Rehearsal> {
    throw new Error('the back end follows in the next commits');
  }
  private constructor() {}
  /** Kills everything, unmounts and removes all files of this rehearsal. Safe to call twice. */
  declare close: () => Promise<void>;
  /** Adds or replaces objects (by kind and name), as another `kubectl apply` would. */
  declare apply: (objects: KubeObject[]) => void;
  /** Starts the StatefulSet's pod: claims from templates, init containers in order, containers. Resolves once started, not ready. */
  declare startStatefulSet: (name: string, options?: StartOptions) => Promise<PodHandle>;
  /** A Job by its name or generateName. */
  declare startJob: (name: string, options?: JobOptions) => Promise<JobHandle>;
  /** A Job from the CronJob's jobTemplate, like `kubectl create job --from=cronjob/NAME`. */
  declare startCronJob: (name: string, options?: JobOptions) => Promise<JobHandle>;
  declare runJob: (name: string, options?: JobOptions) => Promise<JobResult>;
  declare runCronJob: (name: string, options?: JobOptions) => Promise<JobResult>;
  /** A claim that exists (made by a pod that started, or by the first look). */
  declare claim: (name: string) => ClaimHandle;
  /** psql -XAtq of the image in a pod of its own on the same network; rejects with psql's message. Trailing newline cut. */
  declare psql: (sql: string, options?: PsqlOptions) => Promise<string>;
  /** Every argv seen in the rehearsal's pods so far. */
  declare processArguments: () => string[][];
}
