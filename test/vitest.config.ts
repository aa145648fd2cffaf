// This package is CommonJS and `vitest/config` is not: only its type can be had here, so there is no `defineConfig`.
type Config = import('vitest/config', { with: { 'resolution-mode': 'import' }}).ViteUserConfig;

const root = `${__dirname}/..`;
const minutes = (n: number) => n * 60_000;
const REHEARSALS = ['test/rehearsal/**/*.test.ts', 'test/**/*.rehearsal.test.ts'];
/** Minutes and gigabytes: `npm run test:large`, and part of `npm run test:full`. */
const LARGE = 'test/rehearsal/**/*-large.test.ts';

/** `expect.poll` without a timeout of its own: the default of 1 s is shorter than one `psql` on a busy machine. */
const expectation = { poll: { timeout: 15_000 } };

// Two files at a time in both projects: tests of commands and of pods wait about as much as they compute.
module.exports = {
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          root,
          include: ['test/**/*.test.ts'],
          globalSetup: 'test/rehearsal/setup/setup.ts',
          exclude: [...REHEARSALS, 'test/e2e/**'],
          testTimeout: minutes(1),
          expect: expectation,
          hookTimeout: minutes(3),
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'rehearsal',
          root,
          include: REHEARSALS,
          exclude: process.env['TEST_LARGE'] ? [] : [LARGE],
          globalSetup: 'test/rehearsal/setup/setup.ts',
          testTimeout: minutes(2),
          expect: expectation,
          hookTimeout: minutes(3),
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
} satisfies Config;
