import { Chart, Duration, JsonPatch } from 'cdk8s';
import { k8s } from 'cdk8s-plus-28';
import { Construct } from 'constructs';
import { guardApp } from '../guard/guard-app';
import { InputError, refuse } from '../guard/input-error';
import { checkName } from '../guard/names';
import { place } from '../place';
import { jobSpec } from '../pod/job';
import { labels } from '../pod/labels';
import type { Resources } from '../pod/resources';
import { mountScripts, runScript } from '../pod/scripts';
import type { Credentials } from '../server/credentials';
import { clientEnv, clientMounts, type IPostgres, nameOf } from '../server/endpoint';
import { checkMonitoringRole, ROLE_SCRIPTS } from './metrics';

export interface MonitoringRoleProps {
  /** The server that is watched, also one that someone else deployed. */
  readonly of: IPostgres;
  /** The monitoring role and the password that it gets, as `Metrics.exporter` has them. */
  readonly credentials: Credentials;
  /**
   * Beginning of the Job's name.
   *
   * @default `<server>-monitoring-role`
   */
  readonly name?: string;
  /**
   * How long it may take.
   *
   * @default Duration.minutes(10)
   */
  readonly deadline?: Duration;
  /**
   * How long the finished Job and its log are kept.
   *
   * @default Duration.days(1)
   */
  readonly timeToLive?: Duration;
  /**
   * @default requests 100m / 128Mi, limits 2 CPU / 1Gi
   */
  readonly resources?: Resources;
}

/**
 * Makes the monitoring role on a server that exists, or gives it the password that the Secret holds now:
 * `kubectl create -f dist/<system>/ops/<id>.yaml`, as often as you like. New servers with `metrics` have it from their first
 * start.
 *
 * An exporter that runs has read its password when it started: after a change, restart its container
 * (`kubectl exec <pod> -c metrics -- kill 1`); the server goes on.
 */
export class MonitoringRole extends Construct {
  /** @throws InputError if the Job could not run */
  constructor(scope: Construct, id: string, props: MonitoringRoleProps) {
    super(scope, id);
    InputError.at(this, () => this.render(props));
    guardApp(this);
  }

  private render(props: MonitoringRoleProps): void {
    const { of: server, credentials } = props;
    const name = props.name ?? `${nameOf(server)}-monitoring-role`;
    // The API server appends five characters to `<name>-`.
    checkName('Job', `${name}-xxxxx`);
    checkMonitoringRole('credentials', credentials, server.superuser);
    const [here, there] = [this, server].map((construct) => Chart.of(construct).namespace);
    if (here !== there) {
      const must = `be in this chart's namespace, ${here ?? 'the default one'}`;
      refuse('of', must, there, 'put both into charts of one namespace');
    }
    const allLabels = labels(this, 'metrics', name);
    const job = new k8s.KubeJob(this, 'job', {
      metadata: { generateName: `${name}-`, labels: allLabels },
      spec: jobSpec({
        image: server.image._facts,
        labels: allLabels,
        container: {
          name: 'monitoring-role',
          command: runScript('monitoring-role.sh'),
          env: [...clientEnv(server), ...credentials._env('MONITORING_USER', 'MONITORING_PASSWORD')],
          mounts: [
            ...clientMounts(server),
            mountScripts(this, { name: `${name}-scripts`, labels: allLabels }, ROLE_SCRIPTS),
          ],
        },
        resources: props.resources,
        restartPolicy: 'Never',
        backoffLimit: 0,
        deadline: props.deadline ?? Duration.minutes(10),
        timeToLive: props.timeToLive ?? Duration.days(1),
      }),
    });
    // cdk8s always writes a name; without one, `kubectl create` runs the Job anew each time and `kubectl apply` refuses it.
    job.addJsonPatch(JsonPatch.remove('/metadata/name'));
    place(job, 'ops');
  }
}
