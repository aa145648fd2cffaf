import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { majors } from '.';
import { Lab } from './restore-kit';

const CLUSTER_END = '--\n-- PostgreSQL database cluster dump complete\n--\n\n';

describe.each(majors())('a restore runs no SQL of others as superuser, PostgreSQL %i', (major) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open(major);
    await lab.psql("CREATE ROLE mallory LOGIN PASSWORD 'x'; CREATE ROLE auditor");
    await lab.psql('CREATE DATABASE app OWNER mallory');
  });
  afterAll(() => lab.close());

  const roles = () => lab.psql('SELECT rolname, rolsuper FROM pg_roles WHERE oid > 16383 ORDER BY 1');

  it('not what the owner of a database has put in the way of a built-in function', async () => {
    const before = await roles();
    await lab.psql(
      `SET SESSION AUTHORIZATION mallory;
       CREATE SCHEMA evil;
       CREATE TABLE evil.t AS SELECT 1 AS i;
       CREATE FUNCTION evil.step(s bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
         IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
           EXECUTE 'ALTER ROLE mallory SUPERUSER';
         END IF;
         RETURN s + 1;
       END $$;
       CREATE AGGREGATE evil.count(*) (SFUNC = evil.step, STYPE = bigint, INITCOND = '0');
       ALTER DATABASE app SET search_path = evil, pg_catalog;`,
      'app',
    );
    await lab.backup();
    expect(await lab.restored({ DATABASE: 'app' })).toMatch(/compare: app: 1 tables, rows as in the manifest/);
    expect(await roles()).toBe(before);
  });

  it('not what a comment on a role spells, when a restore fails and takes back the roles that it has made', async () => {
    const before = await roles();
    lab.put(
      'comment.sql',
      `--\n-- PostgreSQL database cluster dump\n--\n\nCREATE ROLE helper;
COMMENT ON ROLE helper IS 'innocent\nCREATE ROLE auditor; ALTER ROLE mallory SUPERUSER;\nend';
CREATE DATABASE foo;\n\\connect foo\nCREATE TABLE public.a (i no_such_type);\n\n${CLUSTER_END}`,
    );
    expect(await lab.refused({ BACKUP_FILE: 'comment.sql' })).toContain('type "no_such_type" does not exist');
    expect(await roles()).toBe(before);
  });

  it('and still counts the rows of a dump that names tables without their schema', async () => {
    lab.put(
      'old.sql',
      `--\n-- PostgreSQL database dump\n--\n\nSET search_path = public, pg_catalog;\nCREATE TABLE "Old" (i integer);
COPY "Old" (i) FROM stdin;\n1\n2\n\\.\n\n--\n-- PostgreSQL database dump complete\n--\n\n`,
    );
    expect(await lab.restored({ BACKUP_FILE: 'old.sql', DATABASE: 'old' })).toMatch(/compare: old: 1 tables, rows as/);
  });
});
