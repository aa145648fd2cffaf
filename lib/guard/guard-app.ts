import { ApiObject, App } from 'cdk8s';
import type { Construct, IConstruct } from 'constructs';
import { archiveClaims, backupClaims, checkObject, dataClaims, type Manifest, writtenBy } from './objects';
import { checkUser } from './user';

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
  const objects = app.node
    .findAll()
    .filter(ApiObject.isApiObject)
    .map((object) => ({ object, path: object.node.path, manifest: object.toJson() as Manifest }));
  const each = objects.flatMap(({ object, path, manifest }) =>
    [...checkObject(manifest), ...checkUser(object, manifest)].map((problem) => `${path}: ${problem}`),
  );
  return [...each, ...usedTwice(objects), ...sharedData(objects), ...twoUsers(objects)];
}

interface Rendered {
  readonly path: string;
  readonly manifest: Manifest;
}

const inNamespace = ({ metadata }: Manifest, name: string) => `${metadata?.namespace ?? ''}/${name}`;

function usedTwice(objects: readonly Rendered[]): string[] {
  const seen = new Map<string, string>();
  return objects.flatMap(({ path, manifest }) => {
    const name = manifest.metadata?.name;
    if (name === undefined) return [];
    const key = `${manifest.kind} ${inNamespace(manifest, name)}`;
    const other = seen.get(key);
    seen.set(key, path);
    return other ? [`${path}: \`name\` must be used once, got ${key} here and in ${other}; rename one of them`] : [];
  });
}

/** A claim that holds a server's data holds no other server's data, no backups, no archive; nor do these two share one. */
function sharedData(objects: readonly Rendered[]): string[] {
  const owners = new Map<string, string>();
  const found: string[] = [];
  const refuse = (path: string, claim: string, other: string) =>
    found.push(`${path}: \`claim\` must not be one that holds the ${other}, got ${claim}; name another one`);
  for (const { path, manifest } of objects) {
    for (const claim of dataClaims(manifest).map((name) => inNamespace(manifest, name))) {
      const other = owners.get(claim);
      if (other) refuse(path, claim, other);
      owners.set(claim, `data of ${path}`);
    }
  }
  for (const [what, claimsOf] of [
    ['backups', backupClaims],
    ['WAL archive', archiveClaims],
  ] as const) {
    const seen = new Map<string, string>();
    for (const { path, manifest } of objects) {
      for (const claim of claimsOf(manifest).map((name) => inNamespace(manifest, name))) {
        const other = owners.get(claim);
        if (other) refuse(path, claim, other);
        else if (!seen.has(claim)) seen.set(claim, `${what} of ${path}`);
      }
    }
    for (const [claim, owner] of seen) owners.set(claim, owner);
  }
  return found;
}

/** Backups are readable for the user that writes them: two users on one volume can't read each other's. */
function twoUsers(objects: readonly Rendered[]): string[] {
  const first = new Map<string, { path: string; uid: number }>();
  const reported = new Set<string>();
  return objects.flatMap(({ path, manifest }) =>
    writtenBy(manifest).flatMap(({ claim, uid }) => {
      const key = inNamespace(manifest, claim);
      const other = first.get(key) ?? { path, uid };
      first.set(key, other);
      if (other.uid === uid || reported.has(key)) return [];
      reported.add(key);
      const got = `uid ${uid} on ${key}, which ${other.path} writes to as uid ${other.uid}`;
      return [`${path}: \`to\` must be a volume that one user writes to, got ${got}; make a \`BackupVolume\` for each`];
    }),
  );
}
