import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Sandbox } from './shell';

const LIB = ['lib.sh'];

let box: Sandbox;
beforeEach(() => {
  box = new Sandbox();
});
afterEach(() => box.remove());

/** Log lines without their time. */
const facts = (err: string) =>
  err
    .replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /gm, '')
    .split('\n')
    .slice(0, -1);
const lastFact = (err: string) => facts(err).at(-1);

describe('log', () => {
  it('writes one line with UTC time, step and fact to stderr, also where stderr is thrown away', () => {
    const { out, err } = box.run(LIB, "{ log dump $'two\\nlines\\tand \\e[31mcolour é'; } 2>/dev/null", {
      TZ: 'Asia/Tokyo',
      LC_ALL: 'C.UTF-8',
    });
    expect(out).toBe('');
    expect(facts(err)).toEqual(['dump: two lines and ?[31mcolour é']);
    const seconds = Math.abs(Date.parse(err.slice(0, 20)) - Date.now()) / 1000;
    expect(seconds).toBeLessThan(30);
  });

  it('is not fooled by format characters', () => {
    expect(facts(box.run(LIB, "log a '%s %d \\\\n'").err)).toEqual(['a: %s %d \\\\n']);
  });
});

describe('a failed run', () => {
  it('ends with its reason, after the lines of the clean-up', () => {
    const { status, err } = box.run(
      LIB,
      'tidy() { log tidy done; }; set_traps; at_exit tidy; die dump "no space; grow it"',
    );
    expect(status).toBe(1);
    expect(facts(err)).toEqual(['tidy: done', 'dump: error: no space; grow it']);
  });

  it('says where it ended when nobody foresaw it, and keeps the status', () => {
    const { status, err } = box.run(LIB, 'set_traps; inner() { (exit 7); }; inner; log never reached');
    expect(status).toBe(7);
    expect(facts(err)).toEqual([expect.stringMatching(/^bash: error: ended with status 7 at: .*line \d+/)]);
  });

  it('cleans up once, last things first, and goes on when a part of it fails', () => {
    const lines = 'a() { log a; }; b() { false; }; c() { log c; }; set_traps; at_exit a; at_exit b; at_exit c; exit 3';
    const { status, err } = box.run(LIB, lines);
    expect(status).toBe(3);
    expect(facts(err).slice(0, 2)).toEqual(['c: ', 'a: ']);
    expect(facts(err)).toHaveLength(3);
  });
});

describe.each([
  ['INT', 130],
  ['TERM', 143],
] as const)('SIG%s', (signal, status) => {
  const lines = `
    tidy() { log tidy done; }
    work() { sleep 987 | sleep 987 & echo ready; sleep 987; }
    set_traps; at_exit tidy; run_job work; log never reached`;

  it('ends a job at once with all its children, cleans up once and says so', async () => {
    const { child, ready, end } = box.start(LIB, lines.replaceAll('987', `${child987()}`));
    await ready;
    const from = Date.now();
    child.kill(`SIG${signal}`);
    const ended = await end;
    expect(ended.status).toBe(status);
    expect(Date.now() - from).toBeLessThan(20_000);
    expect(facts(ended.err)).toEqual([
      'tidy: done',
      `bash: error: stopped by SIG${signal}; nothing was published by this run, start it again`,
    ]);
    expect(sleepers()).toEqual([]);
  });

  it('ends a job also when it comes right after the start', () => {
    const early = `
      work() { kill -${signal} $$; sleep ${child987()}; }
      set_traps; run_job work`;
    for (let i = 0; i < 3; i++) {
      const ended = box.run(LIB, early);
      expect(ended.status).toBe(status);
      expect(facts(ended.err)).toEqual([expect.stringMatching(new RegExp(`^bash: error: stopped by SIG${signal};`))]);
    }
    expect(sleepers()).toEqual([]);
  });

  it('is obeyed once: another one does not disturb the end', async () => {
    const other = signal === 'INT' ? 'TERM' : 'INT';
    const stubborn = `
      tidy() { kill -${other} $$; log tidy done; }
      work() { exec 2>/dev/null; trap 'kill -${other} $$; exit' TERM; echo ready; while :; do sleep 0.1; done; }
      set_traps; at_exit tidy; run_job work`;
    const { child, ready, end } = box.start(LIB, stubborn);
    await ready;
    child.kill(`SIG${signal}`);
    const ended = await end;
    expect(ended.status).toBe(status);
    expect(facts(ended.err)).toEqual(['tidy: done', expect.stringContaining(`stopped by SIG${signal};`)]);
  });

  // Sleeps of a length that only this test process uses.
  const child987 = () => 10_000 + process.pid;
  const sleepers = () =>
    spawnSync('pgrep', ['-xf', `sleep ${child987()}`], { encoding: 'utf8' })
      .stdout.split('\n')
      .filter(Boolean);
});

