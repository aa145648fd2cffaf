import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { SCRIPTS } from './shell';

export interface Tiers {
  last: number;
  daily: number;
  weekly: number;
  monthly: number;
}

/** A run of the job: the clock when it began (null: nothing was published) and when retention ran, and whose dump it was. */
export interface Run {
  began: number | null;
  now: number;
  server: string;
}

/** 2026-11-21-020000, of milliseconds. */
export const stampOf = (time: number) =>
  new Date(time).toISOString().replace(/\..*/, '').replace('T', '-').replace(/:/g, '');

/**
 * The real `retain` over a volume that is a list: what it reads from files and writes to them is replaced, no decision.
 * Each run finds what the one before it has left.
 */
const DRIVER = `
volume=() removed=()
declare -A servers=()
list_verified() {
  local name
  verified=("\${volume[@]}") systems=()
  for name in "\${verified[@]}"; do systems+=("\${servers[$name]}"); done
}
remove_backup() {
  local name
  local -a left=()
  for name in "\${volume[@]}"; do [ "$name" = "$1" ] || left+=("$name"); done
  volume=("\${left[@]}") removed+=("$1")
}
publish() { # by name, which is by time
  local i=\${#volume[@]}
  servers[$1]=$system_identifier
  while ((i > 0)) && [[ \${volume[i - 1]} > $1 ]]; do
    volume[i]=\${volume[i - 1]}
    i=$((i - 1))
  done
  volume[i]=$1
}
date() { printf '%s\\n' "$clock"; }
log() { :; }
# The same names are asked for again and again; what names are the job's own, and the calendar, have tests of their own.
own_backup_name() { name_stamp=\${1:4:17}; }
eval "really_$(declare -f find_periods)"
declare -A known=()
find_periods() {
  if [ -z "\${known[$1]:-}" ]; then
    really_find_periods "$1"
    known[$1]="\${days[i]} \${weeks[i]} \${months[i]}"
  fi
  local periods=\${known[$1]}
  days[i]=\${periods%% *} months[i]=\${periods##* } weeks[i]=\${periods:11:8}
}
check_retention
mapfile -t runs
for run in "\${runs[@]}"; do
  name=\${run%% *} system_identifier=\${run##* } removed=()
  clock=\${run#* }
  clock=\${clock% *}
  [ "$name" = - ] || publish "$name"
  retain
  printf '%s\\n' "\${removed[*]}"
done
`;

/** The stamps that each run has removed. */
export function removals(runs: Run[], tiers: Tiers, timeZone: string): string[][] {
  const files = ['lib.sh', 'retention.sh'].map((script) => `. '${join(SCRIPTS, script)}'`);
  const input = runs.map(({ began, now, server }) => {
    const name = began === null ? '-' : `job-${stampOf(began)}.sql.gz`;
    return `${name} ${stampOf(now)} ${server}\n`;
  });
  // bash takes a socket as its input for a remote shell's, and would read ~/.bashrc.
  const done = spawnSync('bash', ['--norc', '-c', ['set -Eeuo pipefail', ...files, DRIVER].join('\n')], {
    input: input.join(''),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: {
      PATH: process.env['PATH'],
      BACKUP_DIR: '/nonexistent',
      BACKUP_NAME: 'job',
      // The pod's own zone must not matter.
      TZ: 'Asia/Tokyo',
      ...environment(tiers, timeZone),
    },
  });
  if (done.status !== 0 || done.stderr) throw new Error(`the driver ended with ${done.status}: ${done.stderr}`);
  const lines = done.stdout.split('\n').slice(0, -1);
  return lines.map((line) =>
    line
      .split(' ')
      .filter(Boolean)
      .map((name) => name.slice('job-'.length, -'.sql.gz'.length)),
  );
}

export function environment(tiers: Tiers, timeZone: string): Record<string, string> {
  return {
    RETENTION_LAST: String(tiers.last),
    RETENTION_DAILY: String(tiers.daily),
    RETENTION_WEEKLY: String(tiers.weekly),
    RETENTION_MONTHLY: String(tiers.monthly),
    RETENTION_TIME_ZONE: timeZone,
  };
}

// ---- the oracle: docs/decisions.md, "Tiered retention", over all that was ever published, by another calendar ----------

/** Day, ISO week and month that a moment belongs to. */
export interface Periods {
  day: string;
  week: string;
  month: string;
}

const calendars = new Map<string, { format: Intl.DateTimeFormat; known: Map<number, Periods> }>();

export function periodsOf(time: number, timeZone: string): Periods {
  let calendar = calendars.get(timeZone);
  if (!calendar) {
    const format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' });
    calendar = { format, known: new Map() };
    calendars.set(timeZone, calendar);
  }
  let periods = calendar.known.get(time);
  if (!periods) {
    const day = calendar.format.format(time);
    periods = { day, week: isoWeek(day), month: day.slice(0, 7) };
    calendar.known.set(time, periods);
  }
  return periods;
}

/** The ISO week of a date: that of its Thursday, which is in the week's own year. */
function isoWeek(day: string): string {
  const thursday = new Date(`${day}T00:00:00Z`);
  thursday.setUTCDate(thursday.getUTCDate() + 4 - (thursday.getUTCDay() || 7));
  const year = thursday.getUTCFullYear();
  const week = 1 + Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * 86_400_000));
  return `${year}-W${String(week).padStart(2, '0')}`;
}

/** What should stay of these dumps, all of one server and none from the future. */
export function wanted(dumps: Iterable<number>, tiers: Tiers, timeZone: string): Set<number> {
  const sorted = [...dumps].sort((a, b) => b - a);
  const result = new Set(sorted.slice(0, tiers.last));
  const limits = { day: tiers.daily, week: tiers.weekly, month: tiers.monthly };
  for (const [kind, limit] of Object.entries(limits)) {
    const first = new Map<string, number>();
    for (const time of sorted) {
      const period = periodsOf(time, timeZone)[kind as keyof Periods];
      first.set(period, Math.min(time, first.get(period) ?? Number.POSITIVE_INFINITY));
    }
    const newest = [...first.keys()].sort().reverse().slice(0, limit);
    for (const period of newest) result.add(first.get(period)!);
  }
  return result;
}
