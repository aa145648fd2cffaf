import { ApiObject, App } from 'cdk8s';
import type { Construct, IConstruct } from 'constructs';
import { checkObject, type Manifest } from './objects';

const GUARDED = Symbol.for('cdk8s-postgres/guarded');

/**
 * Checks at synth, once for the whole app: every object as it will be written, patches included, of every chart. What can be
 * refused earlier is refused in the constructors.
 */
export function guardApp(scope: Construct): void {
  const app = App.of(scope) as IConstruct & { [GUARDED]?: true };
  if (app[GUARDED]) return;
  app[GUARDED] = true;
  app.node.addValidation({ validate: () => problems(app) });
}

function problems(app: IConstruct): string[] {
  const found: string[] = [];
  const seen = new Map<string, string>();
  for (const object of app.node.findAll()) {
    if (!ApiObject.isApiObject(object)) continue;
    const manifest = object.toJson() as Manifest;
    const path = object.node.path;
    found.push(...checkObject(manifest).map((problem) => `${path}: ${problem}`));
    const { name, namespace = '' } = manifest.metadata ?? {};
    if (name === undefined) continue;
    const key = `${manifest.kind} ${namespace}/${name}`;
    const other = seen.get(key);
    if (other) found.push(`${path}: \`name\` must be used once, got ${key} here and in ${other}; rename one of them`);
    seen.set(key, path);
  }
  return found;
}
