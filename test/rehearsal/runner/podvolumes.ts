import { chmodSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join, normalize } from 'node:path';
import type { Image } from '../image/image';
import type { Context } from './context';
import { expand, type PodIdentity } from './env';
import { writeFiles } from './files';
import { bytesOf } from './objects';
import type { Mount } from './oci';
import { applyFsGroup } from './ownership';
import type { ContainerYaml, PodYaml, VolumeMount, VolumeYaml } from './podspec';

interface Prepared {
  path: string;
  /** Nothing writes to ConfigMaps, Secrets and claims mounted read-only, whatever the mount says. */
  readOnly: boolean;
}

/** The volumes of one pod: made before its first container, gone with it (claims stay). */
export class PodVolumes {
  private readonly prepared = new Map<string, Prepared>();
  private readonly inMemory: string[] = [];

  constructor(
    private readonly context: Context,
    private readonly folder: string,
    private readonly pod: PodYaml,
    private readonly identity: PodIdentity,
  ) {}

  async prepare(): Promise<void> {
    for (const volume of this.pod.volumes ?? []) this.prepared.set(volume.name, await this.make(volume));
  }

  async release(): Promise<void> {
    for (const path of this.inMemory) await this.context.ns.run(['umount', '-l', path]);
  }

  private async make(volume: VolumeYaml): Promise<Prepared> {
    const path = join(this.folder, 'volumes', volume.name);
    if (volume.persistentVolumeClaim) return this.claim(volume.persistentVolumeClaim);
    mkdirSync(path, { recursive: true });
    if (volume.emptyDir) {
      await this.emptyDir(path, volume.emptyDir);
      return { path, readOnly: false };
    }
    if (!volume.configMap && !volume.secret && !volume.projected) {
      throw new Error(`volume \`${volume.name}\` must be an emptyDir, configMap, secret, projected or claim`);
    }
    writeFiles(path, volume, this.context.objects, this.identity);
    applyFsGroup(path, { fsGroup: this.pod.securityContext?.fsGroup, onRootMismatch: false }, true);
    return { path, readOnly: true };
  }

  private async claim({ claimName, readOnly = false }: { claimName: string; readOnly?: boolean }): Promise<Prepared> {
    const { claims, objects, ns } = this.context;
    if (!claims.exists(claimName) && !objects.find('PersistentVolumeClaim', claimName)) {
      throw new Error(`FailedScheduling: persistentvolumeclaim "${claimName}" not found`);
    }
    const claim = await claims.bind(claimName);
    const { fsGroup, fsGroupChangePolicy } = this.pod.securityContext ?? {};
    if (claim.takesFsGroup && !readOnly) {
      applyFsGroup(ns.path(claim.mount), { fsGroup, onRootMismatch: fsGroupChangePolicy === 'OnRootMismatch' });
    }
    return { path: claim.mount, readOnly };
  }

  /** 0777 of root; sizeLimit is a real limit only in memory, elsewhere the kubelet evicts at leisure. */
  private async emptyDir(path: string, { medium, sizeLimit }: { medium?: string; sizeLimit?: string }): Promise<void> {
    if (medium === 'Memory') {
      const size = sizeLimit === undefined ? '50%' : String(bytesOf(sizeLimit));
      await this.context.ns.must(['mount', '-t', 'tmpfs', '-o', `size=${size}`, 'memory', path]);
      this.inMemory.push(path);
    } else if (medium) {
      throw new Error(`emptyDir.medium must be \`Memory\` or absent, got \`${medium}\``);
    }
    const seen = this.context.ns.path(path);
    chmodSync(seen, 0o777);
    applyFsGroup(seen, { fsGroup: this.pod.securityContext?.fsGroup, onRootMismatch: false });
  }

  checkMounts(container: ContainerYaml): void {
    for (const { name, mountPath } of container.volumeMounts ?? []) {
      if (this.prepared.has(name)) continue;
      throw new Error(`container ${container.name} mounts \`${name}\` at ${mountPath}, but the pod has no such volume`);
    }
  }

  /** The container's mounts and one anonymous folder for each declared volume that it does not mount. */
  async mountsOf(
    container: ContainerYaml,
    { root, volumes }: Image,
    env: ReadonlyMap<string, string>,
    runFolder: string,
  ): Promise<Mount[]> {
    const mounts = (container.volumeMounts ?? []).map((one) => this.mount(one, env));
    const taken = new Set(mounts.map((one) => one.destination));
    const free = volumes.filter((path) => !taken.has(path));
    const anonymous = await Promise.all(
      free.map((path, index) => this.anonymous(root, path, join(runFolder, `${index}`))),
    );
    return [...mounts, ...anonymous];
  }

  private mount(mount: VolumeMount, env: ReadonlyMap<string, string>): Mount {
    const volume = this.prepared.get(mount.name);
    if (!volume) throw new Error(`the pod has no volume \`${mount.name}\``);
    const below = mount.subPathExpr ? expand(mount.subPathExpr, env) : mount.subPath;
    return {
      destination: normalize(mount.mountPath).replace(/(.)\/$/, '$1'),
      source: below ? this.subPath(volume.path, below) : volume.path,
      readOnly: volume.readOnly || mount.readOnly === true,
    };
  }

  /** Made by the kubelet, as root, with the mode of the volume's own folder, if it is not there. */
  private subPath(volume: string, below: string): string {
    if (below.startsWith('/') || below.split('/').includes('..')) {
      throw new Error(`subPath must be relative and without \`..\`, got \`${below}\``);
    }
    const seen = this.context.ns.path(join(volume, below));
    if (!existsSync(seen)) {
      mkdirSync(seen, { recursive: true });
      chmodSync(seen, statSync(this.context.ns.path(volume)).mode & 0o7777);
    }
    return join(volume, below);
  }

  /** As containerd does it: a copy of what the image has there, with its owner and mode. */
  private async anonymous(root: string, path: string, folder: string): Promise<Mount> {
    mkdirSync(join(folder, '..'), { recursive: true });
    await this.context.ns.must(['cp', '-a', join(root, path), folder]);
    return { destination: path, source: folder, readOnly: false };
  }
}
