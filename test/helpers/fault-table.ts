import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import ts from 'typescript';

const ROOT = resolve(__dirname, '../..');
export const TABLE = join(ROOT, 'docs/faults.md');
export const REGENERATE = 'npm run faults';

export const KINDS = ['dump', 'restore'] as const;
export type Kind = (typeof KINDS)[number];

/** What a bad day came to. */
export interface Outcome {
  /** Of the attempt that met the bad day. */
  exitCode: number;
  /** Its last error, or its last warning, or its last line; normalized. Empty when it was killed before it could speak. */
  message: string;
  /** What is different on the volume (for a restore: on the volume and the server) right afterwards. */
  left: string;
  /** The same after the next good run, where the test made one. */
  next?: string;
}

/** A call of `badDay` in the sources of the tests. */
export interface Declared {
  on: Kind;
  title: string;
  /** Relative to the repository. */
  file: string;
}

export interface Day extends Declared, Outcome {
  /** The command that runs it, where that is not `npm test`. */
  command?: string;
}

const TITLES: Record<Kind, string> = { dump: 'Dump', restore: 'Restore' };
const HEAD = [
  '| bad day | exit | what it says | what is left | test |',
  '| ------- | ---- | ------------ | ------------ | ---- |',
];
const INTRODUCTION = `# Bad days

Every row is a test that made this day happen to the pod that we render, against a real PostgreSQL, and recorded what came of it.
\`${REGENERATE}\` writes this file; a test whose outcome is not the one of its row fails, and so does a row without a test.

- **exit**: the exit code of the pod that met the bad day. 137 is -9, 130 and 143 are a stop by SIGINT and SIGTERM.
- **what it says**: the last error in its log (with exit 0: the last warning), after "…: " the cause and after ";" the remedy.
- **what is left**: what is different on the backup volume, for a restore also on the server: \`+\` is new, \`−\` is gone, \`~\` was changed.
  What is not named is there as it was, byte for byte.
- \`<time>\`, \`<bytes>\`, \`<n>\` and the like stand for what differs from run to run.`;

const code = (text: string): string => {
  if (text === '') return '—';
  const escaped = text.replace(/\|/g, '\\|');
  return text.includes('`') ? `\`\` ${escaped} \`\`` : `\`${escaped}\``;
};
const key = (title: string): string => `| ${title.replace(/\|/g, '\\|')} | `;

function left({ left, next }: Outcome): string {
  const list = (text: string) =>
    text === 'unchanged'
      ? text
      : text
          .split(/, (?=[+−~] )/)
          .map(code)
          .join(', ');
  return next === undefined ? list(left) : `${list(left)}; after the next good run: ${list(next)}`;
}

/** The row of a day as it stands in the table. */
export function row(day: Day): string {
  const file = `[${day.file.split('/').at(-1)}](../${day.file})`;
  const test = day.command === undefined ? file : `${file}, \`${day.command}\``;
  return `${key(day.title)}${day.exitCode} | ${code(day.message)} | ${left(day)} | ${test} |`;
}

/** Every row of a table, by its section. */
export function rowsOf(table: string): Array<{ on: Kind; line: string }> {
  let on: Kind | undefined;
  return table.split('\n').flatMap((line) => {
    const section = KINDS.find((kind) => line === `## ${TITLES[kind]}`);
    if (section) on = section;
    return on && line.startsWith('| ') && !HEAD.includes(line) ? [{ on, line }] : [];
  });
}

export function rowFor({ on, title }: Pick<Declared, 'on' | 'title'>, table: string): string | undefined {
  return rowsOf(table).find((one) => one.on === on && one.line.startsWith(key(title)))?.line;
}

/** Fails unless the table says what happened. */
export function compare(day: Day, table: string): void {
  const expected = rowFor(day, table);
  const got = row(day);
  if (got === expected) return;
  const has = expected === undefined ? 'has no row for it' : `says\n  ${expected}`;
  const cure = `if that is right: ${REGENERATE} -- ${day.file} -t '${day.title.replace(/'/g, "'\\''")}'`;
  throw new Error(`bad day \`${day.title}\` ended in\n  ${got}\nand docs/faults.md ${has}\n${cure}`);
}

/** The whole table: what has run says how it went, the others keep their rows, rows without a test are gone. */
export function render(declared: readonly Declared[], ran: readonly Day[], former: string): string {
  const line = (one: Declared): string[] => {
    const rows = new Set(ran.filter((day) => day.on === one.on && day.title === one.title).map(row));
    if (rows.size > 1) throw new Error(`\`${one.title}\` ended in different ways:\n${[...rows].join('\n')}`);
    const [found = rowFor(one, former)] = rows;
    return found === undefined ? [] : [found];
  };
  const sections = KINDS.map((on) => {
    const rows = declared.filter((one) => one.on === on).flatMap(line);
    return [`## ${TITLES[on]}`, '', ...HEAD, ...rows].join('\n');
  });
  return `${[INTRODUCTION, ...sections].join('\n\n')}\n`;
}

/** What is wrong between the sources and the table, whichever tests were run. */
export function drift(declared: readonly Declared[], table: string): string[] {
  const names = declared.map(({ on, title }) => `${on}: ${title}`);
  const twice = names.filter((name, index) => names.indexOf(name) !== index);
  const missing = declared.filter((one) => {
    const found = rowFor(one, table);
    return !found?.includes(`(../${one.file})`);
  });
  const stale = rowsOf(table).filter(
    ({ on, line }) => !declared.some((one) => one.on === on && line.startsWith(key(one.title))),
  );
  return [
    ...twice.map((name) => `two bad days are called \`${name}\``),
    ...missing.map(
      ({ file, title }) => `docs/faults.md has no row for \`${title}\` of ${file}: ${REGENERATE} -- ${file}`,
    ),
    ...stale.map(({ line }) => `docs/faults.md has a row without a test: ${line}: ${REGENERATE}`),
  ];
}

/** The calls of `badDay` in a source file, in order. Their titles must be literals, or no check could know them all. */
export function declaredIn(file: string, source: string): Declared[] {
  const found: Declared[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && ts.isIdentifier(node.expression) && node.expression.text === 'badDay') {
      const [on, title] = node.arguments.map((one) => (ts.isStringLiteralLike(one) ? one.text : undefined));
      if (!KINDS.includes(on as Kind) || title === undefined) {
        throw new Error(`${file}: badDay takes 'dump' or 'restore' and a title, both literals, got ${node.getText()}`);
      }
      found.push({ on: on as Kind, title, file });
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true));
  return found;
}

/** All bad days of the tests, in the order of files and lines. */
export function declared(): Declared[] {
  return readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join('test', name))
    .sort()
    .flatMap((file) => declaredIn(file, readFileSync(join(ROOT, file), 'utf8')));
}

export const inRepository = (path: string): string => relative(ROOT, path);
