import { createHash } from 'node:crypto';
import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { type Listing, type Outcome, outcome } from '../helpers/bad-day';
import { Rehearsal } from '.';
import { failed } from './backup-kit';
import { BACKUP, homeLab, RESTORE, SERVER, type Variant } from './home-lab';
import type { JobHandle, JobOptions, JobResult, Major, PodHandle, StartOptions, VolumeKind } from './runner/types';

const sql = (path: string) => readFileSync(join(__dirname, '..', path), 'utf8');
/** A server that holds what has fooled other restores. */
const NASTY = sql('scripts/fixtures/nasty.sql');
/** Prints what a database holds, and what belongs to it. */
const CONTENT = sql('e2e/sql/content.sql');

const commandLine = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it has ended meanwhile
  }
};
/** The process of pausing.sh that waits. */
const asleep = (job: JobHandle) => job.pod?.processes().find((pid) => /^sleep\0\d+\.25\0$/.test(commandLine(pid)));
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

/** The database whose name no script may trip over. */
export const ODD = `a b"c'd;$(e)`;

/** Databases, roles and what belongs to them, as lines of name and facts. */
const SERVER_LISTING = `
SELECT 'database ' || replace(datname, E'\\n', ' '), d.oid, datdba, datacl, datconnlimit, datallowconn, md5(shobj_description(d.oid, 'pg_database')),
    (SELECT string_agg(setrole || ' ' || setconfig::text, ' ' ORDER BY setrole) FROM pg_db_role_setting WHERE setdatabase = d.oid)
  FROM pg_database d;
SELECT 'role ' || rolname, a.oid, rolpassword, rolsuper, rolcanlogin, rolvaliduntil, rolconnlimit, md5(shobj_description(a.oid, 'pg_authid')),
    (SELECT string_agg(roleid || ' ' || admin_option, ',' ORDER BY roleid) FROM pg_auth_members WHERE member = a.oid),
    (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = 0 AND setrole = a.oid)
  FROM pg_authid a WHERE rolname !~ '^pg_';`;
/** All tables with their rows, as one number. */
const ROWS = `
SELECT 'database ' || current_database(), md5(string_agg(t, ',' ORDER BY t)) FROM (
  SELECT c.oid::regclass || query_to_xml(format(
    'SELECT count(*), sum(hashtext(t::text)::bigint) FROM %s t', c.oid::regclass), true, false, '')::text AS t
  FROM pg_class c WHERE relkind = 'r' AND c.oid >= 16384) x;`;

/** Moments of a restore at which `pausing.sh` can stop it. */
export type Stage =
  | 'while it reads the dump'
  | 'during the preflight'
  | 'before it creates roles'
  | 'before it loads'
  | 'while it counts rows'
  | 'while it analyzes'
  | 'right before the swap'
  | 'inside the swap'
  | 'right after the swap'
  | 'after the swap, the answer is lost';
const PAUSING = join(__dirname, 'pausing.sh');

/** Home-lab, running. */
export class Lab {
  private constructor(
    readonly cluster: Rehearsal,
    public server: PodHandle,
    readonly major: Major,
  ) {}

