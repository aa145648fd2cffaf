import type { Namespace } from './namespace';
import { isHeadless, namesOf, selects } from './services';
import type { KubeObject } from './types';

const GATEWAY = '10.244.0.1';

export interface PodNetwork {
  readonly address: string;
  /** Network namespace file, inside the rehearsal's mounts. */
  readonly path: string;
  readonly index: number;
}

/**
 * Each pod has an address of its own behind a router, so PostgreSQL sees clients come from elsewhere, and several servers can
 * have port 5432. A Service has an address that leads to a ready pod, and refuses connections while there is none.
 */
export class Network {
  private next = 2;
  private readonly addresses = new Map<string, string>();
  /** Ready pods per Service, the newest last. */
  private readonly endpoints = new Map<string, PodNetwork[]>();

  constructor(
    private readonly ns: Namespace,
    private readonly services: () => KubeObject[],
    private readonly namespace: string,
  ) {}

  async addPod(labels: Record<string, string>): Promise<PodNetwork> {
    const index = this.next++;
    const address = `10.244.${index >> 8}.${index & 255}`;
    const own = this.services().filter((service) => selects(service, labels));
    const addresses = await Promise.all(own.map((service) => this.addressOf(service)));
    await this.ip([
      `netns add p${index}`,
      `link add v${index} type veth peer name eth0 netns p${index}`,
      `addr add ${GATEWAY}/32 dev v${index}`,
      `link set v${index} up`,
      `route add ${address}/32 dev v${index}`,
    ]);
    await this.ip(
      [
        'link set lo up',
        `addr add ${address}/32 dev eth0`,
        'link set eth0 up',
        `route add ${GATEWAY}/32 dev eth0 src ${address}`,
        `route add default via ${GATEWAY} src ${address}`,
        // Packets to a Service arrive with the Service's address, and must be taken for our own.
        ...addresses.map((one) => `addr add ${one}/32 dev lo`),
      ],
      `p${index}`,
    );
    return { address, path: `/run/netns/p${index}`, index };
  }

  async removePod(pod: PodNetwork): Promise<void> {
    await this.ip([`link del v${pod.index}`, `netns del p${pod.index}`]);
  }

  /** Points the Services that select the pod to it, or away from it. */
  async setReady(pod: PodNetwork, labels: Record<string, string>, ready: boolean, alive: boolean): Promise<void> {
    for (const service of this.services().filter((one) => selects(one, labels))) {
      const name = String(service.metadata.name);
      const serves = ready || (alive && service['spec']?.publishNotReadyAddresses === true);
      const others = (this.endpoints.get(name) ?? []).filter((one) => one !== pod);
      const now = serves ? [...others, pod] : others;
      this.endpoints.set(name, now);
      const address = await this.addressOf(service);
      await this.ip([route(address, now.at(-1))]);
    }
  }

  isServed(service: string): boolean {
    return (this.endpoints.get(service)?.length ?? 0) > 0;
  }

  async addressOf(service: KubeObject): Promise<string> {
    const name = String(service.metadata.name);
    const known = this.addresses.get(name);
    if (known) return known;
    const index = this.addresses.size + 10;
    const address = `10.96.${index >> 8}.${index & 255}`;
    this.addresses.set(name, address);
    await this.ip([route(address, undefined)]);
    return address;
  }

  /** Name resolution of a pod. */
  async hosts(podName: string, address: string): Promise<string> {
    const lines = ['127.0.0.1\tlocalhost', '::1\tlocalhost ip6-localhost ip6-loopback', `${address}\t${podName}`];
    for (const service of this.services()) {
      const names = namesOf(service, this.namespace);
      // A StatefulSet's pod has a name below its headless Service; there is one replica, so it is where the Service leads.
      if (isHeadless(service)) names.push(...names.slice(1).map((one) => `${podName}.${one}`));
      lines.push(`${await this.addressOf(service)}\t${names.join(' ')}`);
    }
    return `${lines.join('\n')}\n`;
  }

  private async ip(batch: string[], netns?: string): Promise<void> {
    const command = ['ip', ...(netns ? ['-n', netns] : []), '-batch', '-'];
    await this.ns.must(command, { input: `${batch.join('\n')}\n` });
  }
}

/** Without an endpoint the address is the router's own, where nobody listens: refused at once, as kube-proxy does. */
function route(address: string, pod: PodNetwork | undefined): string {
  if (!pod) return `route replace local ${address}/32 dev lo table main`;
  return `route replace ${address}/32 via ${pod.address} dev v${pod.index} onlink table main`;
}
