/** A major version that Debian's packages give us (16 is in no suite). */
export type Major = 15 | 17 | 18;

/** Any parsed Kubernetes object, as rendered YAML gives it. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: {
    name?: string;
    generateName?: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    [key: string]: unknown;
  };
  // biome-ignore lint/suspicious/noExplicitAny: rendered YAML is anything until the known-fields check has walked it
  [key: string]: any;
}

/**
 * What lies under a claim.
 * - `plain`: a folder root:root 0777, fsGroup applied (a local volume)
 * - `block`: root:root 0755 with `lost+found`, fsGroup applied (a fresh block device)
 * - `squash`: an NFS export that squashes root; 0777, owner 65534, fsGroup ignored
 * - `full`: like `plain`, but a real file system of `sizeMiB` (default 16): ENOSPC is real
 *
 * `sizeMiB` limits the other kinds in the same way.
 */
export interface VolumeKind {
  kind: 'plain' | 'block' | 'squash' | 'full';
  sizeMiB?: number;
}

export interface OpenOptions {
  /** Everything the cluster would hold: rendered objects and prerequisites (Secrets, existing claims). */
  objects: KubeObject[];
  major: Major;
  /** By claim name; claims not named here are `plain`. */
  volumes?: Record<string, VolumeKind>;
  /** Shows in folder names and errors. */
  name?: string;
}

/** Host files bound over or into the container: { '/usr/local/bin/pg_dumpall': '/tmp/dies-half-way.sh' }. */
export type Overlay = Record<string, string>;

export interface StartOptions {
  overlay?: Overlay;
  /** Added to, or replacing, every container's environment. */
  env?: Record<string, string>;
  /** UTC time at which the pod's processes believe to start, e.g. `2026-11-01 05:30:00`; it goes on from there. */
  clock?: string;
  /** The pod's name where the controller would append random letters. */
  podName?: string;
}

export interface JobOptions extends StartOptions {
  /** `activeDeadlineSeconds` is multiplied by this; tests can't wait an hour. */
  deadlineScale?: number;
  /** Base of the back-off between attempts in milliseconds; Kubernetes takes 10 s, the rehearsal 200 ms. */
  backoffMs?: number;
}

export interface ExecOptions {
  input?: string | Buffer;
  env?: Record<string, string>;
  container?: string;
  timeoutMs?: number;
}

export interface ExecResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface PodEvent {
  at: Date;
  /** `Started`, `Exited`, `Ready`, `NotReady`, `Unhealthy`, `Killing`, `BackOff`, `FailedMount`, ... */
  reason: string;
  container?: string;
  message: string;
}

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

export interface PodHandle {
  readonly name: string;
  /** All containers ready, as the Service and `kubectl wait` see it. */
  readonly ready: boolean;
  readonly phase: PodPhase;
  /** Restarts of all containers together. */
  readonly restartCount: number;
  readonly events: readonly PodEvent[];
  /** Resolves when ready; rejects with events and log when it takes longer or the pod has failed. */
  waitReady(timeoutMs?: number): Promise<void>;
  /** Standard output and error in the order written, all runs of the container; without a name: all containers. */
  logs(container?: string): string;
  /** Like `kubectl exec`: same user, groups, capabilities, mounts and environment. */
  exec(command: string[], options?: ExecOptions): Promise<ExecResult>;
  /** Signals the container's PID 1. */
  signal(container: string, signal: NodeJS.Signals): Promise<void>;
  /** preStop, STOPSIGNAL, and KILL after terminationGracePeriodSeconds; emptyDirs and anonymous volumes are gone then. */
  stop(options?: { gracePeriodSeconds?: number }): Promise<void>;
  /** KILL to every process of the pod at once, no grace: the node lost its power. The pod is not restarted. */
  kill9(): Promise<void>;
  /** What `kubectl delete pod` does (the controller's new pod is started by another startStatefulSet). */
  delete(): Promise<void>;
  /** The processes of the pod, as the host sees them. */
  processes(): number[];
}

export interface Attempt {
  /** As Kubernetes reports it: 128 + n for a process that signal n killed. */
  exitCode: number;
  /** The signal that ended it, where exitCode > 128 says so. */
  signal?: string;
  log: string;
}

export interface JobResult {
  succeeded: boolean;
  /** Why it failed: `BackoffLimitExceeded`, `DeadlineExceeded`, or the reason of a pod that never ran. */
  reason?: string;
  attempts: Attempt[];
  /** Of all attempts. */
  log: string;
}

export interface JobHandle {
  readonly name: string;
  /** PID of the running container's first process on the host. */
  readonly pid: number | undefined;
  readonly pod: PodHandle | undefined;
  /** Resolves when the Job is complete or failed; never rejects for a failing container. */
  wait(): Promise<JobResult>;
  /** KILL to the running pod; the Job goes on as its restartPolicy and backoffLimit say. */
  kill9(): Promise<void>;
  /** Deletes the Job: its pod is stopped as by `kubectl delete job`. */
  stop(): Promise<void>;
}

export interface ClaimHandle {
  readonly name: string;
  /** Seen from the host as root, past any squashing. */
  readonly path: string;
  /** Relative paths of everything below, sorted; folders end in `/`. */
  list(): string[];
}

export interface PsqlOptions {
  db?: string;
  user?: string;
  password?: string;
  /** Service to connect to; default: the only one with port 5432. */
  service?: string;
  timeoutMs?: number;
}
