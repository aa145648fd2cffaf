import * as fs from 'node:fs';
import * as path from 'node:path';
import { ApiObject, App, type AppProps, Chart, DependencyGraph, Names, Yaml } from 'cdk8s';
import { InputError, refuse } from './guard/input-error';
import { placeOf } from './place';

/**
 * An app that writes each chart, a system, into a folder of its own:
 *
 * - `<system>/<construct>.yaml`: desired state, one file for each construct of the chart; applying it again is safe;
 * - `<system>/claims.yaml`: claims, never mutated;
 * - `<system>/ops/<construct>.yaml`: one-shot operations, for `kubectl create`.
 *
 * Everything is checked and rendered before the first byte is written, and the folder is replaced as a whole: a synth that
 * fails leaves the one before as it was.
 */
export class SystemApp extends App {
  /**
   * Builds an app and writes it: the body of a `main.ts`. A mistake in what the user wrote ends the process with one line.
   */
  static render(build: (app: SystemApp) => void, props?: AppProps): void {
    try {
      const app = new SystemApp(props);
      build(app);
      app.synth();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      process.stderr.write(`error: ${error.message}\n`);
      process.exitCode = 1;
    }
  }

  /** @throws InputError with every problem that was found, one a line; then nothing is written */
  override synth(): void {
    checkOutdir(this.outdir);
    const problems = this.node.findAll().flatMap((construct) => construct.node.validate());
    if (problems.length > 0) throw new InputError(problems.join('\nerror: '));
    const files = new Map<string, object[]>();
    for (const chart of this.node.findAll().filter(Chart.isChart)) {
      for (const object of objectsOf(chart)) {
        const file = fileOf(chart, object);
        const objects = files.get(file) ?? [];
        objects.push(object.toJson());
        files.set(file, objects);
      }
    }
    replaceFolder(this.outdir, (folder) => {
      for (const [file, objects] of files) {
        const target = path.join(folder, file);
        fs.mkdirSync(path.dirname(target), { recursive: true });
        Yaml.save(target, objects);
      }
    });
  }
}

/** The objects of a chart, dependencies first, those of charts inside it left out. */
function objectsOf(chart: Chart): ApiObject[] {
  return new DependencyGraph(chart.node)
    .topology()
    .filter((construct): construct is ApiObject => ApiObject.isApiObject(construct) && Chart.of(construct) === chart);
}

function fileOf(chart: Chart, object: ApiObject): string {
  const system = Names.toDnsLabel(chart, { includeHash: false });
  const owner = object.node.scopes.find((construct) => construct.node.scope === chart) ?? object;
  if (owner.node.id === 'claims') {
    throw new InputError(
      `${owner.node.path}: \`id\` must not be "claims", which is the file of claims that never change, got "claims"; write "backups"`,
    );
  }
  const file = `${Names.toDnsLabel(owner, { includeHash: false })}.yaml`.replace(`${system}-`, '');
  const where = placeOf(object);
  return path.join(system, where === 'ops' ? path.join('ops', file) : (where ?? file));
}

/** The folder is replaced as a whole: it must not be one that holds anything else. */
function checkOutdir(outdir: string): void {
  const folder = path.resolve(outdir);
  const holdsThisProcess = !path.relative(folder, process.cwd()).startsWith('..');
  const entries = fs.existsSync(folder) ? fs.readdirSync(folder) : [];
  const foreign = holdsThisProcess ? '.' : entries.find((entry) => entry.startsWith('.') || entry === 'package.json');
  if (foreign === undefined) return;
  refuse('outdir', 'be a folder that holds nothing but what is rendered, since it is replaced', outdir, 'write "dist"');
}

/** Writes beside the folder and swaps by rename. */
function replaceFolder(folder: string, write: (folder: string) => void): void {
  const fresh = path.join(path.dirname(path.resolve(folder)), `.${path.basename(folder)}-${process.pid}`);
  const old = `${fresh}-old`;
  fs.rmSync(fresh, { recursive: true, force: true });
  fs.mkdirSync(fresh, { recursive: true });
  try {
    write(fresh);
    if (fs.existsSync(folder)) fs.renameSync(folder, old);
    try {
      fs.renameSync(fresh, folder);
    } catch (error) {
      if (fs.existsSync(old)) fs.renameSync(old, folder);
      throw error;
    }
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true });
    fs.rmSync(old, { recursive: true, force: true });
  }
}
