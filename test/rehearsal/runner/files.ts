import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fieldValue, type PodIdentity } from './env';
import { keysOf, type Objects } from './objects';

interface Item {
  key: string;
  path: string;
  mode?: number;
}

interface Source {
  name?: string;
  secretName?: string;
  items?: Item[];
  optional?: boolean;
}

interface ProjectedSource {
  secret?: Source;
  configMap?: Source;
  downwardAPI?: { items: Array<{ path: string; mode?: number; fieldRef: { fieldPath: string } }> };
}

export interface FileVolume {
  configMap?: Source & { defaultMode?: number };
  secret?: Source & { defaultMode?: number };
  projected?: { defaultMode?: number; sources: ProjectedSource[] };
}

interface File {
  content: Buffer;
  mode: number;
}

function* fromObject(kind: 'Secret' | 'ConfigMap', source: Source, objects: Objects, mode: number) {
  const name = source.secretName ?? source.name ?? '';
  const object = objects.find(kind, name);
  if (!object) {
    if (source.optional) return;
    throw new Error(`FailedMount: ${kind.toLowerCase()} "${name}" not found`);
  }
  const keys = keysOf(object);
  for (const item of source.items ?? [...keys.keys()].map((key): Item => ({ key, path: key }))) {
    const content = keys.get(item.key);
    if (content !== undefined) yield [item.path, { content, mode: item.mode ?? mode }] as const;
    else if (!source.optional) throw new Error(`FailedMount: ${kind} ${name} references non-existent key ${item.key}`);
  }
}

function* filesOf(volume: FileVolume, objects: Objects, pod: PodIdentity): Generator<readonly [string, File]> {
  const { configMap, secret, projected } = volume;
  const mode = (configMap ?? secret ?? projected)?.defaultMode ?? 0o644;
  if (configMap) yield* fromObject('ConfigMap', configMap, objects, mode);
  if (secret) yield* fromObject('Secret', secret, objects, mode);
  for (const source of projected?.sources ?? []) {
    if (source.configMap) yield* fromObject('ConfigMap', source.configMap, objects, mode);
    if (source.secret) yield* fromObject('Secret', source.secret, objects, mode);
    for (const item of source.downwardAPI?.items ?? []) {
      const content = Buffer.from(fieldValue(item.fieldRef.fieldPath, pod));
      yield [item.path, { content, mode: item.mode ?? mode }];
    }
  }
}

/** The kubelet's layout: files in a dated folder, `..data` pointing to it, and links by which they are seen. */
export function writeFiles(folder: string, volume: FileVolume, objects: Objects, pod: PodIdentity): void {
  const dated = '..2026_01_01_00_00_00.000000001';
  mkdirSync(join(folder, dated), { recursive: true });
  // Whatever the umask of the test process: the kubelet sets modes itself.
  chmodSync(folder, 0o1777);
  chmodSync(join(folder, dated), 0o755);
  symlinkSync(dated, join(folder, '..data'));
  const shown = new Set<string>();
  for (const [path, { content, mode }] of filesOf(volume, objects, pod)) {
    const file = join(folder, dated, path);
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(file, content);
    chmodSync(file, mode);
    shown.add(path.split('/')[0] as string);
  }
  for (const name of shown) symlinkSync(join('..data', name), join(folder, name));
}
