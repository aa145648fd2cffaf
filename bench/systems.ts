import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { median, row } from './figures';

const SYSTEMS = [30, 100, 200, 300] as const;
const RUNS = 3;
const LIMIT = 1.3;

interface Synth {
  milliseconds: number;
  bytes: number;
}

/** What one more system costs in time and memory when there are many in one app. */
export async function bench(): Promise<{ title: string; markdown: string }> {
  const cold = new Map(SYSTEMS.map((systems) => [systems, [] as Synth[]]));
  const warm = new Map([SYSTEMS[0], SYSTEMS[SYSTEMS.length - 1]!].map((systems) => [systems, [] as Synth[]]));
  for (let run = 0; run < RUNS; run++) {
    for (const [systems, runs] of cold) runs.push(synth(systems, 0));
    for (const [systems, runs] of warm) runs.push(synth(systems, 3));
  }
  return { title: 'Many systems in one synth', markdown: report(cold, warm) };
}

/** Each in a process of its own: memory that was once taken is rarely given back. */
function synth(systems: number, warmUps: number): Synth {
  const script = path.join(__dirname, 'systems/one-synth.ts');
  const args = ['--import', 'tsx', script, String(systems), String(warmUps)];
  return JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
}

type Measured = ReadonlyMap<number, readonly Synth[]>;

function report(cold: Measured, warm: Measured): string {
  const each = (from: Measured, systems: number) =>
    median((from.get(systems) ?? []).map((one) => one.milliseconds)) / systems;
  const memory = (systems: number) => median(cold.get(systems)!.map((one) => one.bytes)) / 2 ** 20;
  const ratio = (from: Measured) => (each(from, 300) / each(from, 30)).toFixed(2);
  const rows = SYSTEMS.map((systems, i) => {
    const before = SYSTEMS[i - 1];
    const step =
      before === undefined ? '' : `${((memory(systems) - memory(before)) / (systems - before)).toFixed(2)} MiB`;
    const times = [cold, warm].map((from) => (from.has(systems) ? `${each(from, systems).toFixed(1)} ms` : ''));
    return row(systems, ...times, `${memory(systems).toFixed(0)} MiB`, step);
  });
  return [
    `Systems like home-lab, each with a name and a namespace of its own, in one \`SystemApp\`; the median of ${RUNS} runs, each in a`,
    'process of its own. A cold process is what `npm run synth` is; in a warm one, which has rendered three apps of 30 before, the',
    'small app does not pay for what V8 still has to compile. The last column is what a system adds to the peak memory of a cold',
    `one from the row above on. 300 systems may cost ${LIMIT} times as much each as 30 do: they cost ${ratio(cold)} times as much cold,`,
    `${ratio(warm)} times warm.`,
    '',
    '| systems | cold, each | warm, each | peak memory | memory for each more |',
    '| ---: | ---: | ---: | ---: | ---: |',
    ...rows,
  ].join('\n');
}
