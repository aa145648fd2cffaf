import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { majors } from '.';
import { Lab } from './restore-kit';

describe.each(majors('all'))('roles that come with a single database, PostgreSQL %i', (major) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open(major);
    await lab.psql(`CREATE ROLE boss SUPERUSER LOGIN PASSWORD 'boss'; CREATE ROLE owner LOGIN PASSWORD 'owner';
      CREATE ROLE team; CREATE ROLE viewers; CREATE ROLE alice LOGIN; GRANT team TO owner; GRANT viewers TO alice; GRANT boss TO alice;
      CREATE DATABASE app OWNER owner; CREATE DATABASE other OWNER boss`);
    await lab.psql('CREATE TABLE t (i int); ALTER TABLE t OWNER TO owner; GRANT SELECT ON t TO viewers', 'app');
    await lab.backup();
    await lab.psql('DROP DATABASE app; DROP DATABASE other');
    await lab.psql('DROP ROLE boss, owner, team, viewers, alice');
  });
  afterAll(() => lab.close());

  /** Without the one that metrics are read by. */
  const roles = () =>
    lab.psql(`SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles
      WHERE oid >= 16384 AND rolname <> 'postgres_exporter'`);

  it('are those that it names and their groups; a dropped superuser stays away', async () => {
    const log = await lab.restored({ DATABASE: 'app' });
    expect(await roles()).toBe('owner team viewers');
    expect(log).toContain('roles: created owner, team, viewers');
    expect(log).toContain('roles: not created, because app names them nowhere: alice boss');
    expect(await lab.cluster.psql('SELECT count(*) FROM t', { user: 'owner', password: 'owner', db: 'app' })).toBe('0');
    expect(await lab.psql("SELECT pg_has_role('owner', 'team', 'MEMBER')")).toBe('t');
    expect(
      await lab.psql('SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text ~ $$cdk8s_postgres.restoring$$'),
    ).toBe('0');
  });

  it('and one that a killed restore of the whole server has made goes with the next restore', async () => {
    const job = await lab.paused('before it loads');
    await job.kill9();
    await job.wait();
    expect(await roles()).toBe('alice boss owner team viewers');
    expect(await lab.restored({ DATABASE: 'app' })).toMatch(
      /leftovers: dropped the role boss, left behind by a restore/,
    );
    expect(await roles()).toBe('owner team viewers');
  });

  it('are all that there were when the whole server is restored', async () => {
    await lab.restored();
    expect(await roles()).toBe('alice boss owner team viewers');
    expect(await lab.psql("SELECT pg_has_role('alice', 'boss', 'MEMBER')")).toBe('t');
  });

  it('of a killed restore go also where one of them has granted membership of another, or has a line break in its name', async () => {
    await lab.psql(`CREATE ROLE aaron CREATEROLE; CREATE ROLE "two\nlines" SUPERUSER; CREATE ROLE crew; CREATE ROLE zoe LOGIN PASSWORD 'zoe';
      CREATE ROLE guest LOGIN; GRANT crew TO aaron WITH ADMIN OPTION; SET ROLE aaron; GRANT crew TO zoe; RESET ROLE`);
    await lab.backup();
    const made = 'aaron, "two\nlines", crew, zoe, guest';
    await lab.psql(`DROP ROLE ${made}`);
    const before = await roles();
    await lab.psql("ALTER SYSTEM SET log_statement = 'all'");
    await lab.psql('SELECT pg_reload_conf()');
    const job = await lab.paused('before it loads');
    expect(await roles()).toContain('aaron');
    await job.kill9();
    await job.wait();
    const guest = lab.server.exec(['psql', '-U', 'guest', 'postgres', '-c', 'SELECT pg_sleep(15)']);
    await expect.poll(() => lab.psql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'guest'")).toBe('1');
    const log = await lab.restored({ DATABASE: 'app', INTO: 'fresh' });
    expect(log).toMatch(/leftovers: warning: .* has made the role guest, .* \(somebody is logged in as it\): it stays/);
    await lab.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guest'");
    await guest;
    await lab.psql('DROP ROLE guest');
    expect(await roles()).toBe(before);
    // A stop takes back what a run has made, in any order.
    const stopped = await lab.paused('before it loads');
    await stopped.stop();
    const { log: last } = await stopped.wait();
    expect(last).not.toContain('is still there');
    expect(await roles()).toBe(before);
    // A hash of a password is in no log.
    expect(lab.server.logs('postgres')).toContain('statement: ');
    expect(lab.server.logs('postgres')).not.toContain('SCRAM-SHA-256$');
  });

  it('and a subscription keeps neither an undo nor the next restore from removing a database that did not become live', async () => {
    await lab.psql('CREATE DATABASE subscriber');
    const subscription = "CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = 'feed')";
    await lab.psql(`CREATE SUBSCRIPTION feed ${subscription}`, 'subscriber');
    await lab.backup();
    const killed = await lab.paused('right before the swap', { DATABASE: 'subscriber' });
    await killed.kill9();
    await killed.wait();
    const stopped = await lab.paused('right before the swap', { DATABASE: 'subscriber' });
    await stopped.stop();
    expect((await stopped.wait()).log).not.toContain('is still there');
    expect((await lab.databases()).filter((name) => name.includes('_restoring_'))).toEqual([]);
    // Beside the live one it would share the slot on the publisher.
    await lab.restored({ DATABASE: 'subscriber', TARGET_DATABASE: 'look' });
    expect(await lab.psql('SELECT datname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid')).toBe(
      'subscriber',
    );
  });
});
