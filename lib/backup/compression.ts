import { refuse } from '../guard/input-error';

/** How a dump is compressed. */
export class Compression {
  /**
   * gzip, suffix `.sql.gz`: every tool reads it.
   *
   * @param level 1 (fast) to 9 (small)
   */
  static gzip(level = GZIP_LEVEL): Compression {
    return new Compression('gzip', level, 9);
  }

  /**
   * Zstandard, suffix `.sql.zst`: faster and smaller than gzip.
   *
   * @param level 1 (fast) to 19 (small)
   */
  static zstd(level = ZSTD_LEVEL): Compression {
    return new Compression('zstd', level, 19);
  }

  private constructor(
    private readonly format: 'gzip' | 'zstd',
    private readonly level: number,
    private readonly highest: number,
  ) {}

  /** @internal */
  get _env(): { COMPRESSION: string; COMPRESSION_LEVEL: string } {
    if (!Number.isInteger(this.level) || this.level < 1 || this.level > this.highest) {
      refuse(
        'level',
        `be 1 to ${this.highest} for ${this.format}`,
        this.level,
        `write \`Compression.${this.format}()\``,
      );
    }
    return { COMPRESSION: this.format, COMPRESSION_LEVEL: String(this.level) };
  }
}

/** Measured: docs/performance.md. */
const GZIP_LEVEL = 3;
const ZSTD_LEVEL = 3;
