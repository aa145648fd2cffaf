import { ApiObject, Chart, Duration, JsonPatch, Size } from 'cdk8s';
import { Cpu } from 'cdk8s-plus-28';
import { describe, expect, it } from 'vitest';
import {
  Compression,
  Credentials,
  LogicalBackup,
  LogicalRestore,
  Metrics,
  MetricsMonitor,
  MonitoringRole,
  PostgresEndpoint,
  type PostgresEndpointProps,
  PostgresImage,
  type PostgresProps,
  Retention,
  type RetentionTiers,
  Schedule,
  Storage,
  Tls,
} from '../../lib';
import { backup, refusal, render, server, volume, walArchive } from '../helpers/render';

type Build = (chart: Chart) => void;
const withServer =
  (props: Partial<PostgresProps>): Build =>
  (chart) =>
    server(chart, props);
const withImage = (image: PostgresImage): Build => withServer({ image });
const gibibyte = { size: Size.gibibytes(1) };
const monitoring = (username?: string) => Credentials.fromSecret('pg-metrics', { passwordKey: 'password', username });
const withMetrics = (username?: string, image?: string): Build =>
  withServer({ metrics: Metrics.exporter({ credentials: monitoring(username), image }) });
const watched = (chart: Chart) => server(chart, { metrics: Metrics.exporter({ credentials: monitoring('watcher') }) });
const digest = `sha256:${'0a'.repeat(32)}`;

const BITNAMI = PostgresImage.bitnami('17.6.0-debian-12-r4');
const endpoint = (scope: Chart, props: Partial<PostgresEndpointProps> = {}): PostgresEndpoint =>
  PostgresEndpoint.fromService(scope, 'theirs', {
    host: 'pg',
    credentials: Credentials.fromSecret('pg', { passwordKey: 'postgres-password' }),
    image: BITNAMI,
    ...props,
  });
/** A backup of a server that someone else deployed. */
const foreign =
  (props: Partial<PostgresEndpointProps>): Build =>
  (chart) =>
    backup(chart, { of: endpoint(chart, props) });
const hosted = (host: string): Build => foreign({ host });

/** A container's mounts, changed behind the library's back. */
const mounted =
  (...more: object[]): Build =>
  (chart) => {
    const postgres = server(chart);
    const set = ApiObject.of(postgres.node.findChild('stateful-set'));
    for (const mount of more) set.addJsonPatch(JsonPatch.add('/spec/template/spec/containers/0/volumeMounts/-', mount));
  };
const patched =
  (path: string, value: unknown): Build =>
  (chart) =>
    ApiObject.of(server(chart).node.findChild('stateful-set')).addJsonPatch(JsonPatch.add(path, value));

const patchedBackup =
  (uid: number): Build =>
  (chart) =>
    ApiObject.of(backup(chart).node.findChild('cron-job')).addJsonPatch(
      JsonPatch.replace('/spec/jobTemplate/spec/template/spec/containers/0/securityContext/runAsUser', uid),
    );
/** Of a server of ours and of an endpoint, to one volume. */
const twoBackups =
  (image: PostgresImage): Build =>
  (chart) => {
    const to = volume(chart);
    backup(chart, { to });
    const props = { of: endpoint(chart, { image }), to, name: 'other' };
    new LogicalBackup(chart, 'other', { ...props, schedule: Schedule.daily('03:00') });
  };

