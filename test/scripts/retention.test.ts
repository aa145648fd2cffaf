import { symlinkSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { manifest, nights, Sandbox } from './shell';

const RETENTION = ['lib.sh', 'retention.sh'];
const twelve = Array.from({ length: 12 }, (_, i) => i + 1);
const withManifests = (names: string[]) => names.flatMap((name) => [name, `${name}.manifest.json`]).sort();

let box: Sandbox;
beforeEach(() => {
  box = new Sandbox();
  box.setClock('2026-11-12 02:00:30Z');
  // lib.test.ts shows that fsync_path flushes; here it would only take time.
  box.fake('sync', 'exit 0');
});
afterEach(() => box.remove());

const retain = (keep: number, tiers: Record<string, string> = {}) =>
  box.run(RETENTION, 'set_traps; check_retention; retain', { RETENTION_LAST: String(keep), ...tiers });

describe('retention', () => {
  it('leaves the newest 7 of 12, by the time in their names, and says what went', () => {
    // Written newest first: the time of the files says the opposite of their names.
    for (const name of nights(twelve).reverse()) box.backup(name);
    const { status, err } = retain(7);
    expect(status).toBe(0);
    expect(box.names()).toEqual(withManifests(nights([6, 7, 8, 9, 10, 11, 12])));
    for (const name of nights([1, 2, 3, 4, 5])) expect(err).toContain(`retention: removed ${name}\n`);
    expect(err).toContain(`retention: kept 7 of at most 7: ${nights([6, 7]).join(' ')}`);
  });

  it('removes nothing when there are no more than it keeps', () => {
    for (const name of nights([1, 2, 3])) box.backup(name);
    const before = box.contents();
    expect(retain(3).err).toContain('kept 3 of at most 3');
    expect(retain(7).err).toContain('kept 3 of at most 7');
    expect(box.contents()).toEqual(before);
  });

  it("counts only the newest dump's server: good dumps of an empty new one push out nothing of the old one", () => {
    const old = nights([1, 2, 3]);
    const fresh = nights([4, 5, 6, 7]);
    for (const name of old) box.backup(name, { systemIdentifier: '7001' });
    for (const name of fresh) box.backup(name, { systemIdentifier: '7002' });
    const { err } = retain(3);
    expect(box.names()).toEqual(withManifests([...old, ...fresh.slice(1)]));
    expect(err).toContain(`retention: warning: ${old[0]} is of another server (system identifier 7001): not counted`);
    expect(err).toContain(`rm ${old[0]} ${old[0]}.manifest.json`);
  });

  it('works on an empty volume', () => {
    expect(retain(7)).toMatchObject({ status: 0, err: expect.stringContaining('kept 0 of at most 7') });
  });

  it('counts gzip and zstd together', () => {
    for (const name of nights([1, 3, 5])) box.backup(name);
    for (const name of nights([2, 4, 6], 'zst')) box.backup(name);
    retain(3);
    expect(box.names()).toEqual(withManifests([...nights([4, 6], 'zst'), ...nights([5])]));
  });

  it.each([
    ["another job's, with a longer name", 'postgres-backup-extra-2026-11-01-020000.sql.gz'],
    ["another job's, with a shorter name", 'postgres-2026-11-01-020000.sql.gz'],
    ['without a time', 'postgres-backup-latest.sql.gz'],
    ['with less of a time', 'postgres-backup-2026-11-01.sql.gz'],
    ['with more after it', 'postgres-backup-2026-11-01-020000.sql.gz.old'],
    ['with another suffix', 'postgres-backup-2026-11-01-020000.tar.gz'],
    ['with more before it', 'old-postgres-backup-2026-11-01-020000.sql.gz'],
    ['with a line break', 'postgres-backup-2026-11-01-020000.sql.gz\n'],
    ['with a space', 'postgres-backup-2026-11-01-020000 .sql.gz'],
    ['with a leading dash', '-rf'],
    ['with an asterisk', '*'],
    ['with shell in it', 'postgres-backup-$(touch gone)-2026-11-01-020000.sql.gz'],
  ])('never touches a file %s', (_, name) => {
    box.put(name);
    box.put(`${name}.manifest.json`, manifest(name, `content of ${name}\n`));
    const foreign = box.contents();
    for (const night of nights([1, 2, 3])) box.backup(night);
    expect(retain(2).status).toBe(0);
    expect(box.contents()).toMatchObject(foreign);
    expect(box.names()).toHaveLength(2 + 4);
  });

  it('neither counts nor removes what has no manifest', () => {
    box.put(nights([1])[0]!);
    box.put(nights([20])[0]!);
    for (const name of nights([2, 3, 4])) box.backup(name);
    const { err } = retain(2);
    expect(box.names()).toEqual([...nights([1]), ...withManifests(nights([3, 4])), ...nights([20])]);
    expect(err).toContain(`retention: passing over ${nights([1])[0]}: it has no manifest, so something else made it`);
  });

  it.each([
    ['about the size', { bytes: 5 }],
    ['about the job', { job: 'postgres-backup-extra' }],
    ['about the file', { file: 'postgres-backup-2026-11-02-020000.sql.gz' }],
    ['about its kind', { kind: 'base' }],
    ['in a format of the future', { formatVersion: 2 }],
    ['without a checksum', { sha256: '' }],
  ])('neither counts nor removes a file whose manifest lies %s', (_, lies) => {
    const [liar] = nights([1]);
    box.backup(liar!, lies);
    const before = box.contents();
    for (const name of nights([2, 3, 4])) box.backup(name);
    const { err } = retain(2);
    expect(box.contents()).toMatchObject(before);
    expect(box.names()).toEqual(withManifests(nights([1, 3, 4])));
    expect(err).toContain(`warning: passing over ${liar}: its manifest does not fit`);
  });

  it('does not believe a manifest that was cut off', () => {
    const [cut] = nights([1]);
    box.backup(cut!);
    truncateSync(join(box.volume, `${cut}.manifest.json`), 300);
    for (const name of nights([2, 3])) box.backup(name);
    retain(1);
    expect(box.names()).toEqual(withManifests(nights([1, 3])));
  });

  it('does not follow links', () => {
    const [first, second] = nights([1, 2]) as [string, string];
    box.backup(first);
    // As long as the link itself is, which is what stat says of it.
    box.put('elsewhere', 'elsewhere');
    symlinkSync('elsewhere', join(box.volume, second));
    box.put(`${second}.manifest.json`, manifest(second, 'elsewhere'));
    retain(1);
    expect(box.names()).toEqual(['elsewhere', ...withManifests([first, second])]);
  });

  it('after a clock that ran ahead was put right, neither counts nor removes what is from the future', () => {
    for (const name of [...nights([1, 2, 3]), ...nights([25, 26, 27])]) box.backup(name);
    box.backup(nights([12])[0]!);
    const { err } = retain(3);
    expect(box.names()).toEqual(withManifests(nights([2, 3, 12, 25, 26, 27])));
    expect(err).toContain(`warning: ${nights([25])[0]} is from the future: not counted and not removed`);
    box.setClock('2026-11-28 02:00:30Z');
    retain(3);
    expect(box.names()).toEqual(withManifests(nights([25, 26, 27])));
  });

  it('keeps the dump that was just made when all others have a later time', () => {
    for (const name of nights([20, 21, 22, 23, 24, 25, 26])) box.backup(name);
    box.setClock('2026-11-01 02:00:30Z');
    box.backup(nights([1])[0]!);
    retain(7);
    expect(box.names()).toEqual(withManifests(nights([1, 20, 21, 22, 23, 24, 25, 26])));
  });
});

describe('tiers', () => {
  const tiers = { RETENTION_DAILY: '2', RETENTION_WEEKLY: '2', RETENTION_MONTHLY: '2' };
  const october = (...days: number[]) => nights(days).map((name) => name.replace('2026-11', '2026-10'));

  it('keep the first dump of a day, week and month, and say so', () => {
    for (const name of [...october(3, 30), ...nights([1, 2, 4, 9, 10, 11])]) box.backup(name);
    const later = nights([11])[0]!.replace('020000', '150000');
    box.backup(later);
    box.setClock('2026-11-11 15:10:00Z');
    const { status, err } = retain(1, tiers);
    expect(status).toBe(0);
    expect(box.names()).toEqual(withManifests([...october(3), ...nights([1, 2, 9, 10, 11]), later]));
    const reasons = [...err.matchAll(/retention: keeping (.*)\n/g)].map(([, line]) => line);
    expect(reasons).toEqual([
      `${october(3)}: month 2026-10`,
      `${nights([1])}: month 2026-11`,
      `${nights([2])}: week 2026-W45`,
      `${nights([9])}: week 2026-W46`,
      `${nights([10])}: day 2026-11-10`,
      `${nights([11])}: day 2026-11-11`,
      `${later}: last 1`,
    ]);
    expect(err).toContain('retention: tiers: last 1, daily 2, weekly 2, monthly 2, by the calendar of Etc/UTC\n');
    expect(err).toContain('retention: kept 7 of at most 7: ');
    const before = box.contents();
    retain(1, tiers);
    expect(box.contents()).toEqual(before);
  });

  it('count by the calendar of their zone, whatever the zone of the pod', () => {
    // In Berlin both are of 2026-11-03.
    const [first, second] = ['2026-11-02-233000', '2026-11-03-020000'].map((at) => `postgres-backup-${at}.sql.gz`);
    for (const name of [first!, second!, ...nights([4])]) box.backup(name);
    retain(1, { RETENTION_DAILY: '2', RETENTION_TIME_ZONE: 'Europe/Berlin', TZ: 'America/New_York' });
    expect(box.names()).toEqual(withManifests([first!, ...nights([4])]));
  });

  it('after a pause of months keep what was kept before it', () => {
    for (const name of nights([1, 2, 3])) box.backup(name);
    box.setClock('2027-06-01 02:00:30Z');
    const fresh = box.backup('postgres-backup-2027-06-01-020000.sql.gz');
    retain(1, { RETENTION_DAILY: '3' });
    expect(box.names()).toEqual(withManifests([...nights([2, 3]), fresh]));
  });

  it('neither count nor remove what is not verified, not their own, of another server or from the future', () => {
    const others = [
      box.put('postgres-backup-2026-11-01-010000.sql.gz'),
      box.put('postgres-backup-extra-2026-11-01-010000.sql.gz'),
      box.backup('postgres-backup-2026-11-01-011500.sql.gz', { systemIdentifier: '7001' }),
      box.backup('postgres-backup-2026-12-01-010000.sql.gz'),
      box.backup('postgres-backup-2026-11-01-013000.sql.gz', { bytes: 1 }),
    ];
    const before = box.contents();
    for (const name of nights([1, 2, 3])) box.backup(name);
    retain(1, { RETENTION_MONTHLY: '1' });
    expect(box.contents()).toMatchObject(before);
    const left = box.names().filter((name) => !others.some((other) => name.startsWith(other)));
    expect(left).toEqual(withManifests(nights([1, 3])));
  });

  it.each([
    [{ RETENTION_LAST: '0' }, 'RETENTION_LAST must be a whole number from 1 to 100000, got `0`'],
    [{ RETENTION_DAILY: '-1' }, 'RETENTION_DAILY must be a whole number from 0 to 100000, got `-1`'],
    [{ RETENTION_WEEKLY: '1.5' }, 'RETENTION_WEEKLY must be a whole number from 0 to 100000, got `1.5`'],
    [{ RETENTION_MONTHLY: '100001' }, 'RETENTION_MONTHLY must be a whole number from 0 to 100000, got `100001`'],
    [
      { RETENTION_TIME_ZONE: '../../../etc/passwd' },
      'RETENTION_TIME_ZONE must be a name of the IANA time zone database, got `../../../etc/passwd`',
    ],
    [{ RETENTION_TIME_ZONE: 'Europe/Atlantis' }, 'the image has no data for the time zone RETENTION_TIME_ZONE'],
    [{ RETENTION_TIME_ZONE: 'Europe' }, 'the image has no data for the time zone RETENTION_TIME_ZONE'],
  ])('are refused before anything is touched: %j', (wrong, line) => {
    for (const name of nights([1, 2, 3])) box.backup(name);
    const before = box.contents();
    const { status, err } = retain(1, wrong);
    expect(status).toBe(1);
    expect(err).toMatch(/ environment: error: .*; .*\n$/);
    expect(err).toContain(`error: ${line}`);
    expect(box.contents()).toEqual(before);
  });

  it('may be written with zeros in front', () => {
    for (const name of nights([1, 2, 3])) box.backup(name);
    expect(retain(1, { RETENTION_DAILY: '008' }).err).toContain('kept 3 of at most 9');
  });
});

describe('a removal that is killed', () => {
  // The volume is flushed twice while one backup is removed, and `sync` is the only program in between.
  it.each([1, 2])('leaves nothing that lies at step %i, and the next run ends it', (step) => {
    for (const name of nights([1, 2, 3])) box.backup(name);
    box.fake('sync', `echo >>${box.root}/syncs; [ "$(wc -l <${box.root}/syncs)" != ${step} ] || kill -9 $PPID`);
    expect(retain(2).signal).toBe('SIGKILL');
    const visible = box.names().filter((name) => !name.startsWith('.'));
    // Never a manifest without its file.
    expect(visible).toEqual([...(step === 1 ? nights([1]) : []), ...withManifests(nights([2, 3]))]);

    box.fake('sync', 'exit 0');
    const { status } = box.run(RETENTION, 'set_traps; check_retention; finish_leftovers; retain', {
      RETENTION_LAST: '2',
    });
    expect(status).toBe(0);
    expect(box.names()).toEqual(withManifests(nights([2, 3])));
  });
});

describe('leftovers', () => {
  const own = '.partial-postgres-backup-2026-11-11-020000-42x7';
  const finish = () => box.run(RETENTION, 'set_traps; finish_leftovers');

  it('of a run that was killed are removed', () => {
    box.put(own);
    box.put(`${own}.manifest.json`, '{\n');
    const { err } = finish();
    expect(box.names()).toEqual([]);
    expect(err).toContain(`leftovers: removed ${own} of a run that was killed`);
  });

  it.each([
    '.partial-postgres-backup-extra-2026-11-11-020000-42x7',
    '.partial-postgres-2026-11-11-020000-42x7',
    '.partial-postgres-backup-2026-11-11-020000-42x7.tar',
    '.partial-postgres-backup-2026-11-11-020000-42x7\n',
    '.partial-other',
    '.postgres-backup.lock',
  ])('of somebody else stay: %j', (name) => {
    box.put(name);
    finish();
    expect(box.names()).toEqual([name]);
  });

  it('of a run that was killed between its two renames become the backup that they are', () => {
    const [name] = nights([11]) as [string];
    box.put(name);
    box.put(`${own}.manifest.json`, manifest(name, `content of ${name}\n`));
    const { err } = finish();
    expect(box.names()).toEqual(withManifests([name]));
    expect(err).toContain(`put the manifest of ${name} in place`);
    expect(retain(1).err).toContain(`kept 1 of at most 1: ${name}`);
  });

  it('give no manifest to a file that is not the one that was checked', () => {
    const [name] = nights([11]) as [string];
    // As many bytes as the manifest says, but others.
    box.put(name, `CONTENT of ${name}\n`);
    box.put(`${own}.manifest.json`, manifest(name, `content of ${name}\n`));
    const { err } = finish();
    expect(box.names()).toEqual([name]);
    expect(err).toContain(`warning: ${name} does not match the manifest of the run that wrote it`);
  });

  it('never replace a manifest that is there', () => {
    const [name] = nights([11]) as [string];
    box.backup(name);
    const before = box.contents();
    box.put(`${own}.manifest.json`, manifest(name, `content of ${name}\n`, { start: 'other' }));
    finish();
    expect(box.contents()).toEqual(before);
  });
});
