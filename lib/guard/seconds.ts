import type { Duration } from 'cdk8s';
import { refuse } from './input-error';

/** Longer than any deadline that is meant. */
export const YEAR = 365 * 24 * 60 * 60;

/** A duration in whole seconds within bounds. */
export function seconds(prop: string, duration: Duration, least: number, most: number): number {
  const value = duration.toSeconds({ integral: false });
  if (!Number.isInteger(value) || value < least || value > most) {
    refuse(
      prop,
      `be whole seconds from ${least} to ${most}`,
      `${value} s`,
      `write for example \`Duration.seconds(${least})\``,
    );
  }
  return value;
}
