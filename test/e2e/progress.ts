import { writeSync } from 'node:fs';

/** A line for who waits, at once: the reporter shows a test only when it has ended. */
export function say(text: string): void {
  writeSync(2, `${new Date().toISOString().slice(11, 19)} e2e: ${text}\n`);
}
