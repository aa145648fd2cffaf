import { describe, expect, it } from 'vitest';
import { type LogicalBackupProps, Retention } from '../../lib';
import { backup, find, render } from '../helpers/render';

/** The parameters of retention.sh in the rendered pod. */
function rendered(retention?: Retention): Record<string, string> {
  const props: Partial<LogicalBackupProps> = retention ? { retention } : {};
  const objects = render((chart) => backup(chart, props));
  const [container] = find(objects, 'CronJob', 'pg-backup')['spec'].jobTemplate.spec.template.spec.containers;
  const env = container.env.filter(({ name }: { name: string }) => name.startsWith('RETENTION_'));
  return Object.fromEntries(env.map(({ name, value }: { name: string; value: string }) => [name, value]));
}

describe('Retention', () => {
  it('keeps the last 7 when nothing is said', () => {
    expect(rendered()).toEqual({ RETENTION_LAST: '7' });
    expect(rendered(Retention.last(14))).toEqual({ RETENTION_LAST: '14' });
  });

  it('writes every tier and the calendar', () => {
    const tiers = { last: 3, daily: 7, weekly: 4, monthly: 12, timeZone: 'America/New_York' };
    expect(rendered(Retention.tiered(tiers))).toEqual({
      RETENTION_LAST: '3',
      RETENTION_DAILY: '7',
      RETENTION_WEEKLY: '4',
      RETENTION_MONTHLY: '12',
      RETENTION_TIME_ZONE: 'America/New_York',
    });
  });

  it.each([{ monthly: 12 }, { last: 0, monthly: 12 }])(
    'keeps the newest in any case, and counts in UTC: %j',
    (tiers) => {
      expect(rendered(Retention.tiered(tiers))).toEqual({
        RETENTION_LAST: '1',
        RETENTION_DAILY: '0',
        RETENTION_WEEKLY: '0',
        RETENTION_MONTHLY: '12',
        RETENTION_TIME_ZONE: 'Etc/UTC',
      });
    },
  );
});
