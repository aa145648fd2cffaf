import { chmodSync, chownSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { Rehearsal } from '.';
import { BACKUP, homeLab, RESTORE, SERVER, type Variant } from './home-lab';
import type { JobOptions, JobResult, Major, PodHandle, StartOptions } from './runner/types';

const sql = (path: string) => readFileSync(join(__dirname, '..', path), 'utf8');
/** A server that holds what has fooled other restores. */
const NASTY = sql('scripts/fixtures/nasty.sql');
/** Prints what a database holds, and what belongs to it. */
const CONTENT = sql('e2e/sql/content.sql');

/** The database whose name no script may trip over. */
export const ODD = `a b"c'd;$(e)`;

/** Home-lab, running. */
export class Lab {
  private constructor(
    readonly cluster: Rehearsal,
    readonly server: PodHandle,
    readonly major: Major,
  ) {}

  static async open(major: Major, variant?: Variant, options?: StartOptions): Promise<Lab> {
    const cluster = await Rehearsal.open({
      objects: homeLab(major, variant),
      major,
      volumes: { [BACKUP]: { kind: 'squash' } },
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
    const result = await this.restore(env);
    expect(result.succeeded).toBe(false);
    expect(result.attempts).toHaveLength(1);
    const last = result.log.trimEnd().split('\n').at(-1)!;
    expect(last).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [a-z0-9.-]+: error: .+; .+/);
    return last;
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
