import { it } from 'vitest';
import { say } from './progress';

/** Tests that build on each other: once one has failed, those behind it fail at once and say why. */
export function steps(): (name: string, run: () => Promise<void>) => void {
  let failed: string | undefined;
  return (name, run) => {
    it(name, async () => {
      if (failed !== undefined) throw new Error(`not run, since this step failed before: ${failed}`);
      failed = name;
      const started = Date.now();
      say(`${name} ...`);
      await run();
      say(`${name}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
      failed = undefined;
    });
  };
}
