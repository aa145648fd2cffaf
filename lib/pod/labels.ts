import { Chart } from 'cdk8s';
import type { Construct } from 'constructs';

/** What a pod does. The server's Service selects `server` and so never matches a Job's pod. */
export type Component = 'server' | 'backup' | 'restore' | 'metrics' | 'wal-archive';

/**
 * What picks out exactly one construct's pods. A StatefulSet's selector can't be changed later: no version, no chart label.
 *
 * @see https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
 */
export function selectorLabels(component: Component, instance: string): Record<string, string> {
  return {
    'app.kubernetes.io/name': 'postgres',
    'app.kubernetes.io/component': component,
    'app.kubernetes.io/instance': instance,
  };
}

/** Labels of objects and of pod templates; cdk8s itself puts a chart's labels on objects only. */
export function labels(scope: Construct, component: Component, instance: string): Record<string, string> {
  return { ...selectorLabels(component, instance), ...Chart.of(scope).labels };
}
