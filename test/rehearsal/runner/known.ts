import type { KubeObject } from './types';

/**
 * What the rehearsal knows about objects. Everything rendered is either acted upon (`used`), or listed here with the
 * reason why it cannot matter on one machine without a scheduler. Anything else is an error: a field that is silently
 * ignored is a field that nobody has tested.
 */
type Known = typeof used | string | Check | { [field: string]: Known };
/** Returns what would be allowed when the value is not. */
type Check = (value: unknown) => string | undefined;

const used: true = true;
const only =
  (...allowed: unknown[]): Check =>
  (value) =>
    allowed.includes(value) ? undefined : allowed.map((one) => `\`${one}\``).join(' or ');

const METADATA = {
  name: used,
  generateName: used,
  namespace: used,
  labels: used,
  annotations: used,
} as const;

const HANDLER = {
  exec: { command: used },
  tcpSocket: { port: used },
};

const PROBE = {
  ...HANDLER,
  initialDelaySeconds: used,
  periodSeconds: used,
  timeoutSeconds: used,
  successThreshold: used,
  failureThreshold: used,
  terminationGracePeriodSeconds: used,
};

const SECURITY = {
  runAsUser: used,
  runAsGroup: used,
  runAsNonRoot: used,
  seccompProfile: { type: 'accepted; the profile itself is the container engine’s' },
};

const FIELD_REF = { fieldPath: used, apiVersion: only('v1') };
const KEY_REF = { name: used, key: used, optional: used };
const SOURCE_REF = { name: used, optional: used };
const ITEMS = { key: used, path: used, mode: used };

const RESOURCES = {
  limits: { memory: used, cpu: 'slows down, changes nothing else', 'ephemeral-storage': 'eviction is not rehearsed' },
  requests: 'only the scheduler reads requests',
};

const CONTAINER = {
  name: used,
  image: used,
  imagePullPolicy: 'nothing is pulled',
  command: used,
  args: used,
  workingDir: used,
  env: {
    name: used,
    value: used,
    valueFrom: { fieldRef: FIELD_REF, secretKeyRef: KEY_REF, configMapKeyRef: KEY_REF },
  },
  envFrom: { prefix: used, configMapRef: SOURCE_REF, secretRef: SOURCE_REF },
  ports: { name: used, containerPort: used, protocol: only('TCP') },
  volumeMounts: {
    name: used,
    mountPath: used,
    subPath: used,
    subPathExpr: used,
    readOnly: used,
    mountPropagation: only('None'),
  },
  resources: RESOURCES,
  securityContext: {
    ...SECURITY,
    readOnlyRootFilesystem: used,
    allowPrivilegeEscalation: used,
    privileged: only(false),
    capabilities: { drop: used, add: used },
  },
  startupProbe: PROBE,
  readinessProbe: PROBE,
  livenessProbe: PROBE,
  lifecycle: { preStop: { exec: { command: used }, sleep: { seconds: used } } },
  terminationMessagePath: only('/dev/termination-log'),
  terminationMessagePolicy: 'only `kubectl describe` shows it',
};

const { startupProbe: _s, readinessProbe: _r, livenessProbe: _l, lifecycle: _c, ...INIT_CONTAINER } = CONTAINER;

const CONFIG_FILES = { items: ITEMS, defaultMode: used, optional: used };

const POD_SPEC = {
  containers: CONTAINER,
  initContainers: INIT_CONTAINER,
  restartPolicy: used,
  terminationGracePeriodSeconds: used,
  automountServiceAccountToken: used,
  enableServiceLinks: used,
  hostname: used,
  subdomain: 'pods of a headless Service have their names in every /etc/hosts',
  securityContext: {
    ...SECURITY,
    fsGroup: used,
    fsGroupChangePolicy: used,
    supplementalGroups: used,
    supplementalGroupsPolicy: only('Merge'),
  },
  volumes: {
    name: used,
    emptyDir: { medium: used, sizeLimit: used },
    configMap: { name: used, ...CONFIG_FILES },
    secret: { secretName: used, ...CONFIG_FILES },
    persistentVolumeClaim: { claimName: used, readOnly: used },
    projected: {
      defaultMode: used,
      sources: {
        configMap: { ...SOURCE_REF, items: ITEMS },
        secret: { ...SOURCE_REF, items: ITEMS },
        downwardAPI: { items: { path: used, mode: used, fieldRef: FIELD_REF } },
      },
    },
  },
  hostNetwork: only(false),
  hostPID: only(false),
  hostIPC: only(false),
  hostUsers: 'the rehearsal has no user namespaces, as clusters before 1.33',
  shareProcessNamespace: only(false),
  dnsPolicy: only('ClusterFirst'),
  serviceAccountName: 'there is no API server to talk to',
  serviceAccount: 'there is no API server to talk to',
  imagePullSecrets: 'nothing is pulled',
  nodeName: 'there is one machine',
  nodeSelector: 'there is one machine',
  affinity: 'there is one machine',
  tolerations: 'there is one machine',
  topologySpreadConstraints: 'there is one machine',
  priorityClassName: 'nothing competes',
  priority: 'nothing competes',
  preemptionPolicy: 'nothing competes',
  schedulerName: 'there is no scheduler',
  runtimeClassName: 'one run time',
};

const POD_TEMPLATE = { metadata: METADATA, spec: POD_SPEC };

