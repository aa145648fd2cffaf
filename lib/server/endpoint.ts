import { isIP } from 'node:net';
import { Chart } from 'cdk8s';
import type { k8s } from 'cdk8s-plus-28';
import { Construct, type IConstruct } from 'constructs';
import { guardApp } from '../guard/guard-app';
import { HIDDEN, InputError, refuse } from '../guard/input-error';
import { checkNamespace } from '../guard/namespace';
import type { Mount } from '../pod/hardened-pod';
import { Credentials } from './credentials';
import type { PostgresImage } from './image';
import { Tls } from './tls';

/** A server that backups are taken of and restored into. */
export interface IPostgres extends IConstruct {
  /** Name that the server is reached by from its own namespace. */
  readonly host: string;
  readonly port: number;
  /** Role that dumps and restores connect as; it must be a superuser. */
  readonly superuser: Credentials;
  /** Image whose client programs fit the server. */
  readonly image: PostgresImage;
  /** The claim that holds the server's data, where it is known. */
  readonly dataClaim?: string;
  /** How clients protect the connection, where it is not left to libpq (`prefer`). */
  readonly tls?: Tls;
}

export interface PostgresEndpointProps {
  /**
   * Where the server answers: a Service of the chart's namespace (`pg`), one of another namespace (`pg.data.svc`), or a DNS
   * name or address outside the cluster.
   */
  readonly host: string;
  /**
   * @default 5432
   */
  readonly port?: number;
  /**
   * A superuser's role and password, from a Secret **of the chart's namespace**: pods can't read those of others. For a
   * server of Bitnami's chart it is role `postgres` and key `postgres-password`, whatever `auth.username` is.
   */
  readonly credentials: Credentials;
  /**
   * Image that the backup and restore pods run: its client programs must be of the server's major release or newer. Files on
   * the backup volume belong to its uid. It may be the server's own or the official one.
   */
  readonly image: PostgresImage;
  /**
   * @default Tls.prefer() for a Service of the cluster; elsewhere it must be said
   */
  readonly tls?: Tls;
  /**
   * The claim that holds the server's data, where it lies in the same namespace: backups are refused on it.
   *
   * @default not known
   */
  readonly dataClaim?: string;
  /**
   * uid that backup and restore pods run as.
   *
   * @default the image's, and nothing else fits it
   */
  readonly uid?: number;
}

/**
 * A server that someone else deployed: nothing is rendered for it, and backups and restores take it like a `Postgres`.
 *
 * ```ts
 * const theirs = PostgresEndpoint.fromService(chart, 'theirs', {
 *   host: 'postgres-postgresql',
 *   credentials: Credentials.fromSecret('postgres-postgresql', { passwordKey: 'postgres-password' }),
 *   image: PostgresImage.bitnami('latest', { major: 18, digest: 'sha256:…' }),
 * });
 * new LogicalBackup(chart, 'nightly', { of: theirs, to: volume, schedule: Schedule.daily('02:00') });
 * ```
 */
export class PostgresEndpoint extends Construct implements IPostgres {
  /** @throws InputError if no backup of it could work */
  static fromService(scope: Construct, id: string, props: PostgresEndpointProps): PostgresEndpoint {
    return new PostgresEndpoint(scope, id, props);
  }

  readonly host: string;
  readonly port: number;
  readonly superuser: Credentials;
  readonly image: PostgresImage;
  readonly dataClaim?: string;
  readonly tls: Tls;

  private constructor(scope: Construct, id: string, props: PostgresEndpointProps) {
    super(scope, id);
    this.host = props.host;
    this.port = props.port ?? 5432;
    this.superuser = props.credentials;
    this.image = props.image;
    if (props.dataClaim !== undefined) this.dataClaim = props.dataClaim;
    this.tls = InputError.at(this, () => check(props));
    guardApp(this);
  }
}

function check({ host, port = 5432, credentials, image, uid, ...props }: PostgresEndpointProps): Tls {
  checkHost(host);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    refuse('port', 'be 1 to 65535', port, 'leave it out for 5432');
  }
  Credentials._check('credentials', credentials);
  const facts = image._facts;
  if (uid !== undefined && uid !== facts.uid) {
    refuse('uid', `be the one that ${facts.reference} runs as, ${facts.uid}`, uid, 'leave it out');
  }
  const tls = props.tls ?? defaultTls(host);
  Tls._check('tls', tls, facts);
  return tls;
}

/** A name that only the cluster's DNS knows. `name.namespace` could be anybody's and does not count. */
const isInCluster = (host: string) => !host.includes('.') || /\.svc(\.|$)/.test(host);

/** Inside the cluster a server without TLS is common, and nothing is lost by trying; outside nobody should guess. */
function defaultTls(host: string): Tls {
  if (isIP(host) === 0 && isInCluster(host)) return Tls.prefer();
  const fix = `write for example \`Tls.verifyFull({ ca: { secret: "pg-tls" } })\`, or "name.namespace.svc" for a Service`;
  return refuse('tls', 'be given for a host that is no Service of the cluster', host, fix);
}

const HOST = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$/;

function checkHost(host: string): void {
  const fix = 'write for example "pg" or "pg.data.svc"';
  if (typeof host !== 'string') refuse('host', 'be a name or an address', host, fix);
  // A URL, as a rule with a password in it.
  if (/[@?=]|:\/\//.test(host)) refuse('host', 'be a name or an address alone, no URL', HIDDEN, fix);
  const port = /^\[?([^\]]+)\]?:([0-9]+)$/.exec(host);
  if (isIP(host) === 0 && port) {
    refuse('host', 'stand without a port', host, `write \`host: "${port[1]}", port: ${port[2]}\``);
  }
  if (host === 'localhost' || /^127\.|^::1$/.test(host)) {
    refuse('host', 'be another machine: every pod is its own "localhost"', host, fix);
  }
  if (isIP(host) !== 0) return;
  // All digits and dots: an address with a mistake in it.
  if (!HOST.test(host) || /(^|\.)[0-9]+$/.test(host)) {
    refuse('host', 'be one DNS name in lower-case letters, or an address', host, fix);
  }
}

/** Refuses a server whose Secret and Service a pod of this chart could not find. */
export function checkReach(scope: Construct, prop: string, server: IPostgres): void {
  const { host } = server;
  // A Service by its name alone is one of the endpoint's namespace.
  const there =
    host.includes('.') || isIP(host) !== 0 ? host : `${host}.${Chart.of(server).namespace ?? 'default'}.svc`;
  const fix = `make the endpoint here, with the Secret, and "${there}" as its \`host\``;
  checkNamespace(scope, prop, server, server instanceof PostgresEndpoint ? fix : undefined);
}

/** The server in names of other objects: what comes before the first dot, or the address. */
export function nameOf({ host }: IPostgres): string {
  if (isIP(host) === 0) return host.split('.')[0]!;
  return host.replace(/[.:]+/g, '-').replace(/^-+|-+$/g, '');
}

/** libpq's environment for a client of the server. */
export function clientEnv({ host, port, superuser, tls }: IPostgres): k8s.EnvVar[] {
  return [
    { name: 'PGHOST', value: host },
    { name: 'PGPORT', value: String(port) },
    ...superuser._env('PGUSER', 'PGPASSWORD'),
    { name: 'PGDATABASE', value: 'postgres' },
    { name: 'PGCONNECT_TIMEOUT', value: '10' },
    ...Object.entries(tls?._env ?? {}).map(([name, value]) => ({ name, value })),
  ];
}

/** The files that this environment speaks of. */
export function clientMounts({ tls }: IPostgres): Mount[] {
  return tls?._mounts ?? [];
}
