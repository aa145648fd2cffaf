/** What `kubectl version` says of the server. */
export interface ServerVersion {
  readonly major: number;
  readonly minor: number;
}

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name?: string;
    readonly generateName?: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: Readonly<Record<string, unknown>>;
}

interface Newer {
  readonly apiVersion: string;
  readonly kind: string;
  /** Absent: the kind itself, in this version of its API, is what an older server does not have. */
  readonly path?: string;
  /** The first version of Kubernetes that has it without a feature gate. */
  readonly since: string;
  /** Of a kind: the version of its API that older servers have it in, with the same fields. */
  readonly before?: string;
}

/**
 * What the systems use and an older server does not know: kubectl's validation refuses the field, or the server drops it
 * without a word, so that each further `kubectl apply` tries to set it again.
 *
 * @see https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/
 */
export const NEWER: readonly Newer[] = [
  { apiVersion: 'batch/v1', kind: 'CronJob', since: '1.21', before: 'batch/v1beta1' },
  { apiVersion: 'batch/v1', kind: 'CronJob', path: 'spec.timeZone', since: '1.25' },
  { apiVersion: 'batch/v1', kind: 'CronJob', path: 'spec.jobTemplate.spec.ttlSecondsAfterFinished', since: '1.21' },
  { apiVersion: 'batch/v1', kind: 'Job', path: 'spec.ttlSecondsAfterFinished', since: '1.21' },
  { apiVersion: 'apps/v1', kind: 'StatefulSet', path: 'spec.persistentVolumeClaimRetentionPolicy', since: '1.27' },
];

export interface Fitted {
  readonly objects: readonly Manifest[];
  /** One line for each thing that was left out or put otherwise; none on a current server. */
  readonly stripped: readonly string[];
}

/** The objects without what a server of this version does not know. */
export function fitTo(version: ServerVersion, objects: readonly Manifest[], newer = NEWER): Fitted {
  const missing = newer.filter(({ since }) => isOlder(version, since));
  const stripped: string[] = [];
  const kept = objects.flatMap((object) => {
    const mine = missing.filter(({ apiVersion, kind }) => apiVersion === object.apiVersion && kind === object.kind);
    const name = object.metadata.name ?? `${object.metadata.generateName}*`;
    const told = ({ since }: Newer, what: string) => {
      stripped.push(`${object.kind} ${name}: ${what}, known since ${since}; the server is ${shown(version)}`);
    };
    const whole = mine.find(({ path }) => path === undefined);
    if (whole && !whole.before) {
      told(whole, `all of it, ${object.apiVersion}`);
      return [];
    }
    let fitted = object;
    if (whole?.before) {
      told(whole, `${object.apiVersion}, put as ${whole.before}`);
      fitted = { ...object, apiVersion: whole.before };
    }
    for (const field of mine.filter(({ path }) => path !== undefined)) {
      const less = without(fitted, field.path!.split('.'));
      if (less === fitted) continue;
      told(field, field.path!);
      fitted = less as Manifest;
    }
    return [fitted];
  });
  return { objects: kept, stripped };
}

/** What `kubectl create job --from=cronjob/…` makes, where there is no kubectl that knows the server's CronJobs. */
export function jobOf(cronJob: Manifest, name: string): Manifest {
  const template = cronJob.spec?.['jobTemplate'] as Pick<Manifest, 'metadata' | 'spec'>;
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      name,
      namespace: cronJob.metadata.namespace,
      labels: template.metadata?.labels,
      annotations: { 'cronjob.kubernetes.io/instantiate': 'manual' },
    },
    spec: template.spec,
  };
}

export function isOlder({ major, minor }: ServerVersion, than: string): boolean {
  const [thanMajor = 0, thanMinor = 0] = than.split('.').map(Number);
  return major < thanMajor || (major === thanMajor && minor < thanMinor);
}

/** Of the JSON that `kubectl version` prints; managed clusters write minors like "31+". */
export function readVersion(server: { readonly major: string; readonly minor: string }): ServerVersion {
  const [major, minor] = [server.major, server.minor].map((text) => Number.parseInt(text, 10));
  if (!Number.isInteger(major) || !Number.isInteger(minor)) {
    throw new Error(`\`kubectl version\` must name the server's version, got ${JSON.stringify(server)}`);
  }
  return { major: major!, minor: minor! };
}

function shown({ major, minor }: ServerVersion): string {
  return `${major}.${minor}`;
}

/** The same object where the path leads nowhere. */
function without(node: unknown, [key, ...rest]: readonly string[]): unknown {
  if (typeof node !== 'object' || node === null || key === undefined || !(key in node)) return node;
  const { [key]: value, ...others } = node as Record<string, unknown>;
  if (rest.length === 0) return others;
  const less = without(value, rest);
  return less === value ? node : { ...node, [key]: less };
}
