import { refuse } from './input-error';

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/**
 * How long a name may be where it is shorter than what its kind allows: controllers append to it.
 *
 * - CronJob: its Jobs get 11 more characters (Kubernetes: "no more than 52 characters").
 * - StatefulSet: its pods carry the name in the label `controller-revision-hash`, 11 characters longer, at most 63.
 */
const LONGEST: Record<string, number> = { CronJob: 52, StatefulSet: 52, Job: 63, Service: 63, Container: 63 };

/** Kinds whose names are DNS labels (RFC 1123); all others are DNS subdomains of at most 253 characters. */
const LABEL_KINDS = new Set(['Service', 'StatefulSet', 'CronJob', 'Job', 'Namespace', 'Container']);

/**
 * Refuses a name that the API server would reject.
 *
 * @throws InputError naming the kind's limit.
 * @see https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
 */
export function checkName(kind: string, name: string, prop = 'name'): void {
  const longest = LONGEST[kind] ?? 253;
  if (typeof name !== 'string' || name.length === 0 || name.length > longest) {
    refuse(prop, `be 1 to ${longest} characters for a ${kind}`, name, 'choose a shorter name');
  }
  const pattern = LABEL_KINDS.has(kind) ? LABEL : SUBDOMAIN;
  if (!pattern.test(name)) {
    const dots = pattern === SUBDOMAIN ? ', with single dots between' : '';
    const must = `be lower-case letters, digits and "-"${dots}, beginning and ending with a letter or digit, for a ${kind}`;
    refuse(prop, must, name, `write for example "${suggestion(name)}"`);
  }
  if (kind === 'Service' && !/^[a-z]/.test(name)) {
    refuse(prop, 'begin with a letter for a Service', name, `write for example "pg-${suggestion(name)}"`);
  }
}

function suggestion(name: string): string {
  const plain = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '');
  return plain === '' ? 'postgres' : plain;
}
