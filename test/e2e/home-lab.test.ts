import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { claimOf } from './cluster';
import { CLAIM, HomeLabOnCluster, NAMESPACE, PASSWORD } from './home-lab';
import { getItems, kubectl, tryKubectl } from './kubectl';
import { press } from './press';
import { say } from './progress';
import { Client, waitJob } from './server';
import { steps } from './steps';
import { Writer } from './writer';

const step = steps();
let lab: HomeLabOnCluster;
let backupTest: string;
let client: Client | undefined;
/** Logs of all Jobs, which must not hold the password. */
const logs: string[] = [];

beforeAll(async () => {
  lab = await HomeLabOnCluster.prepare();
});
afterAll(async () => {
  await lab?.close();
});

step('kubectl apply -f dist/home-lab/ brings it up, and a second time leaves everything unchanged', async () => {
  const lines = (await lab.apply()).trimEnd().split('\n');
  expect(lines.length).toBeGreaterThan(5);
  expect(lines.filter((line) => !line.endsWith(' created'))).toEqual([]);
  await lab.server.waitReady();
  const before = await desired();
  const again = (await lab.apply()).trimEnd().split('\n');
  expect(again.length).toBe(lines.length);
  // kubectl sends claim templates anew, as the server puts defaults into them, and calls that "configured".
  const [touched, rest] = [again.filter(isStatefulSet), again.filter((line) => !isStatefulSet(line))];
  expect(touched.length).toBe(1);
  expect(rest.filter((line) => !line.endsWith(' unchanged'))).toEqual([]);
  expect(await desired()).toEqual(before);
});

step('the claims are bound, of the right class and size', async () => {
  for (const [name, size] of [
    [CLAIM, '8Gi'],
    ['postgres-backup', '10Gi'],
  ] as const) {
    const { spec, status } = await claimOf(NAMESPACE, name);
    expect(status.phase).toBe('Bound');
    expect(spec.accessModes).toEqual(['ReadWriteOnce']);
    expect(spec.storageClassName).toBe(lab.cluster.storageClass);
    expect(spec.resources.requests.storage).toBe(size);
  }
});

step('it runs as 999:999, and PGDATA is 0700 and its own', async () => {
  expect((await lab.server.exec(['id', '-u'])).trim()).toBe('999');
  expect((await lab.server.exec(['id', '-g'])).trim()).toBe('999');
  const processes = await lab.server.exec(['bash', '-c', 'cat /proc/[0-9]*/status']);
  const uids = [...processes.matchAll(/^[UG]id:\t(.*)$/gm)].map(([, ids]) => ids);
  expect(new Set(uids)).toEqual(new Set(['999\t999\t999\t999']));
  const pgdata = await lab.server.exec(['stat', '-c', '%a %u:%g', '/var/lib/postgresql/data']);
  expect(pgdata.trim()).toBe('700 999:999');
  expect(await lab.server.psql('SHOW data_directory')).toBe('/var/lib/postgresql/data');
});

step('it wants the password of the Secret, whatever characters it has', async () => {
  client = await Client.start(lab.restoreJob, NAMESPACE, 'e2e-client');
  const who = ['psql', '-X', '-w', '-A', '-t', '-c', 'SELECT current_user'];
  expect((await client.exec(who)).trim()).toBe('postgres');
  const wrong = await tryKubectl(client.execArgs(['env', 'PGPASSWORD=wrong', ...who]));
  expect(wrong.stderr).toMatch(/password authentication failed/);
  expect(wrong.status).not.toBe(0);
});

step('the Service finds the server and no pod of a Job', async () => {
  type Endpoints = { metadata: { name: string }; subsets?: { addresses?: { targetRef?: { name: string } }[] }[] };
  const all = await getItems<Endpoints>(['endpoints', '-n', NAMESPACE]);
  const ours = all.find(({ metadata }) => metadata.name === 'postgres-postgresql');
  const pods = ours?.subsets?.flatMap(({ addresses = [] }) => addresses.map(({ targetRef }) => targetRef?.name));
  expect(pods).toEqual(['postgres-postgresql-0']);
});

step('HL-10: create job --from=cronjob/postgres-backup: a dump with its manifest is on the volume', async () => {
  await lab.loadData();
  backupTest = await lab.content('backup_test');
  logs.push(await press(lab, 'postgres-backup', 'manual-backup'));
  const files = await dumps();
  const dump = /^postgres-backup-\d{4}-\d\d-\d\d-\d{6}\.sql\.gz$/;
  expect(files.length).toBe(2);
  expect(files[0]).toMatch(dump);
  expect(files[1]).toBe(`${files[0]}.manifest.json`);
  const manifest = JSON.parse(await client!.exec(['cat', `/backup/${files[1]}`]));
  expect(await client!.exec(['sha256sum', `/backup/${files[0]}`])).toMatch(new RegExp(`^${manifest.sha256} `));
  const tables = manifest.databases.find(({ name }: { name: string }) => name === 'backup_test').tables;
  expect(tables).toEqual(
    expect.arrayContaining([
      { name: 'public.users', rows: 3 },
      { name: 'public.transactions', rows: 5 },
    ]),
  );
});

step('the button for a dump makes one, too', async () => {
  const before = await dumps();
  logs.push(await press(lab, 'postgres-backup-now', 'pressed'));
  expect((await dumps()).length).toBe(before.length + 2);
});