  static async open(
    major: Major,
    variant?: Variant,
    options?: StartOptions,
    volumes?: Record<string, VolumeKind>,
  ): Promise<Lab> {
    const cluster = await Rehearsal.open({
      objects: homeLab(major, variant),
      major,
      volumes: { [BACKUP]: { kind: 'squash' }, ...volumes },
    });
    try {
      const server = await cluster.startStatefulSet(SERVER, options);
      await server.waitReady(60_000);
      return new Lab(cluster, server, major);
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  /** With `backup_test`, roles and the database of the odd name. */
  static async filled(major: Major, variant?: Variant): Promise<Lab> {
    const lab = await Lab.open(major, variant);
    await lab.psql(NASTY);
    return lab;
  }

  close = () => this.cluster.close();
  psql = (text: string, db?: string) => this.cluster.psql(text, { db });

  /** The rendered CronJob's pod; returns the name of the file that it has published. */
  async backup(clock?: string): Promise<string> {
    const result = await this.cluster.runCronJob(BACKUP, { clock });
    expect(result).toMatchObject({ succeeded: true });
    return result.log.match(/ finished: (\S+):/)![1]!;
  }

  /** The rendered Job's pod, with what the operator has set in it. */
  restore = (env: Record<string, string> = {}, options: JobOptions = {}): Promise<JobResult> =>
    this.cluster.runJob(RESTORE, { env, ...options });

  async restored(env: Record<string, string> = {}): Promise<string> {
    const result = await this.restore(env);
    expect(result.log).toMatch(/ finished: restored /);
    expect(result.succeeded).toBe(true);
    return result.log;
  }

  /** A restore that must fail: its last line. */
  async refused(env: Record<string, string> = {}): Promise<string> {
    return failed(await this.restore(env))
      .log.trimEnd()
      .split('\n')
      .at(-1)!;
  }

  /** A bad day: one restore that must fail; what it came to. */
  async badDay(env: Record<string, string> = {}, options: JobOptions = {}): Promise<Outcome> {
    const before = await this.listing();
    const attempt = failed(await this.restore(env, options));
    return outcome(attempt, before, await this.listing());
  }

  /** Starts a restore and waits until it has come to that moment. */
  async paused(stage: Stage, env: Record<string, string> = {}, options: JobOptions = {}): Promise<JobHandle> {
    const overlay = { '/usr/local/bin/psql': PAUSING, '/usr/local/bin/sha256sum': PAUSING };
    const job = await this.cluster.startJob(RESTORE, { env: { PAUSE: stage, ...env }, overlay, ...options });
    await vi.waitFor(() => expect(asleep(job), job.pod?.logs()).toBeDefined(), { timeout: 20_000, interval: 20 });
    return job;
  }

  /** Ends the pause. */
  resume = (job: JobHandle) => process.kill(asleep(job)!, 'SIGKILL');

  /** The server's node loses its power; `startAgain` brings it back. */
  crash = () => this.server.kill9();
  async startAgain(): Promise<void> {
    this.server = await this.cluster.startStatefulSet(SERVER);
    await this.server.waitReady(60_000);
  }

  /** A file on the backup volume, as an operator would have copied it there. */
  put(name: string, content: string | Buffer): string {
    const path = join(this.volume, name);
    writeFileSync(path, content);
    chmodSync(path, 0o644);
    chownSync(path, 999, 999);
    return name;
  }
  read = (name: string) => readFileSync(join(this.volume, name));
  get volume(): string {
    return this.cluster.claim(BACKUP).path;
  }

  /** What a tool of the server's own pod prints, connected to the server. */
  async tool(...command: string[]): Promise<string> {
    const done = await this.server.exec(['env', 'PGUSER=postgres', ...command]);
    expect(done).toMatchObject({ exitCode: 0, stderr: '' });
    return done.stdout;
  }

  /** Everything that pg_dumpall knows, less what differs by chance and the passwords that each new server hashes anew. */
  async everything(): Promise<string> {
    const dump = await this.tool('pg_dumpall');
    return dump
      .replace(/^\\(un)?restrict .*$/gm, '')
      .replace(/^(ALTER ROLE postgres(?:_exporter)? WITH .*) PASSWORD .*$/gm, '$1;');
  }

  /** What the catalog says of a database, and its rows. */
  content = (db: string) => this.psql(CONTENT, db);

  /** What volume and server hold, with the rows of every database. */
  listing = async (): Promise<Listing> => ({ ...this.files(), ...(await this.serverListing()) });

  files(): Listing {
    const names = this.cluster.claim(BACKUP).list();
    return Object.fromEntries(names.map((name) => [`file ${name}`, name.endsWith('/') ? '' : sha256(this.read(name))]));
  }

  async serverListing(): Promise<Listing> {
    const connections = await this.psql(
      String.raw`SELECT '\connect ' || quote_ident(datname) FROM pg_database
        WHERE datallowconn AND datconnlimit <> -2 AND datname !~ E'\\n'`,
    );
    const script = connections.split('\n').map((connect) => `${connect}\n${ROWS}`);
    const lines = await this.psql([SERVER_LISTING, ...script].join('\n'));
    const listing: Listing = {};
    for (const line of lines.split('\n')) {
      const [, name, facts] = /^([^|]*)\|(.*)$/.exec(line)!;
      listing[name!] = `${listing[name!] ?? ''}${facts}`;
    }
    return listing;
  }

  databases = async () => (await this.psql('SELECT datname FROM pg_database ORDER BY datname COLLATE "C"')).split('\n');

  /** Differs as soon as a database or a role was replaced or changed. */
  identity = () =>
    this.psql(`SELECT datname, oid, datdba, datacl, datconnlimit FROM pg_database ORDER BY 1;
      SELECT rolname, oid, rolpassword, rolvaliduntil, rolconnlimit, rolsuper FROM pg_authid ORDER BY 1;
      SELECT roleid, member, admin_option FROM pg_auth_members ORDER BY 1, 2;
      SELECT datname, setrole, setconfig FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase ORDER BY 1, 2`);

  /** Away with what restores have kept. */
  dropKept = () =>
    this.psql(
      String.raw`SELECT format('DROP DATABASE %I', datname) FROM pg_database WHERE datname ~ '_before_restore_' \gexec`,
    );
}
