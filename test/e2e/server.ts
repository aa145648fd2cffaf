import { describeNamespace } from './cluster';
import { getJson, kubectl, poll, tryKubectl } from './kubectl';
import { type ContainerStatus, isTrue, type Job, type Pod } from './objects';
import type { Manifest } from './older-servers';

/** Of a container that will not start however long one waits. */
const HOPELESS = /^(ErrImagePull|ImagePullBackOff|InvalidImageName|ErrImageNeverPull|CreateContainerConfigError)$/;

/** The pod of a StatefulSet of one replica, and the server in it. */
export class Server {
  readonly pod: string;

  constructor(
    readonly namespace: string,
    readonly name: string,
  ) {
    this.pod = `${name}-0`;
  }

  get(): Promise<Pod> {
    return getJson(['pod', this.pod, '-n', this.namespace]);
  }

  /** @param not uid of a pod that is going: its successor is waited for */
  async waitReady(seconds = 180, not?: string): Promise<Pod> {
    return await waitPodReady(this.namespace, this.pod, seconds, not);
  }

  /** Runs SQL, or psql's own commands, over the pod's socket. @returns the rows, unaligned and without headings */
  async psql(sql: string, database = 'postgres'): Promise<string> {
    const psql = ['psql', '-X', '-w', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-U', 'postgres', '-d', database];
    return (await this.exec(psql, sql)).trimEnd();
  }

  async exec(command: readonly string[], input?: string): Promise<string> {
    return await kubectl(this.execArgs(command, input), input);
  }

  execArgs(command: readonly string[], input?: string): string[] {
    const stdin = input === undefined ? [] : ['-i'];
    return ['exec', ...stdin, '-n', this.namespace, this.pod, '-c', 'postgres', '--', ...command];
  }

  async logs(): Promise<string> {
    return await kubectl(['logs', this.pod, '-n', this.namespace, '-c', 'postgres']);
  }
}

export async function waitPodReady(namespace: string, name: string, seconds: number, not?: string): Promise<Pod> {
  const pod = async () => {
    const { status, stdout } = await tryKubectl(['get', 'pod', name, '-n', namespace, '-o', 'json']);
    if (status !== 0) return undefined;
    const found = JSON.parse(stdout) as Pod;
    const hopeless = waiting(found).find(({ reason }) => HOPELESS.test(reason ?? ''));
    if (hopeless) throw new Error(`pod ${name} can't start: ${hopeless.reason}: ${hopeless.message}`);
    const gone = found.metadata.uid === not || found.metadata.deletionTimestamp !== undefined;
    return !gone && isTrue(found.status.conditions, 'Ready') ? found : undefined;
  };
  try {
    return await poll(`pod ${namespace}/${name} becoming Ready`, seconds, pod);
  } catch (error) {
    const logs = await tryKubectl(['logs', name, '-n', namespace, '--all-containers', '--tail=20']);
    throw new Error(`${(error as Error).message}\n${await describeNamespace(namespace)}\n${logs.stdout}${logs.stderr}`);
  }
}

function waiting({ status }: Pod): NonNullable<NonNullable<ContainerStatus['state']>['waiting']>[] {
  const all = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  return all.flatMap(({ state }) => state?.waiting ?? []);
}

/** @returns the log of a Job that has completed; one that fails is thrown, log included */
export async function waitJob(namespace: string, name: string, seconds = 300): Promise<string> {
  const { succeeded, log } = await endOfJob(namespace, name, seconds);
  if (!succeeded) throw new Error(`Job ${name} failed\n${log}\n${await describeNamespace(namespace)}`);
  return log;
}

/** Waits for a Job's end, good or bad. */
export async function endOfJob(
  namespace: string,
  name: string,
  seconds = 300,
): Promise<{ succeeded: boolean; log: string }> {
  const end = async () => {
    const { status } = await getJson<Job>(['job', name, '-n', namespace]);
    if (isTrue(status.conditions, 'Complete')) return { succeeded: true };
    return isTrue(status.conditions, 'Failed') ? { succeeded: false } : undefined;
  };
  const ended = await poll(`end of Job ${namespace}/${name}`, seconds, end).catch(async (error: Error) => {
    throw new Error(`${error.message}\n${await describeNamespace(namespace)}`);
  });
  const logs = ['logs', '-n', namespace, '-l', `job-name=${name}`, '--all-containers', '--tail=-1'];
  return { ...ended, log: (await tryKubectl(logs)).stdout };
}

/** Removes a Job's pods too, and waits: what mounts a claim keeps it from going. */
export async function removeJob(namespace: string, name: string): Promise<void> {
  await kubectl(['delete', 'job', name, '-n', namespace, '--wait', '--cascade=foreground']);
}

/**
 * A pod beside the server with what the restore's pod has: the same hardening, libpq's environment with the Secret's
 * password, the backup volume read-only. Its labels are the restore's, which the server's Service must not match.
 */
export class Client {
  private constructor(
    private readonly namespace: string,
    private readonly pod: string,
  ) {}

  static async start(
    job: Manifest,
    namespace: string,
    pod: string,
    command: readonly string[] = IDLE,
  ): Promise<Client> {
    const { metadata, spec } = templateOf(job);
    const containers = [{ ...spec.containers[0], name: 'client', command }];
    const manifest = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: pod, namespace, labels: metadata.labels },
      spec: { ...spec, containers, terminationGracePeriodSeconds: 1 },
    };
    await kubectl(['create', '-f', '-'], JSON.stringify(manifest));
    await waitPodReady(namespace, pod, 120);
    return new Client(namespace, pod);
  }

  async exec(command: readonly string[], input?: string): Promise<string> {
    return await kubectl(this.execArgs(command, input), input);
  }

  execArgs(command: readonly string[], input?: string): string[] {
    const stdin = input === undefined ? [] : ['-i'];
    return ['exec', ...stdin, '-n', this.namespace, this.pod, '-c', 'client', '--', ...command];
  }

  async stop(): Promise<void> {
    await kubectl(['delete', 'pod', this.pod, '-n', this.namespace, '--wait', '--ignore-not-found']);
  }
}

/** The first process of a container gets no signal that it does not ask for. */
const IDLE = ['bash', '-c', 'trap exit INT TERM; sleep infinity & wait'];

interface Template {
  readonly metadata: Pick<Manifest['metadata'], 'labels'>;
  readonly spec: { readonly containers: readonly object[] };
}

function templateOf({ spec = {}, metadata }: Manifest): Template {
  const template = spec['template'] as Template | undefined;
  if (template) return template;
  throw new Error(`the rendered Job ${metadata.name ?? metadata.generateName} has no pod template`);
}