step('the button for a restore puts databases beside the live ones, and says how to drop them', async () => {
  const log = await press(lab, 'postgres-restore-fresh', 'look');
  logs.push(log);
  const names = async () => (await lab.server.psql('SELECT datname FROM pg_database ORDER BY 1')).split('\n');
  const copy = (await names()).find((name) => /^backup_test_restored_\d{14}$/.test(name))!;
  expect((await lab.content(copy)).replaceAll(copy, 'backup_test')).toBe(backupTest);
  expect(await lab.content('backup_test')).toBe(backupTest);
  const commands = / when nobody needs it any more: (.*;)$/.exec(log.trimEnd().split('\n').at(-1)!)![1]!;
  for (const command of commands.split(/(?<=;) (?=DROP )/)) await lab.server.psql(command);
  expect((await names()).filter((name) => name.includes('_restored_'))).toEqual([]);
});

step('a button never runs by itself', async () => {
  type CronJob = { metadata: { name: string }; spec: { suspend?: boolean }; status: { lastScheduleTime?: string } };
  const all = await getItems<CronJob>(['cronjobs', '-n', NAMESPACE]);
  const suspended = all.filter(({ spec }) => spec.suspend);
  expect(suspended.map(({ metadata }) => metadata.name).sort()).toEqual([
    'postgres-backup-now',
    'postgres-restore-fresh',
  ]);
  expect(suspended.filter(({ status }) => status.lastScheduleTime)).toEqual([]);
});

step('kubectl apply refuses the operations', async () => {
  const { status, stderr } = await tryKubectl(['apply', '-f', path.join(lab.folder, 'ops')]);
  expect(stderr).toMatch(/cannot use generate name with apply/);
  expect(status).not.toBe(0);
  const jobs = await getItems<{ metadata: { name: string } }>(['jobs', '-n', NAMESPACE]);
  expect(jobs.filter(({ metadata }) => metadata.name.startsWith('postgres-restore-'))).toEqual([]);
});

step('after DROP DATABASE the whole-server restore brings everything back', async () => {
  await dropBackupTest();
  await runRestore(['create', '-f', lab.restoreFile]);
  expect(await lab.content('backup_test')).toBe(backupTest);
});

step('one database is restored while another is written to, which keeps every row and every connection', async () => {
  const writer = await Writer.start(lab.restoreJob, lab.server);
  await writer.progress(100);
  await dropBackupTest();
  await runRestore(['create', '-f', '-'], 'DATABASE=backup_test');
  await writer.progress(100);
  expect(await writer.errors()).toBe('');
  expect(await writer.lost()).toEqual([]);
  await writer.stop();
  expect(await lab.content('backup_test')).toBe(backupTest);
});

step('the server and its claim are lost: a new one gets everything from the newest dump', async () => {
  await kubectl(['delete', 'statefulset', 'postgres-postgresql', '-n', NAMESPACE, '--cascade=foreground', '--wait']);
  await kubectl(['delete', 'persistentvolumeclaim', CLAIM, '-n', NAMESPACE, '--wait']);
  await lab.apply();
  await lab.server.waitReady();
  expect(await lab.server.psql("SELECT count(*) FROM pg_database WHERE datname = 'backup_test'")).toBe('0');
  await runRestore(['create', '-f', lab.restoreFile]);
  expect(await lab.content('backup_test')).toBe(backupTest);
  expect(await lab.server.psql('SELECT count(*) FROM load', 'busy')).toBe('500');
});

step('the password is in no log and in nothing that was rendered', async () => {
  const rendered = fs.readdirSync(lab.folder, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.yaml'));
  const texts = [
    ...logs,
    await lab.server.logs(),
    ...rendered.map((f) => fs.readFileSync(path.join(lab.folder, f), 'utf8')),
  ];
  expect(logs.length).toBe(6);
  expect(texts.filter((text) => text.includes(PASSWORD))).toEqual([]);
});

/** Data files and manifests on the backup volume, sorted by name. */
async function dumps(): Promise<string[]> {
  const files = (await client!.exec(['ls', '-A', '/backup'])).trimEnd().split('\n');
  return files.filter((file) => !file.startsWith('.'));
}

/** @param variables of the Job's environment, set by kubectl: the form that the README shows */
async function runRestore(create: readonly string[], ...variables: string[]): Promise<void> {
  const input =
    variables.length > 0
      ? await kubectl(['set', 'env', '--local', '-f', lab.restoreFile, '-o', 'yaml', ...variables])
      : undefined;
  const started = Date.now();
  const job = (await kubectl([...create, '-o', 'name'], input)).trim().replace('job.batch/', '');
  expect(job).toMatch(/^postgres-restore-\w{5}$/);
  logs.push(await waitJob(NAMESPACE, job));
  say(`${job} ${variables.join(' ') || 'whole server'}: ${((Date.now() - started) / 1000).toFixed(1)} s`);
}

async function dropBackupTest(): Promise<void> {
  await lab.server.psql('DROP DATABASE backup_test');
}

function isStatefulSet(line: string): boolean {
  return line.startsWith('statefulset.');
}

/** The applied objects as the server has them, without what changes by itself. */
async function desired(): Promise<unknown[]> {
  type Live = { metadata: Record<string, unknown>; spec?: object; data?: object };
  const { items } = JSON.parse(await kubectl(['get', '-f', lab.folder, '-o', 'json'])) as { items: Live[] };
  return items.map(({ metadata, spec, data }) => {
    const { resourceVersion: _, managedFields: __, ...kept } = metadata;
    return { metadata: kept, spec, data };
  });
}
