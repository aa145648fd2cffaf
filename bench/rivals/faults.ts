import fs from 'node:fs';
import path from 'node:path';
import type { Image } from '../../test/rehearsal';
import { fault as overlay } from '../../test/rehearsal/backup-volume';
import type { JobOptions, Overlay } from '../../test/rehearsal/runner/types';
import type { Candidate } from './candidates';

export interface Fault {
  readonly title: string;
  /** How it is brought about, for the reader. */
  readonly how: string;
  /** What is different for the run that is hit; by default there is one such run. */
  readonly options?: (candidate: Candidate) => JobOptions;
  /** Nights of such runs, one after the other. */
  readonly nights?: number;
  /** What happens to the volume before the run. */
  readonly volume?: (folder: string, candidate: Candidate) => void;
  /** Which runs there are, if not one after the other to their end. */
  readonly course?: 'killed, then a good run' | 'stopped' | 'two at once';
  readonly job?: 'read-only' | 'full';
  /** The earlier dumps are from a clock that ran a month ahead. */
  readonly ahead?: true;
  /** The dumped server is a new one that holds nothing. */
  readonly emptyServer?: true;
  /** The run does not end by itself. */
  readonly hangs?: true;
  /** A database that has to be in a new dump. */
  readonly database?: string;
}

/** pg_dumpall and pg_dump that write the first half of what they would write, also into the file that they are given. */
function half(after: string): Overlay {
  const script = (name: string) => `
    real=$(echo /usr/lib/postgresql/*/bin/${name})
    [ "$1" != --version ] || exec "$real" --version
    file='' before=''
    for one; do
      case $one in --file=*) file=\${one#--file=} ;; esac
      [ "$before" != -f ] || file=$one
      before=$one
    done
    "$real" "$@" >/tmp/whole || exit
    if [ -n "$file" ]; then
      truncate -s "$(($(stat -c %s "$file") / 2))" "$file"
    else
      head -c "$(($(stat -c %s /tmp/whole) / 2))" /tmp/whole
    fi
    touch /tmp/half
    ${after}`;
  return { ...overlay('pg_dumpall', script('pg_dumpall')), ...overlay('pg_dump', script('pg_dump')) };
}

const fails = half('echo "pg_dump: error: server closed the connection unexpectedly" >&2; exit 1');
const waits = half('sleep 600');
const hangs = { ...overlay('pg_dumpall', version('sleep 600')), ...overlay('pg_dump', version('sleep 600')) };
const dies = 'head -c 100 >/dev/null; kill -9 $$';

function version(otherwise: string): string {
  return `[ "$1" != --version ] || exec /usr/lib/postgresql/*/bin/\${0##*/} --version; ${otherwise}`;
}

/** Both runs see the very same second. */
function sameSecond(): Overlay {
  return overlay('date', `exec /bin/date -d @${Math.floor(Date.now() / 1000)} "$@"`);
}

/** The real programs of an older major. */
function olderClient({ root, env }: Image): Overlay {
  const bin = path.join(root, `usr/lib/postgresql/${env['PG_MAJOR']}/bin`);
  return Object.fromEntries(['pg_dumpall', 'pg_dump'].map((name) => [`/usr/local/bin/${name}`, path.join(bin, name)]));
}

const ownDumps = (folder: string): string[] =>
  fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));

export const FOREIGN_DATE = '2026-01-05';

