import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import ts from 'typescript';
import { afterAll, describe, expect, it } from 'vitest';

const ROOT = path.resolve(__dirname, '..');
const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
const example = /```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? '';
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'readme-'));
const file = path.join(folder, 'main.ts');
fs.writeFileSync(file, example.replaceAll("'cdk8s-postgres'", `'${ROOT}/lib'`));
fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** What the compiler says of a file. */
function problemsOf(source: string): string[] {
  const { config } = ts.readConfigFile(path.join(ROOT, 'tsconfig.json'), ts.sys.readFile);
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, ROOT);
  const problems = ts.getPreEmitDiagnostics(ts.createProgram([source], { ...options, noUnusedLocals: false }));
  return problems.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

describe('the example of the README', () => {
  it('compiles', () => {
    expect(problemsOf(file)).toEqual([]);
  });

  it('renders the system that the README describes', () => {
    execFileSync('node', ['--import', 'tsx', file], { cwd: folder });
    const files = fs.readdirSync(path.join(folder, 'dist'), { recursive: true, withFileTypes: true });
    const names = files.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
    expect(names.map((name) => path.relative(folder, name)).sort()).toEqual([
      'dist/shop/claims.yaml',
      'dist/shop/nightly.yaml',
      'dist/shop/ops/restore.yaml',
      'dist/shop/restore.yaml',
      'dist/shop/server.yaml',
    ]);
  });

  it('fits on one screen', () => {
    expect(example.trimEnd().split('\n').length).toBeLessThanOrEqual(24);
  });
});

describe('the fragments of the README', () => {
  const fragments = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].slice(1).map((match) => match[1]!);

  it.each(fragments.map((text, i) => [i + 1, text] as const))('number %i compiles and runs', (i, text) => {
    const used = [...new Set(text.match(/\b[A-Z]\w+(?=\.)/g))].join(', ');
    const source = [
      `import { Chart, Testing } from 'cdk8s';`,
      `import { ${used} } from '${ROOT}/lib';`,
      `const chart = new Chart(Testing.app(), 'fragment');`,
      text.replaceAll('sha256:…', `sha256:${'0'.repeat(64)}`),
    ].join('\n');
    const fragment = path.join(folder, `fragment-${i}.ts`);
    fs.writeFileSync(fragment, source);
    expect(problemsOf(fragment)).toEqual([]);
    execFileSync('node', ['--import', 'tsx', fragment], { cwd: folder });
  });

  it('are found', () => {
    expect(fragments.length).toBeGreaterThan(0);
  });
});

describe('the README', () => {
  const paths = [...readme.matchAll(/[`(]((?:docs|test|lib|systems)\/[\w./-]+)[`)]/g)].map((match) => match[1]!);

  it.each([...new Set(paths)])('names %s, which exists', (named) => {
    expect(fs.existsSync(path.join(ROOT, named))).toBe(true);
  });

  it('says just the two commands', () => {
    const { scripts } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
    for (const [, script] of readme.matchAll(/npm run ([\w:]+)/g)) expect(scripts).toHaveProperty([script!]);
  });
});
