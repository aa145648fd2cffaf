import type { ApiObject } from 'cdk8s';
import type { ImageFacts } from '../pod/image-facts';
import { type Manifest, podOf } from './objects';

/** The image, and with it the user, that an object's pods were made for. A registered symbol, as in `place.ts`. */
const USER = Symbol.for('cdk8s-postgres/user');

type Expecting = ApiObject & { [USER]?: ImageFacts };

/** Has synth refuse another user for containers of this image: files on the volumes belong to it. */
export function expectUser(object: ApiObject, image: ImageFacts): void {
  (object as Expecting)[USER] = image;
}

/** What is wrong with the users of an object's pods as they will be written, patches included. */
export function checkUser(object: ApiObject, manifest: Manifest): string[] {
  const image = (object as Expecting)[USER];
  const pod = podOf(manifest);
  if (!image || !pod) return [];
  const ours = [...(pod.initContainers ?? []), ...pod.containers].filter(({ image: used }) => used === image.reference);
  return ours.flatMap(({ name, securityContext }) => {
    const uid = securityContext?.runAsUser ?? pod.securityContext?.runAsUser;
    if (uid === image.uid) return [];
    const must = `must be the uid that ${image.reference} runs as, ${image.uid}`;
    return [`\`runAsUser\` of container "${name}" ${must}, got ${uid ?? 'nothing'}; remove the patch`];
  });
}
