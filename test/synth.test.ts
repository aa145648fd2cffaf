import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { copyOfRepository, filesIn } from './package/copy';

const SYSTEM = 'systems/home-lab.ts';

let copy: string;
let committed: Record<string, string>;
let system: string;

const inCopy = (...parts: string[]): string => path.join(copy, ...parts);
const dist = (): Record<string, string> => filesIn(inCopy('dist'));
const run = (command: string, ...args: string[]) => spawnSync(command, args, { cwd: copy, encoding: 'utf8' });
const synth = () => run('npm', 'run', '--silent', 'synth');

beforeAll(() => {
  copy = copyOfRepository();
  committed = dist();
  system = fs.readFileSync(inCopy(SYSTEM), 'utf8');
});

beforeEach(() => fs.writeFileSync(inCopy(SYSTEM), system));

afterAll(() => fs.rmSync(copy, { recursive: true, force: true }));

describe('npm run synth', () => {
  it('writes what is committed, and no other byte the second time', () => {
    fs.rmSync(inCopy('dist'), { recursive: true });
    for (const time of ['first', 'second']) {
      const { status, stdout, stderr } = synth();
      expect({ time, status, stdout, stderr }).toEqual({ time, status: 0, stdout: '', stderr: '' });
      expect(dist()).toEqual(committed);
    }
  });

  it('drops a file that is no longer rendered', () => {
    fs.writeFileSync(inCopy('dist/home-lab/gone.yaml'), 'kind: Pod\n');
    expect(synth().status).toBe(0);
    expect(dist()).toEqual(committed);
  });

  it.each([
    ['a constructor refuses', "Schedule.daily('02:00')", "Schedule.daily('25:00')", 'home-lab/nightly'],
    [
      'a check of the whole app refuses',
      'const nightly =',
      `new BackupVolume(this, 'again', { name: 'postgres-backup', size: Size.gibibytes(10), ...nfs });\nconst nightly =`,
      'home-lab/again',
    ],
  ])('says in one line what %s, and leaves dist/ as it was', (_what, right, wrong, where) => {
    expect(system).toContain(right);
    fs.writeFileSync(inCopy(SYSTEM), system.replace(right, wrong));
    const { status, stdout, stderr } = synth();
    expect(status).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^error: [^\n]+\n$/);
    expect(stderr).toContain(`error: ${where}`);
    expect(dist()).toEqual(committed);
    expect(fs.readdirSync(copy).filter((name) => name.startsWith('.dist'))).toEqual([]);
  });
});

it('cdk8s synth writes the same bytes', () => {
  const { status } = run('npx', 'cdk8s', 'synth', '--check-upgrade=false');
  expect(status).toBe(0);
  expect(dist()).toEqual(committed);
});

describe('dist/', () => {
  type Manifest = {
    kind: string;
    metadata: { name?: string; generateName?: string; annotations?: Record<string, string> };
  };
  const manifests = (where: RegExp): Manifest[] =>
    Object.keys(committed)
      .filter((file) => where.test(file))
      .flatMap((file) => parseAllDocuments(committed[file] ?? '').map((document) => document.toJS() as Manifest));

  it('keeps one-shot operations apart, which can only be created', () => {
    const names = manifests(/\/ops\//).map(({ metadata }) => [metadata.name, typeof metadata.generateName]);
    expect(new Set(names.map(String))).toEqual(new Set([',string']));
    expect(manifests(/^[^/]+\/[^/]+$/).filter(({ metadata }) => !metadata.name || metadata.generateName)).toEqual([]);
  });

  it('keeps claims in a file of their own, which no GitOps controller prunes or deletes', () => {
    const claims = manifests(/\/claims\.yaml$/);
    expect(claims.length).toBeGreaterThan(0);
    for (const { kind, metadata } of claims) {
      expect(kind).toBe('PersistentVolumeClaim');
      expect(metadata.annotations?.['argocd.argoproj.io/sync-options']).toBe('Prune=false,Delete=false');
    }
    const elsewhere = manifests(/(?<!\/claims)\.yaml$/).filter(({ kind }) => kind === 'PersistentVolumeClaim');
    expect(elsewhere).toEqual([]);
  });
});
