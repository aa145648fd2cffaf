import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Sandbox, SCRIPTS } from './shell';

const SYSTEM = '7571234567890123456';
const SEGMENT = '00000001000000000000000A';

let box: Sandbox;
let data: string;
let mount: string;
beforeEach(() => {
  box = new Sandbox();
  mount = join(box.root, 'mount');
  data = join(mount, 'data');
  mkdirSync(join(data, 'pg_wal'), { recursive: true });
  system(SYSTEM);
});
afterEach(() => box.remove());

/** The server whose data directory it is, in the words of pg_controldata. */
function system(identifier: string): void {
  const lines = [
    'pg_control version number:            1800',
    'Not this: Database system identifier:  1',
    `Database system identifier:           ${identifier}`,
    'Bytes per WAL segment:                16777216',
  ];
  box.fake('pg_controldata', `printf '%s\\n' ${lines.map((line) => JSON.stringify(line)).join(' ')}`);
}

const run = (script: string, args: string, env: Record<string, string> = {}) =>
  box.run([], `cd '${data}'; exec bash '${join(SCRIPTS, script)}' ${args}`, {
    WAL_ARCHIVE: box.volume,
    DATA_MOUNT: mount,
    ...env,
  });
const archive = (name: string, env?: Record<string, string>) => run('archive-wal.sh', `pg_wal/${name} ${name}`, env);
const fetch = (name: string, env?: Record<string, string>) => run('fetch-wal.sh', `${name} pg_wal/RECOVERYXLOG`, env);

/** A file of the server, and where it lies in the archive. */
function wal(name: string, content = `content of ${name}\n`): string {
  writeFileSync(join(data, 'pg_wal', name), content);
  return name;
}
const archived = (name = '', identifier = SYSTEM) => join(box.volume, identifier, name);
const text = (path: string) => readFileSync(path, 'utf8');
const everything = () => readdirSync(box.volume, { recursive: true, encoding: 'utf8' }).sort();

/** What recovery makes of how restore_command ends: https://www.postgresql.org/docs/current/runtime-config-wal.html */
const verdict = (status: number | null) => (status === 0 ? 'fetched' : status! > 125 ? 'stops' : 'ends');

