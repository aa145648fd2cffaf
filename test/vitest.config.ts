// This package is CommonJS and `vitest/config` is not: only its type can be had here, so there is no `defineConfig`.
type Config = import('vitest/config', { with: { 'resolution-mode': 'import' }}).ViteUserConfig;

const root = `${__dirname}/..`;
const minutes = (n: number) => n * 60_000;

module.exports = {
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          root,
          include: ['test/**/*.test.ts'],
          exclude: ['test/rehearsal/**', 'test/e2e/**'],
          testTimeout: minutes(1),
          hookTimeout: minutes(3),
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'rehearsal',
          root,
          include: ['test/rehearsal/**/*.test.ts'],
          testTimeout: minutes(2),
          hookTimeout: minutes(3),
          // Servers, dumps and restores wait more than they compute; two at a time fill two cores and starve none.
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'e2e',
          root,
          include: ['test/e2e/**/*.test.ts'],
          testTimeout: minutes(10),
          hookTimeout: minutes(10),
          maxWorkers: 1,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
} satisfies Config;
