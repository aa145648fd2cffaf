import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { row, spread } from './figures';

const ROOT = path.resolve(__dirname, '..');
const RUNS = 7;
const LIMIT = 0.35;

/**
 * `npm run synth` against the way of cdk8s' own TypeScript template: `cdk8s synth` with `npx ts-node` and the template's
 * compiler options, on the same charts, library and TypeScript.
 */
export async function bench(): Promise<{ title: string; markdown: string }> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk8s-postgres-bench-'));
  try {
    const [ours, theirs] = [project(folder, 'ours'), templateProject(folder)];
    // The look for upgrades on the network is spared the rival.
    const commands = {
      ours: () => timed(ours, 'npm', ['run', '--silent', 'synth']),
      theirs: () => timed(theirs, 'npm', ['run', '--silent', 'synth', '--', '--check-upgrade=false']),
    };
    const times = { ours: [] as number[], theirs: [] as number[], ratio: [] as number[] };
    for (let run = 0; run <= RUNS; run++) {
      const [our, their] = [commands.ours(), commands.theirs()];
      // The first run of each fills the caches.
      if (run === 0) continue;
      times.ours.push(our);
      times.theirs.push(their);
      times.ratio.push(our / their);
    }
    expectSameBytes(path.join(ours, 'dist'), path.join(theirs, 'dist'));
    return { title: 'Synth', markdown: report(times) };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** A copy of what synth reads, with this repository's packages. */
function project(folder: string, name: string): string {
  const copy = path.join(folder, name);
  for (const part of ['package.json', 'tsconfig.json', 'cdk8s.yaml', 'main.ts', 'lib', 'systems', 'imports']) {
    if (fs.existsSync(path.join(ROOT, part)))
      fs.cpSync(path.join(ROOT, part), path.join(copy, part), { recursive: true });
  }
  fs.mkdirSync(path.join(copy, 'node_modules'));
  link(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
  return copy;
}

/** The same with the template's three files in place of ours, and ts-node, which is installed for this run only. */
function templateProject(folder: string): string {
  const copy = project(folder, 'theirs');
  const tools = path.join(folder, 'tools');
  fs.mkdirSync(tools);
  fs.writeFileSync(path.join(tools, 'package.json'), '{ "private": true }');
  execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', 'ts-node@10', '--legacy-peer-deps'], {
    cwd: tools,
  });
  link(path.join(tools, 'node_modules'), path.join(copy, 'node_modules'));

  const template = path.join(ROOT, 'node_modules/cdk8s-cli/templates/typescript-app');
  const options = JSON.parse(fs.readFileSync(path.join(template, 'tsconfig.json'), 'utf8'));
  // The one option that the library's sources do not compile without.
  options.compilerOptions.lib = ['es2023'];
  fs.writeFileSync(path.join(copy, 'tsconfig.json'), JSON.stringify(options));
  const { app } = /^app: (?<app>.*)$/m.exec(fs.readFileSync(path.join(template, 'cdk8s.yaml'), 'utf8'))?.groups ?? {};
  fs.writeFileSync(path.join(copy, 'cdk8s.yaml'), `language: typescript\napp: ${app}\n`);
  fs.writeFileSync(path.join(copy, 'package.json'), '{ "private": true, "scripts": { "synth": "cdk8s synth" } }');
  return copy;
}

/** Links packages and commands one by one, so that a second folder can be added. */
function link(from: string, to: string): void {
  for (const name of fs.readdirSync(from)) {
    if (name === '.bin') {
      fs.mkdirSync(path.join(to, name), { recursive: true });
      link(path.join(from, name), path.join(to, name));
    } else if (!fs.existsSync(path.join(to, name))) {
      fs.symlinkSync(path.join(from, name), path.join(to, name));
    }
  }
}

function timed(cwd: string, command: string, args: string[]): number {
  const start = performance.now();
  const { status, stderr, stdout } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  const seconds = (performance.now() - start) / 1000;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`);
  return seconds;
}

/** A faster synth that renders something else would be no rival. */
function expectSameBytes(one: string, other: string): void {
  execFileSync('diff', ['--recursive', '--brief', one, other], { stdio: ['ignore', 'inherit', 'inherit'] });
}

function report({ ours, theirs, ratio }: Record<'ours' | 'theirs' | 'ratio', number[]>): string {
  const line = (name: string, values: number[], unit: string) =>
    row(name, ...Object.values(spread(values)).map((one) => one.toFixed(2) + unit));
  return [
    `The home-lab system, ${RUNS} runs of each in turn after one that is not counted; both write the same bytes. At most`,
    `${LIMIT} is asked for.`,
    '',
    '| | median | least | most |',
    '| --- | ---: | ---: | ---: |',
    line('`npm run synth`', ours, ' s'),
    line("the template's `cdk8s synth` with `npx ts-node`", theirs, ' s'),
    line('ratio', ratio, ''),
  ].join('\n');
}