describe('run_job', () => {
  it('passes on the status', () => {
    expect(box.run(LIB, 'work() { return 9; }; set_traps; run_job work || echo "status $?"').out).toBe('status 9\n');
  });

  it('prints nothing of its own when a part of the job is killed', () => {
    const { err, out } = box.run(LIB, 'work() { kill -9 $BASHPID; }; set_traps; run_job work || echo "status $?"');
    expect(out).toBe('status 137\n');
    expect(err).toBe('');
  });
});

describe('the environment', () => {
  it('names everything that is missing at once', () => {
    const { status, err } = box.run(LIB, 'set_traps; require HERE GONE EMPTY', { HERE: 'x', EMPTY: '' });
    expect(status).toBe(1);
    expect(lastFact(err)).toBe("environment: error: not set or empty: GONE, EMPTY; set it in the container's env");
  });

  it.each(['0', '8', '-1', '1.5', 'seven', '', '1;id', 'a[$(id)]', '99999999999999999999', ' 3'])(
    'refuses the number %j',
    (value) => {
      const { status, err } = box.run(LIB, 'set_traps; require_number N 1 7', { N: value });
      expect(status).toBe(1);
      expect(lastFact(err)).toBe(
        `environment: error: N must be a whole number from 1 to 7, got \`${value}\`; correct it in the container's env`,
      );
    },
  );

  it.each(['1', '7', '007'])('takes the number %j', (value) => {
    expect(box.run(LIB, 'set_traps; require_number N 1 7', { N: value }).status).toBe(0);
  });

  it('names a tool that the image lacks', () => {
    const { status, err } = box.run(LIB, 'set_traps; require_tools bash no-such-tool');
    expect(status).toBe(1);
    expect(lastFact(err)).toContain('the image has no `no-such-tool`; use an official postgres image');
  });
});

describe('json_string', () => {
  it.each([
    'plain',
    '',
    'é ü 漢',
    'a"b\\c/d',
    'tab\tline\nreturn\rbell\u0007esc\u001bdel\u007f',
    "'$(id)`id`%s%n",
    '\\u0041',
    '&',
    ' ',
  ])('round-trips %j', (text) => {
    const { out } = box.run(LIB, 'json_string "$TEXT"; printf "%s" "$json_result"', { TEXT: text });
    expect(JSON.parse(out)).toBe(text);
  });
});

describe('fsync_path', () => {
  it('flushes exactly what it is given, files and folders', () => {
    box.fake('sync', `printf '<%s>' "$@" >${box.root}/synced; exec /bin/sync "$@"`);
    box.put('-a file');
    expect(box.run(LIB, 'cd "$BACKUP_DIR"; fsync_path "-a file" "$BACKUP_DIR"').status).toBe(0);
    expect(spawnSync('cat', [`${box.root}/synced`], { encoding: 'utf8' }).stdout).toBe(`<--><-a file><${box.volume}>`);
  });

  it('fails when the volume cannot be flushed', () => {
    const { status, err } = box.run(LIB, 'set_traps; fsync_path /nonexistent/file');
    expect(status).toBe(1);
    expect(lastFact(err)).toContain('fsync: error: could not flush to disk: /nonexistent/file;');
  });
});

describe('lock_open', () => {
  it('lets no function of others take the place of a built-in one: what the session asks, it asks as superuser', () => {
    box.fake('psql', `echo "$PGOPTIONS" >'${box.root}/options'; sed -un 's/^[\\]echo //p'`);
    const { status, err } = box.run(LIB, 'set_traps; lock_open', { PGOPTIONS: '-c lc_messages=C' });
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(readFileSync(`${box.root}/options`, 'utf8')).toBe('-c lc_messages=C -c search_path=pg_catalog\n');
  });
});

