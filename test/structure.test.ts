import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';

const ROOT = path.resolve(__dirname, '..');
/** The rooms below all others. */
const GROUND = ['pod', 'storage', 'guard', 'place.ts'];
const PACKAGES = /^(node:.+|cdk8s|cdk8s-plus-28|constructs)$/;
/** What only shell says, and what starts a shell: neither belongs into TypeScript. */
const SHELL = /^#!|\bset -[eEu]|\$\(|; (then|do)\b|\bexit \d|\bpg_dump(all)?\b.*\||>&2/m;

const files = (folder: string, ending: RegExp): string[] =>
  fs
    .readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => ending.test(file))
    .map((file) => path.join(folder, file))
    .sort();

const read = (file: string): string => fs.readFileSync(path.join(ROOT, file), 'utf8');

const LIB = files('lib', /\.ts$/);
const SCRIPTS = files('lib/scripts', /\.(sh|awk)$/);

/** What a file imports: paths in the repository for its own files, names for packages. */
function imports(file: string): string[] {
  return ts.preProcessFile(read(file), true, true).importedFiles.map(({ fileName }) => {
    if (!fileName.startsWith('.')) return fileName;
    const target = path.join(path.dirname(file), fileName);
    return [`${target}.ts`, `${target}/index.ts`].find((found) => fs.existsSync(path.join(ROOT, found))) ?? target;
  });
}

const isOurs = (target: string): boolean => target.startsWith('lib/');
const room = (file: string): string => file.split(path.sep)[1] ?? file;

/** Every string and template of a file, as the programmer wrote it. */
function texts(file: string): string[] {
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isStringLiteral(node) || ts.isTemplateExpression(node) || ts.isNoSubstitutionTemplateLiteral(node)) {
      found.push(node.getText().slice(1, -1));
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, read(file), ts.ScriptTarget.Latest, true));
  return found;
}

describe('imports point one way', () => {
  it('from the systems and main.ts to the public API only', () => {
    const users = ['main.ts', ...files('systems', /\.ts$/)];
    const wrong = users.flatMap((file) =>
      imports(file)
        .filter((target) => !(PACKAGES.test(target) || target === 'lib/index.ts' || /^systems\//.test(target)))
        .map((target) => `${file} imports ${target}`),
    );
    expect(users.length).toBeGreaterThan(1);
    expect(wrong).toEqual([]);
  });

  it('inside the library to the library and its peers, never to systems, the command line or tests', () => {
    const wrong = LIB.flatMap((file) =>
      imports(file)
        .filter((target) => !(PACKAGES.test(target) || /^(lib|imports)\//.test(target)))
        .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('from the rooms to the ground floor, not back', () => {
    const wrong = LIB.filter((file) => GROUND.includes(room(file))).flatMap((file) =>
      imports(file)
        .filter((target) => isOurs(target) && !GROUND.includes(room(target)))
        .map((target) => `${file} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('without a circle', () => {
    const done = new Set<string>();
    const circle = (file: string, way: string[]): string[] | undefined => {
      if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
      if (done.has(file)) return undefined;
      for (const target of imports(file).filter(isOurs)) {
        const found = circle(target, [...way, file]);
        if (found) return found;
      }
      done.add(file);
      return undefined;
    };
    expect(LIB.map((file) => circle(file, [])?.join(' -> ')).filter(Boolean)).toEqual([]);
  });
});

describe('scripts', () => {
  it('are files, never strings in TypeScript', () => {
    const wrong = LIB.flatMap((file) =>
      texts(file)
        .filter((text) => SHELL.test(text))
        .map((text) => `${file}: ${text}`),
    );
    expect(wrong).toEqual([]);
    expect(SHELL.test('#!/bin/sh')).toBe(true);
    expect(SHELL.test('pg_dumpall | gzip > file')).toBe(true);
  });

  it('have Unix line ends and a last newline: one CR would turn a ConfigMap entry into a single quoted line', () => {
    expect(SCRIPTS.length).toBeGreaterThan(0);
    expect(SCRIPTS.filter((file) => read(file).includes('\r') || !read(file).endsWith('\n'))).toEqual([]);
  });

  it('are strict bash that runs nothing when sourced', () => {
    const run = SCRIPTS.filter((file) => read(file).startsWith('#!'));
    const sourced = SCRIPTS.filter((file) => file.endsWith('.sh') && !run.includes(file));
    const wrong = run.filter((file) => {
      const lines = read(file).trimEnd().split('\n');
      return !(
        lines[0] === '#!/usr/bin/env bash' &&
        lines.includes('set -Eeuo pipefail') &&
        lines.at(-1) === '[ "${BASH_SOURCE[0]}" != "$0" ] || _main "$@"'
      );
    });
    expect(run.length).toBeGreaterThan(0);
    expect(wrong).toEqual([]);
    // What is only ever sourced says so: by its first line, and by holding nothing but functions.
    expect(sourced.filter((file) => !read(file).startsWith('# shellcheck shell=bash'))).toEqual([]);
  });

  it('are all seen by the linter, with and without an extension', () => {
    const script = 'source .ci/shellcheck && _scripts';
    const linted = execFileSync('bash', ['--norc', '-c', script], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }).split('\0');
    const ours = SCRIPTS.filter((file) => file.endsWith('.sh'));
    expect(linted).toEqual(expect.arrayContaining([...ours, '.ci/run', '.ci/shellcheck']));
  });
});
