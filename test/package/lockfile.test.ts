import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { ROOT } from './copy';

interface Locked {
  version?: string;
  resolved?: string;
  optionalDependencies?: Record<string, string>;
}

const locked: [string, Locked][] = Object.entries(
  JSON.parse(fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8')).packages,
);

it('the lock file names no registry', () => {
  expect(locked.filter(([, { resolved }]) => resolved).map(([name]) => name)).toEqual([]);
});

// npm writes a lock file without them where the registry lacks them, and `npm ci` then refuses it on every machine.
it('the lock file holds every optional package, for other platforms, too', () => {
  const names = locked.map(([name]) => name);
  const missing = locked.flatMap(([name, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter(
        (other) => !names.some((held) => [`node_modules/${other}`, `${name}/node_modules/${other}`].includes(held)),
      )
      .map((other) => `${name} wants ${other}`),
  );
  expect(names.length).toBeGreaterThan(100);
  expect(missing).toEqual([]);
});
