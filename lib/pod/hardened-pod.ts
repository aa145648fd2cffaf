import type { k8s } from 'cdk8s-plus-28';
import { InputError } from '../guard/input-error';
import type { VolumeOwnership } from '../storage/storage';
import type { ImageFacts } from './image-facts';

/** A volume and where a container sees it. */
export interface Mount {
  readonly path: string;
  readonly volume: k8s.Volume;
  readonly readOnly?: boolean;
  /** Set on claims: whether the volume maps root to nobody, which rules out `fsGroup`. */
  readonly rootSquash?: boolean;
}

export interface ContainerProps {
  readonly name: string;
  /** The whole reference, where it is not the pod's image; it runs as the pod's user nevertheless. */
  readonly image?: string;
  readonly command: string[];
  readonly env: k8s.EnvVar[];
  readonly mounts: readonly Mount[];
  readonly resources: k8s.ResourceRequirements;
  readonly ports?: k8s.ContainerPort[];
  readonly startupProbe?: k8s.Probe;
  readonly readinessProbe?: k8s.Probe;
  readonly livenessProbe?: k8s.Probe;
}

export interface HardenedPodProps {
  readonly image: ImageFacts;
  readonly containers: readonly ContainerProps[];
  readonly initContainers?: readonly ContainerProps[];
  readonly restartPolicy?: 'Always' | 'OnFailure' | 'Never';
  readonly terminationGracePeriodSeconds?: number;
}

/**
 * The one place that hardens pods: each satisfies the Pod Security level "restricted", has a read-only root file system
 * and no token for the API.
 *
 * @see https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
 */
export function hardenedPod(props: HardenedPodProps): k8s.PodSpec {
  const { image, containers, initContainers = [] } = props;
  const mounts = [...initContainers, ...containers].flatMap((container) => container.mounts);
  return {
    restartPolicy: props.restartPolicy,
    terminationGracePeriodSeconds: props.terminationGracePeriodSeconds,
    automountServiceAccountToken: false,
    // A Service called "postgres" would otherwise put POSTGRES_PORT=tcp://… into the environment.
    enableServiceLinks: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: image.uid,
      runAsGroup: image.gid,
      ...fsGroup(mounts, image.gid),
      seccompProfile: { type: 'RuntimeDefault' },
    },
    initContainers: initContainers.length > 0 ? initContainers.map((c) => renderContainer(c, image)) : undefined,
    containers: containers.map((c) => renderContainer(c, image)),
    volumes: [...new Map(mounts.filter(isDeclaredHere).map(({ volume }) => [volume.name, volume])).values()],
  };
}

/** A folder in memory or on the node that goes with the pod: what is writable on a read-only root file system. */
export function emptyDir(name: string, path: string, options: k8s.EmptyDirVolumeSource = {}): Mount {
  return { path, volume: { name, emptyDir: options } };
}

/** A ConfigMap's files. */
export function configMount(name: string, path: string, configMap: string, defaultMode?: number): Mount {
  return { path, readOnly: true, volume: { name, configMap: { name: configMap, defaultMode } } };
}

export interface ClaimReference extends VolumeOwnership {
  readonly claimName: string;
}

/** A claim by its name. */
export function claimMount(name: string, path: string, claim: ClaimReference, readOnly?: boolean): Mount {
  const volume: k8s.Volume = { name, persistentVolumeClaim: { claimName: claim.claimName, readOnly } };
  return { path, readOnly, rootSquash: claim.rootSquash ?? false, volume };
}

/** The claim that a StatefulSet makes from the template of this name. */
export function templateMount(name: string, path: string, { rootSquash = false }: VolumeOwnership): Mount {
  return { path, rootSquash, volume: { name } };
}

/** A claim template's volume is declared by the StatefulSet, all others by the pod. */
function isDeclaredHere({ volume }: Mount): boolean {
  return Object.keys(volume).length > 1;
}

function renderContainer(container: ContainerProps, image: ImageFacts): k8s.Container {
  const { mounts, ...rest } = container;
  return {
    ...rest,
    image: container.image ?? image.reference,
    // The tag names one image for good, and a registry that is away must not keep a server from starting.
    imagePullPolicy: 'IfNotPresent',
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: image.uid,
      runAsGroup: image.gid,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: mounts.map(({ path, volume, readOnly }) => ({ name: volume.name, mountPath: path, readOnly })),
  };
}

/** fsGroup is decided for a pod as a whole: a pod whose volumes want it and don't want it can't be rendered. */
function fsGroup(
  mounts: readonly Mount[],
  gid: number,
): Pick<k8s.PodSecurityContext, 'fsGroup' | 'fsGroupChangePolicy'> {
  const claims = mounts.filter((mount) => mount.rootSquash !== undefined);
  if (!claims.some((mount) => !mount.rootSquash)) return {};
  const squashed = claims.find((mount) => mount.rootSquash);
  if (squashed) {
    const block = claims.find((mount) => !mount.rootSquash)!;
    throw new InputError(
      `\`rootSquash\` must be the same for all claims of one pod, since fsGroup holds for the whole pod, got ` +
        `${squashed.path} with it and ${block.path} without; put both on one kind of storage`,
    );
  }
  return { fsGroup: gid, fsGroupChangePolicy: 'OnRootMismatch' };
}
