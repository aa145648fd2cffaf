import { execFileSync } from 'node:child_process';

/** A row of a table. */
export const row = (...cells: (string | number)[]) => `| ${cells.join(' | ')} |`;

export const spread = (numbers: readonly number[]) => {
  const sorted = [...numbers].sort((a, b) => a - b);
  return { median: sorted[Math.floor(sorted.length / 2)]!, least: sorted[0]!, most: sorted.at(-1)! };
};
export const median = (numbers: readonly number[]) => spread(numbers).median;

/** The figures are promised for two cores; what is started from here inherits the choice. */
export function onTwoCores(): void {
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', '0,1', String(process.pid)]);
}
