import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, vi } from 'vitest';
import { badDay, normalized, type Outcome, outcome } from '../helpers/bad-day';
import { majors } from '.';
import { failed } from './backup-kit';
import { BACKUP, RESTORE } from './home-lab';
import { Lab } from './restore-kit';

const NAME = 'postgres-backup-2026-10-01-020000.sql.gz';
const MANIFEST = `${NAME}.manifest.json`;

describe.each(majors())('restore from a volume that is not as it should be, PostgreSQL %i', (major) => {
  let lab: Lab;
  let dump: Buffer;
  let manifest: string;

  beforeAll(async () => {
    lab = await Lab.filled(major);
    const made = await lab.backup('2026-10-01 02:00:00');
    dump = lab.read(made);
    manifest = lab.read(`${made}.manifest.json`).toString().replaceAll(made, NAME);
  });
  afterAll(() => lab.close());
  beforeEach(() => empty());

  const empty = () => {
    for (const name of readdirSync(lab.volume)) rmSync(join(lab.volume, name), { recursive: true });
  };
  const put = (text: string | Buffer = manifest) => {
    lab.put(NAME, dump);
    lab.put(MANIFEST, text);
  };
  const changed = (from: string | RegExp, to: string) => {
    expect(manifest).toMatch(from);
    return manifest.replace(from, to);
  };
  /** Neither the newest dump nor, by its name, a certain one. */
  const neither = async (message: RegExp): Promise<Outcome> => {
    expect((await lab.badDay()).message).toMatch(/no verified dump of postgres-backup .*; set BACKUP_FILE to one of: /);
    const day = await lab.badDay({ BACKUP_FILE: NAME });
    expect(day).toMatchObject({ exitCode: 1, left: 'unchanged', message: expect.stringMatching(message) });
    return day;
  };
  /** A restore that works, told as the others are. */
  const works = async (env: Record<string, string> = {}): Promise<Outcome> => {
    const before = await lab.listing();
    const content = await lab.content('backup_test');
    const result = await lab.restore({ DATABASE: 'backup_test', ...env });
    expect(result.succeeded, result.log).toBe(true);
    const after = await lab.listing();
    await lab.dropKept();
    expect(await lab.content('backup_test')).toBe(content);
    return outcome(result.attempts[0]!, before, after);
  };

  const NO_MANIFEST = /manifest of .* is damaged, of another file, or of a newer format; look at it, or move it away/;

  badDay('restore', 'a volume that holds only lost+found', async () => {
    mkdirSync(join(lab.volume, 'lost+found'), { mode: 0o700 });
    const day = await lab.badDay();
    expect(day.message).toContain('/backup is empty; run the backup first, or copy a dump there');
    return day;
  });

  badDay('restore', 'a dump without manifest is never taken for the newest one', async () => {
    lab.put(NAME, dump);
    const day = await lab.badDay();
    expect(day.message).toMatch(/no verified dump .*; set BACKUP_FILE to one of: postgres-backup-/);
    return day;
  });

  badDay('restore', 'a dump without manifest, by its name', () => {
    lab.put(NAME, dump);
    return works({ BACKUP_FILE: NAME });
  });

  badDay('restore', 'a manifest of another job is not followed', async () => {
    put(changed('"job": "postgres-backup"', '"job": "nightly"'));
    const day = await lab.badDay();
    expect(day.message).toMatch(/no verified dump of postgres-backup/);
    return day;
  });

  badDay('restore', 'a manifest of another job, its dump by name', () => {
    put(changed('"job": "postgres-backup"', '"job": "nightly"'));
    return works({ BACKUP_FILE: NAME });
  });

  badDay('restore', 'a manifest of another file', () => {
    put(changed(`"file": "${NAME}"`, '"file": "postgres-backup-2026-10-02-020000.sql.gz"'));
    return neither(NO_MANIFEST);
  });

  badDay('restore', 'a manifest of another server', () => {
    put(changed(/"systemIdentifier": "\d+"/, '"systemIdentifier": "7001"'));
    return works();
  });

  badDay('restore', 'a manifest of format version 2', () => {
    put(changed('"formatVersion": 1', '"formatVersion": 2'));
    return neither(NO_MANIFEST);
  });

  badDay('restore', 'a manifest that is binary junk', () => {
    put(dump);
    return neither(NO_MANIFEST);
  });

  badDay('restore', 'a manifest of 0 bytes', () => {
    put('');
    return neither(NO_MANIFEST);
  });

  badDay('restore', 'a manifest saved with line ends of Windows', () => {
    put(manifest.replaceAll('\n', '\r\n'));
    return neither(NO_MANIFEST);
  });

  badDay('restore', 'a manifest that is a link', () => {
    put();
    rmSync(join(lab.volume, MANIFEST));
    lab.put('real.json', manifest);
    symlinkSync('real.json', join(lab.volume, MANIFEST));
    return neither(NO_MANIFEST);
  });

  badDay('restore', 'a manifest that is a link to nowhere', async () => {
    put();
    rmSync(join(lab.volume, MANIFEST));
    symlinkSync('nowhere.json', join(lab.volume, MANIFEST));
    const files = readdirSync(lab.volume);
    const message = await lab.refused({ BACKUP_FILE: NAME });
    expect(message).toMatch(NO_MANIFEST);
    expect(readdirSync(lab.volume)).toEqual(files);
    return { exitCode: 1, message: normalized(message.slice(21)), left: 'unchanged' };
  });

  badDay('restore', 'a manifest with sizes that no database has, written by hand', async () => {
    put(changed(/("name": "backup_test", "bytes": )\d+/, '$11.5'));
    await works();
    put(changed(/("name": "backup_test", "bytes": )\d+/, '$1"NaN"'));
    return works();
  });

  badDay('restore', 'a manifest without its dump', async () => {
    lab.put(MANIFEST, manifest);
    const result = await lab.restore();
    expect(result.log).toContain(`warning: passing over ${NAME}: only its manifest is there`);
    expect(await lab.refused({ BACKUP_FILE: NAME })).toMatch(/there is no postgres-backup-\S+ in \/backup/);
    return lab.badDay();
  });

  badDay('restore', 'a dump of 0 bytes with the manifest of a whole one', async () => {
    put();
    lab.put(NAME, '');
    return neither(/is empty; set BACKUP_FILE to another one|no verified dump/);
  });

  badDay('restore', 'a volume that cannot be written to', async () => {
    put();
    // Nobody's uid on an NFS export that is read-only for it.
    for (const name of [NAME, MANIFEST]) chmodSync(join(lab.volume, name), 0o444);
    chmodSync(lab.volume, 0o555);
    const day = await works();
    chmodSync(lab.volume, 0o777);
    return day;
  });

  badDay('restore', 'a volume whose files the pod may not read', async () => {
    put();
    chmodSync(join(lab.volume, NAME), 0o000);
    return lab.badDay({ BACKUP_FILE: NAME });
  });

  describe('that changes while it is read', () => {
    const SLOW = 'slow.sql';
    let slow: string;
    beforeAll(async () => {
      // More than what pipes and programs hold in between, behind the pause.
      await lab.psql(
        'CREATE TABLE zfill AS SELECT i, repeat(md5(i::text), 30) AS t FROM generate_series(1, 6000) i; ALTER TABLE zfill ADD PRIMARY KEY (i)',
        'backup_test',
      );
      const all = await lab.tool('pg_dumpall');
      slow = all.replace('COPY public.users', 'SELECT pg_sleep(5);\nCOPY public.users');
    });

    /** Does it while the load sleeps. */
    const meanwhile = async (change: () => void): Promise<Outcome> => {
      lab.put(SLOW, slow);
      const listing = await lab.listing();
      const job = await lab.cluster.startJob(RESTORE, { env: { BACKUP_FILE: SLOW, DATABASE: 'backup_test' } });
      const asleep =
        "SELECT count(*) FROM pg_stat_activity WHERE query ~ '^SELECT pg_sleep' AND pid <> pg_backend_pid()";
      await vi.waitFor(async () => expect(await lab.psql(asleep)).toBe('1'), { timeout: 20_000 });
      change();
      const attempt = failed(await job.wait());
      const { [`file ${SLOW}`]: _, ...before } = listing;
      const { [`file ${SLOW}`]: __, ...after } = await lab.listing();
      return outcome(attempt, before, after);
    };

    badDay('restore', 'the file is cut between two statements while it is loaded', async () => {
      const end = slow.indexOf('\n\\.\n', slow.indexOf('COPY public.zfill')) + 4;
      const day = await meanwhile(() => truncateSync(join(lab.volume, SLOW), end));
      expect(day).toMatchObject({ left: 'unchanged', message: expect.stringContaining('was changed while it was') });
      return day;
    });

    badDay('restore', 'the file is cut inside a row while it is loaded', async () => {
      const end = slow.indexOf('COPY public.zfill') + 5_000_000;
      const day = await meanwhile(() => truncateSync(join(lab.volume, SLOW), end));
      expect(day.left).toBe('unchanged');
      return day;
    });

    badDay('restore', 'the file changes by one digit while it is loaded', async () => {
      const at = slow.indexOf('\n5999\t') + 100;
      const digit = slow[at] === '7' ? '8' : '7';
      const day = await meanwhile(() => lab.put(SLOW, `${slow.slice(0, at)}${digit}${slow.slice(at + 1)}`));
      expect(day).toMatchObject({ left: 'unchanged', message: expect.stringContaining('was changed while it was') });
      return day;
    });

    badDay('restore', 'the volume goes away while it is loaded', async () => {
      const day = await meanwhile(() => endExport(lab));
      expect(day).toMatchObject({
        left: 'unchanged',
        message: expect.stringMatching(/cannot be read any more .*; check/),
      });
      return day;
    });
  });
});

/** Ends what is behind the root-squashed export: without it, every access to the volume is an error. */
function endExport(lab: Lab): void {
  const folder = `${dirname(lab.cluster.claim(BACKUP).path)}/`;
  const serves = (pid: string) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      return words.includes('squashfs.py') && words.includes(folder);
    } catch {
      return false; // it has ended meanwhile
    }
  };
  const found = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && serves(name));
  expect(found).not.toEqual([]);
  for (const pid of found) process.kill(Number(pid), 'SIGKILL');
}