/** Wrong input, the whole line that it gets, and input beside it that is right. */
const REFUSALS: Record<string, { wrong: Build; line: string; right: Build }> = {
  'a data directory that is the mount point': {
    wrong: withServer({ dataDirectory: '/var/lib/postgresql' }),
    line: 'chart/server: `dataDirectory` must lie below the claim\'s mount point, since a fresh volume holds "lost+found", and initdb refuses a directory that exists but is not empty, got "/var/lib/postgresql"; write "/var/lib/postgresql/data" or leave it out',
    right: withServer({ dataDirectory: '/var/lib/postgresql/data' }),
  },
  'a claim mounted at the data directory alone': {
    wrong: withServer({ mountPath: '/var/lib/postgresql/data', dataDirectory: '/var/lib/postgresql/data' }),
    line: 'chart/server: `dataDirectory` must lie below the claim\'s mount point, since a fresh volume holds "lost+found", and initdb refuses a directory that exists but is not empty, got "/var/lib/postgresql/data"; write "/var/lib/postgresql/data/data" or leave it out',
    right: withServer({ mountPath: '/var/lib/postgresql/data' }),
  },
  'a data directory outside the claim': {
    wrong: withServer({ dataDirectory: '/data/postgres' }),
    line: 'chart/server: `dataDirectory` must lie on the claim, which is mounted at /var/lib/postgresql: anywhere else it goes with the container, got "/data/postgres"; write "/var/lib/postgresql/data" or leave it out',
    right: withServer({ dataDirectory: '/var/lib/postgresql/18/docker' }),
  },
  'a data directory that only begins like the mount point': {
    wrong: withServer({ dataDirectory: '/var/lib/postgresql-data/x' }),
    line: 'chart/server: `dataDirectory` must lie on the claim, which is mounted at /var/lib/postgresql: anywhere else it goes with the container, got "/var/lib/postgresql-data/x"; write "/var/lib/postgresql/data" or leave it out',
    right: withServer({ mountPath: '/var/lib/postgresql-data', dataDirectory: '/var/lib/postgresql-data/x' }),
  },
  'a data directory on a volume that the image declares (17)': {
    wrong: withServer({
      image: PostgresImage.official('17.6', { suite: 'trixie' }),
      dataDirectory: '/var/lib/postgresql/data',
    }),
    line: 'chart/server: `dataDirectory` must not lie at /var/lib/postgresql/data, which the image declares as a volume: the container runtime lays an anonymous volume there, over the claim, and the database goes with the container, got "/var/lib/postgresql/data"; write "/var/lib/postgresql/pgdata" or leave it out',
    right: withServer({
      image: PostgresImage.official('17.6', { suite: 'trixie' }),
      dataDirectory: '/var/lib/postgresql/pgdata',
    }),
  },
  'a data directory below a volume that the image declares (15)': {
    wrong: withServer({
      image: PostgresImage.official('15.14', { suite: 'bookworm' }),
      dataDirectory: '/var/lib/postgresql/data/pgdata',
    }),
    line: 'chart/server: `dataDirectory` must not lie at /var/lib/postgresql/data, which the image declares as a volume: the container runtime lays an anonymous volume there, over the claim, and the database goes with the container, got "/var/lib/postgresql/data/pgdata"; write "/var/lib/postgresql/pgdata" or leave it out',
    right: withServer({
      image: PostgresImage.official('15.14', { suite: 'bookworm' }),
      mountPath: '/var/lib/postgresql/data',
      dataDirectory: '/var/lib/postgresql/data/pgdata',
    }),
  },
  'a data directory above a volume that the image declares': {
    wrong: withImage(
      PostgresImage.custom({
        reference: 'example.com/pg:18.1',
        major: 18,
        uid: 999,
        declaredVolumes: ['/var/lib/postgresql/data/pg_wal'],
      }),
    ),
    line: 'chart/server: `dataDirectory` must not lie at /var/lib/postgresql/data/pg_wal, which the image declares as a volume: the container runtime lays an anonymous volume there, over the claim, and the database goes with the container, got "/var/lib/postgresql/data"; write "/var/lib/postgresql/pgdata" or leave it out',
    right: withImage(PostgresImage.custom({ reference: 'example.com/pg:18.1', major: 18, uid: 999 })),
  },
  'a relative data directory': {
    wrong: withServer({ dataDirectory: '/var/lib/postgresql/../data' }),
    line: 'chart/server: `dataDirectory` must be an absolute path without ".", ".." or a slash at the end, got "/var/lib/postgresql/../data"; write for example "/var/lib/postgresql/data"',
    right: withServer({}),
  },
  'an adopted layout that contradicts the data directory': {
    wrong: withServer({
      storage: Storage.existingClaim('old', { dataSubdirectory: 'pgdata' }),
      dataDirectory: '/var/lib/postgresql/data',
    }),
    line: 'chart/server: `dataDirectory` must be where the adopted claim has its data, /var/lib/postgresql/pgdata, got "/var/lib/postgresql/data"; leave it out, or correct `dataSubdirectory`',
    right: withServer({ storage: Storage.existingClaim('old', { dataSubdirectory: 'pgdata' }) }),
  },
  'an adopted layout outside the claim': {
    wrong: withServer({ storage: Storage.existingClaim('old', { dataSubdirectory: '../other' }) }),
    line: 'chart/server: `storage.dataSubdirectory` must be a path below the top of the claim, got "../other"; write "pgdata", or what `find <mount> -name PG_VERSION` shows',
    right: withServer({ storage: Storage.existingClaim('old', { dataSubdirectory: '18/docker' }) }),
  },
  'a claim mounted twice': {
    wrong: mounted({ name: 'data', mountPath: '/var/lib/postgresql/data' }),
    line: 'chart/server/stateful-set: `volumeMounts` of container "postgres" must mount a claim once, got "data" at /var/lib/postgresql and at /var/lib/postgresql/data; mount it at /var/lib/postgresql only',
    right: mounted({ name: 'tmp', mountPath: '/var/tmp' }),
  },
  'two volumes of one claim': {
    wrong: (chart) => {
      const postgres = server(chart, { storage: Storage.existingClaim('old') });
      ApiObject.of(postgres.node.findChild('stateful-set')).addJsonPatch(
        JsonPatch.add('/spec/template/spec/volumes/-', { name: 'again', persistentVolumeClaim: { claimName: 'old' } }),
      );
    },
    line: 'chart/server/stateful-set: `volumes` must refer to a claim once, got claim "old" twice; mount it in one place',
    right: withServer({ storage: Storage.existingClaim('old') }),
  },
  'a mount that hides a part of the claim': {
    wrong: mounted({ name: 'tmp', mountPath: '/var/lib/postgresql/data' }),
    line: 'chart/server/stateful-set: `volumeMounts` of container "postgres" must not overlap, got "tmp" at /var/lib/postgresql/data, which hides that folder of "data"; mount it outside /var/lib/postgresql',
    right: mounted({ name: 'tmp', mountPath: '/var/tmp' }),
  },
  'two mounts at one path': {
    wrong: mounted({ name: 'run', mountPath: '/tmp' }),
    line: 'chart/server/stateful-set: `volumeMounts` of container "postgres" must have different paths, got "tmp" and "run" at /tmp; move one of them',
    right: mounted({ name: 'run', mountPath: '/run/postgresql' }),
  },
  'a dangling mount': {
    wrong: mounted({ name: 'nowhere', mountPath: '/mnt' }),
    line: 'chart/server/stateful-set: `volumeMounts` of container "postgres" must name volumes of the pod, got "nowhere" at /mnt; declare the volume or remove the mount',
    right: mounted({ name: 'tmp', mountPath: '/mnt' }),
  },
  'a backup volume that is the data volume': {
    wrong: (chart) => {
      const of = server(chart);
      backup(chart, { of, to: volume(chart, { name: 'data-pg-0' }), name: 'nightly' });
    },
    line: 'chart/nightly: `to` must be another claim than the server\'s data: a full or lost volume would take both, got "data-pg-0"; make a `BackupVolume` with a name of its own',
    right: (chart) => backup(chart),
  },
  'two servers on one claim': {
    wrong: (chart) => {
      server(chart, { storage: Storage.existingClaim('shared') });
      server(chart, { name: 'other', storage: Storage.existingClaim('shared') }, 'other');
    },
    line: 'chart/other/stateful-set: `claim` must not be one that holds the data of chart/server/stateful-set, got ns/shared; name another one',
    right: (chart) => {
      server(chart, { storage: Storage.existingClaim('shared') });
      server(chart, { name: 'other', storage: Storage.existingClaim('other') }, 'other');
    },
  },
  "a backup volume that is made for another server's data": {
    wrong: (chart) => {
      server(chart);
      volume(chart, { name: 'data-pg-0' });
    },
    line: 'chart/backups/claim: `claim` must not be one that holds the data of chart/server/stateful-set, got ns/data-pg-0; name another one',
    right: (chart) => {
      server(chart);
      volume(chart, { name: 'data-pg-1' });
    },
  },
  'a backup in another namespace': {
    wrong: (chart) => {
      const other = new Chart(chart.node.root, 'other', { namespace: 'elsewhere' });
      backup(chart, { of: server(other) });
    },
    line: 'chart/nightly: `server` must be in this chart\'s namespace, ns, got "elsewhere"; put both into charts of one namespace',
    right: (chart) => {
      const other = new Chart(chart.node.root, 'other', { namespace: 'ns' });
      backup(chart, { of: server(other) });
    },
  },
  'a uid that does not fit the image': {
    wrong: withServer({ uid: 1001 }),
    line: 'chart/server: `uid` must be the one that postgres:18.1-trixie runs as, 999, got 1001; leave it out',
    right: withServer({ uid: 999 }),
  },
  root: {
    wrong: withImage(PostgresImage.custom({ reference: 'example.com/pg:18.1', major: 18, uid: 0 })),
    line: 'chart/server: `uid` must be a number above 0, since nothing runs as root, got 0; write what `id` prints in the image',
    right: withImage(PostgresImage.custom({ reference: 'example.com/pg:18.1', major: 18, uid: 1001 })),
  },
  'a tag without a minor release': {
    wrong: withImage(PostgresImage.official('18', { suite: 'trixie' })),
    line: 'chart/server: `version` must name a minor release, since a tag without it moves, got "18"; write for example "18.1", or pass `allowFloatingTag: true`',
    right: withImage(PostgresImage.official('18', { suite: 'trixie', allowFloatingTag: true })),
  },
  'a tag without a suite': {
    wrong: withImage(PostgresImage.official('18.1')),
    line: 'chart/server: `suite` must be given, since a tag without it moves between Debian releases, got nothing; write `PostgresImage.official("18.1", { suite: "trixie" })` or give a `digest`',
    right: withImage(PostgresImage.official('18.1', { digest })),
  },
  'an Alpine tag without a release': {
    wrong: withImage(PostgresImage.alpine('18.1')),
    line: 'chart/server: `release` must be given, since a tag without it moves between Alpine releases, got nothing; write `PostgresImage.alpine("18.1", { release: "3.22" })` or give a `digest`',
    right: withImage(PostgresImage.alpine('18.1', { release: '3.22' })),
  },
  'a release that has no image': {
    wrong: withImage(PostgresImage.official('14.1', { suite: 'bookworm' })),
    line: 'chart/server: `version` must be a release of PostgreSQL 15, 16, 17, 18, got "14.1"; write for example "18.1"',
    right: withImage(PostgresImage.official('16.10', { suite: 'bookworm' })),
  },
  'a digest that is none': {
    wrong: withImage(PostgresImage.official('18.1', { digest: 'sha256:abc' })),
    line: 'chart/server: `digest` must be "sha256:" and 64 hexadecimal digits, got "sha256:abc"; copy it from `docker buildx imagetools inspect`',
    right: withImage(PostgresImage.official('18.1', { digest })),
  },
  latest: {
    wrong: withImage(PostgresImage.custom({ reference: 'example.com/pg:latest', major: 18, uid: 1001 })),
    line: 'chart/server: `reference` must not be a tag that moves by itself, got "example.com/pg:latest"; name a minor release in the tag, give a digest ("@sha256:…"), or pass `allowFloatingTag: true`',
    right: withImage(
      PostgresImage.custom({
        reference: 'example.com/pg:latest',
        major: 18,
        uid: 1001,
        allowFloatingTag: true,
      }),
    ),
  },
  'a schedule of six fields': {
    wrong: (chart) => backup(chart, { schedule: Schedule.cron('0 0 2 * * *') }),
    line: 'chart/nightly: `schedule` must have five fields, got "0 0 2 * * *"; for 02:00 daily write "0 2 * * *"',
    right: (chart) => backup(chart, { schedule: Schedule.cron('0 2 * * *') }),
  },
  'a minute out of range': {
    wrong: (chart) => backup(chart, { schedule: Schedule.cron('99 2 * * *') }),
    line: 'chart/nightly: `schedule` must have a minute from 0 to 59, got "99 2 * * *"; for 02:00 daily write "0 2 * * *"',
    right: (chart) => backup(chart, { schedule: Schedule.cron('59 2 * * *') }),
  },
  'a date that never comes': {
    wrong: (chart) => backup(chart, { schedule: Schedule.cron('0 2 31 2,4 *') }),
    line: 'chart/nightly: `schedule` must name a date that exists, got "0 2 31 2,4 *"; for the last day that every month has write "0 2 28 * *"',
    right: (chart) => backup(chart, { schedule: Schedule.cron('0 2 29 2 *') }),
  },
  'a time zone in the schedule': {
    wrong: (chart) => backup(chart, { schedule: Schedule.cron('TZ=UTC 0 2 * * *') }),
    line: 'chart/nightly: `schedule` must not hold a time zone, which Kubernetes rejects, got "TZ=UTC 0 2 * * *"; write `Schedule.cron("0 2 * * *", { timeZone: "America/New_York" })`',
    right: (chart) => backup(chart, { schedule: Schedule.cron('0 2 * * *', { timeZone: 'America/New_York' }) }),
  },
  'an unknown time zone': {
    wrong: (chart) => backup(chart, { schedule: Schedule.daily('02:00', { timeZone: 'America/Springfield' }) }),
    line: 'chart/nightly: `timeZone` must be a name of the IANA time zone database, got "America/Springfield"; write for example "America/New_York"',
    right: (chart) => backup(chart, { schedule: Schedule.daily('02:00', { timeZone: 'America/New_York' }) }),
  },
  'a time that no clock shows': {
    wrong: (chart) => backup(chart, { schedule: Schedule.daily('24:00') }),
    line: 'chart/nightly: `time` must be "HH:MM" between "00:00" and "23:59", got "24:00"; write for example "02:00"',
    right: (chart) => backup(chart, { schedule: Schedule.daily('23:59') }),
  },
  'shared memory beyond the limit': {
    wrong: withServer({ sharedMemory: Size.gibibytes(2) }),
    line: 'chart/server: `sharedMemory` must fit into the memory limit, which it counts towards, got "2Gi"; write for example `Size.mebibytes(256)`',
    right: withServer({ sharedMemory: Size.mebibytes(256) }),
  },
  'a memory request above the limit': {
    wrong: withServer({
      resources: {
        cpu: { request: Cpu.millis(100), limit: Cpu.millis(200) },
        memory: { request: Size.gibibytes(2), limit: Size.gibibytes(1) },
      },
    }),
    line: 'chart/server: `resources.memory.request` must be at most the limit, 1Gi, got "2Gi"; raise the limit',
    right: withServer({
      resources: {
        cpu: { request: Cpu.millis(100), limit: Cpu.millis(200) },
        memory: { request: Size.gibibytes(1), limit: Size.gibibytes(1) },
      },
    }),
  },
  'a CPU request above the limit': {
    wrong: withServer({
      resources: {
        cpu: { request: Cpu.units(1), limit: Cpu.millis(200) },
        memory: { request: Size.gibibytes(1), limit: Size.gibibytes(1) },
      },
    }),
    line: 'chart/server: `resources.cpu.request` must be at most the limit, 200m, got "1000m"; raise the limit',
    right: withServer({}),
  },
  'a name that Kubernetes rejects': {
    wrong: withServer({ name: 'My_Postgres' }),
    line: 'chart/server: `name` must be lower-case letters, digits and "-", beginning and ending with a letter or digit, for a StatefulSet, got "My_Postgres"; write for example "my-postgres"',
    right: withServer({ name: 'my-postgres' }),
  },
  'a Service name that begins with a digit': {
    wrong: withServer({ name: '1st' }),
    line: 'chart/server: `name` must begin with a letter for a Service, got "1st"; write for example "pg-1st"',
    right: withServer({ name: 'pg-1st' }),
  },
  'a CronJob of 53 characters': {
    wrong: (chart) => backup(chart, { name: 'x'.repeat(53) }),
    line: `chart/nightly: \`name\` must be 1 to 52 characters for a CronJob, got "${'x'.repeat(53)}"; choose a shorter name`,
    right: (chart) => backup(chart, { name: 'x'.repeat(48) }),
  },
  'a CronJob whose button would have 53 characters': {
    wrong: (chart) => backup(chart, { name: 'x'.repeat(49) }),
    line: `chart/nightly: \`name\` must be 1 to 52 characters for a CronJob, got "${'x'.repeat(49)}-now"; choose a shorter name`,
    right: (chart) => backup(chart, { name: 'x'.repeat(48) }),
  },
  'a restore whose button would have 53 characters': {
    wrong: (chart) => new LogicalRestore(chart, 'restore', { from: backup(chart), name: 'x'.repeat(47) }),
    line: `chart/restore: \`name\` must be 1 to 52 characters for a CronJob, got "${'x'.repeat(47)}-fresh"; choose a shorter name`,
    right: (chart) => new LogicalRestore(chart, 'restore', { from: backup(chart), name: 'x'.repeat(46) }),
  },
  'two objects of one name': {
    wrong: (chart) => {
      server(chart);
      new ApiObject(chart, 'mine', { apiVersion: 'v1', kind: 'Service', metadata: { name: 'pg' } });
    },
    line: 'chart/mine: `name` must be used once, got Service ns/pg here and in chart/server/service; rename one of them',
    right: (chart) => {
      server(chart);
      new ApiObject(chart, 'mine', {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'pg', namespace: 'elsewhere' },
      });
    },
  },
  'a retention of nothing': {
    wrong: (chart) => backup(chart, { retention: Retention.last(0) }),
    line: 'chart/nightly: `retention` must keep 1 to 100000 backups, got 0; write for example `Retention.last(7)`',
    right: (chart) => backup(chart, { retention: Retention.last(1) }),
  },
  'tiers that keep nothing': {
    wrong: (chart) => backup(chart, { retention: Retention.tiered({ last: 0, daily: 0, weekly: 0, monthly: 0 }) }),
    line: 'chart/nightly: `retention` must keep something, got 0; write for example `Retention.tiered({ daily: 7, weekly: 4, monthly: 12 })`',
    right: (chart) => backup(chart, { retention: Retention.tiered({ last: 0, daily: 0, weekly: 0, monthly: 1 }) }),
  },
  'no tiers at all': {
    wrong: (chart) => backup(chart, { retention: Retention.tiered({}) }),
    line: 'chart/nightly: `retention` must keep something, got 0; write for example `Retention.tiered({ daily: 7, weekly: 4, monthly: 12 })`',
    right: (chart) => backup(chart, { retention: Retention.tiered({ daily: 7 }) }),
  },
  'a negative tier': {
    wrong: (chart) => backup(chart, { retention: Retention.tiered({ daily: -1, weekly: 4 }) }),
    line: 'chart/nightly: `daily` must be a whole number from 0 to 100000, got -1; write for example `Retention.tiered({ daily: 7, weekly: 4, monthly: 12 })`',
    right: (chart) => backup(chart, { retention: Retention.tiered({ daily: 0, weekly: 4 }) }),
  },
  'half a week': {
    wrong: (chart) => backup(chart, { retention: Retention.tiered({ weekly: 0.5 }) }),
    line: 'chart/nightly: `weekly` must be a whole number from 0 to 100000, got 0.5; write for example `Retention.tiered({ daily: 7, weekly: 4, monthly: 12 })`',
    right: (chart) => backup(chart, { retention: Retention.tiered({ weekly: 1 }) }),
  },
  'more months than there will be': {
    wrong: (chart) => backup(chart, { retention: Retention.tiered({ monthly: 100_001 }) }),
    line: 'chart/nightly: `monthly` must be a whole number from 0 to 100000, got 100001; write for example `Retention.tiered({ daily: 7, weekly: 4, monthly: 12 })`',
    right: (chart) => backup(chart, { retention: Retention.tiered({ monthly: 100_000 }) }),
  },
  'a tier that is text': {
    wrong: (chart) => backup(chart, { retention: Retention.tiered({ last: '3' as unknown as number, daily: 7 }) }),
    line: 'chart/nightly: `last` must be a whole number from 0 to 100000, got "3"; write for example `Retention.tiered({ daily: 7, weekly: 4, monthly: 12 })`',
    right: (chart) => backup(chart, { retention: Retention.tiered({ last: 3, daily: 7 }) }),
  },
  'a tier that does not exist': {
    wrong: (chart) => backup(chart, { retention: Retention.tiered({ daily: 7, fortnightly: 2 } as RetentionTiers) }),
    line: 'chart/nightly: `retention` must be made of last, daily, weekly, monthly and timeZone, got "fortnightly"; write for example `Retention.tiered({ daily: 7, weekly: 4, monthly: 12 })`',
    right: (chart) => backup(chart, { retention: Retention.tiered({ daily: 7, weekly: 2 }) }),
  },
  'tiers by the calendar of nowhere': {
    wrong: (chart) => backup(chart, { retention: Retention.tiered({ daily: 7, timeZone: 'Europe/Atlantis' }) }),
    line: 'chart/nightly: `timeZone` must be a name of the IANA time zone database, got "Europe/Atlantis"; write for example "America/New_York"',
    right: (chart) => backup(chart, { retention: Retention.tiered({ daily: 7, timeZone: 'Europe/Berlin' }) }),
  },
  'a compression level that does not exist': {
    wrong: (chart) => backup(chart, { compression: Compression.gzip(10) }),
    line: 'chart/nightly: `level` must be 1 to 9 for gzip, got 10; write `Compression.gzip()`',
    right: (chart) => backup(chart, { compression: Compression.zstd(10) }),
  },
  'a password in plain text': {
    wrong: withServer({ superuser: 'hunter2' as unknown as Credentials }),
    line: 'chart/server: `superuser` must refer to a Secret, got nothing that can be shown; write `Credentials.fromSecret("name-of-secret", { passwordKey: "key" })`',
    right: withServer({ superuser: Credentials.fromSecret('pg', { passwordKey: 'key' }) }),
  },
  'a password in plain text, patched in': {
    wrong: patched('/spec/template/spec/containers/0/env/-', { name: 'PGPASSWORD', value: 'hunter2' }),
    line: 'chart/server/stateful-set: `env` of container "postgres" must take PGPASSWORD from a Secret, got a value in plain text; use `valueFrom.secretKeyRef`',
    right: patched('/spec/template/spec/containers/0/env/-', { name: 'PGAPPNAME', value: 'x' }),
  },
  'a password in a URL, patched in': {
    wrong: patched('/spec/template/spec/containers/0/env/-', {
      name: 'DATABASE_URL',
      value: 'postgres://u:hunter2@pg/db',
    }),
    line: 'chart/server/stateful-set: `env` of container "postgres" must take DATABASE_URL from a Secret, got a value in plain text; use `valueFrom.secretKeyRef`',
    right: patched('/spec/template/spec/containers/0/env/-', { name: 'DATABASE_URL', value: 'postgres://u@pg/db' }),
  },
  'a Secret with its values': {
    wrong: (chart) => {
      server(chart);
      new ApiObject(chart, 'secret', { apiVersion: 'v1', kind: 'Secret', stringData: { password: 'hunter2' } });
    },
    line: 'chart/secret: `Secret` must not be rendered with its values, got some; create it with `kubectl create secret` and refer to it',
    right: (chart) => {
      server(chart);
      new ApiObject(chart, 'secret', { apiVersion: 'v1', kind: 'Secret' });
    },
  },
  'a password in an init script': {
    wrong: withServer({ initScripts: { '01.sql': "CREATE ROLE app LOGIN PASSWORD 'hunter2';" } }),
    line: 'chart/server: `initScripts` must hold no password, they are rendered into a ConfigMap (01.sql), got nothing that can be shown; create the role without one and set it with `\\password` in psql',
    right: withServer({ initScripts: { '01.sql': "CREATE ROLE app LOGIN PASSWORD 'SCRAM-SHA-256$4096:x';" } }),
  },
  'a password in a setting': {
    wrong: withServer({ settings: { primary_conninfo: 'host=a password=hunter2' } }),
    line: 'chart/server: `settings` must hold no password, they are rendered into a ConfigMap (primary_conninfo), got nothing that can be shown; use a passfile',
    right: withServer({ settings: { primary_conninfo: 'host=a passfile=/x' } }),
  },
  'a setting that loses the database in a crash': {
    wrong: withServer({ settings: { fsync: 'off' } }),
    line: 'chart/server: `settings` must leave fsync on: without it a crash loses the database, got "off"; leave it out',
    right: withServer({ settings: { fsync: 'on', synchronous_commit: 'off' } }),
  },
  'a database name of two lines': {
    wrong: withServer({ database: 'a\nb' }),
    line: 'chart/server: `database` must be a name without control characters, got "a\\nb"; write for example "app"',
    right: withServer({ database: 'a b' }),
  },
  'a database name that is too long': {
    wrong: withServer({ database: 'x'.repeat(64) }),
    line: `chart/server: \`database\` must be a name of at most 63 bytes, got "${'x'.repeat(64)}"; choose a shorter one`,
    right: withServer({ database: 'x'.repeat(63) }),
  },
  'a Secret key that cannot be': {
    wrong: withServer({ superuser: Credentials.fromSecret('pg', { passwordKey: 'pass word' }) }),
    line: 'chart/server: `superuser.passwordKey` must be a key of a Secret (letters, digits, "-", "_", "."), got nothing that can be shown; write `Credentials.fromSecret("name-of-secret", { passwordKey: "key" })`',
    right: withServer({ superuser: Credentials.fromSecret('pg', { passwordKey: 'pass.word_1' }) }),
  },
  'two names for one role': {
    wrong: withServer({
      superuser: Credentials.fromSecret('pg', { passwordKey: 'key', username: 'me', usernameKey: 'user' }),
    }),
    line: 'chart/server: `superuser.username` must stand alone, got "me"; give `username` or `usernameKey`, not both',
    right: withServer({ superuser: Credentials.fromSecret('pg', { passwordKey: 'key', usernameKey: 'user' }) }),
  },
  'a role name that is none': {
    wrong: withServer({ superuser: Credentials.fromSecret('pg', { passwordKey: 'key', username: 'x'.repeat(64) }) }),
    line: `chart/server: \`superuser.username\` must be a role name of 1 to 63 bytes, got "${'x'.repeat(64)}"; write for example "postgres"`,
    right: withServer({ superuser: Credentials.fromSecret('pg', { passwordKey: 'key', username: 'x'.repeat(63) }) }),
  },
  'a parameter that cannot be': {
    wrong: withServer({ settings: { 'work mem': '16MB' } }),
    line: 'chart/server: `settings` must have names of PostgreSQL parameters, got "work mem"; write for example "work_mem"',
    right: withServer({ settings: { 'pg_stat_statements.max': 1000 } }),
  },
  'a setting that would end its line': {
    wrong: withServer({ settings: { work_mem: "16MB'\nfsync = off" } }),
    line: 'chart/server: `settings` must have values of one line, got "16MB\'\\nfsync = off"; remove the line break',
    right: withServer({ settings: { work_mem: "16MB' fsync = off" } }),
  },
  'an image of a release that is too old': {
    wrong: withImage(PostgresImage.custom({ reference: 'example.com/pg:9.6', major: 9.6, uid: 999 })),
    line: 'chart/server: `major` must be a major release, 13 or later, got 9.6; write for example 18',
    right: withImage(PostgresImage.custom({ reference: 'example.com/pg:13.1', major: 13, uid: 999 })),
  },
  'a declared volume that is no path': {
    wrong: withImage(
      PostgresImage.custom({ reference: 'example.com/pg:18.1', major: 18, uid: 999, declaredVolumes: ['data'] }),
    ),
    line: 'chart/server: `declaredVolumes` must hold absolute paths, got "data"; write "/data"',
    right: withImage(
      PostgresImage.custom({ reference: 'example.com/pg:18.1', major: 18, uid: 999, declaredVolumes: ['/data'] }),
    ),
  },
  'a repository with a tag': {
    wrong: withImage(PostgresImage.official('18.1', { suite: 'trixie', repository: 'example.com/postgres:18' })),
    line: 'chart/server: `repository` must be an image name without a tag, got "example.com/postgres:18"; write for example "registry.example.com/postgres"',
    right: withImage(PostgresImage.official('18.1', { suite: 'trixie', repository: 'example.com:5000/postgres' })),
  },
  'a reference that is none': {
    wrong: withImage(PostgresImage.custom({ reference: 'my image:18.1', major: 18, uid: 999 })),
    line: 'chart/server: `reference` must be an image reference, got "my image:18.1"; write for example "registry.example.com/postgres:18.1-trixie"',
    right: withImage(PostgresImage.custom({ reference: `my-image@${digest}`, major: 18, uid: 999 })),
  },
  'half a retry': {
    wrong: (chart) => backup(chart, { retries: 1.5 }),
    line: 'chart/nightly: `retries` must be 0 or more, got 1.5; write for example 3',
    right: (chart) => backup(chart, { retries: 0 }),
  },
  'a day that no week has': {
    wrong: (chart) => backup(chart, { schedule: Schedule.weekly('Sunday' as 'sunday', '06:20') }),
    line: 'chart/nightly: `weekday` must be one of sunday, monday, tuesday, wednesday, thursday, friday, saturday, got "Sunday"; write for example "sunday"',
    right: (chart) => backup(chart, { schedule: Schedule.weekly('sunday', '06:20') }),
  },
  'a setting that the construct makes': {
    wrong: withServer({ settings: { port: 5433 } }),
    line: 'chart/server: `settings` must leave alone what the construct sets itself, got "port"; leave it out',
    right: withServer({ settings: { work_mem: '16MB' } }),
  },
  'an init script that would run after the last': {
    wrong: withServer({ initScripts: { 'zzzz.sql': '' } }),
    line: 'chart/server: `initScripts` must have file names that end in ".sql" or ".sh" and do not begin with "z", got "zzzz.sql"; write for example "01-extensions.sql"',
    right: withServer({ initScripts: { '01-extensions.sql': 'CREATE EXTENSION pg_trgm;' } }),
  },
  'a size of nothing': {
    wrong: withServer({ storage: Storage.claimTemplate({ size: Size.gibibytes(0) }) }),
    line: 'chart/server: `storage.size` must be above 0, got "0Gi"; write for example `Size.gibibytes(8)`',
    right: withServer({ storage: Storage.claimTemplate(gibibyte) }),
  },
  'an access mode that does not exist': {
    wrong: (chart) => volume(chart, { accessMode: 'ReadOnly' as 'ReadWriteOnce' }),
    line: 'chart/backups: `accessMode` must be ReadWriteOnce, ReadWriteOncePod, ReadWriteMany, got "ReadOnly"; write "ReadWriteOnce"',
    right: (chart) => volume(chart, { accessMode: 'ReadWriteMany' }),
  },
  'a startup without time': {
    wrong: withServer({ startupTimeout: Duration.seconds(1) }),
    line: 'chart/server: `startupTimeout` must be whole seconds from 2 to 604800, got "1 s"; write for example `Duration.seconds(2)`',
    right: withServer({ startupTimeout: Duration.minutes(1) }),
  },
  'a job without time': {
    wrong: (chart) => backup(chart, { deadline: Duration.seconds(0) }),
    line: 'chart/nightly: `deadline` must be whole seconds from 1 to 31536000, got "0 s"; write for example `Duration.seconds(1)`',
    right: (chart) => backup(chart, { deadline: Duration.hours(1) }),
  },
  'a starting deadline that the controller would miss': {
    wrong: (chart) => backup(chart, { startingDeadline: Duration.seconds(5) }),
    line: 'chart/nightly: `startingDeadline` must be whole seconds from 30 to 31536000, got "5 s"; write for example `Duration.seconds(30)`',
    right: (chart) => backup(chart, { startingDeadline: Duration.seconds(30) }),
  },
  'half a second': {
    wrong: (chart) => backup(chart, { lockTimeout: Duration.millis(500) }),
    line: 'chart/nightly: `lockTimeout` must be whole seconds from 1 to 1000000, got "0.5 s"; write for example `Duration.seconds(1)`',
    right: (chart) => backup(chart, { lockTimeout: Duration.seconds(1) }),
  },
  'a restore of a template': {
    wrong: (chart) => new LogicalRestore(chart, 'restore', { from: backup(chart), database: 'template1' }),
    line: 'chart/restore: `database` must be a database of the dump, no template, got "template1"; leave it out for the whole server',
    right: (chart) => new LogicalRestore(chart, 'restore', { from: backup(chart), database: 'app' }),
  },
  'sessions in capitals': {
    wrong: (chart) =>
      new LogicalRestore(chart, 'restore', { from: backup(chart), sessions: 'Terminate' as 'terminate' }),
    line: 'chart/restore: `sessions` must be "refuse" or "terminate", got "Terminate"; write "refuse"',
    right: (chart) => new LogicalRestore(chart, 'restore', { from: backup(chart), sessions: 'terminate' }),
  },
  'an archive that is the data volume': {
    wrong: (chart) => server(chart, { walArchive: walArchive(chart, { name: 'data-pg-0' }) }),
    line: 'chart/server: `walArchive` must be another claim than the server\'s data: a full or lost volume would take both, got "data-pg-0"; make a `WalArchive` with a name of its own',
    right: (chart) => server(chart, { walArchive: walArchive(chart) }),
  },
  "an archive on another server's data": {
    wrong: (chart) => {
      server(chart, { storage: Storage.existingClaim('old') });
      server(chart, { name: 'other', walArchive: walArchive(chart, { name: 'old' }) }, 'other');
    },
    line: [
      'chart/wal/claim: `claim` must not be one that holds the data of chart/server/stateful-set, got ns/old; name another one',
      'error: chart/other/stateful-set: `claim` must not be one that holds the data of chart/server/stateful-set, got ns/old; name another one',
    ].join('\n'),
    right: (chart) => {
      const archive = walArchive(chart);
      server(chart, { storage: Storage.existingClaim('old'), walArchive: archive });
      server(chart, { name: 'other', walArchive: archive }, 'other');
    },
  },
  'data on the archive of another server': {
    wrong: (chart) => {
      server(chart, { walArchive: walArchive(chart) });
      server(chart, { name: 'other', storage: Storage.existingClaim('pg-wal') }, 'other');
    },
    line: [
      'chart/wal/claim: `claim` must not be one that holds the data of chart/other/stateful-set, got ns/pg-wal; name another one',
      'error: chart/server/stateful-set: `claim` must not be one that holds the data of chart/other/stateful-set, got ns/pg-wal; name another one',
    ].join('\n'),
    right: (chart) => {
      server(chart, { walArchive: walArchive(chart) });
      server(chart, { name: 'other', storage: Storage.existingClaim('pg-data') }, 'other');
    },
  },
  'an archive on the backup volume': {
    wrong: (chart) => {
      const to = new LogicalBackup(new Chart(chart.node.root, 'other', { namespace: 'ns' }), 'nightly', {
        of: server(chart, { walArchive: walArchive(chart, { name: 'pg-backup' }) }),
        to: volume(new Chart(chart.node.root, 'third', { namespace: 'ns' }), { name: 'pg-backups' }),
        schedule: Schedule.daily('02:00'),
      });
      const cron = ApiObject.of(to.node.findChild('cron-job'));
      const path = '/spec/jobTemplate/spec/template/spec/volumes/0/persistentVolumeClaim/claimName';
      cron.addJsonPatch(JsonPatch.replace(path, 'pg-backup'));
    },
    line: [
      'chart/wal/claim: `claim` must not be one that holds the backups of other/nightly/cron-job, got ns/pg-backup; name another one',
      'error: chart/server/stateful-set: `claim` must not be one that holds the backups of other/nightly/cron-job, got ns/pg-backup; name another one',
    ].join('\n'),
    right: (chart) => backup(chart, { of: server(chart, { walArchive: walArchive(chart) }) }),
  },
  'an archive mounted on the data': {
    wrong: (chart) => server(chart, { walArchive: walArchive(chart, { mountPath: '/var/lib/postgresql/wal' }) }),
    line: 'chart/server: `walArchive.mountPath` must be mounted outside the data\'s claim, which is at /var/lib/postgresql, got "/var/lib/postgresql/wal"; leave it out for "/wal-archive"',
    right: (chart) => server(chart, { walArchive: walArchive(chart, { mountPath: '/var/lib/wal' }) }),
  },
  'an archive mounted around the data': {
    wrong: (chart) => server(chart, { walArchive: walArchive(chart, { mountPath: '/var/lib' }) }),
    line: 'chart/server: `walArchive.mountPath` must be mounted outside the data\'s claim, which is at /var/lib/postgresql, got "/var/lib"; leave it out for "/wal-archive"',
    right: (chart) => server(chart, { walArchive: walArchive(chart, { mountPath: '/srv/wal' }) }),
  },
  'an archive mounted on the scripts': {
    wrong: (chart) => server(chart, { walArchive: walArchive(chart, { mountPath: '/scripts' }) }),
    line: 'chart/server/stateful-set: `volumeMounts` of container "postgres" must have different paths, got "scripts" and "wal-archive" at /scripts; move one of them',
    right: (chart) => server(chart, { walArchive: walArchive(chart, { mountPath: '/scripts-of-mine' }) }),
  },
  'an archive mounted at a path with a space': {
    wrong: (chart) => walArchive(chart, { mountPath: '/wal archive' }),
    line: 'chart/wal: `mountPath` must be an absolute path of letters, digits, "-", "_" and ".", without a slash at the end, got "/wal archive"; write for example "/wal-archive"',
    right: (chart) => walArchive(chart, { mountPath: '/wal-archive' }),
  },
  'an archive on storage of another kind than the data': {
    wrong: (chart) => server(chart, { walArchive: walArchive(chart, { rootSquash: true }) }),
    line: 'chart/server: `rootSquash` must be the same for all claims of one pod, since fsGroup holds for the whole pod, got /wal-archive with it and /var/lib/postgresql without; put both on one kind of storage',
    right: (chart) =>
      server(chart, {
        storage: Storage.claimTemplate({ ...gibibyte, rootSquash: true }),
        walArchive: walArchive(chart, { rootSquash: true }),
      }),
  },
  'an archive in another namespace': {
    wrong: (chart) => {
      const other = new Chart(chart.node.root, 'other', { namespace: 'elsewhere' });
      server(chart, { walArchive: walArchive(other) });
    },
    line: 'chart/server: `walArchive` must be in this chart\'s namespace, ns, got "elsewhere"; put both into charts of one namespace',
    right: (chart) => {
      const other = new Chart(chart.node.root, 'other', { namespace: 'ns' });
      server(chart, { walArchive: walArchive(other) });
    },
  },
  'an archive command beside the archive': {
    wrong: (chart) => server(chart, { walArchive: walArchive(chart), settings: { Archive_Command: 'cp %p /x/%f' } }),
    line: 'chart/server: `settings` must leave the archive to `walArchive`, got "Archive_Command"; leave it out; `archiveTimeout` is a prop of `WalArchive`',
    right: withServer({ settings: { archive_mode: 'on', archive_command: 'cp %p /x/%f' } }),
  },
  'too little log to archive': {
    wrong: (chart) => server(chart, { walArchive: walArchive(chart), settings: { wal_level: 'minimal' } }),
    line: 'chart/server: `settings` must have a wal_level that can be archived, "replica" or "logical", got "minimal"; leave it out',
    right: (chart) => server(chart, { walArchive: walArchive(chart), settings: { wal_level: 'logical' } }),
  },
  'an archive timeout of nothing': {
    wrong: (chart) => walArchive(chart, { archiveTimeout: Duration.seconds(0) }),
    line: 'chart/wal: `archiveTimeout` must be whole seconds from 1 to 86400, got "0 s"; write for example `Duration.seconds(1)`',
    right: (chart) => walArchive(chart, { archiveTimeout: Duration.minutes(1) }),
  },
  'a pod label that is taken': {
    wrong: withServer({ podLabels: { 'app.kubernetes.io/name': 'db' } }),
    line: 'chart/server: `podLabels` must leave alone what the library and the chart set, got "app.kubernetes.io/name"; leave it out',
    right: withServer({ podLabels: { app: 'db' } }),
  },
  'a container name with a dot': {
    wrong: withServer({ containerName: 'db.1' }),
    line: 'chart/server: `containerName` must be lower-case letters, digits and "-", beginning and ending with a letter or digit, for a Container, got "db.1"; write for example "db-1"',
    right: withServer({ containerName: 'db' }),
  },
  'a construct in the file of claims': {
    wrong: (chart) =>
      new LogicalBackup(chart, 'claims', { of: server(chart), to: volume(chart), schedule: Schedule.daily('02:00') }),
    line: 'chart/claims: `id` must not be "claims", which is the file of claims that never change, got "claims"; write "backups"',
    right: (chart) =>
      new LogicalBackup(chart, 'backup', { of: server(chart), to: volume(chart), schedule: Schedule.daily('02:00') }),
  },
  'metrics read by a superuser': {
    wrong: withMetrics(),
    line: 'chart/server: `metrics.credentials.username` must be a role of its own, since metrics need no superuser, got "postgres"; write `Credentials.fromSecret("postgres-metrics", { username: "postgres_exporter", passwordKey: "password" })`',
    right: withMetrics('postgres_exporter'),
  },
  "metrics read by this server's superuser": {
    wrong: withServer({
      superuser: Credentials.fromSecret('pg', { passwordKey: 'password', username: 'boss' }),
      metrics: Metrics.exporter({ credentials: monitoring('boss') }),
    }),
    line: 'chart/server: `metrics.credentials.username` must be a role of its own, since metrics need no superuser, got "boss"; write `Credentials.fromSecret("postgres-metrics", { username: "postgres_exporter", passwordKey: "password" })`',
    right: withMetrics('boss'),
  },
  'a monitoring role that the exporter cannot log in as': {
    wrong: withMetrics('the watcher'),
    line: 'chart/server: `metrics.credentials.username` must have no white space, which postgres_exporter cannot take, got "the watcher"; write for example "postgres_exporter"',
    right: withMetrics('the-watcher'),
  },
  'a password of metrics in plain text': {
    wrong: withServer({ metrics: Metrics.exporter({ credentials: 'hunter2' as unknown as Credentials }) }),
    line: 'chart/server: `metrics.credentials` must refer to a Secret, got nothing that can be shown; write `Credentials.fromSecret("name-of-secret", { passwordKey: "key" })`',
    right: withMetrics('watcher'),
  },
  'an exporter that moves by itself': {
    wrong: withMetrics('watcher', 'quay.io/prometheuscommunity/postgres-exporter:latest'),
    line: 'chart/server: `metrics.image` must not be a tag that moves by itself, got "quay.io/prometheuscommunity/postgres-exporter:latest"; name a minor release in the tag or give a digest ("@sha256:…")',
    right: withMetrics('watcher', `quay.io/prometheuscommunity/postgres-exporter@${digest}`),
  },
  'an exporter that is no image': {
    wrong: withMetrics('watcher', 'postgres exporter'),
    line: 'chart/server: `metrics.image` must be an image reference, got "postgres exporter"; write for example "quay.io/prometheuscommunity/postgres-exporter:v0.20.1"',
    right: withMetrics('watcher', 'registry.example.com/postgres-exporter:v0.20.1'),
  },
  "the exporter's password in plain text": {
    wrong: (chart) =>
      ApiObject.of(watched(chart).node.findChild('stateful-set')).addJsonPatch(
        JsonPatch.add('/spec/template/spec/containers/1/env/-', { name: 'DATA_SOURCE_PASS', value: 'hunter2' }),
      ),
    line: 'chart/server/stateful-set: `env` of container "metrics" must take DATA_SOURCE_PASS from a Secret, got a value in plain text; use `valueFrom.secretKeyRef`',
    right: watched,
  },
  'a monitor of a server without metrics': {
    wrong: (chart) => new MetricsMonitor(chart, 'monitor', { of: server(chart) }),
    line: 'chart/monitor: `of` must be a server with metrics, got "chart/server"; give the server `metrics: Metrics.exporter({ … })`',
    right: (chart) => new MetricsMonitor(chart, 'monitor', { of: watched(chart) }),
  },
  'a monitor in another namespace': {
    wrong: (chart) =>
      new MetricsMonitor(new Chart(chart, 'other', { namespace: 'other' }), 'monitor', { of: watched(chart) }),
    line: 'chart/other/monitor: `of` must be in this chart\'s namespace, other, got "ns"; put both into charts of one namespace',
    right: (chart) => new MetricsMonitor(chart, 'monitor', { of: watched(chart), labels: { release: 'prometheus' } }),
  },
  'a scrape every half second': {
    wrong: (chart) => new MetricsMonitor(chart, 'monitor', { of: watched(chart), interval: Duration.millis(500) }),
    line: 'chart/monitor: `interval` must be whole seconds from 1 to 86400, got "0.5 s"; write for example `Duration.seconds(1)`',
    right: (chart) => new MetricsMonitor(chart, 'monitor', { of: watched(chart), interval: Duration.seconds(30) }),
  },
  'a monitoring role that is the superuser': {
    wrong: (chart) => new MonitoringRole(chart, 'role', { of: server(chart), credentials: monitoring() }),
    line: 'chart/role: `credentials.username` must be a role of its own, since metrics need no superuser, got "postgres"; write `Credentials.fromSecret("postgres-metrics", { username: "postgres_exporter", passwordKey: "password" })`',
    right: (chart) => new MonitoringRole(chart, 'role', { of: server(chart), credentials: monitoring('watcher') }),
  },
  'a monitoring role of a server in another namespace': {
    wrong: (chart) =>
      new MonitoringRole(new Chart(chart, 'other', { namespace: 'other' }), 'role', {
        of: server(chart),
        credentials: monitoring('watcher'),
      }),
    line: 'chart/other/role: `of` must be in this chart\'s namespace, other, got "ns"; put both into charts of one namespace',
    right: (chart) => new MonitoringRole(chart, 'role', { of: server(chart), credentials: monitoring('watcher') }),
  },
  'a restore of a file elsewhere': {
    wrong: (chart) => new LogicalRestore(chart, 'restore', { from: backup(chart), file: '../etc/passwd' }),
    line: 'chart/restore: `file` must be a file name on the backup volume, got "../etc/passwd"; write for example "postgres-backup-2026-11-21-020000.sql.gz"',
    right: (chart) => new LogicalRestore(chart, 'restore', { from: backup(chart), file: 'old.sql.gz' }),
  },
  'a URL for a host': {
    wrong: hosted('postgres://postgres:hunter2@pg/db'),
    line: 'chart/theirs: `host` must be a name or an address alone, no URL, got nothing that can be shown; write for example "pg" or "pg.data.svc"',
    right: hosted('pg'),
  },
  'a host with a port': {
    wrong: hosted('pg:5433'),
    line: 'chart/theirs: `host` must stand without a port, got "pg:5433"; write `host: "pg", port: 5433`',
    right: foreign({ host: 'pg', port: 5433 }),
  },
  'an address with a port': {
    wrong: hosted('[fd00::1]:5433'),
    line: 'chart/theirs: `host` must stand without a port, got "[fd00::1]:5433"; write `host: "fd00::1", port: 5433`',
    right: foreign({ host: 'fd00::1', port: 5433, tls: Tls.require() }),
  },
  'the pod itself for a host': {
    wrong: hosted('localhost'),
    line: 'chart/theirs: `host` must be another machine: every pod is its own "localhost", got "localhost"; write for example "pg" or "pg.data.svc"',
    right: hosted('pg.data.svc.cluster.local'),
  },
  'a host that no DNS knows': {
    wrong: hosted('Pg_1'),
    line: 'chart/theirs: `host` must be one DNS name in lower-case letters, or an address, got "Pg_1"; write for example "pg" or "pg.data.svc"',
    right: hosted('pg-1'),
  },
  'a list of hosts': {
    wrong: hosted('pg-0,pg-1'),
    line: 'chart/theirs: `host` must be one DNS name in lower-case letters, or an address, got "pg-0,pg-1"; write for example "pg" or "pg.data.svc"',
    right: hosted('pg-0'),
  },
  'an address with a mistake': {
    wrong: foreign({ host: '10.0.0.300', tls: Tls.require() }),
    line: 'chart/theirs: `host` must be one DNS name in lower-case letters, or an address, got "10.0.0.300"; write for example "pg" or "pg.data.svc"',
    right: foreign({ host: '10.0.0.30', tls: Tls.require() }),
  },
  'a host outside the cluster and not a word about TLS': {
    wrong: hosted('db.example.com'),
    line: 'chart/theirs: `tls` must be given for a host that is no Service of the cluster, got "db.example.com"; write for example `Tls.verifyFull({ ca: { secret: "pg-tls" } })`, or "name.namespace.svc" for a Service',
    right: foreign({ host: 'db.example.com', tls: Tls.verifyFull() }),
  },
  'a host that could be outside the cluster': {
    wrong: hosted('pg.data'),
    line: 'chart/theirs: `tls` must be given for a host that is no Service of the cluster, got "pg.data"; write for example `Tls.verifyFull({ ca: { secret: "pg-tls" } })`, or "name.namespace.svc" for a Service',
    right: hosted('pg.data.svc'),
  },
  'a port that does not exist': {
    wrong: foreign({ port: 70_000 }),
    line: 'chart/theirs: `port` must be 1 to 65535, got 70000; leave it out for 5432',
    right: foreign({ port: 6432 }),
  },
  'a uid that does not fit the image of an endpoint': {
    wrong: foreign({ uid: 999 }),
    line: 'chart/theirs: `uid` must be the one that bitnamilegacy/postgresql:17.6.0-debian-12-r4 runs as, 1001, got 999; leave it out',
    right: foreign({ uid: 1001 }),
  },
  'a uid that does not fit a custom image': {
    wrong: foreign({
      image: PostgresImage.custom({ reference: 'bitnamilegacy/postgresql:17.6.0-debian-12-r4', major: 17, uid: 999 }),
    }),
    line: 'chart/theirs: `uid` must be the one that bitnamilegacy/postgresql:17.6.0-debian-12-r4 runs as, 1001, got 999; write 1001',
    right: foreign({
      image: PostgresImage.custom({ reference: 'bitnamilegacy/postgresql:17.6.0-debian-12-r4', major: 17, uid: 1001 }),
    }),
  },
  'a uid that is patched into a server': {
    wrong: patched('/spec/template/spec/containers/0/securityContext/runAsUser', 1001),
    line: 'chart/server/stateful-set: `runAsUser` of container "postgres" must be the uid that postgres:18.1-trixie runs as, 999, got 1001; remove the patch',
    right: patched('/spec/template/spec/containers/0/securityContext/runAsUser', 999),
  },
  'a uid that is patched into a backup': {
    wrong: patchedBackup(1001),
    line: [
      'chart/nightly/cron-job: `runAsUser` of container "dump" must be the uid that postgres:18.1-trixie runs as, 999, got 1001; remove the patch',
      'error: chart/nightly/now: `to` must be a volume that one user writes to, got uid 999 on ns/pg-backup, which chart/nightly/cron-job writes to as uid 1001; make a `BackupVolume` for each',
    ].join('\n'),
    right: patchedBackup(999),
  },
  'two users on one backup volume': {
    wrong: twoBackups(BITNAMI),
    line: 'chart/other/cron-job: `to` must be a volume that one user writes to, got uid 1001 on ns/pg-backup, which chart/nightly/cron-job writes to as uid 999; make a `BackupVolume` for each',
    right: twoBackups(PostgresImage.official('17.6', { suite: 'trixie' })),
  },
  'a password in plain text for an endpoint': {
    wrong: foreign({ credentials: 'hunter2' as unknown as Credentials }),
    line: 'chart/theirs: `credentials` must refer to a Secret, got nothing that can be shown; write `Credentials.fromSecret("name-of-secret", { passwordKey: "key" })`',
    right: foreign({}),
  },
  'a mode of TLS as text': {
    wrong: foreign({ tls: 'require' as unknown as Tls }),
    line: 'chart/theirs: `tls` must be one of the modes of `Tls`, got "require"; write for example `Tls.require()`',
    right: foreign({ tls: Tls.require() }),
  },
  'public authorities for an old client': {
    wrong: foreign({
      image: PostgresImage.custom({ reference: 'example.com/pg:15.1', major: 15, uid: 999 }),
      tls: Tls.verifyFull(),
    }),
    line: 'chart/theirs: `tls` must name a `ca`: clients before PostgreSQL 16 do not know the public authorities, got "a client of PostgreSQL 15"; write for example `Tls.verifyFull({ ca: { secret: "pg-tls" } })`',
    right: foreign({
      image: PostgresImage.custom({ reference: 'example.com/pg:16.1', major: 16, uid: 999 }),
      tls: Tls.verifyFull(),
    }),
  },
  'public authorities for an image that has none': {
    wrong: foreign({ image: PostgresImage.official('18.1', { suite: 'trixie' }), tls: Tls.verifyFull() }),
    line: 'chart/theirs: `tls` must name a `ca`: the image has no certificates of public authorities, got "postgres:18.1-trixie"; write for example `Tls.verifyFull({ ca: { secret: "pg-tls" } })`',
    right: foreign({ tls: Tls.verifyFull() }),
  },
  'public authorities for the image that wrote the dumps': {
    wrong: (chart) =>
      new LogicalRestore(chart, 'restore', { from: backup(chart), into: endpoint(chart, { tls: Tls.verifyFull() }) }),
    line: 'chart/restore: `into.tls` must name a `ca`: the image has no certificates of public authorities, got "postgres:18.1-trixie"; write for example `Tls.verifyFull({ ca: { secret: "pg-tls" } })`',
    right: (chart) =>
      new LogicalRestore(chart, 'restore', {
        from: backup(chart),
        into: endpoint(chart, { tls: Tls.verifyFull({ ca: { secret: 'pg-tls' } }) }),
      }),
  },
  'an authority that is not named': {
    wrong: foreign({ tls: Tls.verifyCa({} as { ca: { secret: string } }) }),
    line: 'chart/theirs: `tls.ca` must name a certificate, got nothing; write for example `Tls.verifyCa({ ca: { secret: "pg-tls" } })`',
    right: foreign({ tls: Tls.verifyCa({ ca: { secret: 'pg-tls' } }) }),
  },
  'an authority in two places': {
    wrong: foreign({ tls: Tls.verifyCa({ ca: { secret: 'x', configMap: 'y' } as { secret: string } }) }),
    line: 'chart/theirs: `tls.ca` must name a Secret or a ConfigMap, got "x and y"; write for example `{ secret: "pg-tls" }`',
    right: foreign({ tls: Tls.verifyCa({ ca: { configMap: 'y' } }) }),
  },
  'a certificate where its key belongs': {
    wrong: foreign({ tls: Tls.verifyCa({ ca: { secret: 'x', key: '-----BEGIN CERTIFICATE-----' } }) }),
    line: 'chart/theirs: `tls.ca.key` must be a key of a Secret or ConfigMap (letters, digits, "-", "_", "."), got "a certificate"; write for example "ca.crt"',
    right: foreign({ tls: Tls.verifyCa({ ca: { secret: 'x', key: 'root.pem' } }) }),
  },
  'a client certificate in no Secret': {
    wrong: foreign({ tls: Tls.require({ clientCertificate: { secret: 'Client' } }) }),
    line: 'chart/theirs: `tls.clientCertificate.secret` must be lower-case letters, digits and "-", with single dots between, beginning and ending with a letter or digit, for a Secret, got "Client"; write for example "client"',
    right: foreign({ tls: Tls.require({ clientCertificate: { secret: 'client' } }) }),
  },
  'Bitnami’s latest': {
    wrong: foreign({ image: PostgresImage.bitnami('latest', { major: 18 }) }),
    line: 'chart/theirs: `tag` must not be one that moves by itself, got "latest"; give its `digest` (`docker buildx imagetools inspect`), or pass `allowFloatingTag: true`',
    right: foreign({ image: PostgresImage.bitnami('latest', { major: 18, digest }) }),
  },
  'a tag of Bitnami without a revision': {
    wrong: foreign({ image: PostgresImage.bitnami('17.6.0') }),
    line: 'chart/theirs: `tag` must not be one that moves by itself, got "17.6.0"; give its `digest` (`docker buildx imagetools inspect`), or pass `allowFloatingTag: true`',
    right: foreign({ image: PostgresImage.bitnami('17.6.0', { allowFloatingTag: true }) }),
  },
  'Bitnami’s latest of whatever release': {
    wrong: foreign({ image: PostgresImage.bitnami('latest', { digest }) }),
    line: 'chart/theirs: `major` must be given, a release from 13 on, since the tag latest does not say it, got nothing; write what `SHOW server_version` says, for example 18',
    right: foreign({ image: PostgresImage.bitnami('latest', { digest, major: 18 }) }),
  },
  'another release than the tag’s': {
    wrong: foreign({ image: PostgresImage.bitnami('17.6.0-debian-12-r4', { major: 18 }) }),
    line: 'chart/theirs: `major` must be the one of the tag 17.6.0-debian-12-r4, got 18; leave it out',
    right: foreign({ image: PostgresImage.bitnami('17.6.0-debian-12-r4', { major: 17 }) }),
  },
  'a whole reference for a tag': {
    wrong: foreign({ image: PostgresImage.bitnami('bitnami/postgresql:17') }),
    line: 'chart/theirs: `tag` must be a tag of Bitnami\'s image, got "bitnami/postgresql:17"; write for example "17.6.0-debian-12-r4" or "latest"',
    right: foreign({ image: PostgresImage.bitnami('17', { digest, repository: 'registry.example.com/mirror/pg' }) }),
  },
  'a server of ours from Bitnami’s image': {
    wrong: withImage(BITNAMI),
    line: 'chart/server: `image` must start and lie like the official one, got "bitnamilegacy/postgresql:17.6.0-debian-12-r4"; write `PostgresImage.official("18.1", { suite: "trixie" })`; a server of that image is a `PostgresEndpoint`',
    right: foreign({ image: BITNAMI }),
  },
  'zstd in an image without it': {
    wrong: (chart) => backup(chart, { of: endpoint(chart), compression: Compression.zstd() }),
    line: 'chart/nightly: `compression` must be one that bitnamilegacy/postgresql:17.6.0-debian-12-r4 has a program for, got "zstd"; write `Compression.gzip()`, or give the server an official image',
    right: (chart) => backup(chart, { of: endpoint(chart), compression: Compression.gzip() }),
  },
  'an endpoint in another namespace than its Secret’s user': {
    wrong: (chart) => backup(chart, { of: endpoint(new Chart(chart.node.root, 'other', { namespace: 'elsewhere' })) }),
    line: 'chart/nightly: `server` must be in this chart\'s namespace, ns, got "elsewhere"; make the endpoint here, with the Secret, and "pg.elsewhere.svc" as its `host`',
    right: hosted('pg.elsewhere.svc'),
  },
  'a monitoring role of an address whose endpoint is in another namespace': {
    wrong: (chart) =>
      new MonitoringRole(chart, 'role', {
        of: endpoint(new Chart(chart.node.root, 'other', { namespace: 'elsewhere' }), {
          host: '10.1.2.3',
          tls: Tls.require(),
        }),
        credentials: monitoring('watcher'),
      }),
    line: 'chart/role: `of` must be in this chart\'s namespace, ns, got "elsewhere"; make the endpoint here, with the Secret, and "10.1.2.3" as its `host`',
    right: (chart) =>
      new MonitoringRole(chart, 'role', {
        of: endpoint(chart, { host: '10.1.2.3', tls: Tls.require() }),
        credentials: monitoring('watcher'),
      }),
  },
  'backups on the data of an endpoint': {
    wrong: foreign({ dataClaim: 'pg-backup' }),
    line: 'chart/nightly: `to` must be another claim than the server\'s data: a full or lost volume would take both, got "pg-backup"; make a `BackupVolume` with a name of its own',
    right: foreign({ dataClaim: 'data-pg-0' }),
  },
};

describe('synth refuses', () => {
  it.each(Object.entries(REFUSALS))('%s', (_, { wrong, line, right }) => {
    expect(refusal(wrong)).toBe(line);
    expect(render(right).length).toBeGreaterThan(0);
  });

  it('all problems of patched objects at once, one a line', () => {
    const lines = refusal(mounted({ name: 'nowhere', mountPath: '/mnt' }, { name: 'run', mountPath: '/tmp' })).split(
      '\n',
    );
    expect(lines).toHaveLength(2);
  });

  it('never with the password that it was given', () => {
    expect(refusal(withServer({ superuser: 'hunter2' as unknown as Credentials }))).not.toContain('hunter2');
  });
});
