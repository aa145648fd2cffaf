import type { Container } from './container';
import type { Namespace } from './namespace';
import type { ContainerYaml } from './podspec';
import { type Probe, ProbeLoop, type Try } from './probe';

type Kind = 'startup' | 'readiness' | 'liveness';

interface Listener {
  onReady: (ready: boolean) => void;
  onUnhealthy: (kind: Kind, message: string) => void;
  onKill: (kind: Kind, graceSeconds: number | undefined) => void;
}

/** The three probes of a running container: nothing else is asked until the startup probe has succeeded. */
export class Health {
  ready = false;
  private readonly loops: ProbeLoop[] = [];

  constructor(
    private readonly yaml: ContainerYaml,
    private readonly address: string,
    private readonly ns: Namespace,
    private readonly container: Container,
    private readonly listener: Listener,
  ) {}

  begin(): void {
    const { startupProbe } = this.yaml;
    if (!startupProbe) {
      this.started();
      return;
    }
    const loop: ProbeLoop = this.loop('startup', startupProbe, (healthy) => {
      loop.stop();
      if (healthy) this.started();
      else this.kill('startup', startupProbe);
    });
  }

  stop(): void {
    for (const loop of this.loops) loop.stop();
    this.ready = false;
  }

  private started(): void {
    const { readinessProbe, livenessProbe } = this.yaml;
    if (readinessProbe) this.loop('readiness', readinessProbe, (healthy) => this.setReady(healthy));
    else this.setReady(true);
    if (livenessProbe) {
      this.loop('liveness', livenessProbe, (healthy) => {
        if (!healthy) this.kill('liveness', livenessProbe);
      });
    }
  }

  private setReady(ready: boolean): void {
    if (ready === this.ready) return;
    this.ready = ready;
    this.listener.onReady(ready);
  }

  private kill(kind: Kind, probe: Probe): void {
    this.stop();
    this.listener.onKill(kind, probe.terminationGracePeriodSeconds);
  }

  private loop(kind: Kind, probe: Probe, onChange: (healthy: boolean) => void): ProbeLoop {
    const attempt: Try = (one, timeoutMs) => this.attempt(one, timeoutMs);
    const onFailure = (message: string) => this.listener.onUnhealthy(kind, message);
    const loop = new ProbeLoop(probe, attempt, { onChange, onFailure });
    this.loops.push(loop);
    return loop;
  }

  private attempt(probe: Probe, timeoutMs: number) {
    if (probe.exec) return this.container.exec(probe.exec.command, { timeoutMs });
    const named = this.yaml.ports?.find((one) => one.name === probe.tcpSocket?.port)?.containerPort;
    const port = named ?? probe.tcpSocket?.port;
    // From outside the pod, as the kubelet does it.
    const connect = ['bash', '--norc', '-c', `</dev/tcp/${this.address}/${port}`];
    return this.ns.run(['timeout', '-s', 'KILL', String(timeoutMs / 1000), ...connect]);
  }
}
