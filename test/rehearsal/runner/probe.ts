import type { ExecResult } from './types';

export interface Probe {
  exec?: { command: string[] };
  tcpSocket?: { port: number | string };
  initialDelaySeconds?: number;
  periodSeconds?: number;
  timeoutSeconds?: number;
  successThreshold?: number;
  failureThreshold?: number;
  terminationGracePeriodSeconds?: number;
}

/** One try; a message if it failed. */
export type Try = (probe: Probe, timeoutMs: number) => Promise<ExecResult>;

export interface Watch {
  /** Called when the thresholds say so, with the message of the last try. */
  onChange: (healthy: boolean, message: string) => void;
  onFailure: (message: string) => void;
}

/** Tries a probe with its own delays and thresholds until stopped. */
export class ProbeLoop {
  private stopped = false;
  private timer: NodeJS.Timeout | undefined;
  private healthy: boolean | undefined;
  private row = 0;
  private last: boolean | undefined;

  constructor(
    private readonly probe: Probe,
    private readonly attempt: Try,
    private readonly watch: Watch,
  ) {
    this.timer = setTimeout(() => this.tick(), (probe.initialDelaySeconds ?? 0) * 1000);
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  private async tick(): Promise<void> {
    const begun = Date.now();
    const { exitCode, stdout, stderr } = await this.attempt(this.probe, (this.probe.timeoutSeconds ?? 1) * 1000);
    if (this.stopped) return;
    const message = exitCode === 124 ? `timed out after ${this.probe.timeoutSeconds ?? 1} s` : (stdout + stderr).trim();
    this.count(exitCode === 0, message);
    // Stopped by what it has just reported.
    if (this.stopped) return;
    const period = (this.probe.periodSeconds ?? 10) * 1000;
    this.timer = setTimeout(() => this.tick(), Math.max(0, period - (Date.now() - begun)));
  }

  private count(success: boolean, message: string): void {
    this.row = success === this.last ? this.row + 1 : 1;
    this.last = success;
    if (!success) this.watch.onFailure(message);
    const threshold = success ? (this.probe.successThreshold ?? 1) : (this.probe.failureThreshold ?? 3);
    if (this.row < threshold || this.healthy === success) return;
    this.healthy = success;
    this.watch.onChange(success, message);
  }
}
