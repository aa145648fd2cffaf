import { Rehearsal } from '../test/rehearsal';
import { ARCHIVE_CLAIM, DATA_CLAIM, recordPlatform, SERVER } from '../test/rehearsal/record-platform';
import { median, row } from './figures';

const RUNS = 20;
const LIMIT = 2;

/** What a segment holds, as its size in MiB that is not zero: one that is full, and one that archive_timeout has closed. */
const SEGMENTS = { 'a full segment': 16, 'a segment closed early': 1 };

/**
 * Both start as PostgreSQL starts an archive_command, by `sh -c` in the data directory, in turn, on the same file. Each run's
 * time is taken in the pod.
 */
const MEASURE = `
  cd "$PGDATA"
  # Zeros and not holes, as PostgreSQL has it.
  { head -c "$1M" /dev/urandom; head -c "$((16 - $1))M" /dev/zero; } >pg_wal/bench
  sync
  for ((i = 0; i <= $2; i++)); do
    name=0000000F0000000$1$(printf '%08X' "$i")
    name=\${name: -24}
    from=$EPOCHREALTIME
    sh -c "cp pg_wal/bench /wal-archive/stock-$name && sync /wal-archive/stock-$name"
    between=$EPOCHREALTIME
    sh -c "bash /scripts/archive-wal.sh pg_wal/bench $name"
    to=$EPOCHREALTIME
    cmp pg_wal/bench /wal-archive/[0-9]*/$name
    rm /wal-archive/stock-$name
    # The first round fills the caches.
    ((i == 0)) || echo "$((\${between/./} - \${from/./})) $((\${to/./} - \${between/./}))"
  done
  rm pg_wal/bench`;

export async function bench(): Promise<{ title: string; markdown: string }> {
  const volumes = { [DATA_CLAIM]: { kind: 'plain' }, [ARCHIVE_CLAIM]: { kind: 'plain' } } as const;
  const cluster = await Rehearsal.open({ major: 18, objects: recordPlatform(18), volumes, name: 'bench' });
  try {
    const server = await cluster.startStatefulSet(SERVER);
    await server.waitReady(120_000);
    const rows: string[] = [];
    for (const [what, mebibytes] of Object.entries(SEGMENTS)) {
      const command = ['bash', '-eo', 'pipefail', '-c', MEASURE, 'bench', String(mebibytes), String(RUNS)];
      const { exitCode, stdout, stderr } = await server.exec(command, { timeoutMs: 300_000 });
      if (exitCode !== 0) throw new Error(`archiving ${what} failed:\n${stderr}`);
      const pairs = stdout
        .trim()
        .split('\n')
        .map((line) => line.split(' ').map(Number) as [number, number]);
      const ratio = median(pairs.map(([stock, ours]) => ours / stock));
      const times = [0, 1].map((i) => `${(median(pairs.map((pair) => pair[i]!)) / 1000).toFixed(0)} ms`);
      rows.push(row(what, ...times, ratio.toFixed(2), LIMIT));
    }
    return { title: 'WAL archive', markdown: report(cluster.version, rows) };
  } finally {
    await cluster.close();
  }
}

function report(version: string, rows: string[]): string {
  return [
    `One segment of 16 MiB, \`cp\` and \`sync\` of the same file in turn with our \`archive_command\`, medians of ${RUNS} runs each in the`,
    `server's pod, PostgreSQL ${version}. Ours includes reading the system identifier, the rename and the flush of the folder.`,
    '',
    '| | `cp` and `sync` | `archive-wal.sh` | ratio | at most |',
    '| --- | ---: | ---: | ---: | ---: |',
    ...rows,
  ].join('\n');
}
