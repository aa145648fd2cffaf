import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Size } from 'cdk8s';
import { Cpu } from 'cdk8s-plus-28';
import { Compression } from '../lib';
import { image, Rehearsal } from '../test/rehearsal';
import { BACKUP, DATA_CLAIM, homeLab, SERVER } from '../test/rehearsal/home-lab';
import type { KubeObject, PodHandle } from '../test/rehearsal/runner/types';
import { median, onTwoCores, row } from './figures';
import { CANDIDATES, type Candidate } from './rivals/candidates';
import { type Fault, faults } from './rivals/faults';
import { sqlOf, Trial } from './rivals/trial';
import { shop } from './shop';
import { type Run, timed } from './timed-job';

const RUNS = 3;
const SHARE = 0.25;
const ROWS = 20_000;
const DATA = `
  CREATE TABLE orders AS SELECT i AS id, md5(i::text) AS t FROM generate_series(1, ${ROWS}) i;
  ALTER TABLE orders ADD PRIMARY KEY (id);`;

interface Verdict {
  fault: Fault;
  /** By candidate. */
  complaints: string[][];
}

/** What others do on the same data: time, size, and how many of the faults each survives. */
export async function bench(): Promise<{ title: string; markdown: string }> {
  onTwoCores();
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk8s-postgres-rivals-'));
  const roomy = { cpu: { request: Cpu.units(1), limit: Cpu.units(2) } };
  const memory = { request: Size.gibibytes(3), limit: Size.gibibytes(3) };
  const objects = homeLab(18, { rootSquash: false, server: { resources: { ...roomy, memory } } });
  const cronJob = objects.find((one) => one.kind === 'CronJob' && one.metadata.name === BACKUP)!;
  const volumes = Object.assign({ [DATA_CLAIM]: { kind: 'plain' } }, ...CANDIDATES.map(Trial.claims));
  const older = await image(15);
  const open = () => Rehearsal.open({ major: 18, objects, volumes, name: 'bench' });
  const [cluster, empty] = [await open(), await open()];
  try {
    const [, server] = await Promise.all([ready(cluster), ready(empty)]);
    await cluster.psql('CREATE DATABASE shop');
    await cluster.psql(shop(SHARE), { db: 'shop', timeoutMs: 600_000 });
    const size = Number(await cluster.psql('SELECT pg_database_size(current_database())', { db: 'shop' }));
    const runs = await race(cluster, cronJob);
    await cluster.psql('DROP DATABASE shop');
    await cluster.psql('CREATE DATABASE shop');
    await cluster.psql(DATA, { db: 'shop' });
    const trials = CANDIDATES.map((one) => new Trial(one, cluster, empty, cronJob, { rows: ROWS }, folder));
    await Promise.all(trials.map((trial) => trial.prepare()));
    const verdicts: Verdict[] = [];
    for (const fault of faults(older)) verdicts.push({ fault, complaints: await judge(fault, cluster, trials) });
    for (const trial of trials) await expectRestorable(trial, empty, server);
    return { title: 'Against others', markdown: report(cluster.version, size, runs, verdicts) };
  } finally {
    await Promise.all([cluster.close(), empty.close()]);
    fs.rmSync(folder, { recursive: true });
  }
}

async function ready(cluster: Rehearsal): Promise<PodHandle> {
  const server = await cluster.startStatefulSet(SERVER);
  await server.waitReady(120_000);
  return server;
}

// ---- time and size -------------------------------------------------------------------------------------------------

interface Contender {
  title: string;
  command: string;
  env: Record<string, string>;
}

