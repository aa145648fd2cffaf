import { keysOf, type Objects } from './objects';

/** What the downward API and the kubelet know about a pod. */
export interface PodIdentity {
  name: string;
  namespace: string;
  uid: string;
  labels: Record<string, string>;
  annotations: Record<string, string>;
  address: string;
  serviceAccount: string;
}

/**
 * Kubernetes' expansion: `$(NAME)` of a known variable becomes its value, of an unknown one stays as it is, and `$$(NAME)`
 * is the text `$(NAME)`. Variables of the image are not known to it.
 */
export function expand(text: string, known: ReadonlyMap<string, string>): string {
  return text.replace(/\$\$|\$\(([^)]*)\)/g, (match, name) => (match === '$$' ? '$' : (known.get(name) ?? match)));
}

export function fieldValue(path: string, pod: PodIdentity): string {
  const keyed = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (keyed) return pod[keyed[1] as 'labels' | 'annotations'][keyed[2] as string] ?? '';
  const fields: Record<string, string> = {
    'metadata.name': pod.name,
    'metadata.namespace': pod.namespace,
    'metadata.uid': pod.uid,
    'spec.nodeName': 'rehearsal',
    'spec.serviceAccountName': pod.serviceAccount,
    'status.podIP': pod.address,
  };
  const value = fields[path];
  if (value === undefined) {
    throw new Error(`fieldPath must be one of ${Object.keys(fields).join(', ')} or a label, got \`${path}\``);
  }
  return value;
}

interface KeyRef {
  name: string;
  key: string;
  optional?: boolean;
}

/** Undefined where an optional key is missing: the variable is then not set at all. */
function keyValue(kind: 'Secret' | 'ConfigMap', ref: KeyRef, objects: Objects): string | undefined {
  const object = objects.find(kind, ref.name);
  const value = object && keysOf(object).get(ref.key);
  if (value !== undefined) return value.toString();
  if (ref.optional) return undefined;
  const missing = object ? `couldn't find key ${ref.key} in ${kind} ${ref.name}` : `${kind} "${ref.name}" not found`;
  throw new Error(`CreateContainerConfigError: ${missing}`);
}

interface EnvEntry {
  name: string;
  value?: string;
  valueFrom?: { fieldRef?: { fieldPath: string }; secretKeyRef?: KeyRef; configMapKeyRef?: KeyRef };
}

function entryValue(
  entry: EnvEntry,
  known: Map<string, string>,
  objects: Objects,
  pod: PodIdentity,
): string | undefined {
  const from = entry.valueFrom;
  if (!from) return expand(String(entry.value ?? ''), known);
  if (from.fieldRef) return fieldValue(from.fieldRef.fieldPath, pod);
  if (from.secretKeyRef) return keyValue('Secret', from.secretKeyRef, objects);
  if (from.configMapKeyRef) return keyValue('ConfigMap', from.configMapKeyRef, objects);
  throw new Error(`env ${entry.name}: valueFrom names no source`);
}

interface EnvFrom {
  prefix?: string;
  configMapRef?: { name: string; optional?: boolean };
  secretRef?: { name: string; optional?: boolean };
}

function* allKeys(source: EnvFrom, objects: Objects): Generator<[string, string]> {
  for (const [kind, ref] of [
    ['ConfigMap', source.configMapRef],
    ['Secret', source.secretRef],
  ] as const) {
    if (!ref) continue;
    const object = objects.find(kind, ref.name);
    if (!object && !ref.optional) throw new Error(`CreateContainerConfigError: ${kind} "${ref.name}" not found`);
    for (const [key, value] of object ? keysOf(object) : []) yield [`${source.prefix ?? ''}${key}`, value.toString()];
  }
}

/** The variables that the kubelet hands to the engine: those of Services, then envFrom, then env, each able to use earlier ones. */
export function containerEnv(
  container: { env?: EnvEntry[]; envFrom?: EnvFrom[] },
  serviceLinks: ReadonlyMap<string, string>,
  objects: Objects,
  pod: PodIdentity,
): Map<string, string> {
  const env = new Map(serviceLinks);
  for (const source of container.envFrom ?? []) {
    for (const [name, value] of allKeys(source, objects)) env.set(name, value);
  }
  for (const entry of container.env ?? []) {
    const value = entryValue(entry, env, objects, pod);
    if (value !== undefined) env.set(entry.name, value);
  }
  return env;
}
