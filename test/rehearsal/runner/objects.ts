import { checkKnown } from './known';
import type { KubeObject } from './types';

/** What the API server would hold. Objects without a namespace belong to that of the others, or to `default`. */
export class Objects {
  private readonly held = new Map<string, KubeObject>();
  readonly namespace: string;

  constructor(objects: KubeObject[]) {
    this.namespace = objects.find((one) => one.metadata?.namespace)?.metadata.namespace ?? 'default';
    this.apply(objects);
  }

  apply(objects: KubeObject[]): void {
    for (const object of objects) {
      checkKnown(object);
      const key = this.key(object.kind, object.metadata.name ?? object.metadata.generateName ?? '');
      this.held.set(key, structuredClone(object));
    }
  }

  find(kind: string, name: string): KubeObject | undefined {
    return this.held.get(this.key(kind, name));
  }

  /** Rejects a name that is not there with the names that are. */
  get(kind: string, name: string): KubeObject {
    const found = this.find(kind, name);
    if (found) return found;
    const names = this.all(kind).map((one) => `\`${one.metadata.name ?? one.metadata.generateName}\``);
    throw new Error(`there is no ${kind} \`${name}\` in this rehearsal; there is ${names.join(', ') || 'none at all'}`);
  }

  all(kind: string): KubeObject[] {
    return [...this.held.values()].filter((one) => one.kind === kind);
  }

  private key(kind: string, name: string): string {
    return `${kind}/${name}`;
  }
}

/** A Secret's or ConfigMap's keys as bytes. */
export function keysOf(object: KubeObject): Map<string, Buffer> {
  const keys = new Map<string, Buffer>();
  const encoded = object.kind === 'Secret' ? object['data'] : object['binaryData'];
  const plain = object.kind === 'Secret' ? object['stringData'] : object['data'];
  for (const [key, value] of Object.entries(encoded ?? {})) keys.set(key, Buffer.from(String(value), 'base64'));
  for (const [key, value] of Object.entries(plain ?? {})) keys.set(key, Buffer.from(String(value)));
  return keys;
}

const UNITS: Record<string, number> = { '': 1, k: 1e3, M: 1e6, G: 1e9, Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30 };

/** A Kubernetes quantity of bytes, e.g. `64Mi`. */
export function bytesOf(quantity: string | number): number {
  const [, digits, unit = ''] = /^([0-9.]+)([A-Za-z]*)$/.exec(String(quantity)) ?? [];
  const factor = UNITS[unit];
  if (!digits || factor === undefined) throw new Error(`a size must be like 64Mi or 1Gi, got \`${quantity}\``);
  return Math.round(Number(digits) * factor);
}
