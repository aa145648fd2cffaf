import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Rehearsal } from '../../test/rehearsal';
import type { JobHandle, JobOptions, KubeObject } from '../../test/rehearsal/runner/types';
import { type Candidate, jobOf } from './candidates';
import { type Fault, FOREIGN_DATE } from './faults';
import { type Content, complaints, type Dump, dumpsOn, type Ending, KEPT } from './judge';

const DAY = 24 * 3_600_000;
/** What a deadline is shortened to, and how long a run without one is watched. */
const DEADLINE_SECONDS = 4;
const WATCHED_MS = { hanging: 8_000, otherwise: 120_000 };

/** The night that is so many days from now, as the rehearsal's clock takes it. */
const night = (days: number) => new Date(Date.now() + days * DAY).toISOString().replace(/T.*/, ' 02:00:00');

/** A candidate with its volumes and the seven good dumps that it has made, which every fault begins with. */
export class Trial {
  private readonly good = { behind: [] as string[], ahead: [] as string[] };
  private readonly known = new Map<string, Dump>();

  constructor(
    readonly candidate: Candidate,
    private readonly cluster: Rehearsal,
    private readonly empty: Rehearsal,
    private readonly cronJob: KubeObject,
    private readonly content: Content,
    private readonly folder: string,
  ) {
    cluster.apply(this.jobs());
    empty.apply(this.jobs());
  }

  static claims(candidate: Candidate) {
    return {
      [`${candidate.id}-volume`]: { kind: 'plain' },
      [`${candidate.id}-full`]: { kind: 'full', sizeMiB: 24 },
    } as const;
  }

  private jobs(): KubeObject[] {
    const { id } = this.candidate;
    const claim = `${id}-volume`;
    return [
      jobOf(this.candidate, this.cronJob, id, { claim }),
      jobOf(this.candidate, this.cronJob, `${id}-read-only`, { claim, readOnly: true }),
      jobOf(this.candidate, this.cronJob, `${id}-full`, { claim: `${id}-full` }),
    ];
  }

  /** Seven nights, once up to yesterday and once by a clock that is a month ahead. */
  async prepare(): Promise<void> {
    for (const [when, first] of [
      ['behind', -KEPT],
      ['ahead', 30],
    ] as const) {
      this.clear(this.volume);
      for (let i = 0; i < KEPT; i++) {
        const clock = night(first + i);
        const ending = await this.ended(await this.start({ clock }));
        const [made] = this.look(this.volume).filter((dump) => !this.good[when].includes(dump.sha256));
        if (ending !== 'success' || !made || made.flaw) {
          throw new Error(`${this.candidate.id} makes no good dump: ${ending}, ${made?.flaw ?? 'no file'}`);
        }
        this.good[when].push(made.sha256);
        this.dated(new Date(`${clock.replace(' ', 'T')}Z`));
      }
      this.copy(this.volume, this.kept(when));
    }
  }

  /** The files that the last run has written get the time at which it ran. */
  private dated(time: Date): void {
    for (const entry of fs.readdirSync(this.volume, { recursive: true, withFileTypes: true })) {
      const file = path.join(entry.parentPath, entry.name);
      if (entry.isFile() && Math.abs(fs.statSync(file).mtimeMs - Date.now()) < 3_600_000)
        fs.utimesSync(file, time, time);
    }
  }

  /** What is said against the candidate after this fault; empty: survived. */
  async suffer(fault: Fault, rest: (trial: Trial) => Promise<void>): Promise<string[]> {
    const when = fault.ahead ? 'ahead' : 'behind';
    const cluster = fault.emptyServer ? this.empty : this.cluster;
    const volume = fault.job === 'full' ? this.full : cluster.claim(`${this.candidate.id}-volume`).path;
    this.clear(volume);
    this.copy(this.kept(when), volume);
    fault.volume?.(volume, this.candidate);
    if (fault.job === 'full') this.fill(volume);
    const foreign = this.foreign(volume);
    const before = this.look(volume);
    const runs = await this.course(fault, cluster, () => rest(this));
    const after = this.look(volume, fault.emptyServer ? 'nothing' : this.content);
    const intact = new Set(before.filter((dump) => !dump.flaw).map((dump) => dump.sha256));
    const found = complaints({
      good: this.good[when].filter((sha256) => intact.has(sha256)),
      before,
      after,
      runs,
      // An empty server's dumps are worth nothing.
      replaceable: !fault.emptyServer,
      foreign: foreign.filter((file) => !fs.existsSync(file)),
    });
    if (fault.database && !this.holds(volume, before, fault.database))
      found.push(`\`${fault.database}\` is in no dump`);
    return found;
  }

