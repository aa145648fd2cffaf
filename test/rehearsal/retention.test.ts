import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Retention } from '../../lib';
import { majors, Rehearsal } from '.';
import { BackupFiles } from './backup-volume';
import { BACKUP, DATA_CLAIM, homeLab, SERVER } from './home-lab';

const retention = Retention.tiered({ daily: 2, weekly: 2, monthly: 3, timeZone: 'America/New_York' });

/** When a pod runs, in UTC, and the first digits of the dumps that are on the volume afterwards. */
const NIGHTS: [string, string[]][] = [
  ['2026-10-01 06:00:00', ['10-01-06']],
  ['2026-10-31 06:00:00', ['10-01-06', '10-31-06']],
  // Still Saturday in New York, so it stays as the newest only; in UTC it would be the first of November.
  ['2026-11-01 03:30:00', ['10-01-06', '10-31-06', '11-01-03']],
  ['2026-11-01 06:00:00', ['10-01-06', '10-31-06', '11-01-06']],
  ['2026-11-02 07:00:00', ['10-01-06', '10-31-06', '11-01-06', '11-02-07']],
  ['2026-11-03 07:00:00', ['10-01-06', '10-31-06', '11-01-06', '11-02-07', '11-03-07']],
  ['2026-11-09 07:00:00', ['10-01-06', '11-01-06', '11-02-07', '11-03-07', '11-09-07']],
];

describe.each(majors())('tiered retention, PostgreSQL %i', (major) => {
  let cluster: Rehearsal;
  let files: BackupFiles;
  beforeAll(async () => {
    cluster = await Rehearsal.open({
      major,
      objects: homeLab(major, { backup: { retries: 0, retention } }),
      volumes: { [DATA_CLAIM]: { kind: 'squash' }, [BACKUP]: { kind: 'squash' } },
    });
    await (await cluster.startStatefulSet(SERVER)).waitReady(60_000);
    files = new BackupFiles(cluster.claim(BACKUP));
  });
  afterAll(() => cluster?.close());

  it("keeps the first dump of New York's days, weeks and months, night after night, and says why", async () => {
    const foreign = [
      files.put('postgres-backup-extra-2026-01-01-020000.sql.gz'),
      files.put('postgres-backup-2026-01-01-020000.sql.gz'),
    ];
    const untouched = files.contents();
    let log = '';
    for (const [clock, left] of NIGHTS) {
      const result = await cluster.runCronJob(BACKUP, { clock });
      expect(result.succeeded, result.log).toBe(true);
      const own = files.dumps().filter((name) => !foreign.includes(name));
      expect(own, clock).toEqual(left.map((stamp) => expect.stringContaining(`postgres-backup-2026-${stamp}`)));
      expect(files.names()).toHaveLength(own.length * 2 + foreign.length);
      log = result.log;
    }
    expect(files.contents()).toMatchObject(untouched);
    expect(log).toContain(
      'retention: tiers: last 1, daily 2, weekly 2, monthly 3, by the calendar of America/New_York\n',
    );
    expect(log).toMatch(/retention: keeping postgres-backup-2026-10-01-06\d{4}\.sql\.gz: month 2026-10\n/);
    expect(log).toMatch(/retention: keeping postgres-backup-2026-11-02-07\d{4}\.sql\.gz: week 2026-W45\n/);
    expect(log).toMatch(
      /retention: keeping postgres-backup-2026-11-09-07\d{4}\.sql\.gz: last 1, day 2026-11-09, week 2026-W46\n/,
    );
    expect(log).toMatch(/retention: removed postgres-backup-2026-10-31-06\d{4}\.sql\.gz\n/);
    expect(log).toMatch(/retention: kept 5 of at most 8: postgres-backup-2026-10-01-/);
  });

  it('refuses a zone that the image does not know before it dumps, instead of counting in UTC', async () => {
    const before = files.contents();
    const { succeeded, log } = await cluster.runCronJob(BACKUP, { env: { RETENTION_TIME_ZONE: 'America/Atlantis' } });
    expect(succeeded).toBe(false);
    expect(log.trimEnd()).toMatch(
      /environment: error: the image has no data for the time zone RETENTION_TIME_ZONE, there is no \/usr\/share\/zoneinfo\/America\/Atlantis; use an official image, the zone's present name, or Etc\/UTC$/,
    );
    expect(files.contents()).toEqual(before);
  });
});
