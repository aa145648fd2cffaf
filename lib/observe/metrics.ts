import { Size } from 'cdk8s';
import { Cpu, k8s } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import { refuse } from '../guard/input-error';
import { checkReference } from '../guard/reference';
import { type ContainerProps, configMount } from '../pod/hardened-pod';
import { labels } from '../pod/labels';
import { type Resources, renderResources } from '../pod/resources';
import { readScript } from '../pod/scripts';
import { Credentials } from '../server/credentials';

export interface ExporterProps {
  /**
   * The monitoring role and its password, which is no superuser: `Credentials.fromSecret("postgres-metrics", { username:
   * "postgres_exporter", passwordKey: "password" })`. The role is made at the server's first start; on a server that exists,
   * by `MonitoringRole`, which also changes the password. No white space in either: postgres_exporter would write the
   * password into its log.
   */
  readonly credentials: Credentials;
  /**
   * The exporter's image. Its program is `/bin/postgres_exporter`, 0.20 or later.
   *
   * @default "quay.io/prometheuscommunity/postgres-exporter:v0.20.1"
   */
  readonly image?: string;
  /**
   * @default requests 10m / 32Mi, limits 200m / 128Mi
   */
  readonly resources?: Resources;
}

/**
 * How a server is watched: Prometheus' postgres_exporter in the server's pod, on the port `metrics`.
 *
 * Adding it, or changing anything of it, rolls the server's pod.
 *
 * @see https://github.com/prometheus-community/postgres_exporter
 */
export class Metrics {
  static exporter(props: ExporterProps): Metrics {
    return new Metrics(props);
  }

  private constructor(private readonly props: ExporterProps) {}

  get credentials(): Credentials {
    return this.props.credentials;
  }

  /**
   * The exporter of a server, with the Service that it is scraped through; the server's own stays one of databases.
   *
   * It has no readiness probe, and no Service waits for it: metrics must never keep applications from their database. For the
   * same reason its container starts without the Secret, too; `pg_up` is 0 then.
   *
   * @throws InputError if it could not run, or would be more than it needs to be
   * @internal
   */
  _render(scope: Construct, server: WatchedServer): ContainerProps {
    const { credentials, image = EXPORTER_IMAGE, resources = EXPORTER_RESOURCES } = this.props;
    checkMonitoringRole('metrics.credentials', credentials, server.superuser);
    checkReference('metrics.image', image, EXPORTER_IMAGE);
    const metadata = { name: `${server.name}-metrics`, labels: labels(scope, 'metrics', server.name) };
    new k8s.KubeService(scope, 'metrics-service', {
      metadata,
      spec: {
        type: 'ClusterIP',
        clusterIp: 'None',
        selector: server.selector,
        // A server that is not ready is what somebody wants to be told.
        publishNotReadyAddresses: true,
        ports: [{ name: 'metrics', port: PORT, targetPort: k8s.IntOrString.fromString('metrics') }],
      },
    });
    const data = { [QUERIES_FILE]: metricsQueries() };
    new k8s.KubeConfigMap(scope, 'metrics-queries', { metadata, data });
    return {
      name: 'metrics',
      image,
      command: ['/bin/postgres_exporter', ...FLAGS, `--extend.query-path=${CONFIG_PATH}/${QUERIES_FILE}`],
      env: [
        { name: 'DATA_SOURCE_URI', value: `127.0.0.1:${server.port}/postgres?${CONNECTION}` },
        ...credentials._env('DATA_SOURCE_USER', 'DATA_SOURCE_PASS', true),
      ],
      ports: [{ name: 'metrics', containerPort: PORT }],
      mounts: [configMount('metrics', CONFIG_PATH, metadata.name)],
      resources: renderResources(resources),
      livenessProbe: LIVENESS,
    };
  }
}

interface WatchedServer {
  readonly name: string;
  readonly port: number;
  readonly superuser: Credentials;
  readonly selector: Record<string, string>;
}

/** What makes the monitoring role, in a Job and at a server's first start. */
export const ROLE_SCRIPTS = ['lib.sh', 'monitoring-role.sh', 'monitoring-role.sql'];

/** What the exporter is asked for beyond its own collectors. It is read when the exporter starts. */
export const metricsQueries = (): string => readScript(QUERIES_FILE);

const QUERIES_FILE = 'exporter-queries.yaml';
const CONFIG_PATH = '/etc/postgres_exporter';
/** postgres_exporter's own default. */
const PORT = 9187;

/** Nothing leaves the pod: no TLS. */
const CONNECTION = 'sslmode=disable&connect_timeout=5&application_name=postgres_exporter';

const EXPORTER_IMAGE = 'quay.io/prometheuscommunity/postgres-exporter:v0.20.1';

/** A scrape costs as much as the server has databases and tables in `postgres`; a Go program of 20 MB. */
const EXPORTER_RESOURCES: Resources = {
  cpu: { request: Cpu.millis(10), limit: Cpu.millis(200) },
  memory: { request: Size.mebibytes(32), limit: Size.mebibytes(128) },
};

/**
 * Without `pg_monitor` the monitoring role does not see what these read (what other sessions do, WAL files), and they would
 * fail, or report zeros that look like facts. `database` fails as a whole for one database that the role may not connect
 * to: our own query does its work.
 */
const FLAGS = ['stat_activity', 'stat_progress_vacuum', 'stat_replication', 'wal', 'database'].map(
  (collector) => `--no-collector.${collector}`,
);

/** The program lives: what the server answers is a metric, and no reason to restart the exporter. */
const LIVENESS: k8s.Probe = {
  tcpSocket: { port: k8s.IntOrString.fromString('metrics') },
  initialDelaySeconds: 5,
  periodSeconds: 20,
  timeoutSeconds: 5,
  failureThreshold: 3,
};

/** Refuses a superuser for what needs next to nothing. */
export function checkMonitoringRole(prop: string, credentials: Credentials, superuser: Credentials): void {
  Credentials._check(prop, credentials);
  const { username } = credentials;
  if (username !== undefined && (username === superuser.username || username === 'postgres')) {
    const fix =
      'write `Credentials.fromSecret("postgres-metrics", { username: "postgres_exporter", passwordKey: "password" })`';
    refuse(`${prop}.username`, 'be a role of its own, since metrics need no superuser', username, fix);
  }
  if (username !== undefined && /[\s\p{Cc}]/u.test(username)) {
    const must = 'have no white space, which postgres_exporter cannot take';
    refuse(`${prop}.username`, must, username, 'write for example "postgres_exporter"');
  }
}
