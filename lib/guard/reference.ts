import { refuse } from './input-error';

/** The content address of an image. */
export const DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Refuses what is no image reference, and one that moves by itself: a release that rolls with the tag would change a running
 * system without a commit.
 */
export function checkReference(
  prop: string,
  reference: string,
  example: string,
  { allowFloating = false, way = '' }: { allowFloating?: boolean; way?: string } = {},
): void {
  const [name = '', digest] = typeof reference === 'string' ? reference.split('@') : [];
  const tag = /:([\w][\w.-]{0,127})$/.exec(name)?.[1];
  if (name === '' || /\s/.test(reference) || (digest !== undefined && !DIGEST.test(digest))) {
    refuse(prop, 'be an image reference', reference, `write for example "${example}"`);
  }
  const floats = digest === undefined && (tag === undefined || !/\d\.\d/.test(tag));
  if (floats && !allowFloating) {
    const fix = `name a minor release in the tag${way ? ',' : ' or'} give a digest ("@sha256:…")${way}`;
    refuse(prop, 'not be a tag that moves by itself', reference, fix);
  }
}
