import { afterAll, afterEach, beforeAll, beforeEach, describe, expect } from 'vitest';
import { badDay, type Listing, type Outcome, outcome } from '../helpers/bad-day';
import { majors } from '.';
import { Lab, type Stage } from './restore-kit';
import type { Attempt, JobHandle } from './runner/types';

const SWAPPED = 'right after the swap';

describe.each(majors())('restore that is stopped or killed, PostgreSQL %i', (major) => {
  let lab: Lab;
  let before: Listing;

  beforeAll(async () => {
    lab = await Lab.filled(major);
    await lab.psql("CREATE ROLE lost SUPERUSER LOGIN PASSWORD 'lost'; GRANT readers TO lost");
    await lab.backup();
  });
  afterAll(() => lab.close());
  beforeEach(async () => {
    // What the dump knows and the server lacks, what differs, and what only the server has.
    await lab.psql('DROP ROLE lost; ALTER ROLE app CONNECTION LIMIT 3');
    await lab.psql("INSERT INTO users (name, created) VALUES ('dave', now()) ON CONFLICT DO NOTHING", 'backup_test');
    before = await lab.listing();
  });
  afterEach(async () => {
    await lab.dropKept();
    await lab.psql("SELECT 'CREATE ROLE lost' WHERE to_regrole('lost') IS NULL \\gexec");
  });

  /** The only attempt, after something was done to the paused restore. */
  const disturbed = async (stage: Stage, disturb: (job: JobHandle) => Promise<void>): Promise<Attempt> => {
    const job = await lab.paused(stage);
    const began = Date.now();
    await disturb(job);
    const result = await job.wait();
    // Not when the query that is under way has ended, which can be after the grace period.
    expect(Date.now() - began, result.log).toBeLessThan(15_000);
    expect(result.succeeded).toBe(false);
    expect(result.attempts).toHaveLength(1);
    return result.attempts[0]!;
  };

  /** SIGINT is what the official image is stopped with, SIGTERM what most others are: both must come to the same. */
  const stopped = async (stage: Stage): Promise<Outcome> => {
    await disturbed(stage, (job) => job.pod!.signal('restore', 'SIGINT')).then(({ exitCode }) =>
      expect(exitCode).toBe(130),
    );
    const after = await lab.listing();
    if (stage === SWAPPED) {
      await lab.dropKept();
      before = await lab.listing();
    } else {
      expect(after).toEqual(before);
    }
    const attempt = await disturbed(stage, (job) => job.pod!.signal('restore', 'SIGTERM'));
    return outcome(attempt, before, await lab.listing());
  };

  /** Power is gone: right afterwards, and after the next restore. */
  const killed = async (stage: Stage): Promise<Outcome> => {
    const attempt = await disturbed(stage, (job) => job.kill9());
    const after = await lab.listing();
    await lab.restored();
    const next = await lab.listing();
    expect(Object.keys(next).filter((name) => name.includes('_restoring_'))).toEqual([]);
    return outcome(attempt, before, after, next);
  };

  badDay('restore', 'stopped by SIGINT or SIGTERM while it reads the dump', () => stopped('while it reads the dump'));
  badDay('restore', 'stopped by SIGINT or SIGTERM during the preflight', () => stopped('during the preflight'));
  badDay('restore', 'stopped by SIGINT or SIGTERM before it creates roles', () => stopped('before it creates roles'));
  badDay('restore', 'stopped by SIGINT or SIGTERM before it loads', () => stopped('before it loads'));
  badDay('restore', 'stopped by SIGINT or SIGTERM while it counts rows', () => stopped('while it counts rows'));
  badDay('restore', 'stopped by SIGINT or SIGTERM while it analyzes', () => stopped('while it analyzes'));
  badDay('restore', 'stopped by SIGINT or SIGTERM right before the swap', () => stopped('right before the swap'));
  badDay('restore', 'stopped by SIGINT or SIGTERM inside the transaction of the swap', () =>
    stopped('inside the swap'),
  );
  badDay('restore', 'stopped by SIGINT or SIGTERM right after the swap', () => stopped(SWAPPED));

  badDay('restore', '-9 while it reads the dump', () => killed('while it reads the dump'));
  badDay('restore', '-9 during the preflight', () => killed('during the preflight'));
  badDay('restore', '-9 before it creates roles', () => killed('before it creates roles'));
  badDay('restore', '-9 before it loads', () => killed('before it loads'));
  badDay('restore', '-9 while it counts rows', () => killed('while it counts rows'));
  badDay('restore', '-9 while it analyzes', () => killed('while it analyzes'));
  badDay('restore', '-9 right before the swap', () => killed('right before the swap'));
  badDay('restore', '-9 inside the transaction of the swap', () => killed('inside the swap'));
  badDay('restore', '-9 right after the swap', () => killed(SWAPPED));
});
