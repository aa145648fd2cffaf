import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  environment,
  type Periods,
  periodsOf,
  type Run,
  removals,
  stampOf,
  type Tiers,
  wanted,
} from './retention-tiers';
import { SCRIPTS } from './shell';

// A failure prints its seed; SEED=… tries another one.
const seed = Number(process.env['SEED'] ?? 20261121);
const check = <T extends [unknown, ...unknown[]]>(numRuns: number, property: fc.IProperty<T>) =>
  fc.assert(property, { seed, numRuns, endOnFailure: true });

const SECOND = 1000;
const HOUR = 3600 * SECOND;
const DAY = 24 * HOUR;
const ZONES = [
  'Etc/UTC',
  'America/New_York',
  'Europe/Berlin',
  'Australia/Lord_Howe',
  'America/St_Johns',
  'America/Havana',
  'Atlantic/Azores',
  'Asia/Kathmandu',
  'Pacific/Kiritimati',
];
const zone = fc.constantFrom(...ZONES);
const start = fc.integer({ min: Date.UTC(2018, 0, 1) / DAY, max: Date.UTC(2028, 0, 1) / DAY }).map((day) => day * DAY);
const secondOfDay = fc.oneof(fc.constantFrom(0, 86_399, 2 * 3600), fc.nat(86_399));
const tier = (max: number) => fc.oneof(fc.constantFrom(0, 1, 2), fc.nat(max));
const tiers: fc.Arbitrary<Tiers> = fc.record({
  last: fc.integer({ min: 1, max: 5 }),
  daily: tier(10),
  weekly: tier(8),
  monthly: tier(14),
});

interface Life {
  start: number;
  /** Second of the day, UTC, of the nightly run. */
  at: number;
  /** A run every so many nights. */
  every: number;
  gaps: { day: number; days: number }[];
  /** Runs by hand, some of them soon after one another. */
  extra: { day: number; at: number }[];
  /** From that day on the clock is wrong for some runs; it may be put right while the last of them works. */
  jumps: { day: number; runs: number; by: number; healed: boolean }[];
  /** Days on which the volume gets an empty server, and goes back to the one before. */
  lost: { day: number; days: number }[];
  /** Every so many runs, retention runs once more with nothing new. */
  again: number;
}

const life = (days: number, jumps: number, lost: number): fc.Arbitrary<Life> => {
  const day = fc.nat(days - 1);
  return fc.record({
    start,
    at: secondOfDay,
    every: fc.constantFrom(1, 2, 3, 7),
    gaps: fc.array(fc.record({ day, days: fc.integer({ min: 1, max: 100 }) }), { maxLength: 4 }),
    extra: fc.array(fc.record({ day, at: secondOfDay }), { maxLength: 80 }),
    jumps: fc.array(
      fc.record({
        day,
        runs: fc.integer({ min: 1, max: 12 }),
        by: fc.oneof(fc.integer({ min: -400 * 86_400, max: 400 * 86_400 }), fc.integer({ min: -90_000, max: 90_000 })),
        healed: fc.boolean(),
      }),
      { maxLength: jumps },
    ),
    lost: fc.array(fc.record({ day, days: fc.integer({ min: 1, max: 60 }) }), { maxLength: lost }),
    again: fc.integer({ min: 5, max: 40 }),
  });
};

/** The runs of a life, in the order in which they truly happen. */
function runsOf({ start, at, every, gaps, extra, jumps, lost, again }: Life, days: number): Run[] {
  const nights = Array.from({ length: Math.ceil(days / every) }, (_, i) => ({ day: i * every, at }));
  const open = ({ day }: { day: number }) => !gaps.some((gap) => day >= gap.day && day < gap.day + gap.days);
  const truth = [...nights.filter(open), ...extra].sort((a, b) => a.day - b.day || a.at - b.at);
  const taken = new Set<number>();
  const wrong = jumps.map((jump) => ({ ...jump }));
  const runs: Run[] = [];
  for (const { day, at } of truth) {
    const jump = wrong.find((one) => one.runs > 0 && day >= one.day);
    if (jump) jump.runs--;
    const time = start + day * DAY + at * SECOND;
    const began = time + (jump?.by ?? 0) * SECOND;
    const healed = !jump || (jump.healed && jump.runs === 0);
    const now = (healed ? time : began) + 30 * SECOND;
    const server = lost.some((loss) => day >= loss.day && day < loss.day + loss.days) ? 'empty' : 'old';
    // The job refuses a name that is taken, before it dumps.
    if (taken.has(began)) continue;
    taken.add(began);
    runs.push({ began, now, server });
    if (runs.length % again === 0) runs.push({ began: null, now, server });
  }
  return runs;
}

