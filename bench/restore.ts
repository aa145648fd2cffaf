import { execFileSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { Rehearsal } from '../test/rehearsal';
import { BACKUP, DATA_CLAIM, homeLab, RESTORE, SERVER } from '../test/rehearsal/home-lab';
import { onTwoCores, row, spread } from './figures';
import { shop } from './shop';

/** The reference systems' test data, with as many transactions as a dump of about 3 kB has. */
const BACKUP_TEST = `
CREATE DATABASE backup_test;
\\connect backup_test
CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL);
CREATE TABLE transactions (id serial PRIMARY KEY, user_id int NOT NULL REFERENCES users, amount numeric(10, 2), note text);
INSERT INTO users (name) VALUES ('alice'), ('bob'), ('charlie');
INSERT INTO transactions (user_id, amount, note) SELECT 1 + i % 3, i * 10.5, md5(i::text) FROM generate_series(1, 60) i;
`;

/** HL-12: what a restore may take, by the size of the dump's file. `fill` makes the database that is restored alone, too. */
const SIZES = [
  { size: 'about 3 kB', seconds: 5, runs: 5, database: 'backup_test', fill: BACKUP_TEST },
  { size: '1 to 10 MB', seconds: 30, runs: 3, database: 'shop', share: 0.07 },
  { size: '100 MB', seconds: 300, runs: 2, database: 'shop', share: 0.725 },
] as const;

interface Measured {
  bytes: number;
  uncompressed: number;
  whole: number[];
  single: number[];
}

/** From the start of the rendered Job to its end, the pod's own start included. */
export async function bench(): Promise<{ title: string; markdown: string }> {
  onTwoCores();
  const cluster = await Rehearsal.open({
    major: 18,
    objects: homeLab(18, { rootSquash: false }),
    volumes: { [DATA_CLAIM]: { kind: 'plain' }, [BACKUP]: { kind: 'plain' } },
    name: 'bench',
  });
  try {
    const server = await cluster.startStatefulSet(SERVER);
    await server.waitReady(120_000);
    const measured: Measured[] = [];
    for (const size of SIZES) {
      if ('fill' in size) {
        await cluster.psql(size.fill);
      } else {
        await cluster.psql(`CREATE DATABASE ${size.database}`);
        await cluster.psql(shop(size.share), { db: size.database, timeoutMs: 600_000 });
      }
      measured.push(await measure(cluster, size));
      await cluster.psql(`DROP DATABASE ${size.database}`);
    }
    return { title: 'Restore', markdown: report(cluster.version, measured) };
  } finally {
    await cluster.close();
  }
}

async function measure(cluster: Rehearsal, { runs, database }: (typeof SIZES)[number]): Promise<Measured> {
  const dump = await cluster.runCronJob(BACKUP);
  const file = / finished: (\S+): (\d+) bytes \((\d+) uncompressed\)/.exec(dump.log);
  if (!dump.succeeded || !file) throw new Error(`the dump failed:\n${dump.log}`);
  const [, name, bytes, uncompressed] = file as unknown as [string, string, string, string];
  const [whole, single]: [number[], number[]] = [[], []];
  for (let run = 0; run < runs; run++) {
    whole.push(await restore(cluster, { BACKUP_FILE: name }));
    single.push(await restore(cluster, { BACKUP_FILE: name, DATABASE: database }));
  }
  return { bytes: Number(bytes), uncompressed: Number(uncompressed), whole, single };
}

async function restore(cluster: Rehearsal, env: Record<string, string>): Promise<number> {
  // Nobody pays for what the one before has left to be written.
  await cluster.psql('CHECKPOINT');
  execFileSync('sync');
  const start = performance.now();
  const { succeeded, log } = await cluster.runJob(RESTORE, { env });
  const seconds = (performance.now() - start) / 1000;
  if (!succeeded) throw new Error(`the restore failed:\n${log}`);
  await cluster.psql(
    String.raw`SELECT format('DROP DATABASE %I', datname) FROM pg_database WHERE datname ~ '_before_restore_' \gexec`,
  );
  return seconds;
}

function report(version: string, measured: readonly Measured[]): string {
  const times = (seconds: readonly number[]) => {
    const parts = Object.values(spread(seconds)).map((one) => one.toFixed(1));
    return `${parts[0]} s (${parts[1]} to ${parts[2]})`;
  };
  const megabytes = (bytes: number) =>
    bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  return [
    `By the rendered Job on PostgreSQL ${version}, two cores for server and restore together, from the Job's start to its end:`,
    'checking the file, loading into new databases, comparing with the dump, analyzing, swapping. Median, least and most of the',
    'runs. The size is that of the compressed file. CPU limits of pods are not rehearsed: under the 500m that home-lab gives its',
    'server, the large ones take longer.',
    '',
    '| asked for | file | SQL in it | whole server | one database | at most | runs |',
    '| --- | ---: | ---: | ---: | ---: | ---: | ---: |',
    ...SIZES.map(({ size, seconds, runs }, i) => {
      const { bytes, uncompressed, whole, single } = measured[i]!;
      const cells = [
        size,
        megabytes(bytes),
        megabytes(uncompressed),
        times(whole),
        times(single),
        `${seconds} s`,
        runs,
      ];
      return row(...cells);
    }),
  ].join('\n');
}
