import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { filesIn } from './package/copy';

const ROOT = path.resolve(__dirname, '..');

it('imports/ is what `npm run import` makes of the definitions beside it, without a network', () => {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk8s-postgres-imports-'));
  try {
    for (const file of ['package.json', 'cdk8s.yaml']) fs.copyFileSync(path.join(ROOT, file), path.join(copy, file));
    fs.cpSync(path.join(ROOT, 'imports/crds'), path.join(copy, 'imports/crds'), { recursive: true });
    fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
    // A proxy that nobody listens on: what is not on this disk cannot be had.
    const nowhere = 'http://127.0.0.1:9';
    const env = {
      ...process.env,
      HTTP_PROXY: nowhere,
      HTTPS_PROXY: nowhere,
      http_proxy: nowhere,
      https_proxy: nowhere,
    };
    execFileSync('npm', ['run', '--silent', 'import'], { cwd: copy, env, stdio: 'pipe' });
    expect(filesIn(path.join(copy, 'imports'))).toEqual(filesIn(path.join(ROOT, 'imports')));
    expect(fs.readFileSync(path.join(copy, 'cdk8s.yaml'), 'utf8')).toBe(
      fs.readFileSync(path.join(ROOT, 'cdk8s.yaml'), 'utf8'),
    );
  } finally {
    fs.rmSync(copy, { recursive: true, force: true });
  }
});
