import { Duration } from 'cdk8s';
import { Construct } from 'constructs';
import { guardApp } from '../guard/guard-app';
import { InputError } from '../guard/input-error';
import { checkName } from '../guard/names';
import { jobSpec } from '../pod/job';
import { labels } from '../pod/labels';
import { operation } from '../pod/operation';
import type { Resources } from '../pod/resources';
import { mountScripts, runScript } from '../pod/scripts';
import type { Credentials } from '../server/credentials';
import { checkReach, clientEnv, clientMounts, type IPostgres, nameOf } from '../server/endpoint';
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
    checkReach(this, 'of', server);
    const allLabels = labels(this, 'metrics', name);
    operation(
      this,
      'job',
      { name, labels: allLabels },
      jobSpec({
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
    );
  }
}