describe('lock_volume', () => {
  const lock = 'set_traps; lock_volume "$BACKUP_DIR" "$BACKUP_NAME";';

  it('lets one run of a job at a time onto a volume, and says what to do', async () => {
    const first = box.start(LIB, `${lock} echo ready; sleep 30 & wait`);
    await first.ready;
    const second = box.run(LIB, lock);
    expect(second.status).toBe(1);
    expect(lastFact(second.err)).toMatch(
      /^lock: error: another run of postgres-backup is working on this volume .*; wait for it to end, or delete its Job$/,
    );
    expect(box.run(LIB, lock, { BACKUP_NAME: 'other' }).status).toBe(0);
    first.child.kill('SIGTERM');
    await first.end;
  });

  it('is free again when its holder was killed with -9', async () => {
    const first = box.start(LIB, `${lock} echo ready; while :; do read -t 0.1 <> <(:) || true; done`);
    await first.ready;
    first.child.kill('SIGKILL');
    await first.end;
    expect(box.run(LIB, lock)).toMatchObject({ status: 0, err: '' });
  });

  it('stays taken while a child of a killed run still works', async () => {
    const first = box.start(LIB, `${lock} work() { echo ready; sleep 5; }; run_job work`);
    await first.ready;
    first.child.kill('SIGKILL');
    await first.end;
    expect(box.run(LIB, lock).status).toBe(1);
  });

  it('goes on with a warning where the file system has no locks', () => {
    box.fake('flock', 'echo "flock: 9: No locks available" >&2; exit 71');
    const { status, err } = box.run(LIB, lock);
    expect(status).toBe(0);
    expect(lastFact(err)).toContain('lock: warning: this volume cannot lock files');
  });

  it('says that a volume is not writable', () => {
    const { status, err } = box.run(LIB, 'set_traps; lock_volume /proc name');
    expect(status).toBe(1);
    expect(lastFact(err)).toMatch(
      /^lock: error: cannot write \/proc\/\.name\.lock as uid \d+; the volume must be mounted/,
    );
  });
});

