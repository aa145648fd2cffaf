import fs from 'node:fs';
import path from 'node:path';
import { BACKUP } from '../../test/rehearsal/home-lab';
import type { KubeObject } from '../../test/rehearsal/runner/types';

/** One way to make dumps every night, as a Job that does it once. */
export interface Candidate {
  readonly id: string;
  readonly title: string;
  /** What its container runs; ours runs what is rendered. */
  readonly script?: string;
  /** A name that begins like its own, and is not. */
  foreign(date: string): string;
}

const script = (name: string) => fs.readFileSync(path.join(__dirname, `${name}.sh`), 'utf8');

export const CANDIDATES: readonly Candidate[] = [
  { id: 'ours', title: 'cdk8s-postgres', foreign: (date) => `${BACKUP}-extra-${date}-020000.sql.gz` },
  {
    id: 'bitnami',
    title: 'Bitnami’s CronJob',
    script: script('bitnami'),
    foreign: (date) => `pg_dumpall-extra-${date}-02-00.pgdump`,
  },
  {
    id: 'backup-local',
    title: 'docker-postgres-backup-local',
    script: script('docker-postgres-backup-local'),
    // What it makes of a database `shop-extra`.
    foreign: (date) => `daily/shop-extra-${date.replaceAll('-', '')}.sql.gz`,
  },
  {
    id: 'script',
    title: 'the usual script',
    script: script('script'),
    foreign: (date) => `postgres-backup-extra-${date}-020000.sql.gz`,
  },
];

/** What differs from fault to fault in the Job itself. */
export interface JobVariant {
  readonly claim: string;
  readonly readOnly?: boolean;
}

/**
 * The candidate's Job on a volume of its own. All have our container's user, memory and hardening; a rival's Job has no
 * deadline, because neither the chart nor the image nor the usual CronJob sets one. Nobody tries a second time: what is
 * judged is one run.
 */
export function jobOf(
  candidate: Candidate,
  cronJob: KubeObject,
  name: string,
  { claim, readOnly }: JobVariant,
): KubeObject {
  const spec = structuredClone(cronJob['spec'].jobTemplate.spec);
  const pod = spec.template.spec;
  spec.backoffLimit = 0;
  pod.terminationGracePeriodSeconds = 3;
  for (const volume of pod.volumes) {
    if (volume.persistentVolumeClaim)
      volume.persistentVolumeClaim = { claimName: claim, ...(readOnly && { readOnly }) };
  }
  if (candidate.script !== undefined) {
    delete spec.activeDeadlineSeconds;
    const [container] = pod.containers;
    container.command = ['/bin/bash', '-c', candidate.script];
    container.env.push({ name: 'PGDUMP_DIR', value: '/backup' }, { name: 'POSTGRES_DB', value: 'shop' });
  }
  const { namespace } = cronJob.metadata;
  return { apiVersion: 'batch/v1', kind: 'Job', metadata: { name, namespace }, spec };
}
