import { InputError } from './input-error';
import { checkName } from './names';
import { isBelow } from './paths';

/** The parts of a manifest that are looked at. */
export interface Manifest {
  readonly kind: string;
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: Record<string, unknown>;
  readonly data?: object;
  readonly stringData?: object;
}

interface Volume {
  readonly name: string;
  readonly emptyDir?: object;
  readonly persistentVolumeClaim?: { readonly claimName: string; readonly readOnly?: boolean };
}

interface Container {
  readonly name: string;
  readonly image?: string;
  readonly securityContext?: { readonly runAsUser?: number };
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string; readonly subPath?: string }[];
}

interface PodSpec {
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
  readonly securityContext?: { readonly runAsUser?: number };
}

/** What is wrong with an object as it will be written: its name, and in its pods the mounts and plain-text passwords. */
export function checkObject(manifest: Manifest): string[] {
  const problems: string[] = renderedSecret(manifest);
  const { name } = manifest.metadata ?? {};
  if (name !== undefined) {
    try {
      checkName(manifest.kind, name);
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      problems.push(error.message);
    }
  }
  const pod = podOf(manifest);
  if (pod) {
    problems.push(...claimsTwice(pod));
    const declared = new Set([...(pod.volumes ?? []).map((volume) => volume.name), ...templatesOf(manifest)]);
    for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
      problems.push(...wrongMounts(container, pod, declared), ...plainPasswords(container));
    }
  }
  return problems;
}

/** The pod that an object makes, if it makes one. */
export function podOf({ kind, spec }: Manifest): PodSpec | undefined {
  const at = (value: unknown, ...keys: string[]): unknown =>
    keys.reduce((node, key) => (node as Record<string, unknown> | undefined)?.[key], value);
  if (kind === 'Pod') return spec as unknown as PodSpec;
  if (kind === 'CronJob') return at(spec, 'jobTemplate', 'spec', 'template', 'spec') as PodSpec | undefined;
  return at(spec, 'template', 'spec') as PodSpec | undefined;
}

function templatesOf({ spec }: Manifest): string[] {
  const templates = (spec?.['volumeClaimTemplates'] ?? []) as { metadata: { name: string } }[];
  return templates.map((template) => template.metadata.name);
}

function claimsTwice({ volumes = [] }: PodSpec): string[] {
  const names = volumes.flatMap((volume) => volume.persistentVolumeClaim?.claimName ?? []);
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))].map(
    (name) => `\`volumes\` must refer to a claim once, got claim "${name}" twice; mount it in one place`,
  );
}

function wrongMounts(container: Container, pod: PodSpec, declared: Set<string>): string[] {
  const problems: string[] = [];
  const mounts = container.volumeMounts ?? [];
  const isClaim = (name: string) =>
    !pod.volumes?.some((volume) => volume.name === name) ||
    pod.volumes.some((volume) => volume.name === name && volume.persistentVolumeClaim);
  const report = (must: string, got: string, fix: string) =>
    problems.push(`\`volumeMounts\` of container "${container.name}" must ${must}, got ${got}; ${fix}`);
  mounts.forEach((mount, i) => {
    if (!declared.has(mount.name)) {
      report(
        'name volumes of the pod',
        `"${mount.name}" at ${mount.mountPath}`,
        'declare the volume or remove the mount',
      );
      return;
    }
    for (const other of mounts.slice(0, i)) {
      if (other.mountPath === mount.mountPath) {
        report('have different paths', `"${other.name}" and "${mount.name}" at ${mount.mountPath}`, 'move one of them');
      }
      if (other.name === mount.name && isClaim(mount.name)) {
        const twice = `"${mount.name}" at ${other.mountPath} and at ${mount.mountPath}`;
        report('mount a claim once', twice, `mount it at ${shorter(other.mountPath, mount.mountPath)} only`);
      }
    }
    for (const outer of mounts) {
      if (outer.name !== mount.name && isClaim(outer.name) && isBelow(mount.mountPath, outer.mountPath)) {
        const got = `"${mount.name}" at ${mount.mountPath}, which hides that folder of "${outer.name}"`;
        report('not overlap', got, `mount it outside ${outer.mountPath}`);
      }
    }
  });
  return problems;
}

