import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ApiObject, Chart, Testing } from 'cdk8s';
import { addSerializer, SnapshotState, toMatchSnapshot } from 'jest-snapshot';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { manifestSerializer } from '../lib/testing';

const SCRIPT = '#!/usr/bin/env bash\necho "$PGDATA"\n';

const chart = (script = SCRIPT): Chart => {
  const chart = new Chart(Testing.app(), 'test');
  new ApiObject(chart, 'scripts', {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'scripts' },
    data: { a: '0123', 'b.sh': script },
  });
  new ApiObject(chart, 'account', { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'server' } });
  return chart;
};

const YAML = `apiVersion: v1
kind: ConfigMap
metadata:
  name: scripts
data:
  a: "0123"
  b.sh: |
    #!/usr/bin/env bash
    echo "$PGDATA"
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: server`;

describe('manifestSerializer', () => {
  it('prints a chart, its manifests and one manifest as YAML, with scripts as blocks', () => {
    const manifests = Testing.synth(chart());
    expect(manifestSerializer.serialize(chart())).toBe(YAML);
    expect(manifestSerializer.serialize(manifests)).toBe(YAML);
    expect(manifestSerializer.serialize(manifests[0])).toBe(YAML.split('\n---')[0]);
  });

  it('takes manifests and nothing else', () => {
    const taken = [chart(), Testing.synth(chart()), { apiVersion: 'v1', kind: 'Pod' }];
    const left = [undefined, null, '', 'v1', 1, [], {}, [{}], { kind: 'Pod' }, { apiVersion: 1, kind: 'Pod' }];
    expect(taken.map(manifestSerializer.test)).toEqual(taken.map(() => true));
    expect(left.map(manifestSerializer.test)).toEqual(left.map(() => false));
    expect(manifestSerializer.test([...Testing.synth(chart()), 'a note'])).toBe(false);
  });

  it('keeps the order of keys', () => {
    expect(manifestSerializer.serialize({ kind: 'Pod', apiVersion: 'v1' })).toBe('kind: Pod\napiVersion: v1');
  });

  it('leaves out unset keys and names property matchers', () => {
    const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: undefined, uid: expect.any(String) } };
    expect(manifestSerializer.serialize(pod)).toBe('apiVersion: v1\nkind: Pod\nmetadata:\n  uid: Any<String>');
  });
});

describe('with Vitest', () => {
  beforeAll(() => expect.addSnapshotSerializer(manifestSerializer));

  it('is what a snapshot holds', () => {
    expect(Testing.synth(chart())).toMatchInlineSnapshot(`
      apiVersion: v1
      kind: ConfigMap
      metadata:
        name: scripts
      data:
        a: "0123"
        b.sh: |
          #!/usr/bin/env bash
          echo "$PGDATA"
      ---
      apiVersion: v1
      kind: ServiceAccount
      metadata:
        name: server
    `);
  });
});

describe('with jest-snapshot', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk8s-postgres-jest-'));
  const file = path.join(folder, 'chart.snap');
  beforeAll(() => addSerializer(manifestSerializer));
  afterEach(() => fs.rmSync(folder, { recursive: true, force: true }));

  /** What `expect(value).toMatchSnapshot()` does in a test that Jest runs; `none` is Jest's `--ci`, which never writes. */
  const match = (value: unknown, mode: 'new' | 'none') => {
    const snapshotFormat = { escapeString: false, printBasicPrototype: false };
    const snapshotState = new SnapshotState(file, { updateSnapshot: mode, snapshotFormat, rootDir: folder });
    const context = {
      snapshotState,
      currentTestName: 'chart',
      isNot: false,
      promise: '',
      equals: () => true,
      utils: {},
      dontThrow: () => {},
    };
    const result = toMatchSnapshot.call(context as never, value) as { pass: boolean; message(): string };
    snapshotState.save();
    return result;
  };

  it('writes the YAML into the .snap file, accepts the same chart again, and refuses a changed one', () => {
    expect(match(chart(), 'new').pass).toBe(true);
    const written = fs.readFileSync(file, 'utf8');
    expect(written).toContain(`exports[\`chart 1\`] = \`\n${YAML}\n\`;`);

    expect(match(chart(), 'none').pass).toBe(true);

    const changed = match(chart(SCRIPT.replace('PGDATA', 'HOME')), 'none');
    expect(changed.pass).toBe(false);
    expect(changed.message()).toContain('echo "$HOME"');
    expect(fs.readFileSync(file, 'utf8')).toBe(written);
  });
});
