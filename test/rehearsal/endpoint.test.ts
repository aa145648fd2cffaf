import { lstatSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Chart, Size, Testing } from 'cdk8s';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  BackupVolume,
  Credentials,
  LogicalBackup,
  LogicalRestore,
  Postgres,
  PostgresEndpoint,
  PostgresImage,
  Retention,
  Schedule,
  Storage,
  Tls,
  type VerifyFullProps,
} from '../../lib';
import { type JobResult, type KubeObject, majors, type PodHandle, Rehearsal } from '.';
import { BackupFiles } from './backup-volume';
import { Authority, bitnamiRelease } from './bitnami';
import { PASSWORD } from './home-lab';

const sql = (path: string) => readFileSync(join(__dirname, '..', path), 'utf8');
const NASTY = sql('scripts/fixtures/nasty.sql');
const CONTENT = sql('e2e/sql/content.sql');

const BITNAMI = `bitnami/postgresql@sha256:${'0a'.repeat(32)}`;
const lastLine = ({ log }: JobResult) => log.trimEnd().split('\n').at(-1)!;
const nfs = { size: Size.gibibytes(10), storageClass: 'nfs-client', rootSquash: true };
const secret = (name: string, stringData: Record<string, string>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: { name, namespace: 'data' },
  stringData,
});