const JOB_SPEC = {
  template: POD_TEMPLATE,
  backoffLimit: used,
  activeDeadlineSeconds: used,
  suspend: used,
  completions: only(1),
  parallelism: only(1),
  completionMode: only('NonIndexed'),
  podReplacementPolicy: 'no pod of a rehearsed Job overlaps another one',
  podFailurePolicy: {
    rules: {
      action: only('FailJob', 'Ignore', 'Count'),
      onExitCodes: { containerName: used, operator: only('In', 'NotIn'), values: used },
      onPodConditions: 'nothing evicts pods here',
    },
  },
  ttlSecondsAfterFinished: 'Jobs are gone with the rehearsal',
  manualSelector: only(false),
};

const CLAIM_SPEC = {
  accessModes: 'one machine: any number of pods may mount a claim',
  resources: 'the size is what the test asks for (volumes: sizeMiB)',
  storageClassName: 'the kind of storage is what the test asks for (volumes: kind)',
  volumeMode: only('Filesystem'),
  volumeName: 'claims are bound by the test',
};

/** Fields of each kind that is acted upon. */
const KINDS: Record<string, Known> = {
  StatefulSet: {
    metadata: METADATA,
    spec: {
      template: POD_TEMPLATE,
      serviceName: used,
      replicas: only(0, 1),
      selector: 'the rehearsal starts the pods itself',
      volumeClaimTemplates: {
        apiVersion: used,
        kind: used,
        metadata: METADATA,
        spec: CLAIM_SPEC,
      },
      persistentVolumeClaimRetentionPolicy: 'the StatefulSet is never deleted here, only its pod',
      podManagementPolicy: 'one replica',
      updateStrategy: 'pods are replaced by the test',
      minReadySeconds: 'pods are replaced by the test',
      revisionHistoryLimit: 'pods are replaced by the test',
      ordinals: { start: only(0) },
    },
  },
  Job: { metadata: METADATA, spec: JOB_SPEC },
  CronJob: {
    metadata: METADATA,
    spec: {
      jobTemplate: { metadata: METADATA, spec: JOB_SPEC },
      schedule: 'the test is the clock',
      timeZone: 'the test is the clock',
      suspend: 'the test is the clock',
      concurrencyPolicy: 'the test is the clock',
      startingDeadlineSeconds: 'the test is the clock',
      successfulJobsHistoryLimit: 'Jobs are gone with the rehearsal',
      failedJobsHistoryLimit: 'Jobs are gone with the rehearsal',
    },
  },
  Pod: { metadata: METADATA, spec: POD_SPEC },
  Service: {
    metadata: METADATA,
    spec: {
      selector: used,
      ports: {
        name: used,
        port: used,
        targetPort: used,
        protocol: only('TCP'),
        appProtocol: 'only a hint',
      },
      clusterIP: used,
      type: only('ClusterIP'),
      publishNotReadyAddresses: used,
      internalTrafficPolicy: 'there is one machine',
      sessionAffinity: only('None'),
      ipFamilies: 'IPv4 only',
      ipFamilyPolicy: 'IPv4 only',
    },
  },
  ConfigMap: { metadata: METADATA, data: used, binaryData: used, immutable: 'nothing changes it here' },
  Secret: { metadata: METADATA, data: used, stringData: used, type: used, immutable: 'nothing changes it here' },
  PersistentVolumeClaim: { metadata: METADATA, spec: CLAIM_SPEC },
};

/** Kinds whose objects are taken and do nothing here. */
const BYSTANDERS: Record<string, string> = {
  Namespace: 'namespaces are names here',
  ServiceAccount: 'there is no API server to talk to',
  Role: 'there is no API server to talk to',
  RoleBinding: 'there is no API server to talk to',
  NetworkPolicy: 'the network plug-in of a cluster enforces it',
  PodDisruptionBudget: 'nothing drains this machine',
  ServiceMonitor: 'read by the Prometheus operator',
  PodMonitor: 'read by the Prometheus operator',
  PrometheusRule: 'read by the Prometheus operator',
  StorageClass: 'the kind of storage is what the test asks for',
};

/** Throws on the first thing that the rehearsal neither does nor knows to be without effect. */
export function checkKnown(object: KubeObject): void {
  const name = object.metadata?.name ?? object.metadata?.generateName;
  if (BYSTANDERS[object.kind]) return;
  const known = KINDS[object.kind];
  if (!known) {
    const kinds = Object.keys(KINDS).join(', ');
    throw new Error(`${object.kind}/${name} is of a kind that the rehearsal does not know; it executes ${kinds}`);
  }
  const { apiVersion: _apiVersion, kind: _kind, ...rest } = object;
  walk(rest, known, '', `${object.kind}/${name}`);
}

function walk(value: unknown, known: Known, path: string, object: string): void {
  if (known === used || typeof known === 'string' || value === undefined || value === null) return;
  if (typeof known === 'function') {
    const allowed = known(value);
    if (allowed) throw new Error(`${object}: the rehearsal knows ${path} only as ${allowed}, got \`${String(value)}\``);
    return;
  }
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) walk(item, known, `${path}[${index}]`, object);
    return;
  }
  for (const [field, inner] of Object.entries(value as object)) {
    const here = path ? `${path}.${field}` : field;
    const next = (known as Record<string, Known>)[field];
    if (next === undefined) {
      throw new Error(
        `${object}: ${here} is not known to the rehearsal; do what it says in test/rehearsal/runner, or list it in known.ts with the reason why it cannot matter`,
      );
    }
    walk(inner, next, here, object);
  }
}
