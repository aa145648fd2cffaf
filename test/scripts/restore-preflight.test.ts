import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Sandbox } from './shell';

const PREFLIGHT = ['lib.sh', 'restore-preflight.sh'];
let box: Sandbox;
beforeEach(() => {
  box = new Sandbox();
});
afterEach(() => box.remove());

describe('names while and after a restore', () => {
  const dated = (name: string, middle = '_before_restore_') =>
    box.run(PREFLIGHT, `stamp=20261121020000; dated_name "$NAME" "$MIDDLE"; printf %s "$dated"`, {
      NAME: name,
      MIDDLE: middle,
    }).out;

  it('say what they are of, and when', () => {
    expect(dated('backup_test')).toBe('backup_test_before_restore_20261121020000');
    expect(dated('a b"c\'d;$(e)', '_restoring_')).toBe('a b"c\'d;$(e)_restoring_20261121020000');
  });

  it('fit into 63 bytes, differ as the names do, and cut no character', () => {
    const one = dated(`${'x'.repeat(62)}y`);
    const other = dated(`${'x'.repeat(62)}z`);
    expect(one).not.toBe(other);
    for (const name of [one, other]) expect(name).toMatch(/^x{24}_[0-9a-f]{8}_before_restore_20261121020000$/);
    for (const wide of ['ä', '€', '𝄞']) {
      for (const shift of ['', 'x', 'xx', 'xxx']) {
        const name = dated(shift + wide.repeat(15) + 'y'.repeat(4));
        expect(Buffer.byteLength(name)).toBeLessThanOrEqual(63);
        expect(name).not.toContain('\ufffd');
      }
    }
  });
});

describe('versions', () => {
  const problems = (client: string, facts: Record<string, string>) => {
    box.fake('psql', `echo "psql (PostgreSQL) ${client} (Debian ${client}-1)"`);
    const all = { source_version: '18.1', dump_version: '18.1', server_version: '18.1', restricted: '', ...facts };
    const set = Object.entries(all).map(([name, value]) => `${name}='${value}'`);
    const server = `server_major=${all.server_version.split('.')[0]}`;
    return box.run(
      PREFLIGHT,
      `${set.join('; ')}; ${server}; problems=(); check_versions; printf '%s\\n' "\${problems[@]}"`,
    ).out;
  };

  it('of psql must not be older than that of pg_dump', () => {
    expect(problems('18.3', {})).toBe('\n');
    expect(problems('17.9', {})).toMatch(
      /^the dump was made by pg_dump 18\.1 and this pod has psql 17\.9; use an image with PostgreSQL 18 or newer/,
    );
    expect(problems('18.3', { dump_version: '15.4 (Debian 15.4-1)', source_version: '9.6.24' })).toBe('\n');
  });

  it('of the server must not be older than the dumped one', () => {
    expect(problems('18.3', { server_version: '17.6', source_version: '17.1' })).toBe('\n');
    expect(problems('18.3', { server_version: '17.6' })).toMatch(
      /^the dump is of a server 18\.1 and this one is 17\.6; restore into PostgreSQL 18/,
    );
  });

  it.each([
    ['15.13', '15.14'],
    ['16.9', '16.10'],
    ['17.5', '17.6'],
  ])('psql %s cannot read \\restrict, %s can', (old, good) => {
    const dump = { restricted: '1', source_version: '15.1', dump_version: '15.14' };
    expect(problems(old, dump)).toMatch(
      `\\restrict lines, which psql ${old} cannot read; use an image with PostgreSQL ${good} or newer`,
    );
    expect(problems(good, dump)).toBe('\n');
    expect(problems(old, { ...dump, restricted: '' })).toBe('\n');
    expect(problems('18beta3', dump)).toBe('\n');
  });
});
