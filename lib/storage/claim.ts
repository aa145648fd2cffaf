import type { ApiObjectMetadata } from 'cdk8s';
import { k8s } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import { place } from '../place';
import { quantity } from './quantity';
import type { ClaimProps } from './storage';

/** Renders a claim that no sync, prune or re-apply may ever change or remove; it stands in `claims.yaml`. */
export function renderClaim(scope: Construct, id: string, metadata: ApiObjectMetadata, props: ClaimProps): void {
  const claim = new k8s.KubePersistentVolumeClaim(scope, id, {
    metadata: {
      ...metadata,
      // Argo CD: Prune=false alone does not keep a claim when the Application is deleted (argo-cd#9853).
      annotations: { 'argocd.argoproj.io/sync-options': 'Prune=false,Delete=false' },
    },
    spec: claimSpec(props),
  });
  place(claim, 'claims.yaml');
}

/** The spec of a claim or of a claim template. */
export function claimSpec({ size, storageClass, accessMode }: ClaimProps): k8s.PersistentVolumeClaimSpec {
  return {
    accessModes: [accessMode ?? 'ReadWriteOnce'],
    storageClassName: storageClass,
    resources: { requests: { storage: quantity(size) } },
  };
}
