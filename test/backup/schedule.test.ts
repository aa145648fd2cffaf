import { describe, expect, it } from 'vitest';
import { Schedule } from '../../lib';
import { backup, find, refusal, render } from '../helpers/render';

const rendered = (schedule: Schedule) => {
  const { schedule: fields, timeZone } = find(
    render((chart) => backup(chart, { schedule })),
    'CronJob',
    'pg-backup',
  )['spec'];
  return `${fields} ${timeZone}`;
};

describe('Schedule', () => {
  it('writes five fields and always a time zone', () => {
    expect(rendered(Schedule.daily('02:00'))).toBe('0 2 * * * Etc/UTC');
    expect(rendered(Schedule.daily('06:00', { timeZone: 'America/New_York' }))).toBe('0 6 * * * America/New_York');
    expect(rendered(Schedule.weekly('sunday', '06:20'))).toBe('20 6 * * 0 Etc/UTC');
    expect(rendered(Schedule.cron('*/15 1-5,22 ? JAN-mar MON'))).toBe('*/15 1-5,22 ? JAN-mar MON Etc/UTC');
  });

  it.each(['UTC', 'Etc/UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', 'America/Port-au-Prince'])(
    'knows the time zone %s',
    (timeZone) => {
      expect(rendered(Schedule.daily('02:00', { timeZone }))).toBe(`0 2 * * * ${timeZone}`);
    },
  );

  it.each(['Local', 'utc', 'europe/berlin', '+02:00', 'EST5', 'Europe/BERLIN', ''])(
    'refuses the time zone "%s"',
    (timeZone) => {
      expect(refusal((chart) => backup(chart, { schedule: Schedule.daily('02:00', { timeZone }) }))).toContain(
        '`timeZone` must be',
      );
    },
  );

  it.each([
    ['* * * *', 'five fields'],
    ['@daily', 'five fields'],
    ['0 24 * * *', 'hour from 0 to 23'],
    ['0 2 0 * *', 'day of month from 1 to 31'],
    ['0 2 * 13 *', 'month from 1 to 12'],
    ['0 2 * * 7', 'day of week from 0 to 6'],
    ['0 2 L * *', 'day of month from 1 to 31'],
    ['0 2 * * MON#1', 'day of week from 0 to 6'],
    ['*/0 2 * * *', 'step'],
    ['1/2/3 2 * * *', 'step'],
    ['5-1 2 * * *', 'ranges rise'],
    ['1-2-3 2 * * *', 'range'],
    ['*-5 2 * * *', 'range'],
    [', 2 * * *', 'minute from 0 to 59'],
    ['0 2 30 2 *', 'a date that exists'],
    ['0 2 31 4,6,9,11 *', 'a date that exists'],
    ['0 2 31 feb ?', 'a date that exists'],
    ['0 2 30 2 1,*', 'a date that exists'],
  ])('refuses "%s"', (expression, says) => {
    expect(refusal((chart) => backup(chart, { schedule: Schedule.cron(expression) }))).toContain(says);
  });

  it('lets a 30th of February through where a weekday fires all the same', () => {
    expect(rendered(Schedule.cron('0 2 30 2 1'))).toBe('0 2 30 2 1 Etc/UTC');
    expect(rendered(Schedule.cron('0 2 30 2 */2'))).toBe('0 2 30 2 */2 Etc/UTC');
  });
});
