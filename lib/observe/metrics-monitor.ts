import type { Duration } from 'cdk8s';
import { Construct } from 'constructs';
import { ServiceMonitor } from '../../imports/monitoring.coreos.com';
import { guardApp } from '../guard/guard-app';
import { InputError, refuse } from '../guard/input-error';
import { checkName } from '../guard/names';
import { checkNamespace } from '../guard/namespace';
import { seconds } from '../guard/seconds';
import { labels, selectorLabels } from '../pod/labels';
import type { Postgres } from '../server/postgres';

export interface MetricsMonitorProps {
  /** The server, which has `metrics`. */
  readonly of: Postgres;
  /**
   * Name of the ServiceMonitor.
   *
   * @default the server's name
   */
  readonly name?: string;
  /**
   * Labels that the Prometheus asks for (its `serviceMonitorSelector`), for example `{ release: "prometheus" }`.
   *
   * @default none but the library's own
   */
  readonly labels?: Readonly<Record<string, string>>;
  /**
   * How often the server is scraped.
   *
   * @default as the Prometheus is configured
   */
  readonly interval?: Duration;
}

/**
 * Has a server's metrics scraped by a Prometheus of the Prometheus Operator, whose custom resource the cluster must know. It
 * is a file of its own: a cluster without the operator refuses it and nothing else.
 *
 * @see https://prometheus-operator.dev/docs/api-reference/api/#monitoring.coreos.com/v1.ServiceMonitor
 */
export class MetricsMonitor extends Construct {
  /** @throws InputError if there was nothing to scrape */
  constructor(scope: Construct, id: string, props: MetricsMonitorProps) {
    super(scope, id);
    InputError.at(this, () => this.render(props));
    guardApp(this);
  }

  private render({ of: server, name = server.host, interval, ...props }: MetricsMonitorProps): void {
    checkName('ServiceMonitor', name);
    if (!server.metrics) {
      const fix = 'give the server `metrics: Metrics.exporter({ … })`';
      refuse('of', 'be a server with metrics', server.node.path, fix);
    }
    checkNamespace(this, 'of', server);
    new ServiceMonitor(this, 'service-monitor', {
      metadata: { name, labels: { ...labels(this, 'metrics', server.host), ...props.labels } },
      spec: {
        selector: { matchLabels: selectorLabels('metrics', server.host) },
        endpoints: [{ port: 'metrics', interval: interval && `${seconds('interval', interval, 1, 86_400)}s` }],
      },
    });
  }
}