function contenders(): Contender[] {
  const ours = (name: string, env: Record<string, string>) => ({
    title: `cdk8s-postgres, ${name}`,
    command: 'bash /scripts/logical-backup.sh',
    env,
  });
  const rival = ({ title, script }: Candidate) => ({
    title,
    command: `bash -c '${script!.replaceAll("'", `'\\''`)}'`,
    env: { PGDUMP_DIR: '/backup', POSTGRES_DB: 'shop' },
  });
  return [
    ours('gzip', Compression.gzip()._env),
    ours('zstd', Compression.zstd()._env),
    ...CANDIDATES.filter((one) => one.script !== undefined).map(rival),
  ];
}

async function race(cluster: Rehearsal, cronJob: KubeObject): Promise<Map<string, Run[]>> {
  const runs = new Map(contenders().map(({ title }) => [title, [] as Run[]]));
  for (let round = 0; round <= RUNS; round++) {
    for (const { title, command, env } of contenders()) {
      const run = await timed(cluster, cronJob, command, env);
      // The first round fills the caches.
      if (round > 0) runs.get(title)!.push(run);
    }
  }
  return runs;
}

// ---- faults --------------------------------------------------------------------------------------------------------

/** Everybody meets it at the same time. */
async function judge(fault: Fault, cluster: Rehearsal, trials: readonly Trial[]): Promise<string[][]> {
  process.stderr.write(`bench: ${fault.title}\n`);
  if (fault.database) {
    await cluster.psql(`CREATE DATABASE "${fault.database}"`);
    await cluster.psql(`CREATE TABLE t AS SELECT 'found in ${fault.database}' AS t`, { db: fault.database });
  }
  const rest = fault.course === 'two at once' ? await lockedTable(cluster, trials.length) : async () => {};
  const found = await Promise.all(trials.map((trial) => trial.suffer(fault, rest)));
  if (fault.course === 'two at once') await cluster.psql('DROP TABLE more', { db: 'shop' });
  if (fault.database) await cluster.psql(`DROP DATABASE "${fault.database}"`);
  return found;
}

/** Holds every dump at the same table until all have come so far; the returned function says that one more has started. */
async function lockedTable(cluster: Rehearsal, parties: number): Promise<() => Promise<void>> {
  const waiting = () => cluster.psql("SELECT count(*) FROM pg_locks WHERE locktype = 'relation' AND NOT granted");
  // Big enough that none is written before the other has begun.
  await cluster.psql('CREATE TABLE more AS SELECT md5(i::text) AS t FROM generate_series(1, 1000000) i', {
    db: 'shop',
  });
  const held =
    "SELECT pid FROM pg_locks WHERE relation = 'orders'::regclass AND granted AND mode = 'AccessExclusiveLock'";
  const holder = cluster.psql('BEGIN; LOCK TABLE orders; SELECT pg_sleep(60)', { db: 'shop' }).catch(() => {});
  while ((await cluster.psql(held, { db: 'shop' })) === '') await sleep(100);
  let arrived = 0;
  return async () => {
    arrived++;
    if (arrived < parties) return;
    // Rivals come twice each; of ours, the second is turned away.
    for (let i = 0; i < 100 && Number(await waiting()) < 2 * parties - 1; i++) await sleep(100);
    await cluster.psql(`SELECT pg_terminate_backend(pid) FROM (${held}) AS holder`, { db: 'shop' });
    await holder;
  };
}

/** That a good dump is one in fact: into an empty server with it. */
async function expectRestorable(trial: Trial, empty: Rehearsal, server: PodHandle): Promise<void> {
  const sql = sqlOf(trial.dump);
  const whole = sql.includes('database cluster dump complete');
  if (!whole) await empty.psql('CREATE DATABASE shop');
  const load = ['psql', '-X', '-q', '-U', 'postgres', '-d', whole ? 'postgres' : 'shop'];
  await server.exec(load, { input: Buffer.from(sql, 'latin1') });
  const rows = await empty.psql('SELECT count(*) FROM orders', { db: 'shop' });
  if (Number(rows) !== ROWS) throw new Error(`a dump of ${trial.candidate.id} gave back ${rows} of ${ROWS} rows`);
  await empty.psql('DROP DATABASE shop');
}

// ---- report --------------------------------------------------------------------------------------------------------

function report(version: string, size: number, runs: Map<string, Run[]>, verdicts: readonly Verdict[]): string {
  const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  const survived = CANDIDATES.map((_, i) => verdicts.filter(({ complaints }) => complaints[i]!.length === 0).length);
  return [
    `On PostgreSQL ${version}, all in the same run on the same data, each as a Job in the pod of our CronJob. What the others do`,
    'is restated as commands, with the addresses of their sources, in [`bench/rivals/`](../bench/rivals):',
    '',
    '- **Bitnami’s CronJob**: the command of the chart `postgresql` 17.1.0 (`bitnami/charts`, commit `5165628`). Nothing is',
    '  compressed and nothing is ever removed.',
    '- **docker-postgres-backup-local**: `backup.sh` of `prodrigestivill/docker-postgres-backup-local`, commit `d257e5d`, with the',
    '  image’s defaults: `pg_dump -Z1` of one named database without roles, links for day, week and month, removal by age.',
    '- **the usual script**: `pg_dumpall | gzip` into the final name without `pipefail`, then `ls -t | tail -n +8 | xargs rm`.',
    '',
    `### Time and size`,
    '',
    `A shop’s database of ${mebibytes(size)} on disk, the median of ${RUNS} runs of each in turn after one that is not counted.`,
    'Ours alone read back, check and flush what they have written.',
    '',
    row('', 'time', 'on the volume', 'anonymous memory'),
    row('---', '---:', '---:', '---:'),
    ...[...runs].map(([title, all]) =>
      row(
        title,
        `${median(all.map((one) => one.seconds)).toFixed(2)} s`,
        mebibytes(median(all.map((one) => one.bytes))),
        mebibytes(Math.max(...all.map((one) => one.memory))),
      ),
    ),
    '',
    '### Faults',
    '',
    'Everybody begins with seven good dumps of their own. Survived means, seen from outside, by the volume and the exit code alone:',
    'the newest seven good dumps are all still there; nothing under a final name is a dump that is not whole (end marker, paired',
    '`\\restrict`, every row once); a run that made no good dump did not end in 0; every run ended; nobody else’s file is gone.',
    'A rival has what its chart or image sets by default. A good dump of each was restored into an empty server.',
    '',
    row('fault', 'how', ...CANDIDATES.map((one) => one.title)),
    row('---', '---', ...CANDIDATES.map(() => '---')),
    row(`**survived, of ${verdicts.length}**`, '', ...survived.map((count) => `**${count}**`)),
    ...verdicts.map(({ fault, complaints }) =>
      row(fault.title, fault.how, ...complaints.map((all) => (all.length === 0 ? '✓' : all.join('; ')))),
    ),
  ].join('\n');
}
