// The type alone, as in ../vitest.config.ts.
type Config = import('vitest/config', { with: { 'resolution-mode': 'import' }}).ViteUserConfig;

const minutes = (n: number) => n * 60_000;

// One file at a time: they share the cluster that $KUBECONFIG names.
module.exports = {
  test: {
    root: `${__dirname}/../..`,
    include: ['test/e2e/**/*.test.ts'],
    testTimeout: minutes(10),
    hookTimeout: minutes(10),
    fileParallelism: false,
  },
} satisfies Config;
