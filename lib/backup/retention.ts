import { refuse } from '../guard/input-error';
import { checkTimeZone } from './schedule';

/**
 * How many dumps, days, weeks and months stay; 0 keeps none of that kind. A dump that several of them name counts for each.
 *
 * The first verified dump of a day, week or month represents it, and no later one takes its place. Only days, weeks and
 * months that have a dump are counted: a pause in the backups removes nothing.
 */
export interface RetentionTiers {
  /**
   * The newest dumps, whatever their dates; the newest one stays in any case.
   *
   * @default 1
   */
  readonly last?: number;
  /**
   * Days of which the first dump stays.
   *
   * @default 0
   */
  readonly daily?: number;
  /**
   * ISO weeks, Monday to Sunday, of which the first dump stays.
   *
   * @default 0
   */
  readonly weekly?: number;
  /**
   * Months of which the first dump stays.
   *
   * @default 0
   */
  readonly monthly?: number;
  /**
   * Time zone whose days, weeks and months these are, e.g. `America/New_York`; the dumps' names stay in UTC.
   *
   * @default "Etc/UTC"
   */
  readonly timeZone?: string;
}

/** Which verified backups stay. It runs after each good backup and touches nothing else. */
export class Retention {
  /** The newest `count` verified backups stay. */
  static last(count: number): Retention {
    return new Retention(() => {
      if (!mayKeep(count) || count === 0) {
        refuse('retention', `keep 1 to ${MOST} backups`, count, 'write for example `Retention.last(7)`');
      }
      return { RETENTION_LAST: String(count) };
    });
  }

  /** The newest backups stay, and the first one of each of the newest days, weeks and months that have one. */
  static tiered(tiers: RetentionTiers): Retention {
    return new Retention(() => {
      checkTiers(tiers);
      const { last = 1, daily = 0, weekly = 0, monthly = 0, timeZone = 'Etc/UTC' } = tiers;
      checkTimeZone(timeZone);
      return {
        RETENTION_LAST: String(Math.max(last, 1)),
        RETENTION_DAILY: String(daily),
        RETENTION_WEEKLY: String(weekly),
        RETENTION_MONTHLY: String(monthly),
        RETENTION_TIME_ZONE: timeZone,
      };
    });
  }

  private constructor(private readonly read: () => Record<string, string>) {}

  /**
   * The parameters of `retention.sh`.
   *
   * @throws InputError for what would keep nothing, or is no number of backups, or no time zone
   * @internal
   */
  get _env(): Record<string, string> {
    return this.read();
  }
}

const MOST = 100_000;
const TIERS = ['last', 'daily', 'weekly', 'monthly'] as const;
const EXAMPLE = 'write for example `Retention.tiered({ daily: 7, weekly: 4, monthly: 12 })`';

function mayKeep(count: number): boolean {
  return Number.isInteger(count) && count >= 0 && count <= MOST;
}

function checkTiers(tiers: RetentionTiers): void {
  const unknown = Object.keys(tiers).find((key) => key !== 'timeZone' && !TIERS.some((tier) => tier === key));
  if (unknown !== undefined) refuse('retention', `be made of ${TIERS.join(', ')} and timeZone`, unknown, EXAMPLE);
  for (const tier of TIERS) {
    const count = tiers[tier];
    if (count !== undefined && !mayKeep(count)) refuse(tier, `be a whole number from 0 to ${MOST}`, count, EXAMPLE);
  }
  if (TIERS.every((tier) => (tiers[tier] ?? 0) === 0)) refuse('retention', 'keep something', 0, EXAMPLE);
}