describe.each(majors())('servers that someone else deployed, PostgreSQL %i', (major) => {
  const image = PostgresImage.bitnami('latest', { major, digest: `sha256:${'0a'.repeat(32)}` });
  const ca = new Authority('the right authority');
  const stranger = new Authority('a stranger');
  const key = ca.key();
  const clientKey = ca.key();
  let cluster: Rehearsal;
  let secure: PodHandle;

  const psql = (service: string, text: string, db = 'postgres') =>
    cluster.psql(text, { service, db, user: 'postgres', password: PASSWORD });
  const content = (service: string) => psql(service, CONTENT, 'backup_test');
  const files = (claim: string) => new BackupFiles(cluster.claim(claim));
  const run = (name: string) => cluster.runCronJob(name);
  const dumped = async (name: string, clock: string) => {
    const result = await cluster.runCronJob(name, { clock });
    expect(result).toMatchObject({ succeeded: true });
    return result;
  };

  /** What the library renders: endpoints, and jobs of every kind against them. */
  function ours(): KubeObject[] {
    const chart = new Chart(new App(), 'ours', { namespace: 'data' });
    const endpoint = (host: string, tls?: Tls, id = host, username = 'postgres') =>
      PostgresEndpoint.fromService(chart, id, {
        host,
        credentials: Credentials.fromSecret(username === 'postgres' ? host.split('.')[0]! : 'cert-admin', {
          passwordKey: 'postgres-password',
          username,
        }),
        image,
        ...(tls && { tls }),
      });
    const volume = (name: string) => new BackupVolume(chart, `${name}-volume`, { name, ...nfs });
    const backup = (name: string, of: PostgresEndpoint | Postgres, to: BackupVolume) =>
      new LogicalBackup(chart, name, {
        of,
        to,
        name,
        schedule: Schedule.daily('02:00'),
        retention: Retention.last(2),
        retries: 0,
      });

    const theirs = endpoint('theirs');
    const nightly = backup('theirs-backup', theirs, volume('theirs-backup'));
    new LogicalRestore(chart, 'theirs-restore', { from: nightly, database: 'backup_test' });

    const own = new Postgres(chart, 'own', {
      name: 'own',
      image: PostgresImage.official(`${major}.1`, { suite: 'trixie' }),
      storage: Storage.claimTemplate({ size: Size.gibibytes(1) }),
      superuser: Credentials.fromSecret('own', { passwordKey: 'postgres-password' }),
    });
    const ofOwn = backup('own-backup', own, volume('own-backup'));
    new LogicalRestore(chart, 'into-own', { from: nightly, into: own, name: 'into-own', database: 'backup_test' });
    new LogicalRestore(chart, 'into-theirs', { from: ofOwn, into: theirs, name: 'into-theirs', database: 'mine' });

    const to = volume('secure-backup');
    const right: VerifyFullProps = { ca: { configMap: 'authorities', key: 'right.pem' } };
    const verified = backup('verified', endpoint('secure.data.svc', Tls.verifyFull(right), 'verified-server'), to);
    new LogicalRestore(chart, 'secure-restore', { from: verified, name: 'secure-restore', database: 'backup_test' });
    const clientCertificate = { secret: 'client-tls' };
    const refused: Record<string, PostgresEndpoint> = {
      'no-tls': endpoint('theirs', Tls.require(), 'a'),
      plain: endpoint('secure', Tls.disable(), 'b'),
      'wrong-ca': endpoint('secure', Tls.verifyFull({ ca: { configMap: 'authorities', key: 'wrong.pem' } }), 'c'),
      'wrong-name': endpoint('secure', Tls.verifyFull(right), 'd'),
      'no-pem': endpoint('secure', Tls.verifyCa({ ca: { configMap: 'authorities', key: 'no.pem' } }), 'e'),
      'no-certificate': endpoint('secure', Tls.require(), 'f', 'cert_admin'),
    };
    for (const [name, of] of Object.entries(refused)) backup(name, of, to);
    backup('any-name', endpoint('secure', Tls.verifyCa({ ca: right.ca! }), 'g'), to);
    backup(
      'certificate',
      endpoint('secure', Tls.verifyCa({ ca: right.ca!, clientCertificate }), 'h', 'cert_admin'),
      to,
    );
    return Testing.synth(chart);
  }

  beforeAll(async () => {
    const hosts = ['secure.data.svc', 'secure.data.svc.cluster.local'];
    const expired = ca.sign(key, 'secure', { hosts, dates: ['20200101000000Z', '20210101000000Z'] });
    const release = { image: BITNAMI, password: PASSWORD };
    cluster = await Rehearsal.open({
      major,
      name: 'endpoint',
      volumes: {
        'data-theirs-0': { kind: 'block' },
        'data-secure-0': { kind: 'block' },
        'theirs-backup': { kind: 'squash' },
        'own-backup': { kind: 'squash' },
        'secure-backup': { kind: 'squash' },
      },
      objects: [
        ...bitnamiRelease({ ...release, name: 'theirs' }),
        ...bitnamiRelease({
          ...release,
          name: 'secure',
          certificates: {
            'tls.crt': ca.sign(key, 'secure', { hosts }),
            'tls.key': key,
            'clients.crt': ca.certificate,
            'expired.crt': expired,
          },
          pgHba: 'hostssl all cert_admin all cert\nhostssl all all all scram-sha-256\nlocal all all trust\n',
        }),
        secret('own', { 'postgres-password': PASSWORD }),
        secret('cert-admin', { 'postgres-password': 'is not asked for' }),
        secret('client-tls', { 'tls.crt': ca.sign(clientKey, 'cert_admin'), 'tls.key': clientKey }),
        {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { name: 'authorities', namespace: 'data' },
          data: { 'right.pem': ca.certificate, 'wrong.pem': stranger.certificate, 'no.pem': 'not a certificate' },
        },
        ...ours(),
      ],
    });
    const servers = await Promise.all(['theirs', 'secure', 'own'].map((name) => cluster.startStatefulSet(name)));
    await Promise.all(servers.map((server) => server.waitReady()));
    secure = servers[1]!;
    await psql('theirs', NASTY);
    await psql('secure', NASTY);
    await psql('secure', `ALTER SYSTEM SET ssl_ca_file = '/opt/bitnami/postgresql/certs/clients.crt'`);
    await psql('secure', 'ALTER SYSTEM SET log_connections = on');
    await psql('secure', 'CREATE ROLE cert_admin SUPERUSER LOGIN; SELECT pg_reload_conf()');
  });
  afterAll(async () => {
    await cluster?.close();
    ca.close();
    stranger.close();
  });

  it('are what Bitnami’s chart makes: 1001, its paths, a volume of its own', async () => {
    expect(secure.logs()).not.toContain('error:');
    const done = await secure.exec(['bash', '-c', 'id -u; id -g; stat -c "%u:%g %a" $PGDATA; ls /bitnami/postgresql']);
    expect(done.stdout).toBe('1001\n1001\n1001:1001 700\nconf\ndata\nlost+found\n');
    const tools =
      'for t in bash gzip flock awk sha256sum psql pg_dumpall zstd xz ps; do type -P $t >/dev/null || echo $t; done';
    expect((await secure.exec(['bash', '-c', tools])).stdout).toBe('zstd\nxz\nps\n');
  });

  it('are dumped as 1001, old dumps go, and a dropped database comes back', async () => {
    for (const day of [1, 2, 3]) await dumped('theirs-backup', `2026-11-0${day} 02:00:00`);
    const volume = files('theirs-backup');
    const days = volume.dumps().map((name) => /^theirs-backup-2026-11-(\d\d)-0200\d\d\.sql\.gz$/.exec(name)?.[1]);
    expect(days).toEqual(['02', '03']);
    for (const name of volume.names()) expect(lstatSync(volume.path(name))).toMatchObject({ uid: 1001, gid: 1001 });

    const before = await content('theirs');
    expect(before).toContain('alice');
    await psql('theirs', 'DROP DATABASE backup_test');
    const result = await cluster.runJob('theirs-restore-');
    expect(result.log).toContain('connect: not encrypted: the server has no TLS');
    expect(result.log).toContain('compare: backup_test: 2 tables, rows as in the manifest');
    expect(result.succeeded).toBe(true);
    expect(await content('theirs')).toBe(before);
  });

  it('are restored into our own server, and ours into theirs', async () => {
    const into = await cluster.runJob('into-own-');
    expect(into).toMatchObject({ succeeded: true });
    expect(await content('own')).toBe(await content('theirs'));
    await psql('own', 'CREATE DATABASE mine');
    await psql('own', 'CREATE TABLE t AS SELECT generate_series(1, 5) AS n', 'mine');
    await dumped('own-backup', '2026-11-04 02:00:00');
    const volume = files('own-backup');
    expect(volume.dumps().map((name) => lstatSync(volume.path(name)).uid)).toEqual([999]);
    expect(await cluster.runJob('into-theirs-')).toMatchObject({ succeeded: true });
    expect(await psql('theirs', 'SELECT count(*), sum(n) FROM t', 'mine')).toBe('5|15');
  });

  it('are believed with the right authority only, by dump and restore', async () => {
    const job = await cluster.startCronJob('verified');
    await expect
      .poll(
        () =>
          psql(
            'secure',
            `SELECT DISTINCT ssl, version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
             WHERE application_name IN ('verified', 'pg_dump', 'pg_dumpall')`,
          ),
        { timeout: 20_000, interval: 20 },
      )
      .toBe('t|TLSv1.3');
    const dump = await job.wait();
    expect(dump).toMatchObject({ succeeded: true });
    expect(dump.log).toMatch(/ connect: server .*, TLSv1\.3\n/);

    const before = await content('secure');
    await psql('secure', 'DROP DATABASE backup_test');
    const restore = await cluster.runJob('secure-restore-');
    expect(restore.log).toMatch(/ connect: server .*, TLSv1\.3\n/);
    expect(restore.succeeded).toBe(true);
    expect(await content('secure')).toBe(before);
    const authorized = secure.logs().match(/connection authorized: .*user=postgres .*/g) ?? [];
    expect(authorized.length).toBeGreaterThan(10);
    expect(authorized.filter((line) => !line.includes('SSL enabled'))).toEqual([]);
  });

  it('are believed under another name where only the authority is asked for', async () => {
    expect(await run('any-name')).toMatchObject({ succeeded: true });
  });

  it('let in who has a certificate, which no other process can read', async () => {
    expect(await run('certificate')).toMatchObject({ succeeded: true });
    expect(secure.logs()).toMatch(/connection authorized: user=cert_admin .*SSL enabled/);
  });

  it.each([
    ['no-tls', /the server at theirs:5432 has no TLS, and PGSSLMODE=require wants it; switch it on there/],
    [
      'plain',
      /does not let user postgres in from this pod without TLS; set PGSSLMODE \(the endpoint's Tls.require\(\)/,
    ],
    [
      'wrong-ca',
      /the certificate of the server at secure:5432 is not signed by the authority in `tls.ca`, or has expired; compare/,
    ],
    [
      'wrong-name',
      /certificate of the server is for another name than secure \(.*"secure.data.svc".*\); give the endpoint/,
    ],
    [
      'no-pem',
      /the certificate of the authority cannot be read \(.*\/tls\/ca\/ca.crt.*\); the key that `tls.ca` names/,
    ],
    ['no-certificate', /does not accept this client's certificate \(.*\); set `clientCertificate` of `tls`/],
  ])('are refused with the reason and what helps: %s', async (name, message) => {
    const result = await run(name);
    expect(result).toMatchObject({ succeeded: false });
    expect(lastLine(result)).toMatch(/^\S+ connect: error: /);
    expect(lastLine(result)).toMatch(message);
    expect(
      files('secure-backup')
        .names()
        .filter((one) => one.includes(name)),
    ).toEqual([]);
  });

  it('are refused with a certificate that has expired', async () => {
    const use = (file: string) =>
      psql('secure', `ALTER SYSTEM SET ssl_cert_file = '/opt/bitnami/postgresql/certs/${file}'`).then(() =>
        psql('secure', 'SELECT pg_reload_conf()'),
      );
    await use('expired.crt');
    const result = await run('verified');
    expect(lastLine(result)).toMatch(/is not signed by the authority in `tls.ca`, or has expired; compare both/);
    await use('tls.crt');
    expect(await run('verified')).toMatchObject({ succeeded: true });
  });
});