describe('connecting', () => {
  const connect = 'set_traps; connect_server; log connected "$server_major $server_version"';
  const env = { PGHOST: 'db.data.svc', PGPORT: '5432', PGUSER: 'postgres', PGDATABASE: 'postgres' };
  const where = 'connection to server at "db.data.svc" (10.0.0.1), port 5432 failed:';
  // Waiting is counted in sleeps of a second.
  beforeEach(() => box.fake('sleep', 'exit 0'));

  const good = 'echo "180001|t|7512345678901234567|18.1 (Debian 18.1-1)"';

  // What libpq of 15, 17 and 18 says.
  it.each([
    [
      'wrong password',
      `${where} FATAL:  password authentication failed for user "postgres"`,
      /rejects the password of user postgres; the Secret must hold/,
    ],
    [
      'no password',
      `${where} fe_sendauth: no password supplied`,
      /PGPASSWORD is empty; check name and key of the Secret/,
    ],
    [
      'no line in pg_hba.conf',
      `${where} FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "postgres"`,
      /pg_hba.conf .*; add a line/,
    ],
    [
      'no such database',
      `${where} FATAL:  database "postgres" does not exist`,
      /has no database postgres; set PGDATABASE/,
    ],
    ['no such role', `${where} FATAL:  role "postgres" does not exist`, /has no user postgres; correct PGUSER/],
    [
      'no TLS',
      `${where} server does not support SSL, but SSL was required`,
      /has no TLS, and PGSSLMODE= wants it; switch/,
    ],
    [
      'TLS only',
      `${where} FATAL:  no pg_hba.conf entry for host "10.0.0.2", user "postgres", database "postgres", no encryption`,
      /from this pod without TLS; set PGSSLMODE/,
    ],
    [
      'no line in pg_hba.conf, with TLS or without',
      `${where} FATAL:  no pg_hba.conf entry for host "10.0.0.2", SSL encryption ${where} FATAL:  no pg_hba.conf entry for host "10.0.0.2", no encryption`,
      /in from this pod; add a line/,
    ],
    [
      'another authority',
      `${where} SSL error: certificate verify failed`,
      /not signed by the authority in `tls.ca`, or has expired; /,
    ],
    [
      'another name',
      `${where} server certificate for "a" (and 1 other name) does not match host name "db.data.svc"`,
      /is for another name than db.data.svc .*; give the endpoint a `host`/,
    ],
    [
      'no such authority',
      'root certificate file "/tls/ca/ca.crt" does not exist Either provide the file, use the system trusted roots',
      /certificate of the authority cannot be read .*; the key that `tls.ca` names/,
    ],
    [
      'no certificate',
      `${where} FATAL:  connection requires a valid client certificate`,
      /does not accept this client.s certificate .*; set `clientCertificate` of `tls` .* with postgres as its common name/,
    ],
    ['another error of TLS', `${where} SSL error: internal error`, /no TLS connection .*; check PGSSLMODE/],
    [
      'too few rights',
      'ERROR:  permission denied for function pg_control_system',
      /user postgres may not .*; use the superuser/,
    ],
    ['anything else', `${where} something new`, /something new .*; check PGHOST/],
  ])('fails at once: %s', (_, message, expected) => {
    box.fake('psql', `echo call >>${box.root}/calls; echo 'psql: error: ${message}' >&2; exit 2`);
    const { status, err } = box.run(LIB, connect, env);
    expect(status).toBe(1);
    expect(lastFact(err)).toMatch(/^connect: error: /);
    expect(lastFact(err)).toMatch(expected);
    expect(spawnSync('cat', [`${box.root}/calls`], { encoding: 'utf8' }).stdout).toBe('call\n');
  });

  it.each([
    [
      'unknown host',
      'could not translate host name "db.data.svc" to address: Name or service not known',
      /the host name db.data.svc is unknown; check host and namespace/,
    ],
    [
      'unreachable',
      `${where} Connection refused\n\tIs the server running on that host?`,
      /cannot be reached .*; check that its pod is ready/,
    ],
    ['silent', `${where} timeout expired`, /cannot be reached .*; check that its pod is ready/],
    ['no route', `${where} No route to host`, /cannot be reached .*network policies/],
    [
      'starting',
      `${where} FATAL:  the database system is starting up`,
      /is still starting up; run it again when its pod is ready/,
    ],
    ['recovering', `${where} FATAL:  the database system is not yet accepting connections`, /is still starting up/],
    ['shutting down', `${where} FATAL:  the database system is shutting down`, /is shutting down; run it again/],
    ['full', `${where} FATAL:  sorry, too many clients already`, /no free connection; raise max_connections/],
    [
      'full for others',
      `${where} FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute`,
      /no free connection/,
    ],
  ])('tries again for a while, then fails: %s', (_, message, expected) => {
    box.fake('psql', `echo call >>${box.root}/calls; echo 'psql: error: ${message}' >&2; exit 2`);
    const { status, err } = box.run(LIB, connect, { ...env, CONNECT_WAIT: '1', CONNECT_WAIT_STARTING: '1' });
    expect(status).toBe(1);
    expect(lastFact(err)).toMatch(expected);
    expect(facts(err)).toHaveLength(2);
    expect(spawnSync('cat', [`${box.root}/calls`], { encoding: 'utf8' }).stdout).toBe('call\ncall\n');
  });

  it('goes on as soon as a starting server answers', () => {
    const starting = `echo '${where} FATAL:  the database system is starting up' >&2; exit 2`;
    box.fake('psql', `[ -e ${box.root}/once ] && { ${good}; exit 0; }; touch ${box.root}/once; ${starting}`);
    const { status, err } = box.run(LIB, connect, env);
    expect(status).toBe(0);
    expect(facts(err)).toEqual([
      expect.stringMatching(/^connect: the server at db.data.svc:5432 is still starting up; trying for up to 60 s$/),
      expect.stringContaining('connect: server 18.1 (Debian 18.1-1) at db.data.svc:5432'),
      'connected: 18 18.1 (Debian 18.1-1)',
    ]);
  });

  it('never lets psql ask for a password or read a psqlrc', () => {
    box.fake('psql', `echo "$*" >${box.root}/calls; ${good}`);
    box.run(LIB, connect, env);
    expect(spawnSync('cat', [`${box.root}/calls`], { encoding: 'utf8' }).stdout).toMatch(/^-X -w /);
  });

  it.each([
    ['17.6 (Debian 17.6-1)', 1],
    ['18.0 (Debian 18.0-1)', 0],
    ['19beta1', 0],
  ])('compares the client %s with the server 18.1', (version, status) => {
    box.fake('psql', good);
    box.fake('pg_dumpall', `echo "pg_dumpall (PostgreSQL) ${version}"`);
    const ended = box.run(LIB, `${connect}; require_client pg_dumpall; log client "$client_version"`, env);
    expect(ended.status).toBe(status);
    expect(lastFact(ended.err)).toBe(
      status
        ? `connect: error: pg_dumpall ${version} is older than the server 18.1 (Debian 18.1-1); use an image with PostgreSQL 18 or newer for this job`
        : `client: ${version}`,
    );
  });
});