function shorter(a: string, b: string): string {
  return a.length <= b.length ? a : b;
}

function plainPasswords({ name, env = [] }: Container): string[] {
  return env
    .filter(({ value }) => value !== undefined)
    .filter(
      (variable) =>
        (/PASSWORD|PASSWD|_PASS$|SECRET|TOKEN/i.test(variable.name) && !/_FILE$/i.test(variable.name)) ||
        /:\/\/[^/\s:@]*:[^/\s@]+@|\bpassword\s*=/i.test(variable.value!),
    )
    .map(
      (variable) =>
        `\`env\` of container "${name}" must take ${variable.name} from a Secret, got a value in plain text; ` +
        'use `valueFrom.secretKeyRef`',
    );
}

function renderedSecret({ kind, data, stringData }: Manifest): string[] {
  if (kind !== 'Secret' || Object.keys({ ...data, ...stringData }).length === 0) return [];
  return [
    '`Secret` must not be rendered with its values, got some; create it with `kubectl create secret` and refer to it',
  ];
}

/** The claims that a StatefulSet keeps its data on, its templates' included. */
export function dataClaims(manifest: Manifest): string[] {
  const { kind, metadata, spec } = manifest;
  if (kind !== 'StatefulSet') return [];
  const archives = archiveClaims(manifest);
  const named = claimsOf(manifest).filter((claim) => !archives.includes(claim));
  const made = templatesOf({ kind, spec }).map((template) => `${template}-${metadata?.name}-0`);
  return [...new Set([...named, ...made])];
}

/** The claims that a CronJob or a Job writes to, and as whom. */
export function writtenBy({ kind, spec }: Manifest): { claim: string; uid: number }[] {
  if (kind !== 'CronJob' && kind !== 'Job') return [];
  const pod = podOf({ kind, spec });
  const uid = pod?.containers[0]?.securityContext?.runAsUser ?? pod?.securityContext?.runAsUser;
  if (!pod || uid === undefined) return [];
  const claims = (pod.volumes ?? []).flatMap(({ persistentVolumeClaim: claim }) => claim ?? []);
  return claims.filter(({ readOnly }) => !readOnly).map(({ claimName }) => ({ claim: claimName, uid }));
}

/** The claims that backups are written to: those that a CronJob or a Job mounts, and those that are rendered for it. */
export function backupClaims(manifest: Manifest): string[] {
  if (isClaimFor('backup', manifest)) return [manifest.metadata?.name ?? ''];
  if (manifest.kind !== 'CronJob') return [];
  const archives = archiveClaims(manifest);
  return claimsOf(manifest).filter((claim) => !archives.includes(claim));
}

/**
 * The claims that write-ahead log is archived to: those that a pod mounts where its WAL_ARCHIVE is, and those that are rendered
 * for it. Servers and jobs share them, since each server has a folder of its own there.
 */
export function archiveClaims(manifest: Manifest): string[] {
  if (isClaimFor('wal-archive', manifest)) return [manifest.metadata?.name ?? ''];
  const pod = podOf(manifest);
  const volumes = [...(pod?.initContainers ?? []), ...(pod?.containers ?? [])].flatMap(({ env, volumeMounts }) => {
    const path = env?.find(({ name }) => name === 'WAL_ARCHIVE')?.value;
    return (volumeMounts ?? []).filter((mount) => mount.mountPath === path).map((mount) => mount.name);
  });
  return claimsOf(manifest, (volume) => volumes.includes(volume));
}

function isClaimFor(component: string, { kind, metadata }: Manifest): boolean {
  return kind === 'PersistentVolumeClaim' && metadata?.labels?.['app.kubernetes.io/component'] === component;
}

function claimsOf(manifest: Manifest, wanted = (_volume: string) => true): string[] {
  return (podOf(manifest)?.volumes ?? [])
    .filter((volume) => wanted(volume.name))
    .flatMap((volume) => volume.persistentVolumeClaim?.claimName ?? []);
}
