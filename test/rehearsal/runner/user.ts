import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Image } from '../image/image';

export interface User {
  uid: number;
  gid: number;
  groups: number[];
  home: string;
}

interface Security {
  runAsUser?: number;
  runAsGroup?: number;
  runAsNonRoot?: boolean;
  fsGroup?: number;
  supplementalGroups?: number[];
}

function rows(root: string, file: string): string[][] {
  const path = join(root, 'etc', file);
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean);
  return lines.map((line) => line.split(':'));
}

/** The image's USER, or what the pod says instead. The kubelet believes numbers only when it must not be root. */
function uidOf(pod: Security, container: Security, { root, user }: Image): number {
  const asked = container.runAsUser ?? pod.runAsUser;
  const name = user.split(':')[0] || '0';
  const numeric = /^\d+$/.test(name);
  const nonRoot = container.runAsNonRoot ?? pod.runAsNonRoot;
  if (asked === undefined && nonRoot && !numeric) {
    throw new Error(
      `CreateContainerConfigError: container has runAsNonRoot and image has non-numeric user (${name}), cannot verify user is non-root`,
    );
  }
  const uid = asked ?? Number(numeric ? name : rows(root, 'passwd').find((row) => row[0] === name)?.[2]);
  if (Number.isNaN(uid)) throw new Error(`CreateContainerError: unable to find user ${name} in the image`);
  if (uid === 0 && nonRoot) {
    throw new Error('CreateContainerConfigError: container has runAsNonRoot and image will run as root');
  }
  return uid;
}

/** Who the container runs as: the pod's numbers, completed from the image as the engine does. */
export function userOf(pod: Security, container: Security, image: Image): User {
  const uid = uidOf(pod, container, image);
  const passwd = rows(image.root, 'passwd').find((row) => row[2] === String(uid));
  const asked = container.runAsUser ?? pod.runAsUser;
  const ofUser = asked === undefined ? image.user.split(':')[1] : undefined;
  const gid = container.runAsGroup ?? pod.runAsGroup ?? Number(ofUser ?? passwd?.[3] ?? 0);
  const ofImage = rows(image.root, 'group')
    .filter((row) => passwd && row[3]?.split(',').includes(passwd[0] as string))
    .map((row) => Number(row[2]));
  const groups = new Set([...ofImage, ...(pod.supplementalGroups ?? [])]);
  if (pod.fsGroup !== undefined) groups.add(pod.fsGroup);
  return { uid, gid, groups: [...groups], home: passwd?.[5] ?? '/' };
}
