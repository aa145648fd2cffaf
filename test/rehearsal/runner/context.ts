import type { Image } from '../image/image';
import type { Claims } from './claims';
import type { Namespace } from './namespace';
import type { Network } from './network';
import type { Objects } from './objects';
import type { Major } from './types';

/** What the pods of one rehearsal share. */
export interface Context {
  id: string;
  folder: string;
  ns: Namespace;
  objects: Objects;
  claims: Claims;
  network: Network;
  major: Major;
  /** PostgreSQL of the major version: what the tests' own client is. */
  image: Image;
  /** What a container runs that names this image. */
  imageOf(reference: string | undefined): Promise<Image>;
}
