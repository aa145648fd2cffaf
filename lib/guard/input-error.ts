import type { IConstruct } from 'constructs';

/**
 * A mistake in what the user wrote: one line that says what was given, what is allowed and how to fix it.
 *
 * Value objects (a schedule, an image, a retention) are checked where a construct uses them, so that the line can begin
 * with the path of that construct.
 */
export class InputError extends Error {
  override readonly name = 'InputError';

  /** Throws what `read` throws, with the construct's path in front of the user's own mistakes. */
  static at<T>(where: IConstruct | string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (!(error instanceof InputError) || error.located) throw error;
      const path = typeof where === 'string' ? where : where.node.path;
      throw new InputError(`${path}: ${error.message}`, true);
    }
  }

  constructor(
    message: string,
    private readonly located = false,
  ) {
    super(message);
  }
}

/** The one form of a refusal: `` `prop` must …, got …; fix ``. */
export function refuse(prop: string, must: string, got: unknown, fix: string): never {
  throw new InputError(`\`${prop}\` must ${must}, got ${shown(got)}; ${fix}`);
}

/** Stands for what was given where that may be a password. */
export const HIDDEN = Symbol('hidden');

function shown(value: unknown): string {
  if (value === HIDDEN) return 'nothing that can be shown';
  if (value === undefined) return 'nothing';
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? JSON.stringify(value)
    : `a value of type ${value === null ? 'null' : typeof value}`;
}