/** What is on the volume after each run: time and server of each dump. */
interface Step extends Run {
  before: Map<number, string>;
  after: Map<number, string>;
}

/** The properties look at the same lives. */
const lived = new Map<string, Step[]>();
function live(life: Life, days: number, tiers: Tiers, timeZone: string): Step[] {
  const key = JSON.stringify([life, days, tiers, timeZone]);
  const steps = lived.get(key) ?? simulate(runsOf(life, days), tiers, timeZone);
  lived.set(key, steps);
  return steps;
}

function simulate(runs: Run[], tiers: Tiers, timeZone: string): Step[] {
  const gone = removals(runs, tiers, timeZone);
  expect(gone).toHaveLength(runs.length);
  let volume = new Map<number, string>();
  return runs.map((run, i) => {
    const before = new Map(volume);
    if (run.began !== null) before.set(run.began, run.server);
    const removed = new Set(gone[i]);
    const after = new Map([...before].filter(([time]) => !removed.has(stampOf(time))));
    expect(before.size - after.size, 'only what is there is removed').toBe(removed.size);
    volume = after;
    return { ...run, before, after };
  });
}

const counted = (dumps: Map<number, string>, { now, server }: Run) =>
  [...dumps].filter(([time, whose]) => time <= now && whose === server).map(([time]) => time);
const stamps = (times: Iterable<number>) => [...times].sort((a, b) => a - b).map(stampOf);

const THREE_YEARS = 1096;

/** Judges every step of some lives. */
const always = (judge: (step: Step, tiers: Tiers, timeZone: string, history: Map<number, string>) => void) =>
  check(
    6,
    fc.property(life(THREE_YEARS, 4, 2), tiers, zone, (life, tiers, timeZone) => {
      const history = new Map<number, string>();
      for (const step of live(life, THREE_YEARS, tiers, timeZone)) {
        if (step.began !== null) history.set(step.began, step.server);
        judge(step, tiers, timeZone, history);
      }
    }),
  );

/** Where the clock is behind one that was ahead, what that one has removed is gone. */
const unlessBehind = () => {
  let latest = Number.NEGATIVE_INFINITY;
  let runs = 0;
  return (now: number, history: Map<number, string>) => {
    if (history.size < runs) latest = Number.NEGATIVE_INFINITY;
    runs = history.size;
    if (now < latest) return false;
    latest = now;
    return true;
  };
};

describe('over three years of nights, gaps, runs by hand, clocks that jump and servers that are lost', () => {
  it('each run leaves what the contract says', () => {
    always((step, tiers, timeZone) => {
      const right = stamps(wanted(counted(step.before, step), tiers, timeZone));
      expect(stamps(counted(step.after, step)), `at ${stampOf(step.now)} in ${timeZone}`).toEqual(right);
    });
  });

  it('nothing of the future or of another server goes, nor does the newest dump', () => {
    always(({ before, after, ...run }) => {
      const mine = new Set(counted(before, run));
      const lost = [...before.keys()].filter((time) => !after.has(time));
      expect(lost.filter((time) => !mine.has(time)).map(stampOf)).toEqual([]);
      expect(lost).not.toContain(Math.max(...mine));
    });
  });

  it('a second run with nothing new removes nothing', () => {
    always(({ began, before, after }) => {
      if (began === null) expect(after.size).toBe(before.size);
    });
  });

  // What was removed on the way is never missed later: the decisions of three years are those of one look at everything.
  it('no day is lost early: all that the whole history wants is there', () => {
    const judged = unlessBehind();
    always((step, tiers, timeZone, history) => {
      if (!judged(step.now, history)) return;
      const right = stamps(wanted(counted(history, step), tiers, timeZone));
      expect(stamps(counted(step.after, step)), `at ${stampOf(step.now)} in ${timeZone}`).toEqual(right);
    });
  });

  it('there are never fewer days, weeks, months than asked for while there have been so many', () => {
    const judged = unlessBehind();
    always((step, tiers, timeZone, history) => {
      if (!judged(step.now, history)) return;
      const ever = counted(history, step);
      const there = counted(step.after, step);
      const limits: [keyof Periods, number][] = [
        ['day', tiers.daily],
        ['week', tiers.weekly],
        ['month', tiers.monthly],
      ];
      for (const [kind, limit] of limits) {
        const periods = (times: number[]) => new Set(times.map((time) => periodsOf(time, timeZone)[kind]));
        const asked = [...periods(ever)].sort().slice(-limit || Number.POSITIVE_INFINITY);
        const found = periods(there);
        expect(asked.filter((period) => !found.has(period))).toEqual([]);
      }
      expect(there.length).toBeGreaterThanOrEqual(Math.min(tiers.last, ever.length));
      expect(there.length).toBeLessThanOrEqual(tiers.last + tiers.daily + tiers.weekly + tiers.monthly);
    });
  });

  it('the last n alone are what they were before there were tiers', () => {
    const days = 200;
    check(
      6,
      fc.property(life(days, 4, 1), fc.integer({ min: 1, max: 12 }), (life, last) => {
        const only = { last, daily: 0, weekly: 0, monthly: 0 };
        for (const step of live(life, days, only, 'Etc/UTC')) {
          const mine = counted(step.before, step).sort((a, b) => a - b);
          const surplus = new Set(mine.slice(0, Math.max(0, mine.length - last)));
          const right = [...step.before.keys()].filter((time) => !surplus.has(time));
          expect(stamps(step.after.keys())).toEqual(stamps(right));
        }
      }),
    );
  });
});

