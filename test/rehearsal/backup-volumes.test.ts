import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { badDay, outcome } from '../helpers/bad-day';
import { majors } from '.';
import { Backups, failed, goOn, good, night, untilTold } from './backup-kit';
import { BACKUP } from './home-lab';

describe.each(majors())('a backup volume that turns read-only, PostgreSQL %i', (major) => {
  let system: Backups;
  let before: Record<string, string>;
  beforeAll(async () => {
    system = await Backups.open(major, { kind: 'block', sizeMiB: 64 }, { rootSquash: false });
    good(await system.dump({ clock: night(1) }));
    before = system.files.contents();
  });
  afterAll(() => system?.close());

  /** In the namespace where the volume is mounted; `path` is the claim's path as it is called there. */
  function volume(command: (path: string) => string): void {
    const [, pid, path] = /^\/proc\/(\d+)\/root(\/.*)$/.exec(system.cluster.claim(BACKUP).path)!;
    const done = spawnSync('nsenter', ['--target', pid!, '--mount', '--', 'sh', '-c', command(path!)]);
    expect(done.stderr.toString()).toBe('');
    expect(done.status).toBe(0);
  }

  badDay('dump', 'the volume is read-only from the start', async () => {
    volume((path) => `mount -o remount,ro ${path}`);
    const attempt = failed(
      await system.dump({ clock: night(2) }),
      /lock: error: cannot write .*; the volume must be mounted writable/,
    );
    const after = system.files.contents();
    expect(after).toEqual(before);
    volume((path) => `mount -o remount,rw ${path}`);
    good(await system.dump({ clock: night(3) }));
    const next = system.files.contents();
    expect(next).toMatchObject(before);
    const came = outcome(attempt, before, after, next);
    before = next;
    return came;
  });

  badDay('dump', 'the volume turns read-only while it dumps', async () => {
    const job = await system.start({ overlay: untilTold(), clock: night(4) });
    await system.dumping();
    // What ext4 does to itself after an error of the disk.
    volume((path) => `mount -o remount,abort ${path}`);
    await goOn(job);
    const attempt = failed(await job.wait(), /dump: error: .*; the backup volume has turned read-only: repair it/);
    const after = system.files.contents();
    expect(after).toMatchObject(before);
    // What an operator does then.
    volume(
      (path) => `umount ${path}; e2fsck -fy ${path}/../disk >/dev/null 2>&1; mount -o loop ${path}/../disk ${path}`,
    );
    good(await system.dump({ clock: night(5) }));
    const next = system.files.contents();
    expect(next).toMatchObject(before);
    expect(system.files.partials()).toEqual([]);
    return outcome(attempt, before, after, next);
  });
});
