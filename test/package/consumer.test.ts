import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { copyOfRepository, filesIn, ROOT } from './copy';

const bin = (name: string): string => path.join(ROOT, 'node_modules/.bin', name);

/** Runs a program in a folder; `CI` is unset for it, since Vitest writes new snapshots only without. */
function run(cwd: string, command: string, args: string[], env: Record<string, string> = {}) {
  const { CI, ...inherited } = process.env;
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8', env: { ...inherited, ...env } });
  return { status, output: `${stdout}${stderr}` };
}

const succeed = (...args: Parameters<typeof run>): string => {
  const { status, output } = run(...args);
  expect(output + status, `${args[1]} ${args[2].join(' ')}`).toBe(`${output}0`);
  return output;
};

/** The home-lab system as a program of a consumer: it uses the public API only. */
const program = (): string =>
  [
    `import { SystemApp } from 'cdk8s-postgres';`,
    fs.readFileSync(path.join(ROOT, 'systems/home-lab.ts'), 'utf8').replace(`'../lib'`, `'cdk8s-postgres'`),
    `SystemApp.render((app) => void new HomeLab(app, 'home-lab'));`,
  ].join('\n');

const compiled = (module: ts.ModuleKind): string =>
  ts.transpileModule(program(), { compilerOptions: { module, target: ts.ScriptTarget.ES2022 } }).outputText;

let copy: string;
let tarball: string;
let consumer: string;

beforeAll(() => {
  copy = copyOfRepository();
  succeed(copy, 'npm', ['pack', '--silent']);
  tarball = path.join(copy, fs.readdirSync(copy).find((file) => file.endsWith('.tgz')) ?? 'no tarball');

  consumer = path.join(copy, '.consumer');
  fs.mkdirSync(consumer);
  fs.writeFileSync(path.join(consumer, 'package.json'), '{ "private": true }');
  // Peers are linked from this repository instead of installed: the test needs no network.
  succeed(consumer, 'npm', ['install', '--silent', '--offline', '--legacy-peer-deps', tarball]);
  for (const peer of ['cdk8s', 'cdk8s-plus-28', 'constructs', 'vitest']) {
    fs.symlinkSync(path.join(ROOT, 'node_modules', peer), path.join(consumer, 'node_modules', peer));
  }
});

afterAll(() => fs.rmSync(copy, { recursive: true, force: true }));

describe('the tarball', () => {
  it('holds the compiled library, its types and its scripts, and nothing else', () => {
    const packed = Object.keys(filesIn(path.join(consumer, 'node_modules/cdk8s-postgres')));
    const modules = ['lib', 'imports'].flatMap((folder) =>
      Object.keys(filesIn(path.join(ROOT, folder)))
        .filter((file) => file.endsWith('.ts'))
        .map((file) => path.join(folder, file.replace(/\.ts$/, ''))),
    );
    const scripts = Object.keys(filesIn(path.join(ROOT, 'lib/scripts')));
    const expected = [
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'package.json',
      ...modules.flatMap((module) => [`build/${module}.js`, `build/${module}.d.ts`]),
      ...scripts.map((script) => `build/lib/scripts/${script}`),
    ];
    expect(packed.sort()).toEqual(expected.sort());
  });

  it('refers to no source map', () => {
    const files = filesIn(path.join(consumer, 'node_modules/cdk8s-postgres/build'));
    expect(Object.keys(files).filter((file) => files[file]?.includes('sourceMappingURL'))).toEqual([]);
  });

  it('is a package that publint finds nothing wrong with', () => {
    expect(succeed(copy, bin('publint'), ['run', '--strict', tarball])).toContain('All good!');
  });

  it('asks for the peers that this repository is tested with', () => {
    const { dependencies, peerDependencies, devDependencies } = JSON.parse(
      fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'),
    );
    expect(dependencies).toBeUndefined();
    expect(Object.keys(peerDependencies)).toEqual(['cdk8s', 'cdk8s-plus-28', 'constructs']);
    expect(Object.keys(devDependencies)).toEqual(expect.arrayContaining(Object.keys(peerDependencies)));
  });
});

