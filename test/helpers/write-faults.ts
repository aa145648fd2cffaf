import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Day, declared, render, TABLE } from './fault-table';

/**
 * `npm run faults [-- FILE... -t TITLE]`: runs the tests of bad days and writes how they went into docs/faults.md. What was not
 * run keeps its row. A test that fails for another reason than its row leaves its row as it was.
 */
function main(args: string[]): number {
  const folder = mkdtempSync(join(tmpdir(), 'faults-'));
  try {
    const files = args.length > 0 ? args : [...new Set(declared().map((one) => one.file))];
    const command = ['vitest', 'run', '--config', 'test/vitest.config.ts', ...files];
    const { status } = spawnSync('npx', command, { stdio: 'inherit', env: { ...process.env, FAULTS_FOLDER: folder } });
    const ran = readdirSync(folder).map((name): Day => JSON.parse(readFileSync(join(folder, name), 'utf8')));
    // Sources and table as they are now: the tests took their time, and another run can have written rows meanwhile.
    const days = declared();
    writeFileSync(TABLE, render(days, ran, readFileSync(TABLE, 'utf8')));
    process.stdout.write(`docs/faults.md: ${ran.length} of ${days.length} bad days were run\n`);
    return status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = main(process.argv.slice(2));
