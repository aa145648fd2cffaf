import { afterAll, beforeAll, describe, expect, vi } from 'vitest';
import { badDay, type Listing, outcome } from '../helpers/bad-day';
import { majors } from '.';
import { failed } from './backup-kit';
import { fault } from './backup-volume';
import { BACKUP, DATA_CLAIM, RESTORE } from './home-lab';
import { Lab, ODD, type Stage } from './restore-kit';
import type { JobHandle } from './runner/types';

const litter = (listing: Listing) => Object.keys(listing).filter((name) => name.includes('_restoring_'));

describe.each(majors())('restore into a server that has a bad day, PostgreSQL %i', (major) => {
  let lab: Lab;
  let slow: string;
  let all: string;

  beforeAll(async () => {
    lab = await Lab.filled(major);
    await lab.backup();
    all = await lab.tool('pg_dumpall');
    slow = lab.put('slow.sql', all.replace('COPY public.users', 'SELECT pg_sleep(6);\nCOPY public.users'));
  });
  afterAll(() => lab.close());

  const loading = async (): Promise<JobHandle> => {
    const job = await lab.cluster.startJob(RESTORE, { env: { BACKUP_FILE: slow } });
    const asleep = "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND pid <> pg_backend_pid()";
    await vi.waitFor(async () => expect(await lab.psql(asleep)).toBe('1'), { timeout: 20_000 });
    return job;
  };

  badDay('restore', 'a load that hangs, until the deadline of the Job', async () => {
    const before = await lab.listing();
    // A pause of 60 s against a deadline of 12.
    const job = await lab.paused('before it loads', {}, { deadlineScale: 12 / 43_200 });
    const result = await job.wait();
    expect(result.reason).toBe('DeadlineExceeded');
    const after = await lab.listing();
    expect(after).toEqual(before);
    await lab.restored();
    const next = await lab.listing();
    expect(litter(next)).toEqual([]);
    await lab.dropKept();
    return outcome(result.attempts[0]!, before, after, next);
  });

  badDay('restore', 'a server that answers nothing any more, and the Job is deleted', async () => {
    const before = await lab.listing();
    const job = await loading();
    const frozen = lab.server.processes();
    for (const pid of frozen) process.kill(pid, 'SIGSTOP');
    let result: Awaited<ReturnType<JobHandle['wait']>>;
    try {
      await job.stop();
      result = await job.wait();
    } finally {
      for (const pid of frozen) process.kill(pid, 'SIGCONT');
    }
    await lab.server.waitReady(30_000);
    const after = await lab.listing();
    await vi.waitFor(() => lab.restored(), { timeout: 30_000 });
    const next = await lab.listing();
    expect(litter(next)).toEqual([]);
    await lab.dropKept();
    return outcome(result.attempts[0]!, before, after, next);
  });

  badDay('restore', 'a dump is being made at the same time', async () => {
    const overlay = fault(
      'pg_dumpall',
      `[ "$1" = --version ] || sleep 60.25; exec /usr/lib/postgresql/${major}/bin/pg_dumpall "$@"`,
    );
    const dump = await lab.cluster.startCronJob(BACKUP, { overlay });
    await vi.waitFor(() => expect(dump.pod?.logs()).toMatch(/ dump: pg_dumpall/), { timeout: 20_000 });
    const day = await lab.badDay();
    expect(day.message).toMatch(/another dump or restore is running on this server: postgres-backup \(pid <n>, /);
    lab.resume(dump);
    expect(await dump.wait()).toMatchObject({ succeeded: true });
    return day;
  });

  badDay('restore', 'the database exists and allows no connections', async () => {
    await lab.psql('ALTER DATABASE backup_test ALLOW_CONNECTIONS false');
    const before = await lab.listing();
    const result = await lab.restore({ DATABASE: 'backup_test' });
    expect(result.succeeded, result.log).toBe(true);
    const kept = await lab.psql(
      "SELECT datname ~ '_before_', datallowconn FROM pg_database WHERE datname ~ '^backup_test' ORDER BY 1",
    );
    expect(kept).toBe('f|t\nt|f');
    const after = await lab.listing();
    await lab.dropKept();
    return outcome(result.attempts[0]!, before, after);
  });

  badDay('restore', 'a user and databases whose names hold quotes, blanks, $, ;, \\ and line breaks', async () => {
    const user = `Bo's "b\\\\" $(id);`;
    const password = `'\\ "$(x)%:@/`;
    const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
    const name = (text: string) => `"${text.replaceAll('"', '""')}"`;
    await lab.psql(`CREATE ROLE ${name(user)} SUPERUSER LOGIN PASSWORD ${literal(password)}`);
    // An empty database of others, and one whose name spells it in a line of its own.
    await lab.psql(`CREATE DATABASE "victim"`);
    await lab.psql(`CREATE DATABASE "victim\nx_restoring_20261121020000"`);
    const content = await lab.content(ODD);
    const before = await lab.listing();
    const result = await lab.restore({ DATABASE: ODD, PGUSER: user, PGPASSWORD: password });
    expect(result.succeeded, result.log).toBe(true);
    const after = await lab.listing();
    expect(await lab.psql("SELECT count(*) FROM pg_database WHERE datname = 'victim'")).toBe('1');
    await lab.dropKept();
    expect(await lab.content(ODD)).toBe(content);
    expect(JSON.stringify([result.log, lab.cluster.processArguments()])).not.toContain('$(x)%:@/');
    await lab.psql(`DROP DATABASE victim; DROP ROLE ${name(user)}`);
    return outcome(result.attempts[0]!, before, after);
  });

  /** Pauses a restore, lets the server crash, and goes on when it has come back, or while it is still down. */
  const crashed = async (stage: Stage, back: boolean) => {
    const before = await lab.listing();
    const job = await lab.paused(stage, { CONNECT_WAIT_STARTING: '2' });
    await lab.crash();
    if (back) await lab.startAgain();
    lab.resume(job);
    const result = await job.wait();
    if (!back) await lab.startAgain();
    const after = await lab.listing();
    await lab.restored();
    const next = await lab.listing();
    expect(litter(next)).toEqual([]);
    await lab.dropKept();
    return { result, day: outcome(result.attempts[0]!, before, after, next) };
  };

  badDay('restore', 'the server crashes inside the transaction of the swap', async () => {
    const { result, day } = await crashed('inside the swap', true);
    failed(result);
    return day;
  });

  badDay('restore', 'the server crashes right after the swap, which hears no answer', async () => {
    const { result, day } = await crashed('after the swap, the answer is lost', true);
    expect(result.succeeded, result.log).toBe(true);
    return day;
  });

  badDay('restore', 'the server crashes right after the swap, which hears no answer, and stays away', async () => {
    const { result, day } = await crashed('after the swap, the answer is lost', false);
    expect(failed(result).log).toMatch(/the server does not answer; when it does: databases whose names end in/);
    expect(day.left).toContain('~ database backup_test');
    return day;
  });
});

describe.each(majors())('restore onto a full disk, PostgreSQL %i', (major) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open(major, undefined, undefined, { [DATA_CLAIM]: { kind: 'full', sizeMiB: 240 } });
    await lab.psql('CREATE DATABASE app');
    await lab.psql('CREATE TABLE public.t AS SELECT 1 AS i', 'app');
  });
  afterAll(() => lab.close());

  badDay('restore', 'the disk of the server gets full in the middle of the load', async () => {
    const all = await lab.tool('pg_dumpall');
    // No WAL, so that it is the table that does not fit. The dump itself is small, so that it passes the check of the space.
    const filler = `CREATE UNLOGGED TABLE public.filler (t text);
INSERT INTO public.filler SELECT repeat(md5(i::text), 60) FROM generate_series(1, 200000) i;
COPY public.t`;
    lab.put('big.sql', all.replace('COPY public.t', filler));
    const day = await lab.badDay({ BACKUP_FILE: 'big.sql' });
    expect(day.message).toContain('enlarge the volume of the server, then run it again');
    expect(day.left).toBe('unchanged');
    await lab.restored({ BACKUP_FILE: lab.put('good.sql', all) });
    return day;
  });
});
