import type { Manifest } from './older-servers';

/** What a cluster lacks, whatever its version. */
export interface Lacks {
  /** The custom resource of the Prometheus Operator. */
  readonly serviceMonitors: boolean;
  /** The image of postgres_exporter, and a registry to pull it from. A container that never runs keeps its pod from Ready. */
  readonly exporter: boolean;
}

/** The objects without what needs that, and a line for each thing that was left out. */
export function leaveOut(lacks: Lacks, objects: readonly Manifest[]): { objects: Manifest[]; stripped: string[] } {
  const stripped: string[] = [];
  const kept = objects.flatMap((object) => {
    if (lacks.serviceMonitors && object.kind === 'ServiceMonitor') {
      stripped.push(`ServiceMonitor ${object.metadata.name}: all of it; the cluster has no Prometheus Operator`);
      return [];
    }
    if (!lacks.exporter || object.kind !== 'StatefulSet') return [object];
    const copy = structuredClone(object) as Manifest & {
      spec: { template: { spec: { containers: { name: string }[] } } };
    };
    const { spec } = copy.spec.template;
    const others = spec.containers.filter(({ name }) => name !== 'metrics');
    if (others.length === spec.containers.length) return [object];
    spec.containers = others;
    stripped.push(
      `StatefulSet ${object.metadata.name}: container metrics; E2E_EXPORTER=no says that its image is missing`,
    );
    return [copy];
  });
  return { objects: kept, stripped };
}
