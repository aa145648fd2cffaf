import { createHash } from 'node:crypto';
import { ApiObject, Duration, Size } from 'cdk8s';
import { Cpu, k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { ARCHIVE_SCRIPTS, type WalArchive } from '../backup/wal-archive';
import { guardApp } from '../guard/guard-app';
import { HIDDEN, InputError, refuse } from '../guard/input-error';
import { checkName } from '../guard/names';
import { checkNamespace } from '../guard/namespace';
import { isBelow } from '../guard/paths';
import { seconds } from '../guard/seconds';
import { expectUser } from '../guard/user';
import { type Metrics, metricsQueries, ROLE_SCRIPTS } from '../observe/metrics';
import {
  type ContainerProps,
  claimMount,
  configMount,
  emptyDir,
  hardenedPod,
  type Mount,
  templateMount,
} from '../pod/hardened-pod';
import type { ImageFacts } from '../pod/image-facts';
import { labels, selectorLabels } from '../pod/labels';
import { type Resources, renderResources } from '../pod/resources';
import { mountScripts, readScript, runScript } from '../pod/scripts';
import { claimSpec, renderClaim } from '../storage/claim';
import { checkDataDirectory, type DataDirectory, defaultDataDirectory } from '../storage/data-directory';
import { quantity } from '../storage/quantity';
import type { Storage, StorageSource } from '../storage/storage';
import { Credentials } from './credentials';
import type { IPostgres } from './endpoint';
import type { PostgresImage } from './image';
import { serverProbes } from './probes';
import { renderSettings, type Settings } from './settings';

export interface PostgresProps {
  /** Name of the StatefulSet and of its Service; the pod is `<name>-0`. */
  readonly name: string;
  readonly image: PostgresImage;
  /** Where the data lies. */
  readonly storage: Storage;
  /** The superuser's role and password. The password is read when the database is first created. */
  readonly superuser: Credentials;
  /**
   * Database made when the data directory is first created.
   *
   * @default none but "postgres"
   */
  readonly database?: string;
  /**
   * Where the claim is mounted.
   *
   * @default "/var/lib/postgresql"
   */
  readonly mountPath?: string;
  /**
   * `PGDATA`: a folder below `mountPath` that no volume declared by the image shadows.
   *
   * @default `<mountPath>/data`, or `<mountPath>/pgdata` where the image declares `<mountPath>/data` as a volume (17 and
   * older); on an existing claim its `dataSubdirectory`
   */
  readonly dataDirectory?: string;
  /**
   * @default requests 100m / 256Mi, limits 1 CPU / 1Gi
   */
  readonly resources?: Resources;
  /**
   * uid that the server runs as; the volume's files belong to it.
   *
   * @default the image's, and nothing else fits it
   */
  readonly uid?: number;
  /**
   * Upper bound of `/dev/shm`, which parallel queries use; it counts as memory of the container.
   *
   * @default a quarter of the memory limit
   */
  readonly sharedMemory?: Size;
  /**
   * Parameters of `postgresql.conf`. A change rolls the pod.
   *
   * @default none
   */
  readonly settings?: Settings;
  /**
   * Scripts by file name (`*.sql`, `*.sh`), run in the order of their names when the data directory is first created, and
   * never again. They are rendered into a ConfigMap: no passwords.
   *
   * @default none
   */
  readonly initScripts?: Readonly<Record<string, string>>;
  /**
   * Where the write-ahead log is archived: turns `archive_mode` on. Archiving that fails does not stop the server; its log
   * and `archive-health.sh` say so.
   *
   * @default none; then only dumps can restore the server
   */
  readonly walArchive?: WalArchive;
  /**
   * Labels of the pod besides those of the chart and the library's own, for selectors that exist already. No Job's pod gets them.
   *
   * @default none
   */
  readonly podLabels?: Readonly<Record<string, string>>;
  /**
   * Name of the server's container.
   *
   * @default "postgres"
   */
  readonly containerName?: string;
  /**
   * A headless Service resolves to the pod's address; the other kind has an address of its own.
   *
   * @default "ClusterIP"
   */
  readonly service?: 'ClusterIP' | 'Headless';
  /**
   * Prometheus metrics of the server and of its backups' age, by an exporter in its pod. A change rolls the pod.
   *
   * With it the Service leads to the pod whether or not all its containers are ready: an exporter whose image can't be pulled
   * must not keep applications from their database.
   *
   * @default none
   */
  readonly metrics?: Metrics;
  /**
   * How long a start may take, initialisation, init scripts and crash recovery included, before the container is restarted.
   *
   * @default Duration.hours(1)
   */
  readonly startupTimeout?: Duration;
  /**
   * How long a fast shutdown (the images' stop signal is INT) may take before the server is killed.
   *
   * @default Duration.minutes(2)
   */
  readonly stopTimeout?: Duration;
}

const PORT = 5432;
const CONTAINER = 'postgres';
const CONFIG_PATH = '/etc/postgresql';

/** One PostgreSQL server: StatefulSet, Service, configuration, scripts. */
export class Postgres extends Construct implements IPostgres {
  readonly host: string;
  readonly port = PORT;
  readonly superuser: Credentials;
  readonly image: PostgresImage;
  readonly dataClaim: string;
  readonly metrics?: Metrics;
  readonly walArchive?: WalArchive;

  /** @throws InputError if the server could not start or would lose its data */
  constructor(scope: Construct, id: string, props: PostgresProps) {
    super(scope, id);
    this.host = props.name;
    this.superuser = props.superuser;
    this.image = props.image;
    this.metrics = props.metrics;
    this.walArchive = props.walArchive;
    this.dataClaim = InputError.at(this, () => this.render(props));
    guardApp(this);
  }

  private render(props: PostgresProps): string {
    const { name, superuser } = props;
    checkName('StatefulSet', name);
    checkName('Service', name);
    checkName('Container', props.containerName ?? CONTAINER, 'containerName');
    Credentials._check('superuser', superuser);
    const { database } = props;
    if (database !== undefined && !/^[^\p{Cc}]+$/u.test(database)) {
      refuse('database', 'be a name without control characters', database, 'write for example "app"');
    }
    if (database !== undefined && Buffer.byteLength(database) > 63) {
      refuse('database', 'be a name of at most 63 bytes', database, 'choose a shorter one');
    }
    const image = props.image._facts;
    if (props.uid !== undefined && props.uid !== image.uid) {
      refuse('uid', `be the one that ${image.reference} runs as, ${image.uid}`, props.uid, 'leave it out');
    }
    if (image.lacks?.includes('entrypoint')) {
      const fix =
        'write `PostgresImage.official("18.1", { suite: "trixie" })`; a server of that image is a `PostgresEndpoint`';
      refuse('image', 'start and lie like the official one', image.reference, fix);
    }
    const storage = props.storage._source;
    const data = dataDirectory(props, image, storage);
    const { walArchive, settings = {} } = props;
    const conf = renderSettings(walArchive?._settings(settings) ?? settings, data.path, PORT);

    const allLabels = labels(this, 'server', name);
    const selector = selectorLabels('server', name);
    const metadata = (suffix = ''): k8s.ObjectMeta => ({ name: `${name}${suffix}`, labels: allLabels });
    const template = storage.kind === 'template' ? storage : undefined;
    const claimName = template ? `${template.name}-${name}-0` : storage.name;
    if (walArchive) {
      walArchive._checkBeside({ mountPath: data.mountPath, claimName });
      checkNamespace(this, 'walArchive', walArchive);
    }
    if (storage.kind === 'own') renderClaim(this, 'claim', { name: claimName, labels: allLabels }, storage);
    new k8s.KubeService(this, 'service', {
      metadata: metadata(),
      spec: {
        type: 'ClusterIP',
        clusterIp: props.service === 'Headless' ? 'None' : undefined,
        selector,
        publishNotReadyAddresses: props.metrics ? true : undefined,
        ports: [{ name: 'postgres', port: PORT, targetPort: k8s.IntOrString.fromString('postgres') }],
      },
    });
    const exporter = props.metrics?._render(this, { name, port: PORT, superuser, selector });
    new k8s.KubeConfigMap(this, 'config', { metadata: metadata('-config'), data: { 'postgresql.conf': conf } });
    const statefulSet = k8s.KubeStatefulSet.manifest({
      metadata: metadata(),
      spec: {
        replicas: 1,
        serviceName: name,
        selector: { matchLabels: selector },
        // The default, written down: deleting or scaling the StatefulSet keeps the claim.
        persistentVolumeClaimRetentionPolicy: template && { whenDeleted: 'Retain', whenScaled: 'Retain' },
        template: {
          metadata: {
            labels: podLabels(props.podLabels, allLabels),
            // What is read only when a container starts.
            annotations: {
              'cdk8s-postgres/config-sha256': sha256(conf),
              ...(exporter && {
                'cdk8s-postgres/metrics-sha256': sha256(metricsQueries()),
                'kubectl.kubernetes.io/default-container': props.containerName ?? CONTAINER,
              }),
            },
          },
          spec: hardenedPod({
            image,
            ...this.containers(props, exporter, data, {
              data: template
                ? templateMount(template.name, data.mountPath, template)
                : claimMount('data', data.mountPath, { claimName, rootSquash: storage.rootSquash }),
              scripts: mountScripts(this, metadata('-scripts'), [
                ...SERVER_SCRIPTS,
                ...(props.metrics ? ROLE_SCRIPTS : []),
                ...(walArchive ? ARCHIVE_SCRIPTS : []),
              ]),
              config: configMount('config', CONFIG_PATH, `${name}-config`),
              initScripts: this.initScripts(props, metadata('-init-scripts')),
            }),
            terminationGracePeriodSeconds: seconds('stopTimeout', props.stopTimeout ?? Duration.minutes(2), 1, 86_400),
          }),
        },
        volumeClaimTemplates: template && [
          { metadata: { name: template.name, labels: selector }, spec: claimSpec(template) },
        ],
      },
    });
    // Without them Argo CD shows a difference for ever (argo-cd#11143); the generated type leaves them out.
    for (const claim of statefulSet.spec.volumeClaimTemplates ?? []) {
      Object.assign(claim, { apiVersion: 'v1', kind: 'PersistentVolumeClaim' });
    }
    expectUser(new ApiObject(this, 'stateful-set', statefulSet), image);
    return claimName;
  }

  private containers(
    props: PostgresProps,
    exporter: ContainerProps | undefined,
    data: DataDirectory,
    mounts: { data: Mount; scripts: Mount; config: Mount; initScripts: Mount },
  ): { initContainers: ContainerProps[]; containers: ContainerProps[] } {
    const resources = props.resources ?? DEFAULT_RESOURCES;
    const layout = ({ path, mountPath }: DataDirectory): k8s.EnvVar[] => [
      { name: 'PGDATA', value: path },
      { name: 'DATA_MOUNT', value: mountPath },
      { name: 'EXPECTED_MAJOR', value: String(props.image._facts.major) },
    ];
    const whole = wholeClaim(data, props.image._facts);
    return {
      initContainers: [
        {
          name: 'prep-dirs',
          command: runScript('prepare-data.sh'),
          env: layout(whole),
          mounts: [{ ...mounts.data, path: whole.mountPath }, mounts.scripts],
          resources: renderResources(PREPARE_RESOURCES),
        },
      ],
      containers: [
        {
          name: props.containerName ?? CONTAINER,
          command: runScript('server.sh'),
          env: [
            ...layout(data),
            ...(props.walArchive?._env ?? []),
            ...props.superuser._env('POSTGRES_USER', 'POSTGRES_PASSWORD'),
            { name: 'POSTGRES_DB', value: props.database ?? 'postgres' },
            // The image's default trusts 127.0.0.1, and with it everybody who may `kubectl port-forward`.
            { name: 'POSTGRES_INITDB_ARGS', value: '--data-checksums --auth-local=trust --auth-host=scram-sha-256' },
            // Only for the first start. A server must start without the Secret that its metrics need.
            ...(props.metrics?.credentials._env('MONITORING_USER', 'MONITORING_PASSWORD', true) ?? []),
          ],
          ports: [{ name: 'postgres', containerPort: PORT }],
          mounts: [
            ...Object.values(mounts),
            ...(props.walArchive ? [props.walArchive._mount()] : []),
            emptyDir('run', '/var/run/postgresql'),
            emptyDir('tmp', '/tmp'),
            emptyDir('shm', '/dev/shm', { medium: 'Memory', sizeLimit: quantity(sharedMemory(props, resources)) }),
          ],
          resources: renderResources(resources),
          ...serverProbes(PORT, props.startupTimeout ?? Duration.hours(1)),
        },
        ...(exporter ? [exporter] : []),
      ],
    };
  }

  /** The user's scripts, and after them those that make the monitoring role and mark the first start as complete. */
  private initScripts({ initScripts: scripts = {}, metrics }: PostgresProps, metadata: k8s.ObjectMeta): Mount {
    for (const file of Object.keys(scripts)) {
      if (!/^[-._a-zA-Z0-9]+\.(sql|sh)$/.test(file) || /^z/i.test(file)) {
        const must = 'have file names that end in ".sql" or ".sh" and do not begin with "z"';
        refuse('initScripts', must, file, 'write for example "01-extensions.sql"');
      }
      // A hash may stand there: it is what pg_dumpall writes, too.
      if (/\bPASSWORD\s+E?'(?!SCRAM-SHA-256\$|md5[0-9a-f]{32}')[^']/i.test(scripts[file]!)) {
        const must = `hold no password, they are rendered into a ConfigMap (${file})`;
        refuse('initScripts', must, HIDDEN, 'create the role without one and set it with `\\password` in psql');
      }
    }
    const own = [...(metrics ? ['zzy-monitoring-role.sh'] : []), 'zzz-initialized.sh'];
    const data = { ...scripts, ...Object.fromEntries(own.map((file) => [file, readScript(file)])) };
    new k8s.KubeConfigMap(this, 'init-scripts', { metadata, data });
    return configMount('init-scripts', '/docker-entrypoint-initdb.d', metadata.name!);
  }
}

const SERVER_SCRIPTS = ['prepare-data.sh', 'server.sh'];

const DEFAULT_RESOURCES: Resources = {
  cpu: { request: Cpu.millis(100), limit: Cpu.units(1) },
  memory: { request: Size.mebibytes(256), limit: Size.gibibytes(1) },
};

/** A few mkdir and stat. */
const PREPARE_RESOURCES: Resources = {
  cpu: { request: Cpu.millis(10), limit: Cpu.millis(500) },
  memory: { request: Size.mebibytes(16), limit: Size.mebibytes(64) },
};

function dataDirectory(props: PostgresProps, image: ImageFacts, storage: StorageSource): DataDirectory {
  const mountPath = props.mountPath ?? '/var/lib/postgresql';
  const named = storage.kind === 'existing' ? storage.dataSubdirectory : undefined;
  const adopted = named && `${mountPath}/${named}`;
  const path = props.dataDirectory ?? adopted ?? defaultDataDirectory(mountPath, image.declaredVolumes);
  checkDataDirectory({ mountPath, path }, image.declaredVolumes);
  if (adopted && adopted !== path) {
    const must = `be where the adopted claim has its data, ${adopted}`;
    refuse('dataDirectory', must, path, 'leave it out, or correct `dataSubdirectory`');
  }
  return { mountPath, path };
}

/**
 * Where prep-dirs sees the claim: at a path of its own if the runtime lays a declared volume over a part of it (17 and older), or
 * a database that lies there would be hidden from it.
 */
function wholeClaim({ mountPath, path }: DataDirectory, { declaredVolumes }: ImageFacts): DataDirectory {
  if (!declaredVolumes.some((declared) => isBelow(declared, mountPath))) return { mountPath, path };
  return { mountPath: '/claim', path: `/claim${path.slice(mountPath.length)}` };
}

/** The library's own labels are what the Service selects: they can't be replaced. */
function podLabels(more: Readonly<Record<string, string>> = {}, own: Record<string, string>): Record<string, string> {
  for (const name of Object.keys(more)) {
    if (name in own) refuse('podLabels', 'leave alone what the library and the chart set', name, 'leave it out');
  }
  return { ...own, ...more };
}

function sharedMemory({ sharedMemory }: PostgresProps, { memory }: Resources): Size {
  const limit = memory.limit.toKibibytes();
  if (!sharedMemory) return Size.kibibytes(Math.floor(limit / 4));
  if (sharedMemory.toKibibytes() > limit) {
    const fix = `write for example \`Size.mebibytes(${Math.floor(limit / 4 / 1024)})\``;
    refuse('sharedMemory', 'fit into the memory limit, which it counts towards', quantity(sharedMemory).value, fix);
  }
  return sharedMemory;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
