import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

export const ROOT = path.resolve(__dirname, '../..');

/**
 * A copy of what is or would be committed, in a temporary folder, with the packages of this repository: tests change it and
 * build in it as they like.
 */
export function copyOfRepository(): string {
  const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk8s-postgres-copy-'));
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT });
  for (const file of listed.toString().split('\0').filter(Boolean)) {
    const source = path.join(ROOT, file);
    // A file that is deleted and not yet committed is listed, too.
    if (fs.existsSync(source)) fs.cpSync(source, path.join(copy, file), { preserveTimestamps: true });
  }
  fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'));
  return copy;
}

/** Every file below a folder with its text, by its path there. */
export function filesIn(folder: string): Record<string, string> {
  const names = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  const files = names.filter((name) => fs.statSync(path.join(folder, name)).isFile());
  return Object.fromEntries(files.map((name) => [name, fs.readFileSync(path.join(folder, name), 'utf8')]));
}
