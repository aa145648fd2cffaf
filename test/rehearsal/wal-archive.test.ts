import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { majors, type Rehearsal } from '.';
import { fault } from './backup-volume';
import { ARCHIVE_CLAIM, DATA_CLAIM } from './record-platform';
import type { PodHandle } from './runner/types';
import { Archive, health, openArchive as open, start } from './wal-archive-kit';

// One server for all that follows, each test goes on where the one before has ended.
describe.each(majors())('WAL archive, PostgreSQL %i', (major) => {
  let rehearsal: Rehearsal;
  let archive: Archive;
  let pod: PodHandle;
  beforeAll(async () => {
    rehearsal = await open(major, { kind: 'full', sizeMiB: 64 });
    archive = new Archive(rehearsal);
  });
  afterAll(() => rehearsal.close());

  it('is missed by no server: it starts and serves without one that it may write to, says so, and catches up', async () => {
    const { path: volume } = rehearsal.claim(ARCHIVE_CLAIM);
    fs.chmodSync(volume, 0o755);
    pod = await start(rehearsal);
    const name = await archive.switch();
    await expect
      .poll(() => pod.logs('db'), { timeout: 20_000 })
      .toMatch(/archive: error: \/wal-archive is not writable for uid 999 \(mode 755, owner 0:0\)/);
    const failing = await health(pod);
    expect(failing).toMatchObject({ exitCode: 1 });
    expect(failing.stdout).toMatch(/^problem \/wal-archive is not writable for uid 999/m);
    expect(pod).toMatchObject({ ready: true, restartCount: 0 });
    fs.chmodSync(volume, 0o777);
    await archive.settle();
    expect(archive.segments()).toContain(name);
    expect(await health(pod)).toMatchObject({ exitCode: 0 });
  });

  it('takes a burst of 200 segments, complete and in order', async () => {
    const first = await archive.settle();
    const { failed_count } = await archive.stat();
    const burst = 'INSERT INTO ping SELECT generate_series(1, 1000);\nSELECT pg_switch_wal();\n'.repeat(200);
    await rehearsal.psql(burst, { timeoutMs: 60_000 });
    const last = await archive.settle();
    const wanted = [];
    for (let i = Number.parseInt(first.slice(16), 16); i <= Number.parseInt(last.slice(16), 16); i++) {
      wanted.push(`${first.slice(0, 16)}${i.toString(16).toUpperCase().padStart(8, '0')}`);
    }
    expect(wanted.length).toBeGreaterThan(200);
    expect(archive.segments().filter((name) => name >= first)).toEqual(wanted);
    const files = wanted.map((name) => fs.statSync(archive.path(name), { bigint: true }));
    expect(new Set(files.map((file) => file.size))).toEqual(new Set([2n ** 20n]));
    // ctime is when the file got its final name.
    expect(files.every((file, i) => i === 0 || files[i - 1]!.ctimeNs < file.ctimeNs)).toBe(true);
    expect(await archive.stat()).toMatchObject({ failed_count });
    expect(await rehearsal.psql("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'")).toBe('0');
  });

  it('keeps a segment that was closed early in little space', async () => {
    const { size, blocks } = fs.statSync(archive.path(await archive.settle()));
    expect(size).toBe(2 ** 20);
    expect(blocks * 512).toBeLessThanOrEqual(2 ** 18);
  });

  it('has no half segment under a final name when it is killed in the middle of a copy, and the whole one later', async () => {
    await pod.stop();
    const slow = '[ -e /tmp/slow ] || exec /usr/bin/dd "$@"; head -c 500000 "${1#if=}" >"${2#of=}"; sleep 600';
    pod = await start(rehearsal, { overlay: fault('dd', slow) });
    await pod.exec(['touch', '/tmp/slow']);
    const name = await archive.switch();
    const partials = () => archive.names().filter((one) => one.startsWith('.partial/'));
    await expect.poll(partials, { timeout: 20_000 }).toEqual([expect.stringContaining(name)]);
    const [half] = partials();
    await expect.poll(() => fs.statSync(archive.path(half!)).size).toBe(500_000);
    await pod.kill9();
    expect(archive.segments()).not.toContain(name);
    pod = await start(rehearsal);
    await archive.settle();
    expect(new Set(archive.segments().map((one) => fs.statSync(archive.path(one)).size))).toEqual(new Set([2 ** 20]));
    expect(archive.segments()).toContain(name);
    expect(partials()).toEqual([]);
    expect(await health(pod)).toMatchObject({ exitCode: 0 });
  });

  it('stops loudly when the volume is full, loses nothing, and catches up when there is room again', async () => {
    const { path: volume } = rehearsal.claim(ARCHIVE_CLAIM);
    const { bavail, bsize } = fs.statfsSync(volume);
    const filler = path.join(volume, 'filler');
    fs.writeFileSync(filler, Buffer.alloc(bavail * bsize - 2 ** 20 / 2));
    const rows = Number(await rehearsal.psql('SELECT count(*) FROM ping'));
    const written: string[] = [];
    for (let i = 0; i < 4; i++) {
      await rehearsal.psql('INSERT INTO ping SELECT generate_series(1, 12000)');
      written.push(await archive.switch());
    }
    await expect
      .poll(() => pod.logs('db'), { timeout: 30_000 })
      .toMatch(
        /archive: error: could not copy [0-9A-F]{24} into the archive, where \d+ bytes are free; the server keeps the file and tries again/,
      );
    const failing = await health(pod);
    expect(failing.exitCode).toBe(1);
    expect(failing.stdout).toMatch(/^problem the last attempt failed \([0-9A-F]{24}, \d+ s ago\)/m);
    expect(failing.stdout).toMatch(/^problem the archive volume has no room for another segment/m);
    expect(Number((await archive.stat())['failed_count'])).toBeGreaterThan(0);
    expect(Number(await rehearsal.psql('SELECT count(*) FROM ping'))).toBe(rows + 4 * 12_001);
    expect(archive.segments()).not.toContain(written.at(-1));
    expect(new Set(archive.segments().map((name) => fs.statSync(archive.path(name)).size))).toEqual(new Set([2 ** 20]));

    fs.rmSync(filler);
    await archive.settle();
    expect(archive.segments()).toEqual(expect.arrayContaining(written));
    expect(await health(pod)).toMatchObject({ exitCode: 0 });
    expect((await archive.stat())['last_archived_wal']! >= written.at(-1)!).toBe(true);
  });

  it('never overwrites a segment, and archives it when the other one is out of the way', async () => {
    const done = await archive.settle();
    const next = await rehearsal.psql('SELECT pg_walfile_name(pg_current_wal_insert_lsn() + 1)');
    expect(next > done).toBe(true);
    fs.writeFileSync(archive.path(next), 'of another server', { mode: 0o644 });
    await archive.switch();
    await expect
      .poll(() => pod.logs('db'), { timeout: 20_000 })
      .toMatch(
        new RegExp(`archive: error: the archive holds another ${next} of server \\d+, and it is not overwritten`),
      );
    expect(fs.readFileSync(archive.path(next), 'utf8')).toBe('of another server');
    fs.rmSync(archive.path(next));
    await archive.settle();
    expect(fs.statSync(archive.path(next)).size).toBe(2 ** 20);
  });

  it('keeps a server that was wiped and initialised again apart from the old one', async () => {
    const [old] = archive.servers();
    await pod.stop();
    const before = archive.names(old);
    const { path: data } = rehearsal.claim(DATA_CLAIM);
    for (const entry of fs.readdirSync(data)) fs.rmSync(path.join(data, entry), { recursive: true });
    pod = await start(rehearsal);
    const name = await archive.switch();
    const current = `${await rehearsal.psql('SELECT system_identifier FROM pg_control_system()')}/`;
    await expect.poll(() => archive.names(current), { timeout: 20_000 }).toContain(name);
    expect(archive.servers()).toEqual([old, current].sort());
    expect(archive.names(old)).toEqual(before);
    expect(await health(pod)).toMatchObject({ exitCode: 0 });
  });
});
