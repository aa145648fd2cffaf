import * as fs from 'node:fs';
import * as path from 'node:path';
import { k8s } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import { configMount, type Mount } from './hardened-pod';

/** Where a pod finds its scripts. */
const SCRIPTS_PATH = '/scripts';
const FOLDER = path.join(__dirname, '..', 'scripts');
const read = new Map<string, string>();

/** Renders the scripts, as they are on disk, into a ConfigMap and returns its mount. */
export function mountScripts(scope: Construct, metadata: k8s.ObjectMeta, files: readonly string[]): Mount {
  const data = Object.fromEntries([...files].sort().map((file) => [file, readScript(file)]));
  const { name } = new k8s.KubeConfigMap(scope, 'scripts', { metadata, data });
  return configMount('scripts', SCRIPTS_PATH, name, 0o555);
}

/** The command that runs one of the mounted scripts. */
export function runScript(file: string): string[] {
  return ['bash', `${SCRIPTS_PATH}/${file}`];
}

/** The text of a script in `lib/scripts`. */
export function readScript(file: string): string {
  let text = read.get(file);
  if (text === undefined) {
    text = fs.readFileSync(path.join(FOLDER, file), 'utf8');
    read.set(file, text);
  }
  return text;
}
