import { Size } from 'cdk8s';
import { Cpu } from 'cdk8s-plus-28';
import { Compression } from '../lib';
import { Rehearsal } from '../test/rehearsal';
import { BACKUP, DATA_CLAIM, homeLab, SERVER } from '../test/rehearsal/home-lab';
import type { KubeObject } from '../test/rehearsal/runner/types';
import { onTwoCores, row, spread } from './figures';
import { shop } from './shop';
import { type Run, timed } from './timed-job';

const RUNS = 3;

/** What runs in the pod of the CronJob, with everything else as it is rendered. */
const CONTENDERS = {
  floor: { title: '`pg_dumpall > /dev/null`', command: 'pg_dumpall >/dev/null', env: {} },
  stock: { title: '`pg_dumpall \\| gzip`', command: 'pg_dumpall | gzip >/backup/stock.sql.gz', env: {} },
  gzip: { title: 'our dump, gzip', command: 'bash /scripts/logical-backup.sh', env: Compression.gzip()._env },
  zstd: { title: 'our dump, zstd', command: 'bash /scripts/logical-backup.sh', env: Compression.zstd()._env },
};
type Contender = keyof typeof CONTENDERS;

/** Ours verify, checksum and publish within their time; the rivals do not. */
export async function bench(): Promise<{ title: string; markdown: string }> {
  onTwoCores();
  const roomy = { cpu: { request: Cpu.units(1), limit: Cpu.units(2) } };
  const memory = { request: Size.gibibytes(3), limit: Size.gibibytes(3) };
  const objects = homeLab(18, { rootSquash: false, server: { resources: { ...roomy, memory } } });
  const cronJob = objects.find((one) => one.kind === 'CronJob' && one.metadata.name === BACKUP)!;
  const cluster = await Rehearsal.open({
    major: 18,
    objects,
    volumes: { [DATA_CLAIM]: { kind: 'plain' }, [BACKUP]: { kind: 'plain' } },
    name: 'bench',
  });
  try {
    const server = await cluster.startStatefulSet(SERVER);
    await server.waitReady(120_000);
    await cluster.psql('CREATE DATABASE shop');
    await cluster.psql(shop(), { db: 'shop', timeoutMs: 600_000 });
    const runs: Record<Contender, Run[]> = { floor: [], stock: [], gzip: [], zstd: [] };
    for (let round = 0; round <= RUNS; round++) {
      for (const name of Object.keys(CONTENDERS) as Contender[]) {
        const run = await measure(cluster, cronJob, name);
        // The first round fills the caches.
        if (round > 0) runs[name].push(run);
      }
    }
    const bytes = await cluster.psql('SELECT pg_database_size(current_database())', { db: 'shop' });
    return { title: 'Backup', markdown: report(cluster.version, Number(bytes), runs) };
  } finally {
    await cluster.close();
  }
}

function measure(cluster: Rehearsal, cronJob: KubeObject, name: Contender): Promise<Run> {
  const { command, env } = CONTENDERS[name];
  return timed(cluster, cronJob, command, env);
}

const fixed = (numbers: number[], unit = '') => Object.values(spread(numbers)).map((one) => one.toFixed(2) + unit);

function report(version: string, size: number, runs: Record<Contender, Run[]>): string {
  const names = Object.keys(CONTENDERS) as Contender[];
  const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);
  const ratio = (of: (round: number) => number) => runs.stock.map((_, round) => of(round));
  const seconds = (name: Contender) => (round: number) => runs[name][round]!.seconds;
  const bytes = (name: Contender) => (round: number) => runs[name][round]!.bytes;
  const quotient = (a: (round: number) => number, b: (round: number) => number) =>
    ratio((round) => a(round) / b(round));
  const ratios: [string, number, number[]][] = [
    ['gzip: time, to `pg_dumpall \\| gzip`', 0.8, quotient(seconds('gzip'), seconds('stock'))],
    ['gzip: size, to `pg_dumpall \\| gzip`', 1.1, quotient(bytes('gzip'), bytes('stock'))],
    ['zstd: time, to `pg_dumpall \\| gzip`', 0.45, quotient(seconds('zstd'), seconds('stock'))],
    ['zstd: size, to `pg_dumpall \\| gzip`', 0.6, quotient(bytes('zstd'), bytes('stock'))],
    ['zstd: time, to `pg_dumpall > /dev/null`', 1.5, quotient(seconds('zstd'), seconds('floor'))],
  ];
  return [
    `A shop's database of ${mebibytes(size)} MiB on disk in PostgreSQL ${version}, two cores for server and dump together, ${RUNS}`,
    'runs of each in turn after one that is not counted, each in the pod of the CronJob. Our dumps include what the others leave',
    'out: fsync, reading back, decompressing, checking the end, checksum, manifest, retention.',
    '',
    row('', 'median', 'least', 'most', 'file', 'anonymous memory'),
    row('---', ...Array<string>(5).fill('---:')),
    ...names.map((name) => {
      const file = mebibytes(spread(runs[name].map((one) => one.bytes)).median);
      const memory = mebibytes(spread(runs[name].map((one) => one.memory)).most);
      const times = fixed(
        runs[name].map((one) => one.seconds),
        ' s',
      );
      return row(CONTENDERS[name].title, ...times, name === 'floor' ? '' : `${file} MiB`, `${memory} MiB`);
    }),
    '',
    row('ratio', 'median', 'least', 'most', 'at most'),
    row('---', ...Array<string>(4).fill('---:')),
    ...ratios.map(([name, limit, values]) => row(name, ...fixed(values), limit)),
    '',
    'Memory is asked to stay below 128 MiB. The smaller file of zstd depends on the data: it finds what recurs within megabytes,',
    'gzip within 32 kB.',
  ].join('\n');
}
