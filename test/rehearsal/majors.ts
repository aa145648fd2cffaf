import type { Major } from './runner/types';

export const ALL_MAJORS: readonly Major[] = [15, 17, 18];

/**
 * The majors that a test runs on. Everything runs on 18; what depends on the version asks for `majors('all')`.
 * TEST_MAJORS=all|18|15,17 overrides both (`npm run test:full` sets all).
 */
export function majors(wanted: 'newest' | 'all' = 'newest'): readonly Major[] {
  const given = process.env['TEST_MAJORS'];
  if (!given) return wanted === 'all' ? ALL_MAJORS : [18];
  if (given === 'all') return ALL_MAJORS;
  return given.split(',').map((text) => {
    const major = ALL_MAJORS.find((known) => String(known) === text.trim());
    if (!major) throw new Error(`TEST_MAJORS must be \`all\` or a list of ${ALL_MAJORS.join(', ')}, got \`${given}\``);
    return major;
  });
}