  private async course(fault: Fault, cluster: Rehearsal, rest: () => Promise<void>): Promise<Ending[]> {
    const options = fault.options?.(this.candidate) ?? {};
    if (fault.course === 'two at once') {
      const jobs = await Promise.all([this.start(options), this.start(options)]);
      await rest();
      return Promise.all(jobs.map((job) => this.ended(job)));
    }
    if (fault.course) {
      const job = await this.start(options);
      await this.halfWay(job);
      await (fault.course === 'stopped' ? job.stop() : job.kill9());
      const ending = await this.ended(job);
      if (fault.course === 'stopped') return [ending];
      return [ending, await this.ended(await this.start({ clock: night(1) }))];
    }
    if (fault.hangs) {
      // Shortened here only: that a machine is slow is no fault.
      const { activeDeadlineSeconds } = this.cronJob['spec'].jobTemplate.spec;
      const job = await this.start({ ...options, deadlineScale: DEADLINE_SECONDS / activeDeadlineSeconds });
      return [await this.ended(job, WATCHED_MS.hanging)];
    }
    const runs: Ending[] = [];
    for (let i = 0; i < (fault.nights ?? 1); i++) {
      const clock = fault.nights ? { clock: night(i + 1) } : {};
      const job = fault.job === undefined ? '' : `-${fault.job}`;
      runs.push(await this.ended(await this.start({ ...options, ...clock }, job, cluster)));
    }
    return runs;
  }

  private start(options: JobOptions = {}, variant = '', cluster = this.cluster): Promise<JobHandle> {
    return cluster.startJob(`${this.candidate.id}${variant}`, options);
  }

  private async ended(job: JobHandle, watchedMs = WATCHED_MS.otherwise): Promise<Ending> {
    const result = await Promise.race([job.wait(), sleep(watchedMs, undefined, { ref: false })]);
    if (result) return result.succeeded ? 'success' : 'failure';
    await job.kill9();
    await job.wait();
    return 'never';
  }

  private async halfWay(job: JobHandle): Promise<void> {
    for (let i = 0; i < 150; i++) {
      const there = await job.pod?.exec(['test', '-e', '/tmp/half']).catch(() => undefined);
      if (there?.exitCode === 0) return;
      await sleep(200);
    }
    throw new Error(`the dump of ${this.candidate.id} never came half-way`);
  }

  private look(volume: string, content: Content = this.content): Dump[] {
    const dumps = dumpsOn(volume, content, this.known).filter((dump) => !dump.path.includes('-extra-'));
    for (const dump of dumps) this.known.set(dump.sha256, dump);
    return dumps;
  }

  private foreign(volume: string): string[] {
    const file = path.join(volume, this.candidate.foreign(FOREIGN_DATE));
    return fs.existsSync(file) ? [file] : [];
  }

  private holds(volume: string, before: readonly Dump[], database: string): boolean {
    const old = new Set(before.map((dump) => dump.sha256));
    return this.look(volume)
      .filter((dump) => !old.has(dump.sha256))
      .some((dump) => sqlOf(path.join(volume, dump.path)).includes(`found in ${database}`));
  }

  /** Leaves room for half of a dump. */
  private fill(volume: string): void {
    const dump = Math.max(...this.look(volume).map((one) => fs.statSync(path.join(volume, one.path)).size));
    const { bavail, bsize } = fs.statfsSync(volume);
    fs.writeFileSync(path.join(volume, 'filler'), Buffer.alloc(bavail * bsize - Math.floor(dump / 2)));
  }

  /** The newest of the good dumps that it began with. */
  get dump(): string {
    const folder = this.kept('behind');
    const newest = this.good.behind.at(-1);
    return path.join(folder, this.look(folder).find((dump) => dump.sha256 === newest)!.path);
  }

  private get volume(): string {
    return this.cluster.claim(`${this.candidate.id}-volume`).path;
  }
  private get full(): string {
    return this.cluster.claim(`${this.candidate.id}-full`).path;
  }
  private kept(when: 'behind' | 'ahead'): string {
    const folder = path.join(this.folder, `${this.candidate.id}-${when}`);
    fs.mkdirSync(folder, { recursive: true });
    return folder;
  }
  /** With owners, times and links: what a retention goes by must not differ. */
  private copy(from: string, to: string): void {
    execFileSync('cp', ['-a', `${from}/.`, to]);
  }
  private clear(volume: string): void {
    for (const name of fs.readdirSync(volume)) fs.rmSync(path.join(volume, name), { recursive: true });
  }
}

export function sqlOf(file: string): string {
  const tool = file.endsWith('.gz') ? ['gzip', '-dc'] : file.endsWith('.zst') ? ['zstd', '-dc'] : ['cat'];
  return execFileSync(tool[0]!, [...tool.slice(1), file], { encoding: 'latin1', maxBuffer: 2 ** 28 });
}
