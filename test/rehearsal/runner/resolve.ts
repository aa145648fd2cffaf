import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Image } from '../image/image';
import { clockOf, engineFiles, overlayFiles, serviceAccountToken } from './additions';
import { cgroupPath } from './cgroup';
import type { Context } from './context';
import { containerEnv, expand, type PodIdentity } from './env';
import type { PodNetwork } from './network';
import { bytesOf } from './objects';
import { type ContainerSpec, capabilitiesOf, type Mount } from './oci';
import type { ContainerYaml, PodYaml } from './podspec';
import type { PodVolumes } from './podvolumes';
import { serviceLinks } from './services';
import type { StartOptions } from './types';
import { userOf } from './user';

/** What the containers of one pod have in common. */
export interface PodParts {
  context: Context;
  folder: string;
  yaml: PodYaml;
  identity: PodIdentity;
  network: PodNetwork;
  volumes: PodVolumes;
  options: StartOptions;
}

async function serviceVariables({ context, yaml }: PodParts): Promise<Map<string, string>> {
  if (yaml.enableServiceLinks === false) return new Map();
  const services = context.objects.all('Service');
  const addresses = new Map(
    await Promise.all(services.map(async (one) => [one, await context.network.addressOf(one)] as const)),
  );
  return serviceLinks(services, (service) => addresses.get(service) as string);
}

/** Rejects what a cluster would refuse for good when it creates the container. */
export async function checkContainer(container: ContainerYaml, parts: PodParts): Promise<void> {
  const { context, yaml, identity } = parts;
  userOf(yaml.securityContext ?? {}, container.securityContext ?? {}, await context.imageOf(container.image));
  containerEnv(container, await serviceVariables(parts), context.objects, identity);
  parts.volumes.checkMounts(container);
}

/** command replaces the image's entrypoint and its command, args only its command. */
function argumentsOf({ command, args }: ContainerYaml, image: Image, env: ReadonlyMap<string, string>): string[] {
  const own = (list: string[]) => list.map((text) => expand(String(text), env));
  const { entrypoint, cmd } = image;
  if (command) return [...own(command), ...own(args ?? [])];
  return [...entrypoint, ...(args ? own(args) : cmd)];
}

/** Outer mounts first, as containerd sorts them; equally deep ones stay in order. */
const byDepth = (one: Mount, other: Mount) => one.destination.split('/').length - other.destination.split('/').length;

function automaticMounts(
  parts: PodParts,
  image: Image,
  run: string,
  hosts: string,
  readOnlyRoot: boolean,
  clock: Record<string, string>,
): Mount[] {
  const { folder, identity, yaml, options } = parts;
  const files = engineFiles(join(folder, 'engine'), hosts, yaml.hostname ?? identity.name, readOnlyRoot);
  files.push(...overlayFiles(join(folder, 'overlay', run), { ...image.files, ...clock, ...options.overlay }));
  if (yaml.automountServiceAccountToken !== false) files.push(serviceAccountToken(join(folder, 'token'), identity));
  return files;
}

/** Fills in every default, reference and address of one run of a container. */
export async function resolveContainer(container: ContainerYaml, run: string, parts: PodParts): Promise<ContainerSpec> {
  const { context, yaml, identity, network } = parts;
  const security = container.securityContext ?? {};
  const image = await context.imageOf(container.image);
  const env = containerEnv(container, await serviceVariables(parts), context.objects, identity);
  for (const [name, value] of Object.entries(parts.options.env ?? {})) env.set(name, value);
  const clock = parts.options.clock ? clockOf(parts.options.clock) : { files: {}, env: {} };
  const hosts = await context.network.hosts(yaml.hostname ?? identity.name, network.address);
  const readOnlyRoot = security.readOnlyRootFilesystem === true;
  const own = await parts.volumes.mountsOf(container, image, env, join(parts.folder, 'anonymous', run));
  const taken = new Set(own.map((one) => one.destination));
  const automatic = automaticMounts(parts, image, run, hosts, readOnlyRoot, clock.files).filter(
    (one) => !taken.has(one.destination),
  );
  const id = `${identity.uid}-${run}`;
  mkdirSync(parts.folder, { recursive: true });
  return {
    id,
    args: argumentsOf(container, image, env),
    env: new Map([
      ...Object.entries(image.env),
      ['HOSTNAME', yaml.hostname ?? identity.name] as const,
      ...env,
      ...Object.entries(clock.env),
    ]),
    cwd: container.workingDir ?? '/',
    user: userOf(yaml.securityContext ?? {}, security, image),
    capabilities: capabilitiesOf(security.capabilities),
    noNewPrivileges: security.allowPrivilegeEscalation === false,
    readOnlyRoot,
    root: `${context.folder}/layers/${id}/root`,
    image: image.root,
    stopSignal: image.stopSignal,
    mounts: [...automatic, ...own].sort(byDepth),
    memoryBytes: container.resources?.limits?.memory ? bytesOf(container.resources.limits.memory) : undefined,
    hostname: yaml.hostname ?? identity.name,
    network: network.path,
    cgroup: cgroupPath(context.id, id),
  };
}