/** The faults of dump and retention that somebody has lost data by; each is brought about in the same way for everybody. */
export function faults(older: Image): readonly Fault[] {
  const both = sameSecond();
  return [
    {
      title: 'the dump dies half-way',
      how: '`pg_dumpall`/`pg_dump` write half, then end with 1',
      options: () => ({ overlay: fails }),
    },
    {
      title: 'a week of such nights',
      how: 'the same on seven nights',
      options: () => ({ overlay: fails }),
      nights: 7,
    },
    {
      title: 'the dump ends early and says that all is well',
      how: 'they write half, then end with 0',
      options: () => ({ overlay: half('exit 0') }),
    },
    {
      title: 'the compressor dies',
      how: '`gzip` and `zstd` are killed by -9',
      options: () => ({ overlay: { ...overlay('gzip', compressor('gzip')), ...overlay('zstd', compressor('zstd')) } }),
    },
    {
      title: 'the pod is killed by -9, then a good run',
      how: 'KILL to all its processes when half is written; the next night',
      options: () => ({ overlay: waits }),
      course: 'killed, then a good run',
    },
    {
      title: 'the pod is stopped',
      how: 'the Job is deleted when half is written: INT, KILL after the grace period',
      options: () => ({ overlay: waits }),
      course: 'stopped',
    },
    {
      title: 'the dump hangs',
      how: '`sleep` for ever; deadlines are shortened to 4 s',
      options: () => ({ overlay: hangs }),
      hangs: true,
    },
    { title: 'the volume is full', how: 'half a dump fits', job: 'full' },
    { title: 'the volume is read-only', how: '`readOnly: true`', job: 'read-only' },
    {
      title: 'the server is unreachable',
      how: 'nothing listens on the port',
      options: () => ({ env: { PGPORT: '5433', CONNECT_WAIT: '1' } }),
    },
    { title: 'the password is wrong', how: '`PGPASSWORD`', options: () => ({ env: { PGPASSWORD: 'wrong' } }) },
    {
      title: 'the client is older than the server',
      how: `the real programs of ${older.version}`,
      options: () => ({ overlay: olderClient(older) }),
    },
    {
      title: 'two at once',
      how: 'in the same second, long enough to overlap: both held at a locked table, then let go',
      options: () => ({ overlay: both }),
      course: 'two at once',
    },
    {
      title: 'a file of somebody else with a similar name',
      how: `from ${FOREIGN_DATE}, old by its time, too; a good run`,
      volume: (folder, candidate) => {
        const file = path.join(folder, candidate.foreign(FOREIGN_DATE));
        fs.writeFileSync(file, 'of somebody else');
        fs.chownSync(file, 999, 999);
        fs.utimesSync(file, new Date(FOREIGN_DATE), new Date(FOREIGN_DATE));
      },
    },
    {
      title: 'a kept dump is damaged on the volume',
      how: 'the newest is cut to half; a good run',
      volume: (folder) => {
        const newest = ownDumps(folder)
          .filter((file) => !file.endsWith('.json'))
          .sort((a, b) => fs.statSync(a).mtimeMs - fs.statSync(b).mtimeMs)
          .at(-1)!;
        const { size, atime, mtime } = fs.statSync(newest);
        fs.truncateSync(newest, Math.floor(size / 2));
        fs.utimesSync(newest, atime, mtime);
      },
    },
    {
      title: 'the clock was a month ahead',
      how: 'seven dumps from then, by name and by time; a good run now',
      ahead: true,
    },
    {
      title: 'the volume was copied without times',
      how: 'all files have the same time; a good run',
      volume: (folder) => {
        const copied = new Date(Date.now() - 3_600_000);
        for (const file of ownDumps(folder)) fs.utimesSync(file, copied, copied);
      },
    },
    {
      title: 'the data is gone and an empty server is dumped for a week',
      how: 'seven good runs against a new server',
      nights: 7,
      emptyServer: true,
    },
    {
      title: 'a database whose name has a space',
      how: '`CREATE DATABASE "a b"`, asked for where databases are named; it must be in the dump',
      options: () => ({ env: { POSTGRES_DB: 'shop,a b' } }),
      database: 'a b',
    },
  ];
}

/** Only when it compresses: scripts may ask it for its version or try it before. */
function compressor(name: string): string {
  return `case " $* " in *' -d '* | *' -dc '* | *' --version '*) exec /usr/bin/${name} "$@" ;; esac; ${dies}`;
}
