import type { Duration } from 'cdk8s';
import type { k8s } from 'cdk8s-plus-28';
import { seconds } from '../guard/seconds';

const STARTUP_PERIOD = 2;

/**
 * Probes of the server, all over TCP: while init scripts still run, the entrypoint's temporary server answers on the
 * socket and never on TCP.
 *
 * Liveness and readiness begin once the startup probe has passed. Liveness lets a server live that answers but refuses
 * connections: after a crash of one backend it is recovering, and a restart would begin that recovery anew.
 *
 * @see https://www.postgresql.org/docs/current/app-pg-isready.html exit codes
 */
export function serverProbes(
  port: number,
  startup: Duration,
): Pick<k8s.Container, 'startupProbe' | 'readinessProbe' | 'livenessProbe'> {
  const limit = seconds('startupTimeout', startup, STARTUP_PERIOD, 7 * 24 * 60 * 60);
  const isReady = ['pg_isready', '-q', '-h', '127.0.0.1', '-p', String(port)];
  const answers = ['bash', '-c', `${isReady.join(' ')} || [ $? -eq 1 ]`];
  return {
    startupProbe: {
      exec: { command: isReady },
      periodSeconds: STARTUP_PERIOD,
      timeoutSeconds: 5,
      failureThreshold: Math.ceil(limit / STARTUP_PERIOD),
    },
    readinessProbe: { exec: { command: isReady }, periodSeconds: 5, timeoutSeconds: 5, failureThreshold: 3 },
    livenessProbe: { exec: { command: answers }, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6 },
  };
}
