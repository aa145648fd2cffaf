import fs from 'node:fs';
import module from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { Chart } from 'cdk8s';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { SystemApp } from '../lib';
import { server } from './helpers/render';

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'system-app-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  module.syncBuiltinESMExports();
  fs.rmSync(folder, { recursive: true });
});

function synth(outdir: string): void {
  const app = new SystemApp({ outdir });
  server(new Chart(app, 'shop', { namespace: 'shop' }));
  app.synth();
}

describe('SystemApp replaces its folder as a whole', () => {
  it.each(['.git/', '.env', 'package.json'])('and so refuses one that holds %s', (entry) => {
    const target = path.join(folder, entry);
    if (entry.endsWith('/')) fs.mkdirSync(target);
    else fs.writeFileSync(target, '');
    expect(() => synth(folder)).toThrow(
      `\`outdir\` must be a folder that holds nothing but what is rendered, since it is replaced, got "${folder}"; write "dist"`,
    );
    expect(fs.existsSync(target)).toBe(true);
  });

  it.each(['.', '..', '/'])('and so refuses %s, where the process runs', (outdir) => {
    expect(() => synth(outdir)).toThrow('`outdir` must be a folder that holds nothing but what is rendered');
  });

  it('and puts the old one back when the new one cannot take its place', () => {
    const dist = path.join(folder, 'dist');
    synth(dist);
    fs.writeFileSync(path.join(dist, 'old'), '');
    const rename = fs.renameSync;
    vi.spyOn(fs, 'renameSync').mockImplementation((from, to) => {
      if (to === dist && !String(from).endsWith('-old')) throw new Error('EIO');
      rename(from, to);
    });
    module.syncBuiltinESMExports();
    expect(() => synth(dist)).toThrow('EIO');
    expect(fs.readdirSync(dist).sort()).toEqual(['old', 'shop']);
    expect(fs.readdirSync(folder)).toEqual(['dist']);
  });
});