describe('the calendar', () => {
  const script = `
    . '${join(SCRIPTS, 'lib.sh')}'; . '${join(SCRIPTS, 'retention.sh')}'; check_retention
    export TZ=$calendar
    i=0 days=() weeks=() months=()
    mapfile -t stamps
    for stamp in "\${stamps[@]}"; do
      find_periods "$stamp"
      printf '%s %s %s\\n' "\${days[0]}" "\${weeks[0]}" "\${months[0]}"
    done`;
  const calendar = (times: number[], timeZone: string) => {
    const done = spawnSync('bash', ['--norc', '-c', `set -Eeuo pipefail${script}`], {
      input: times.map((time) => `${stampOf(time)}\n`).join(''),
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      env: {
        PATH: process.env['PATH'],
        BACKUP_NAME: 'job',
        ...environment({ last: 1, daily: 0, weekly: 0, monthly: 0 }, timeZone),
      },
    });
    expect(done.stderr).toBe('');
    return done.stdout.split('\n').slice(0, -1);
  };
  const oracle = (times: number[], timeZone: string) =>
    times.map((time) => Object.values(periodsOf(time, timeZone)).join(' '));

  it.each(ZONES)('of %s is that of another implementation, every five hours for three years', (timeZone) => {
    const from = Date.UTC(2025, 0, 1);
    const times = Array.from({ length: (THREE_YEARS * DAY) / (5 * HOUR) }, (_, i) => from + i * 5 * HOUR - SECOND);
    const found = calendar(times, timeZone);
    expect(found).toHaveLength(times.length);
    const right = oracle(times, timeZone);
    const wrong = times.filter((_, i) => found[i] !== right[i]).map(stampOf);
    expect(wrong).toEqual([]);
  });

  it('knows leap years and the ends of ISO years', () => {
    const times = ['2024-02-29', '2024-12-30', '2026-12-31', '2027-01-01', '2027-01-03', '2027-01-04', '2100-03-01'];
    expect(
      calendar(
        times.map((day) => Date.parse(`${day}T12:00:00Z`)),
        'Etc/UTC',
      ),
    ).toEqual([
      '2024-02-29 2024-W09 2024-02',
      '2024-12-30 2025-W01 2024-12',
      '2026-12-31 2026-W53 2026-12',
      '2027-01-01 2026-W53 2027-01',
      '2027-01-03 2026-W53 2027-01',
      '2027-01-04 2027-W01 2027-01',
      '2100-03-01 2100-W09 2100-03',
    ]);
  });

  it('puts a moment of the night the clocks change into the day of the zone', () => {
    const moments = ['2026-11-01T03:59:59Z', '2026-11-01T04:00:00Z', '2026-11-02T04:59:59Z', '2026-11-02T05:00:00Z'];
    const days = calendar(
      moments.map((moment) => Date.parse(moment)),
      'America/New_York',
    ).map((line) => line.split(' ')[0]);
    // That Sunday has 25 hours.
    expect(days).toEqual(['2026-10-31', '2026-11-01', '2026-11-01', '2026-11-02']);
  });
});
