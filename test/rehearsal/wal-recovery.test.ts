import fs from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { majors, type Rehearsal } from '.';
import { ARCHIVE_CLAIM } from './record-platform';
import type { PodHandle } from './runner/types';
import { Archive, health, openArchive as open, start } from './wal-archive-kit';

describe.each(majors('all'))('WAL archive, PostgreSQL %i', (major) => {
  let rehearsal: Rehearsal;
  afterEach(() => rehearsal?.close());

  it('on squashed storage as 999: archives from the first start on, over restart and -9, and a copy beside recovers from it', async () => {
    rehearsal = await open(major);
    const archive = new Archive(rehearsal);
    let pod = await start(rehearsal);
    expect((await pod.exec(['id', '-u'])).stdout.trim()).toBe('999');
    await rehearsal.psql('CREATE TABLE t AS SELECT 1 AS i');
    await archive.settle();
    await copyOf(pod);

    await pod.stop();
    pod = await start(rehearsal);
    await rehearsal.psql('INSERT INTO t VALUES (2)');
    await pod.kill9();
    pod = await start(rehearsal);
    await rehearsal.psql('INSERT INTO t VALUES (3)');
    await archive.settle();

    expect(await archive.stat()).toMatchObject({ failed_count: 0, last_failed_wal: null });
    expect(archive.names()).toContainEqual(expect.stringMatching(/^[0-9A-F]{24}\.[0-9A-F]{8}\.backup$/));
    expect(archive.servers()).toEqual([
      `${await rehearsal.psql('SELECT system_identifier FROM pg_control_system()')}/`,
    ]);
    for (const name of archive.names()) expect(fs.statSync(archive.path(name))).toMatchObject({ uid: 999, gid: 999 });
    const healthy = await health(pod);
    expect(healthy).toMatchObject({ exitCode: 0, stderr: '' });
    expect(healthy.stdout).toMatch(/^archive_mode on\narchived_count [1-9]\d*\nlast_archived_wal [0-9A-F]{24}\n/);
    expect(healthy.stdout).not.toContain('problem');

    // A recovery that can't read the archive, or finds a hole in it, must not take that for the end.
    const before = archive.names();
    const mark = path.join(rehearsal.claim(ARCHIVE_CLAIM).path, '.wal-archive');
    fs.renameSync(mark, `${mark}.away`);
    expect(await recover(pod)).toMatch(/has no \.wal-archive: .*\n(.*\n)*.*FATAL: +could not restore file/);
    fs.renameSync(`${mark}.away`, mark);
    const [, lost] = archive.segments().slice(-2 - 1);
    fs.renameSync(archive.path(lost!), archive.path('lost'));
    expect(await recover(pod)).toMatch(/the archive has a hole: it holds [0-9A-F]{24}, but not [0-9A-F]{24}/);
    fs.renameSync(archive.path('lost'), archive.path(lost!));

    // What the base backup needs stays when the rest goes.
    const backup = archive.names().find((name) => name.endsWith('.backup'))!;
    const needed = before.filter((name) => !/^[0-9A-F]{24}$/.test(name) || name >= backup.slice(0, 24));
    expect(needed.length).toBeLessThan(before.length);
    expect(await prune(pod, archive.servers()[0]!.slice(0, -1), backup)).toMatch(
      /removed [1-9]\d* WAL files of server/,
    );
    expect(await recover(pod)).toBe('1,2,3');
    // It runs with archive_mode=off, on a timeline of its own: nothing of it is in the archive.
    expect(archive.names()).toEqual(needed);
  });
});

/** Runs the function that the base backup's job will call, in a pod that has the archive and the image's pg_archivecleanup. */
async function prune(pod: PodHandle, system: string, oldest: string): Promise<string> {
  const script = path.join(__dirname, '../../lib/scripts/wal-retention.sh');
  const input = [
    'set -Eeuo pipefail',
    '. /scripts/lib.sh',
    '. /scripts/wal-archive.sh',
    fs.readFileSync(script, 'utf8'),
    `prune_wal ${system} ${oldest}`,
  ];
  const done = await pod.exec(['bash', '-s'], { input: input.join('\n') });
  expect(done.exitCode).toBe(0);
  return done.stderr;
}

const COPY = '/var/lib/postgresql/copy';

/** A base backup without WAL, on the data claim: all that it needs comes from the archive. */
async function copyOf(pod: PodHandle): Promise<void> {
  const taken = await pod.exec([
    'pg_basebackup',
    '-U',
    'postgres',
    '-D',
    COPY,
    '-X',
    'none',
    '-c',
    'fast',
    '--no-sync',
  ]);
  expect(taken).toMatchObject({ exitCode: 0 });
  expect((await pod.exec(['touch', `${COPY}/recovery.signal`])).exitCode).toBe(0);
}

/** Recovers the copy beside the live server to the end of the archive: the rows of t, or the log of a server that gave up. */
async function recover(pod: PodHandle): Promise<string> {
  const settings = {
    port: '5433',
    listen_addresses: '',
    archive_mode: 'off',
    restore_command: 'bash /scripts/fetch-wal.sh %f %p',
  };
  const options = Object.entries(settings).map(([name, value]) => `-c ${name}='${value}'`);
  const began = ['pg_ctl', '-D', COPY, '-w', '-l', `${COPY}.log`, '-o', options.join(' '), 'start'];
  await pod.exec(['rm', '-f', `${COPY}.log`]);
  if ((await pod.exec(began)).exitCode !== 0) return (await pod.exec(['cat', `${COPY}.log`])).stdout;
  const query = "SELECT string_agg(i::text, ',' ORDER BY i) FROM t";
  const psql = ['psql', '-XAtw', '-p', '5433', '-U', 'postgres', '-c', query];
  await expect
    .poll(async () => (await pod.exec([...psql.slice(0, -1), 'SELECT pg_is_in_recovery()'])).stdout)
    .toBe('f\n');
  const rows = await pod.exec(psql);
  expect(await pod.exec(['pg_ctl', '-D', COPY, '-w', '-m', 'fast', 'stop'])).toMatchObject({ exitCode: 0 });
  return rows.stdout.trim();
}