describe('a consumer', () => {
  /** Runs the program, and expects what this repository renders from the same system, byte by byte. */
  const renders = (file: string, text: string): Record<string, string> => {
    fs.writeFileSync(path.join(consumer, file), text);
    succeed(consumer, process.execPath, [file], { CDK8S_OUTDIR: `out-${file}` });
    const rendered = filesIn(path.join(consumer, `out-${file}`));
    succeed(copy, process.execPath, ['--import', 'tsx', 'main.ts'], { CDK8S_OUTDIR: 'expected' });
    expect(rendered).toEqual(filesIn(path.join(copy, 'expected')));
    return rendered;
  };

  it('synthesizes from CommonJS, and finds the scripts as they are in this repository', () => {
    const rendered = renders('consumer.cjs', compiled(ts.ModuleKind.CommonJS));
    const configMaps = Object.values(rendered)
      .flatMap((text) => parseAllDocuments(text).map((document) => document.toJS()))
      .filter(({ kind }) => kind === 'ConfigMap');
    const scripts = filesIn(path.join(ROOT, 'lib/scripts'));
    const mounted = configMaps.flatMap(({ data }) => Object.entries(data)).filter(([name]) => name in scripts);

    expect(mounted.filter(([name, text]) => scripts[name] !== text).map(([name]) => name)).toEqual([]);
    // That each script is mounted by some system is asked in test/systems/scripts.test.ts.
    expect(mounted.length).toBeGreaterThan(5);
  });

  it('synthesizes from an ES module, by named imports', () => {
    renders('consumer.mjs', compiled(ts.ModuleKind.ESNext));
  });

  it.each([
    // The options of the cdk8s template, which does not skip the check of the libraries' types.
    ['commonjs', 'node10', { target: 'es2017', lib: 'es2016', skipLibCheck: 'false' }],
    ['node16', 'node16', { target: 'es2022', skipLibCheck: 'true' }],
    ['esnext', 'bundler', { target: 'es2022', skipLibCheck: 'true' }],
  ])('compiles in strict TypeScript, module %s resolved as %s', (module, moduleResolution, others) => {
    const more = [
      "import { manifestSerializer } from 'cdk8s-postgres/testing';",
      'export const right: boolean = manifestSerializer.test([]);',
      '// @ts-expect-error a time of day is no number',
      'export const wrong = Schedule.daily(2);',
    ];
    fs.writeFileSync(path.join(consumer, 'consumer.ts'), [program(), ...more].join('\n'));
    const flags = Object.entries({ module, moduleResolution, ...others }).flatMap(([key, value]) => [
      `--${key}`,
      value,
    ]);
    succeed(consumer, bin('tsc'), ['--noEmit', '--strict', ...flags, 'consumer.ts']);
  });

  it('gets YAML snapshots in Vitest that fail when a manifest has changed', () => {
    fs.writeFileSync(
      path.join(consumer, 'chart.test.ts'),
      `import { ApiObject, Chart, Testing } from 'cdk8s';
      import { manifestSerializer } from 'cdk8s-postgres/testing';
      import { expect, test } from 'vitest';
      expect.addSnapshotSerializer(manifestSerializer);
      test('chart', () => {
        const chart = Testing.chart();
        const data = { 'a.sh': 'echo ' + process.env.WORD + '\\nexit\\n' };
        new ApiObject(chart, 'map', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'map' }, data });
        expect(chart).toMatchSnapshot();
      });`,
    );
    const vitest = (env: Record<string, string>) => run(consumer, bin('vitest'), ['run', '--root', consumer], env);

    expect(vitest({ WORD: 'one' })).toMatchObject({ status: 0 });
    const snapshot = fs.readFileSync(path.join(consumer, '__snapshots__/chart.test.ts.snap'), 'utf8');
    expect(snapshot).toContain('data:\n  a.sh: |\n    echo one\n    exit\n');
    expect(vitest({ WORD: 'one', CI: 'true' })).toMatchObject({ status: 0 });
    expect(vitest({ WORD: 'two', CI: 'true' })).toMatchObject({ status: 1 });
  });
});
