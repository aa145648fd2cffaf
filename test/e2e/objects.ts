/** The parts of what the API server answers that the suite looks at. */

interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly deletionTimestamp?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface ContainerStatus {
  readonly name: string;
  readonly restartCount: number;
  readonly containerID?: string;
  readonly state?: {
    readonly waiting?: { readonly reason?: string; readonly message?: string };
    readonly running?: { readonly startedAt: string };
    readonly terminated?: { readonly reason?: string; readonly exitCode: number };
  };
}

export interface Pod {
  readonly metadata: Metadata;
  readonly spec: { readonly nodeName?: string; readonly securityContext?: { readonly fsGroup?: number } };
  readonly status: {
    readonly phase: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly lastTransitionTime: string;
    }[];
    readonly initContainerStatuses?: readonly ContainerStatus[];
    readonly containerStatuses?: readonly ContainerStatus[];
  };
}

export interface Claim {
  readonly metadata: Metadata;
  readonly spec: {
    readonly accessModes: readonly string[];
    readonly storageClassName: string;
    readonly volumeName: string;
    readonly resources: { readonly requests: { readonly storage: string } };
  };
  readonly status: { readonly phase: string };
}

export interface Volume {
  readonly metadata: Pick<Metadata, 'name'>;
  readonly spec: {
    readonly persistentVolumeReclaimPolicy: string;
    readonly claimRef?: { readonly namespace: string };
    readonly nodeAffinity?: object;
  };
}

export interface Job {
  readonly metadata: Metadata;
  readonly status: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export interface Node {
  readonly metadata: Pick<Metadata, 'name'>;
  readonly spec: { readonly unschedulable?: boolean; readonly taints?: readonly { readonly effect: string }[] };
  readonly status: {
    readonly conditions: readonly { readonly type: string; readonly status: string }[];
    readonly nodeInfo: { readonly containerRuntimeVersion: string };
  };
}

export interface StorageClass {
  readonly metadata: Pick<Metadata, 'name'> & { readonly annotations?: Readonly<Record<string, string>> };
  readonly provisioner: string;
}

export function isTrue(conditions: readonly { type: string; status: string }[] | undefined, type: string): boolean {
  return conditions?.some((condition) => condition.type === type && condition.status === 'True') ?? false;
}
