import { refuse } from '../guard/input-error';

export interface ScheduleOptions {
  /**
   * Name of a time zone, e.g. `America/New_York`; daylight saving is honoured. On the night the clocks go forward a time
   * that is left out does not fire, and on the night they go back a repeated one may fire twice: stay out of 01:00 to 03:00.
   *
   * @default "Etc/UTC"
   * @see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones
   */
  readonly timeZone?: string;
}

const WEEKDAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'] as const;
export type Weekday = (typeof WEEKDAYS)[number];

/** When a CronJob runs. */
export class Schedule {
  /** Every day at a time, `HH:MM` of a 24-hour clock. */
  static daily(time: string, options?: ScheduleOptions): Schedule {
    return new Schedule(() => `${minuteAndHour(time)} * * *`, options);
  }

  /** Once a week at a time, `HH:MM` of a 24-hour clock. */
  static weekly(weekday: Weekday, time: string, options?: ScheduleOptions): Schedule {
    return new Schedule(() => {
      const day = WEEKDAYS.indexOf(weekday);
      if (day < 0) refuse('weekday', `be one of ${WEEKDAYS.join(', ')}`, weekday, 'write for example "sunday"');
      return `${minuteAndHour(time)} * * ${day}`;
    }, options);
  }

  /** Five cron fields: minute, hour, day of month, month, day of week. */
  static cron(expression: string, options?: ScheduleOptions): Schedule {
    return new Schedule(() => {
      checkCron(expression);
      return expression;
    }, options);
  }

  private constructor(
    private readonly read: () => string,
    private readonly options: ScheduleOptions = {},
  ) {}

  /**
   * The fields of a CronJob.
   *
   * @throws InputError for fields out of range, unknown time zones and dates that never come
   * @internal
   */
  _render(): { schedule: string; timeZone: string } {
    const { timeZone = 'Etc/UTC' } = this.options;
    checkTimeZone(timeZone);
    return { schedule: this.read(), timeZone };
  }
}

function minuteAndHour(time: string): string {
  const match = /^([01]\d|2[0-3]):([0-5]\d)$/.exec(time);
  if (!match) refuse('time', 'be "HH:MM" between "00:00" and "23:59"', time, 'write for example "02:00"');
  return `${Number(match[2])} ${Number(match[1])}`;
}

/** Kubernetes reads the names of the IANA database, case-sensitively, and refuses "Local". */
export function checkTimeZone(timeZone: string): void {
  const known = () => {
    try {
      return new Intl.DateTimeFormat('en', { timeZone }).resolvedOptions().timeZone !== '';
    } catch {
      return false;
    }
  };
  // Intl takes "Europe/BERLIN", Kubernetes does not.
  const shouting = timeZone.split('/').some((part) => /^[A-Z]{4,}$/.test(part));
  if (shouting || !/^(UTC|GMT|[A-Z][A-Za-z_]+(\/[A-Z][A-Za-z0-9_+-]*)+)$/.test(timeZone) || !known()) {
    refuse('timeZone', 'be a name of the IANA time zone database', timeZone, 'write for example "America/New_York"');
  }
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const FIELDS = [
  { name: 'minute', low: 0, high: 59, words: [] as string[] },
  { name: 'hour', low: 0, high: 23, words: [] },
  { name: 'day of month', low: 1, high: 31, words: [] },
  { name: 'month', low: 1, high: 12, words: ['', ...MONTHS] },
  { name: 'day of week', low: 0, high: 6, words: WEEKDAYS.map((day) => day.slice(0, 3)) },
];

/** The syntax of the parser that Kubernetes uses (robfig/cron, "standard": five fields, no `@daily`, `L`, `W`, `#`). */
function checkCron(expression: string): void {
  if (/TZ=/.test(expression)) {
    const fix = 'write `Schedule.cron("0 2 * * *", { timeZone: "America/New_York" })`';
    refuse('schedule', 'not hold a time zone, which Kubernetes rejects', expression, fix);
  }
  const fields = expression.trim().split(/\s+/);
  if (fields.length !== 5) {
    refuse('schedule', 'have five fields', expression, 'for 02:00 daily write "0 2 * * *"');
  }
  const values = fields.map((field, i) => cronField(field, FIELDS[i]!, expression));
  const [days, months] = [values[2]!, values[3]!];
  // Where both the day of the month and the weekday are restricted, cron fires on either. For Kubernetes' parser a field is
  // unrestricted as soon as one of its parts is a star, and restricted by a step.
  const everyWeekday = fields[4]!.split(',').some((part) => /^[*?](\/1)?$/.test(part));
  if (everyWeekday && ![...months].some((month) => [...days].some((day) => day <= longestMonth(month)))) {
    refuse(
      'schedule',
      'name a date that exists',
      expression,
      'for the last day that every month has write "0 2 28 * *"',
    );
  }
}

function longestMonth(month: number): number {
  return new Date(Date.UTC(2024, month, 0)).getUTCDate();
}

function cronField(field: string, kind: (typeof FIELDS)[number], expression: string): Set<number> {
  const { name, low, high, words } = kind;
  const example = `for 02:00 daily write "0 2 * * *"`;
  const bad = (must: string): never => refuse('schedule', `have a ${name} ${must}`, expression, example);
  const number = (text: string): number => {
    const word = words.indexOf(text.toLowerCase());
    const value = text !== '' && word >= 0 ? word : /^\d+$/.test(text) ? Number(text) : Number.NaN;
    return value >= low && value <= high ? value : bad(`from ${low} to ${high}`);
  };
  const values = new Set<number>();
  for (const part of field.split(',')) {
    const [range = '', step, more] = part.split('/');
    if (more !== undefined || (step !== undefined && !/^[1-9]\d*$/.test(step))) bad('with a step like "*/15"');
    const [from = '', to, rest] = range.split('-');
    if (rest !== undefined) bad('with a range like "1-5"');
    const any = from === '*' || from === '?';
    if (any && to !== undefined) bad('with a range like "1-5"');
    const first = any ? low : number(from);
    const last = any ? high : to !== undefined ? number(to) : step !== undefined ? high : first;
    if (first > last) bad(`whose ranges rise`);
    for (let value = first; value <= last; value += Number(step ?? 1)) values.add(value);
  }
  return values;
}
