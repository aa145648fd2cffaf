import type { KubeObject } from './types';

interface ServicePort {
  name?: string;
  port: number;
  targetPort?: number | string;
}

export function portsOf(service: KubeObject): ServicePort[] {
  return service['spec']?.ports ?? [];
}

/** A Service without selector gets its endpoints from somebody else, so it selects nothing. */
export function selects(service: KubeObject, labels: Record<string, string>): boolean {
  const selector = Object.entries(service['spec']?.selector ?? {});
  return selector.length > 0 && selector.every(([key, value]) => labels[key] === value);
}

export const isHeadless = (service: KubeObject) => service['spec']?.clusterIP === 'None';

/** The names by which pods of `namespace` reach a Service. */
export function namesOf(service: KubeObject, namespace: string): string[] {
  const name = String(service.metadata.name);
  const own = service.metadata.namespace ?? namespace;
  const full = [`${name}.${own}`, `${name}.${own}.svc`, `${name}.${own}.svc.cluster.local`];
  return own === namespace ? [name, ...full] : full;
}

/**
 * The variables that a pod gets for the Services of its namespace unless enableServiceLinks is false. They are a trap:
 * a Service called `postgres` sets POSTGRES_PORT=tcp://..., and one called `pg` sets PG_PORT.
 */
export function serviceLinks(services: KubeObject[], addressOf: (service: KubeObject) => string): Map<string, string> {
  const links = new Map<string, string>();
  for (const service of services) {
    const [first] = portsOf(service);
    if (isHeadless(service) || !first) continue;
    const prefix = String(service.metadata.name).toUpperCase().replaceAll('-', '_');
    const address = addressOf(service);
    links.set(`${prefix}_SERVICE_HOST`, address);
    links.set(`${prefix}_SERVICE_PORT`, String(first.port));
    links.set(`${prefix}_PORT`, `tcp://${address}:${first.port}`);
    for (const { name, port } of portsOf(service)) {
      if (name) links.set(`${prefix}_SERVICE_PORT_${name.toUpperCase().replaceAll('-', '_')}`, String(port));
      const each = `${prefix}_PORT_${port}_TCP`;
      links.set(each, `tcp://${address}:${port}`);
      links.set(`${each}_PROTO`, 'tcp');
      links.set(`${each}_PORT`, String(port));
      links.set(`${each}_ADDR`, address);
    }
  }
  return links;
}

/** Service addresses lead to the pod without translating ports, so both must agree. */
export function checkPorts(service: KubeObject, containers: Array<{ ports?: ServicePortName[] }>): void {
  const named = new Map(containers.flatMap((one) => one.ports ?? []).map((one) => [one.name, one.containerPort]));
  for (const { port, targetPort = port } of portsOf(service)) {
    const target = typeof targetPort === 'number' ? targetPort : named.get(targetPort);
    if (target === undefined) {
      throw new Error(`Service/${service.metadata.name}: no container of the pod has a port named \`${targetPort}\``);
    }
    if (target !== port) {
      throw new Error(
        `Service/${service.metadata.name}: the rehearsal needs targetPort = port, got ${target} for ${port}`,
      );
    }
  }
}

interface ServicePortName {
  name?: string;
  containerPort: number;
}