describe('archive-wal.sh', () => {
  it.each([SEGMENT, `${SEGMENT}.partial`, `${SEGMENT}.00000028.backup`, '00000002.history'])(
    'takes %s, and again',
    (name) => {
      wal(name);
      expect(archive(name)).toMatchObject({
        status: 0,
        out: '',
        err: expect.stringMatching(/is the WAL archive from now/),
      });
      expect(archive(name)).toMatchObject({ status: 0, out: '', err: '' });
      expect(text(archived(name))).toBe(`content of ${name}\n`);
      expect(everything()).toEqual(['.wal-archive', SYSTEM, `${SYSTEM}/.partial`, `${SYSTEM}/${name}`]);
    },
  );

  it('copies every byte, holes and ends included', () => {
    const pages = fc.array(fc.oneof(fc.constant(Buffer.alloc(150_000)), fc.uint8Array({ maxLength: 9 })), {
      maxLength: 6,
    });
    let i = 0;
    fc.assert(
      fc.property(pages, (parts) => {
        const name = `0000000100000000${(++i).toString(16).toUpperCase().padStart(8, '0')}`;
        const content = Buffer.concat(parts);
        writeFileSync(join(data, 'pg_wal', name), content);
        expect(archive(name).status).toBe(0);
        expect(readFileSync(archived(name)).equals(content)).toBe(true);
        expect(fetch(name).status).toBe(0);
        expect(readFileSync(join(data, 'pg_wal', 'RECOVERYXLOG')).equals(content)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it('refuses another segment under the same name, and leaves the first', () => {
    archive(wal(SEGMENT));
    wal(SEGMENT, 'of a copy of the volume');
    const { status, err } = archive(SEGMENT);
    expect(status).toBe(1);
    expect(err).toMatch(
      new RegExp(
        `archive: error: the archive holds another ${SEGMENT} of server ${SYSTEM}, and it is not overwritten; the server keeps the file and tries again: .*archive_mode=off\\n$`,
      ),
    );
    expect(text(archived(SEGMENT))).toBe(`content of ${SEGMENT}\n`);
  });

  it('does not overwrite what another server has published while it copied', () => {
    archive(wal(`${SEGMENT}.partial`));
    wal(SEGMENT);
    box.fake('dd', `/usr/bin/dd "$@" && printf 'of another' >'${archived(SEGMENT)}'`);
    const { status, err } = archive(SEGMENT);
    expect(status).toBe(1);
    expect(err).toContain('the archive holds another');
    expect(text(archived(SEGMENT))).toBe('of another');
    expect(readdirSync(archived('.partial'))).toEqual([]);
  });

  it('keeps servers apart by their system identifier', () => {
    archive(wal(SEGMENT));
    system('7999999999999999999');
    wal(SEGMENT, 'of the other');
    expect(archive(SEGMENT).status).toBe(0);
    expect(text(archived(SEGMENT))).toBe(`content of ${SEGMENT}\n`);
    expect(text(archived(SEGMENT, '7999999999999999999'))).toBe('of the other');
  });

  it('leaves nothing under a final name when it is killed with -9 in the middle of a copy, and succeeds the next time', () => {
    archive(wal(`${SEGMENT}.partial`));
    wal(SEGMENT, 'x'.repeat(100_000));
    box.fake('dd', 'head -c 50000 "${1#if=}" >"${2#of=}"; kill -9 $PPID');
    expect(archive(SEGMENT).signal).toBe('SIGKILL');
    expect(existsSync(archived(SEGMENT))).toBe(false);
    expect(readdirSync(archived('.partial'))).toHaveLength(1);
    rmSync(join(box.bin, 'dd'));
    expect(archive(SEGMENT).status).toBe(0);
    expect(text(archived(SEGMENT))).toHaveLength(100_000);
    expect(readdirSync(archived('.partial'))).toEqual([]);
  });

  it.each([
    [
      'the copy',
      'dd',
      '/usr/bin/dd "$@" 2>/dev/null; echo "dd: No space left on device" >&2; exit 1',
      'could not copy',
    ],
    ['the rename', 'mv', 'exit 1', 'could not rename'],
    ['the flush of the folder', 'sync', 'exit 1', 'could not flush'],
  ])('fails when %s fails, and leaves no work behind', (_, tool, script, cause) => {
    archive(wal(`${SEGMENT}.partial`));
    box.fake(tool, script);
    const { status, err } = archive(wal(SEGMENT));
    expect(status).toBe(1);
    expect(err).toContain(cause);
    expect(readdirSync(archived('.partial'))).toEqual([]);
  });

  it('flushes the file before it gets its name, and the folder after it', () => {
    archive(wal(`${SEGMENT}.partial`));
    const calls = join(box.root, 'calls');
    for (const tool of ['dd', 'mv', 'sync'])
      box.fake(tool, `echo "${tool} $*" >>'${calls}'; exec /usr/bin/${tool} "$@"`);
    archive(wal(SEGMENT));
    const [copy, rename, flush, ...rest] = text(calls).trimEnd().split('\n');
    expect(copy).toMatch(/^dd .* conv=\S*fsync/);
    expect(rename).toMatch(new RegExp(`^mv .* ${archived(SEGMENT)}$`));
    expect(flush).toBe(`sync -- ${archived().replace(/\/$/, '')}`);
    expect(rest).toEqual([]);
    // One that was there already may have been renamed by a run that died before it flushed the folder.
    writeFileSync(calls, '');
    archive(SEGMENT);
    expect(text(calls)).toBe(`sync -- ${archived(SEGMENT)} ${archived().replace(/\/$/, '')}\n`);
  });

  it('refuses an archive that has lost its mark: another volume, or the empty folder below its mount', () => {
    archive(wal(SEGMENT));
    renameSync(box.volume, `${box.volume}-away`);
    mkdirSync(box.volume);
    const { status, err } = archive(SEGMENT);
    expect(status).toBe(1);
    expect(err).toMatch(
      /has no \.wal-archive, and this server has archived to a volume that has one; .*remove \S+\/mount\/\.wal-archive if/,
    );
    expect(everything()).toEqual([]);
    rmSync(join(mount, '.wal-archive'));
    expect(archive(SEGMENT).status).toBe(0);
  });

  it('refuses a volume that holds something else', () => {
    box.put('nightly.sql.gz');
    const { status, err } = archive(wal(SEGMENT));
    expect(status).toBe(1);
    expect(err).toMatch(/holds nightly\.sql\.gz, so it is not a WAL archive/);
    expect(everything()).toEqual(['nightly.sql.gz']);
  });

  it('begins on a fresh block volume, which holds lost+found', () => {
    mkdirSync(join(box.volume, 'lost+found'));
    expect(archive(wal(SEGMENT)).status).toBe(0);
  });

  it.each([
    ['no arguments', '', /takes the path and the name of a file, got 0 arguments/],
    ['a name that is none', 'pg_wal/x ../x', /`\.\.\/x` is no name of a WAL file/],
    ['a segment that is not there', `pg_wal/${SEGMENT} ${SEGMENT}`, /could not copy/],
  ])('fails with %s', (_, args, line) => {
    const { status, err } = run('archive-wal.sh', args);
    expect(status).toBe(1);
    expect(err).toMatch(line);
  });

  it('fails without a system identifier instead of archiving where nobody looks', () => {
    box.fake('pg_controldata', 'echo "pg_controldata: error: could not open file" >&2; exit 1');
    const { status, err } = archive(wal(SEGMENT));
    expect(status).toBe(1);
    expect(err).toContain('cannot read the system identifier');
    expect(everything()).toEqual(['.wal-archive']);
  });
});

describe('fetch-wal.sh', () => {
  const RECOVERED = () => join(data, 'pg_wal', 'RECOVERYXLOG');
  beforeEach(() => {
    archive(wal(SEGMENT));
    rmSync(join(data, 'pg_wal', SEGMENT));
  });
  const AFTER = '00000001000000000000000B';

  it('fetches what the archive holds', () => {
    expect(fetch(SEGMENT)).toMatchObject({ status: 0, out: '', err: '' });
    expect(text(RECOVERED())).toBe(`content of ${SEGMENT}\n`);
  });

  it.each([AFTER, '00000002.history', '00000002000000000000000A'])(
    'ends in 1 for %s, which the archive does not hold: recovery ends there',
    (name) => {
      expect(fetch(name)).toMatchObject({ status: 1, out: '', err: '' });
      expect(existsSync(RECOVERED())).toBe(false);
    },
  );

  it.each([
    ['0/D000028', AFTER, 'stops'],
    ['0/C000000', AFTER, 'stops'],
    // The next timeline begins in this segment, and holds a copy of it.
    ['0/BFFFFF8', AFTER, 'ends'],
    ['0/B000000', AFTER, 'ends'],
    ['1/0', '0000000100000000000000FF', 'stops'],
    ['1/0', '000000010000000100000000', 'ends'],
    ['1/0', '000000020000000000000010', 'ends'],
  ])('where timeline 2 begins at %s, recovery that asks for %s %s', (at, name, end) => {
    writeFileSync(archived('00000002.history'), `1\t${at}\tno recovery target specified\n`);
    const { status, err } = fetch(name);
    expect(verdict(status)).toBe(end);
    if (end === 'stops')
      expect(err).toMatch(new RegExp(`2.history says that timeline 1 went on to ${at}, and ${name}`));
  });

  it('writes nothing into the archive', () => {
    const before = everything();
    fetch(SEGMENT);
    fetch(AFTER);
    expect(everything()).toEqual(before);
  });

  it.each<[string, () => void, RegExp]>([
    ['the volume is not mounted', () => rmSync(box.volume, { recursive: true }), /has no \.wal-archive/],
    [
      'the mount is empty',
      () => readdirSync(box.volume).forEach((name) => void rmSync(join(box.volume, name), { recursive: true })),
      /has no \.wal-archive/,
    ],
    ['it is another archive', () => system('7999999999999999999'), /holds nothing of server 7999999999999999999/],
    [
      'a name leads in a circle',
      () => symlinkSync(AFTER, archived(AFTER)),
      /cannot look into the archive \(.*Too many levels/,
    ],
    [
      'stat fails',
      () => box.fake('stat', 'echo "stat: cannot statx: Stale file handle" >&2; exit 1'),
      /Stale file handle/,
    ],
    ['no identifier can be read', () => box.fake('pg_controldata', 'exit 1'), /cannot read the system identifier/],
    [
      'it has a hole',
      () => writeFileSync(archived('00000001000000000000000C'), ''),
      new RegExp(`it holds \\S+C, but not ${AFTER}`),
    ],
    [
      'the volume goes away meanwhile',
      () => box.fake('stat', `rm '${box.volume}/.wal-archive'; exec /usr/bin/stat "$@"`),
      /has gone away/,
    ],
  ])('stops recovery when %s', (_, harm, line) => {
    harm();
    const { status, err } = fetch(AFTER);
    expect(verdict(status)).toBe('stops');
    // 143 would be taken for a shutdown.
    expect(status).toBe(200);
    expect(err).toMatch(line);
  });

  it.each([
    ['cannot be copied', 'cp', 'exit 1'],
    ['is only half copied by something that is killed', 'cp', 'kill -9 $$'],
  ])('stops recovery when a segment %s', (_, tool, script) => {
    box.fake(tool, script);
    expect(verdict(fetch(SEGMENT).status)).toBe('stops');
  });

  it('stops recovery when its own files are missing, or its environment', () => {
    const alone = join(box.root, 'fetch-wal.sh');
    writeFileSync(alone, text(join(SCRIPTS, 'fetch-wal.sh')));
    expect(verdict(box.run([], `bash '${alone}' ${AFTER} x`).status)).toBe('stops');
    expect(verdict(fetch(AFTER, { WAL_ARCHIVE: '' }).status)).toBe('stops');
    expect(verdict(run('fetch-wal.sh', '').status)).toBe('stops');
  });

  it('takes a later timeline, or a segment that the base backup brought along, for no hole', () => {
    writeFileSync(archived('00000002000000000000000C'), '');
    writeFileSync(archived('00000001000000000000000C.partial'), '');
    expect(fetch(AFTER).status).toBe(1);
    writeFileSync(archived('00000001000000000000000C'), '');
    wal(AFTER);
    expect(fetch(AFTER).status).toBe(1);
  });
});

describe('prune_wal', () => {
  const SCRIPTS_NEEDED = ['lib.sh', 'wal-archive.sh', 'wal-retention.sh'];
  const segment = (i: number, timeline = 1) =>
    `${String(timeline).padStart(8, '0')}00000000${i.toString(16).toUpperCase().padStart(8, '0')}`;
  const prune = (args: string) =>
    box.run(SCRIPTS_NEEDED, `prune_wal ${args}; echo "$pruned"`, { WAL_ARCHIVE: box.volume });
  const names = (identifier = SYSTEM) => readdirSync(archived('', identifier)).filter((name) => !name.startsWith('.'));

  beforeEach(() => {
    box.put('.wal-archive', '');
    for (const identifier of [SYSTEM, '7999999999999999999']) {
      mkdirSync(archived('.partial', identifier), { recursive: true });
      for (let i = 1; i <= 5; i++) writeFileSync(archived(segment(i), identifier), '');
      writeFileSync(archived('00000002.history', identifier), '');
      writeFileSync(archived(`${segment(3)}.00000028.backup`, identifier), '');
    }
    // What the program of the image does is seen in the rehearsal; this one knows the order of names only.
    box.fake(
      'pg_archivecleanup',
      `cd "$1"; for f in *; do [[ $f =~ ^[0-9A-F]{24}$ && \${f:8} < \${2:8:16} ]] && rm "$f"; done; true`,
    );
  });

  it.each([segment(3), `${segment(3)}.00000028.backup`])(
    'removes what is older than %s, of this server only',
    (oldest) => {
      expect(prune(`${SYSTEM} ${oldest}`)).toMatchObject({ status: 0, out: '2\n' });
      const kept = [segment(3), `${segment(3)}.00000028.backup`, segment(4), segment(5), '00000002.history'].sort();
      expect(names().sort()).toEqual(kept);
      expect(names('7999999999999999999')).toHaveLength(7);
    },
  );

  it.each([
    [
      'a segment that is not in the archive',
      `${SYSTEM} ${segment(9)}`,
      /does not hold \S+9, with which the oldest kept base backup begins; no WAL was removed/,
    ],
    [
      'a server that is not in the archive',
      `7000000000000000000 ${segment(3)}`,
      /the archive of server 7000000000000000000 does not hold/,
    ],
    ['no segment', `${SYSTEM} ''`, /`` is neither a segment nor a \.backup file/],
    ['a path', `../x ${segment(3)}`, /`\.\.\/x` is no system identifier/],
  ])('removes nothing for %s', (_, args, line) => {
    const before = everything();
    const { status, err } = prune(args);
    expect(status).toBe(1);
    expect(err).toMatch(line);
    expect(everything()).toEqual(before);
  });

  it('removes nothing from a folder without the mark', () => {
    rmSync(join(box.volume, '.wal-archive'));
    const before = everything();
    expect(prune(`${SYSTEM} ${segment(3)}`)).toMatchObject({
      status: 1,
      err: expect.stringContaining('has no .wal-archive'),
    });
    expect(everything()).toEqual(before);
  });
});

describe('archive-health.sh', () => {
  const facts = (changes: Record<string, string | number> = {}) => {
    const lines = {
      archive_mode: 'on',
      archived_count: 5,
      last_archived_wal: SEGMENT,
      last_archived_age_seconds: 12,
      failed_count: 0,
      last_failed_wal: '-',
      last_failed_age_seconds: '-',
      failing: 'false',
      waiting_files: 0,
      waiting_age_seconds: 0,
      segment_bytes: 16777216,
      system_identifier: SYSTEM,
      ...changes,
    };
    box.fake(
      'psql',
      `printf '%s\\n' ${Object.entries(lines)
        .map(([name, value]) => `'${name} ${value}'`)
        .join(' ')}`,
    );
  };
  const free = (bytes: string) => box.fake('df', `printf 'Avail\\n%s\\n' ${bytes}`);
  const health = () => run('archive-health.sh', '');
  beforeEach(() => {
    archive(wal(SEGMENT));
    facts();
    free('99999999');
  });

  it('prints one fact a line and ends in 0 when all is well', () => {
    const { status, out, err } = health();
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(out.trimEnd().split('\n')).toHaveLength(13);
    for (const line of out.trimEnd().split('\n')) expect(line).toMatch(/^[a-z_]+ \S+$/);
    expect(out).toContain('archive_free_bytes 99999999\n');
  });

  it.each<[string, () => void, RegExp]>([
    ['archiving is off', () => facts({ archive_mode: 'off' }), /^problem archive_mode is off/m],
    [
      'the last attempt failed',
      () => facts({ failing: 'true', last_failed_wal: SEGMENT }),
      /^problem the last attempt failed/m,
    ],
    [
      'files wait for long',
      () => facts({ waiting_files: 3, waiting_age_seconds: 700 }),
      /^problem 3 files wait, .*is stuck/m,
    ],
    ['the mark is missing', () => rmSync(join(box.volume, '.wal-archive')), /^problem \S+ has no \.wal-archive/m],
    ['there is no room', () => free('16777215'), /^problem the archive volume has no room/m],
    ['the volume does not answer', () => box.fake('df', 'exit 1'), /^problem \S+ does not answer/m],
  ])('ends in 1 when %s', (_, harm, line) => {
    harm();
    const { status, out } = health();
    expect(status).toBe(1);
    expect(out).toMatch(line);
  });

  it('lets files wait for a moment', () => {
    facts({ waiting_files: 3, waiting_age_seconds: 5 });
    expect(health().status).toBe(0);
  });

  it('ends in 2 when the server does not answer', () => {
    box.fake('psql', 'echo "psql: error: connection refused" >&2; exit 2');
    expect(health()).toMatchObject({
      status: 2,
      out: 'problem the server does not answer: psql: error: connection refused\n',
    });
  });
});
