import { Chart, Yaml } from 'cdk8s';

/** What Vitest's and Jest's `expect.addSnapshotSerializer` both take; neither runner is needed to compile this. */
export interface ManifestSerializer {
  test(value: unknown): boolean;
  // biome-ignore lint/suspicious/noExplicitAny: the two runners' own types for this agree on nothing narrower
  serialize(value: any): string;
}

/**
 * Prints Kubernetes objects in snapshots as the YAML that synth writes, scripts as `|` blocks, keys in their own order.
 * It takes a chart, one object, or a list of objects (`Testing.synth(chart)`); other values are left to the runner.
 *
 * ```ts
 * expect.addSnapshotSerializer(manifestSerializer);
 * expect(Testing.synth(chart)).toMatchSnapshot();
 * ```
 */
export const manifestSerializer: ManifestSerializer = {
  test: (value) => Chart.isChart(value) || isManifest(value) || (isFilledArray(value) && value.every(isManifest)),
  serialize: (value) => {
    const manifests = Chart.isChart(value) ? value.toJson() : [value].flat();
    // The last newline would show as an empty line before the snapshot's closing quote.
    return Yaml.stringify(...manifests.map(plain)).replace(/\n$/, '');
  },
};

function isFilledArray(value: unknown): value is unknown[] {
  return Array.isArray(value) && value.length > 0;
}

function isManifest(value: unknown): boolean {
  const { apiVersion, kind } = (value ?? {}) as Record<string, unknown>;
  return typeof apiVersion === 'string' && typeof kind === 'string';
}

/**
 * Drops what no YAML file would hold: unset keys, and the inside of a property matcher (`expect.any(String)`), which is
 * named instead.
 */
function plain(manifest: unknown): unknown {
  return JSON.parse(JSON.stringify(manifest, (_key, value) => value?.toAsymmetricMatcher?.() ?? value));
}
