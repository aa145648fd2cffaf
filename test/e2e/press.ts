import { type HomeLabOnCluster, NAMESPACE } from './home-lab';
import { kubectl } from './kubectl';
import { isOlder, jobOf } from './older-servers';
import { say } from './progress';
import { find } from './render';
import { waitJob } from './server';

/**
 * One click: `kubectl create job --from=cronjob/NAME JOB`. kubectl knows the CronJobs of one version of the API, so for a server
 * before 1.21 it takes a kubectl of that age, E2E_OLD_KUBECTL; without one the job template is run, and that is said.
 *
 * @returns the log of the Job, which has succeeded
 */
export async function press(lab: HomeLabOnCluster, cronJob: string, name: string): Promise<string> {
  const command = ['create', 'job', `--from=cronjob/${cronJob}`, name, '-n', NAMESPACE];
  const program = isOlder(lab.cluster.version, '1.21') ? process.env['E2E_OLD_KUBECTL'] : 'kubectl';
  if (program) {
    await kubectl(command, undefined, program);
    say(`${program} ${command.join(' ')}`);
  } else {
    await kubectl(['create', '-f', '-'], JSON.stringify(jobOf(find(lab.rendered, 'CronJob', cronJob), name)));
    say(`not run here: kubectl ${command.join(' ')}; the server is older than 1.21 and E2E_OLD_KUBECTL is not set`);
    say(`instead: the job template of CronJob ${cronJob}, as Job ${name}`);
  }
  return await waitJob(NAMESPACE, name);
}
