import { refuse } from '../guard/input-error';

/** Which verified backups stay. It runs after each good backup and touches nothing else. */
export class Retention {
  /** The newest `count` verified backups stay. */
  static last(count: number): Retention {
    return new Retention(count);
  }

  private constructor(private readonly count: number) {}

  /** @internal */
  get _last(): number {
    if (!Number.isInteger(this.count) || this.count < 1 || this.count > 100_000) {
      refuse('retention', 'keep 1 to 100000 backups', this.count, 'write for example `Retention.last(7)`');
    }
    return this.count;
  }
}
