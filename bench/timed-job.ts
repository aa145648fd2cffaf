import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import type { Rehearsal } from '../test/rehearsal';
import { BACKUP } from '../test/rehearsal/home-lab';
import type { KubeObject } from '../test/rehearsal/runner/types';

export interface Run {
  seconds: number;
  /** Of the dump that it has made; several names of one file are one. */
  bytes: number;
  /** The most anonymous memory that all processes of the pod had together. */
  memory: number;
}

/** A command in the pod of the CronJob, with everything else as it is rendered, on the emptied volume. */
export async function timed(
  cluster: Rehearsal,
  cronJob: KubeObject,
  command: string,
  env: Record<string, string> = {},
): Promise<Run> {
  cluster.apply([timedJob(cronJob, command)]);
  const volume = cluster.claim(BACKUP).path;
  for (const file of fs.readdirSync(volume)) fs.rmSync(path.join(volume, file), { recursive: true });
  // Nobody pays for what the one before has left to be written.
  execFileSync('sync');
  const job = await cluster.startJob('bench', { env });
  let memory = 0;
  const watch = setInterval(() => {
    memory = Math.max(memory, sum((job.pod?.processes() ?? []).map(anonymous)));
  }, 100);
  const { succeeded, log } = await job.wait();
  clearInterval(watch);
  const seconds = /^bench: ([\d.]+) ([\d.]+)$/m.exec(log);
  if (!succeeded || !seconds) throw new Error(`\`${command}\` failed:\n${log}`);
  return { seconds: Number(seconds[2]) - Number(seconds[1]), bytes: dumpBytes(volume), memory };
}

function dumpBytes(volume: string): number {
  const files = fs
    .readdirSync(volume, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(gz|zst|pgdump)$/.test(entry.name))
    .map((entry) => fs.statSync(path.join(entry.parentPath, entry.name)));
  return sum([...new Map(files.map(({ ino, size }) => [ino, size])).values()]);
}

/** The CronJob's own Job with another command in its container; the time is taken inside, without the pod's start. */
function timedJob(cronJob: KubeObject, command: string): KubeObject {
  const spec = structuredClone(cronJob['spec'].jobTemplate.spec);
  const timed = `set -eo pipefail; from=$EPOCHREALTIME; ${command}; to=$EPOCHREALTIME; echo "bench: $from $to"`;
  spec.template.spec.containers[0].command = ['bash', '-c', timed];
  spec.backoffLimit = 0;
  const { namespace } = cronJob.metadata;
  return { apiVersion: 'batch/v1', kind: 'Job', metadata: { name: 'bench', namespace }, spec };
}

/** Anonymous memory of a process in bytes, shared pages divided among those that share them. */
function anonymous(pid: number): number {
  try {
    const rollup = fs.readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return Number(/^Pss_Anon: +(\d+) kB$/m.exec(rollup)?.[1] ?? 0) * 1024;
  } catch {
    return 0; // it has just ended
  }
}

const sum = (numbers: number[]) => numbers.reduce((total, one) => total + one, 0);
