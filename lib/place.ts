import type { ApiObject } from 'cdk8s';

/**
 * The file of its chart's folder that an object is written to, where that is not the file of the construct it belongs to.
 * A registered symbol: two copies of the library in one process must agree.
 */
const PLACE = Symbol.for('cdk8s-postgres/place');

/** `claims.yaml` (never mutated), or `ops` (one-shot operations: `kubectl create`, never `apply`). */
export type Place = 'claims.yaml' | 'ops';

export function place(object: ApiObject, where: Place): void {
  (object as { [PLACE]?: Place })[PLACE] = where;
}

export function placeOf(object: ApiObject): Place | undefined {
  return (object as { [PLACE]?: Place })[PLACE];
}
