import { k8s } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import { checkName } from '../guard/names';

/**
 * An operation that harms nothing, one click away: a CronJob that never runs by itself, for
 * `kubectl create job --from=cronjob/NAME JOB` or Argo CD's "Create Job".
 *
 * @throws InputError if the name is too long for a CronJob
 */
export function button(
  scope: Construct,
  id: string,
  metadata: { readonly name: string; readonly labels: Record<string, string> },
  spec: k8s.JobSpec,
): k8s.KubeCronJob {
  checkName('CronJob', metadata.name);
  return new k8s.KubeCronJob(scope, id, {
    // Argo CD 3.2 calls a whole application suspended because of one suspended CronJob.
    metadata: { ...metadata, annotations: { 'argocd.argoproj.io/ignore-healthcheck': 'true' } },
    spec: {
      suspend: true,
      schedule: SCHEDULE,
      // Forbid holds for scheduled runs only; what keeps two that were pressed apart is the scripts' lock.
      concurrencyPolicy: 'Forbid',
      // Without one, every run that was missed while suspended starts as soon as somebody resumes it.
      startingDeadlineSeconds: 30,
      successfulJobsHistoryLimit: 3,
      failedJobsHistoryLimit: 3,
      jobTemplate: { metadata: { labels: metadata.labels }, spec },
    },
  });
}

/** A CronJob needs one, and it never matters: the rarest date that every parser takes for one that exists. */
const SCHEDULE = '0 0 29 2 *';
