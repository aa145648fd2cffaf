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
    if (!Number.isInteger(this.count) || this.count < 1) {
      refuse('retention', 'keep at least 1 backup', this.count, 'write for example `Retention.last(7)`');
    }
    return this.count;
  }
}
