import { readFileSync } from 'node:fs';
import { join } from 'node:path';

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

const rows = (root: string, file: string) =>
  readFileSync(join(root, 'etc', file), 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(':'));

/** Who the container runs as: the pod's numbers, completed from the image's passwd and group files as the engine does. */
export function userOf(pod: Security, container: Security, root: string): User {
  // The images name no USER, so the default is root, whom runAsNonRoot refuses.
  const uid = container.runAsUser ?? pod.runAsUser ?? 0;
  if (uid === 0 && (container.runAsNonRoot ?? pod.runAsNonRoot)) {
    throw new Error('CreateContainerConfigError: container has runAsNonRoot and image will run as root');
  }
  const passwd = rows(root, 'passwd').find((row) => row[2] === String(uid));
  const gid = container.runAsGroup ?? pod.runAsGroup ?? Number(passwd?.[3] ?? 0);
  const ofImage = rows(root, 'group')
    .filter((row) => passwd && row[3]?.split(',').includes(passwd[0] as string))
    .map((row) => Number(row[2]));
  const groups = new Set([...ofImage, ...(pod.supplementalGroups ?? [])]);
  if (pod.fsGroup !== undefined) groups.add(pod.fsGroup);
  return { uid, gid, groups: [...groups], home: passwd?.[5] ?? '/' };
}
