import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';

/** What the modules of this folder export; one without it is a helper of others. */
interface Benchmark {
  bench(): Promise<{ title: string; markdown: string }>;
}

const ROOT = path.resolve(__dirname, '..');
const REPORT = path.join(ROOT, 'docs/performance.md');

/** Facts that a reader needs to judge the figures; nothing that names this machine. */
function machine(): string {
  const gibibytes = Math.round(os.totalmem() / 2 ** 30);
  const { dependencies } = JSON.parse(
    execFileSync('npm', ['ls', '--json', 'typescript', 'cdk8s-cli'], { cwd: ROOT, encoding: 'utf8' }),
  );
  const versions = Object.entries(dependencies as Record<string, { version: string }>);
  return [
    `${os.cpus().length} cores, ${gibibytes} GiB, ${os.type()} ${os.release().replace(/[^0-9.].*/, '')}`,
    `Node.js ${process.versions.node}`,
    ...versions.map(([name, { version }]) => `${name} ${version}`),
  ].join(', ');
}

/** `npm run bench` writes the report; `npm run bench -- synth` runs one benchmark and only prints it. */
async function main(only?: string): Promise<void> {
  const modules = fs
    .readdirSync(__dirname)
    .filter((file) => (only ? file === `${only}.ts` : file.endsWith('.ts') && file !== path.basename(__filename)))
    .sort();
  if (modules.length === 0) throw new Error(`expected the name of a file in bench/, got "${only}"`);
  const sections: string[] = [];
  for (const file of modules) {
    const { bench } = (await import(path.join(__dirname, file))) as Partial<Benchmark>;
    if (!bench) continue;
    process.stderr.write(`bench: ${file}\n`);
    const { title, markdown } = await bench();
    process.stderr.write(`${markdown}\n`);
    sections.push(
      `## ${title}\n\n\`npm run bench -- ${path.basename(file, '.ts')}\` measures it again.\n\n${markdown}`,
    );
  }
  if (only) return;
  const head = [
    '# Performance',
    `Written by \`npm run bench\`; every ratio is taken in one run on one machine, here with ${machine()}.`,
  ];
  fs.writeFileSync(REPORT, `${[...head, ...sections].join('\n\n')}\n`);
}

main(process.argv[2]).catch((error) => {
  process.stderr.write(`bench: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
});
