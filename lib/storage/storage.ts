import type { Size } from 'cdk8s';
import { refuse } from '../guard/input-error';
import { checkName } from '../guard/names';
import { quantity } from './quantity';

/** What decides who may write to a volume. */
export interface VolumeOwnership {
  /**
   * The volume maps root to nobody, as NFS exports do (`root_squash`). The kubelet then must not change its owner:
   * `fsGroup` would leave the pod in ContainerCreating. Without it the volume is taken for a block device, whose fresh
   * file system belongs to root and which the kubelet hands over by `fsGroup` (`OnRootMismatch`).
   *
   * @default false
   * @see https://kubernetes.io/docs/tasks/configure-pod-container/security-context/#configure-volume-permission-and-ownership-change-policy-for-pods
   */
  readonly rootSquash?: boolean;
}

/** What a new claim asks for. */
export interface ClaimProps extends VolumeOwnership {
  /** Requested size. It may grow later where the storage class allows it, never shrink. */
  readonly size: Size;
  /**
   * Storage class. It can't be changed once the claim exists.
   *
   * @default the cluster's default class
   */
  readonly storageClass?: string;
  /**
   * @default "ReadWriteOnce"
   */
  readonly accessMode?: AccessMode;
}

export type AccessMode = 'ReadWriteOnce' | 'ReadWriteOncePod' | 'ReadWriteMany';

export interface ClaimTemplateProps extends ClaimProps {
  /**
   * Name of the template; the claim is `<template>-<server>-0`.
   *
   * @default "data"
   */
  readonly name?: string;
}

export interface OwnClaimProps extends ClaimProps {
  /** Name of the claim. */
  readonly name: string;
}

export interface ExistingClaimProps extends VolumeOwnership {
  /**
   * Where on the claim the data directory lies (`pgdata`, `data`, `18/docker`): named, never guessed.
   *
   * @default the data directory that the server's image gets on a new claim
   */
  readonly dataSubdirectory?: string;
}

/** Where a server's data lies: exactly one claim, mounted once. */
export class Storage {
  /** A claim made by the StatefulSet from a template. Deleting or scaling the StatefulSet keeps the claim. */
  static claimTemplate(props: ClaimTemplateProps): Storage {
    return new Storage({ ...props, kind: 'template', name: props.name ?? 'data' });
  }

  /** A claim rendered beside the server, in `claims.yaml`: never mutated, never pruned. */
  static claim(props: OwnClaimProps): Storage {
    return new Storage({ ...props, kind: 'own' });
  }

  /** A claim that exists already; the server only refers to it. */
  static existingClaim(name: string, props: ExistingClaimProps = {}): Storage {
    return new Storage({ ...props, kind: 'existing', name });
  }

  private constructor(private readonly source: StorageSource) {}

  /**
   * @throws InputError if the claim could not exist
   * @internal
   */
  get _source(): StorageSource {
    const { source } = this;
    checkName('PersistentVolumeClaim', source.name, 'storage.name');
    if (source.kind !== 'existing') checkClaim(source, 'storage.');
    else checkSubdirectory(source.dataSubdirectory);
    return source;
  }
}

/** @internal */
export type StorageSource =
  | (ClaimProps & { readonly kind: 'template' | 'own'; readonly name: string })
  | (ExistingClaimProps & { readonly kind: 'existing'; readonly name: string });

/** Refuses what the API server would refuse in a claim. */
export function checkClaim(claim: ClaimProps, prefix = ''): void {
  if (claim.size.toKibibytes() <= 0) {
    refuse(`${prefix}size`, 'be above 0', quantity(claim.size).value, 'write for example `Size.gibibytes(8)`');
  }
  if (claim.storageClass !== undefined) checkName('StorageClass', claim.storageClass, `${prefix}storageClass`);
  const modes = ['ReadWriteOnce', 'ReadWriteOncePod', 'ReadWriteMany'];
  if (claim.accessMode !== undefined && !modes.includes(claim.accessMode)) {
    refuse(`${prefix}accessMode`, `be ${modes.join(', ')}`, claim.accessMode, 'write "ReadWriteOnce"');
  }
}

function checkSubdirectory(path: string | undefined): void {
  if (path === undefined) return;
  const parts = path.split('/');
  if (path === '' || parts.some((part) => part === '' || part === '.' || part === '..')) {
    const fix = 'write "pgdata", or what `find <mount> -name PG_VERSION` shows';
    refuse('storage.dataSubdirectory', 'be a path below the top of the claim', path, fix);
  }
}
