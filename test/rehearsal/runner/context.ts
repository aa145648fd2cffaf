import type { Image } from '../image/image';
import type { Claims } from './claims';
import type { Namespace } from './namespace';
import type { Network } from './network';
import type { Objects } from './objects';

/** What the pods of one rehearsal share. */
export interface Context {
  id: string;
  folder: string;
  ns: Namespace;
  objects: Objects;
  claims: Claims;
  network: Network;
  image: Image;
}
