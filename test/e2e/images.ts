import { PostgresImage } from '../../lib';

/** Tags that exist on Docker Hub, for what depends on the major release; home-lab names its own. */
export const IMAGES = {
  15: PostgresImage.official('15.14', { suite: 'bookworm' }),
  17: PostgresImage.official('17.6', { suite: 'trixie' }),
  18: PostgresImage.official('18.3', { suite: 'trixie' }),
} as const;
