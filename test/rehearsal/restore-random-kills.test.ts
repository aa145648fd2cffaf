import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { random } from '../helpers/random';
import { majors } from '.';
import { RESTORE } from './home-lab';
import { Lab } from './restore-kit';

const KILLS = 25;
const SEED = Number(process.env['KILL_SEED'] ?? Date.now() % 100_000);
const DATABASES = ['one', 'two', 'three'];

describe.each(majors())('a restore that is killed at any moment, PostgreSQL %i', (major) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await Lab.open(major);
    await lab.psql("CREATE ROLE app LOGIN CONNECTION LIMIT 5; CREATE ROLE lost LOGIN PASSWORD 'lost'");
    for (const name of DATABASES) {
      await lab.psql(`CREATE DATABASE ${name} OWNER app`);
      await lab.psql('CREATE TABLE t AS SELECT 0 AS age, i FROM generate_series(1, 3000) i', name);
    }
    await lab.backup();
  });
  afterAll(() => lab.close());

  /** Everything that the dump knows gets another value, of its own time. */
  const livesOn = async (age: number) => {
    await lab.dropKept();
    await lab.psql(`ALTER ROLE app CONNECTION LIMIT ${age + 5}; DROP ROLE IF EXISTS lost`);
    for (const name of DATABASES) await lab.psql(`UPDATE t SET age = ${age}; DELETE FROM t WHERE i > 2999`, name);
  };

  /** What each part of the server says of its time: the dump's is 0, and has 3000 rows. */
  const ages = async () => {
    const parts = DATABASES.map(
      (name) => String.raw`\connect ${name}
        SELECT CASE WHEN min(age) = max(age) AND count(*) = CASE min(age) WHEN 0 THEN 3000 ELSE 2999 END THEN min(age) END FROM t;`,
    );
    const all = await lab.psql([...parts, "SELECT rolconnlimit - 5 FROM pg_roles WHERE rolname = 'app'"].join('\n'));
    return all.split('\n').map(Number);
  };

  const litter = async () => {
    const names = await lab.psql("SELECT datname FROM pg_database WHERE datname ~ '_restoring_'");
    const marks = await lab.psql(
      "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text ~ 'cdk8s_postgres.restoring'",
    );
    return `${names}${marks}`;
  };

  it(`is the old server or the restored one, never half of each (KILL_SEED=${SEED})`, async () => {
    console.log(`KILL_SEED=${SEED}`);
    const next = random(SEED);
    await lab.restored();
    const began = Date.now();
    await lab.restored();
    const takes = Date.now() - began;
    let age = 1;
    await livesOn(age);
    const ends = { before: 0, after: 0 };
    for (let kill = 1; kill <= KILLS; kill++) {
      const moment = Math.floor(next() * takes * 1.2);
      const job = await lab.cluster.startJob(RESTORE);
      await sleep(moment);
      await job.kill9();
      const { log } = await job.wait();
      const found = await ages();
      expect([found, `kill ${kill} after ${moment} ms\n${log}`]).toEqual([
        Array(DATABASES.length + 1).fill(found[0]),
        expect.anything(),
      ]);
      expect([0, age]).toContain(found[0]);
      if (found[0] === age) {
        ends.before += 1;
      } else {
        ends.after += 1;
        await livesOn(++age);
      }
      if (kill % 8 === 0 || kill === KILLS) {
        await lab.restored();
        expect(await ages()).toEqual(Array(DATABASES.length + 1).fill(0));
        expect(await litter()).toBe('0');
        await livesOn(++age);
        expect(await lab.databases()).toEqual([...DATABASES, 'postgres', 'template0', 'template1'].sort());
      }
    }
    console.log(`${takes} ms for a whole restore; killed before the swap ${ends.before}, after it ${ends.after}`);
    expect(ends.before).toBeGreaterThan(0);
  }, 600_000);
});
