import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { SystemApp } from '../../lib';
import type { Cluster } from './cluster';
import { leaveOut } from './left-out';
import { fitTo, type Manifest } from './older-servers';
import { say } from './progress';

const ROOT = path.resolve(__dirname, '..', '..');

/** A system's folder, rendered and ready for `kubectl apply`. */
export interface Rendered {
  readonly folder: string;
  /** All objects as rendered, also those that this server does not know. */
  readonly objects: readonly Manifest[];
}

/** `npm run synth`, into a folder of its own: the committed `dist/` stays as it is. */
export function renderHomeLab(cluster: Cluster): Rendered {
  const outdir = newFolder();
  execFileSync('npm', ['run', '--silent', 'synth'], { cwd: ROOT, env: { ...process.env, CDK8S_OUTDIR: outdir } });
  return prepare(path.join(outdir, 'home-lab'), cluster);
}

/** A system of the test's own, by the public API. `edit` changes the text of a file: what the library would refuse. */
export function render(system: string, cluster: Cluster, build: (app: SystemApp) => void, edit?: Edit): Rendered {
  const outdir = newFolder();
  const app = new SystemApp({ outdir });
  build(app);
  app.synth();
  const folder = path.join(outdir, system);
  if (edit) for (const file of yamlFiles(folder)) fs.writeFileSync(file, edit(fs.readFileSync(file, 'utf8')));
  return prepare(folder, cluster);
}

type Edit = (text: string) => string;

export function find({ objects }: Rendered, kind: string, name: string): Manifest {
  const found = objects.find(
    ({ kind: theirs, metadata }) => theirs === kind && (metadata.name ?? metadata.generateName) === name,
  );
  if (!found) throw new Error(`the rendered system has no ${kind} ${name}`);
  return found;
}

function newFolder(): string {
  return path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'cdk8s-postgres-e2e-')), 'dist');
}

/** Rewrites only the files that hold what the server does not know, or a class that it does not have. */
function prepare(folder: string, cluster: Cluster): Rendered {
  const all: Manifest[] = [];
  for (const file of yamlFiles(folder)) {
    const text = fs.readFileSync(file, 'utf8');
    const classed = text.replaceAll('storageClassName: nfs-client', `storageClassName: ${cluster.storageClass}`);
    const objects = parse(classed);
    const there = leaveOut(cluster.lacks, objects);
    const { objects: kept, stripped: older } = fitTo(cluster.version, there.objects);
    const stripped = [...there.stripped, ...older];
    all.push(...objects);
    for (const line of stripped) say(`not as rendered in ${path.basename(file)}: ${line}`);
    if (classed !== text) say(`class ${cluster.storageClass} instead of nfs-client in ${path.basename(file)}`);
    if (stripped.length > 0) fs.writeFileSync(file, kept.map((object) => `---\n${JSON.stringify(object)}\n`).join(''));
    else if (classed !== text) fs.writeFileSync(file, classed);
  }
  return { folder, objects: all };
}

/** As kubectl reads it: YAML 1.1. */
function parse(text: string): Manifest[] {
  return parseAllDocuments(text, { version: '1.1' }).map((document) => document.toJS() as Manifest);
}

function yamlFiles(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.yaml'))
    .sort()
    .map((file) => path.join(folder, file));
}
