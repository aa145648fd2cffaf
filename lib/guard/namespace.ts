import { Chart } from 'cdk8s';
import type { Construct, IConstruct } from 'constructs';
import { refuse } from './input-error';

/** Refuses a neighbour in another namespace: a pod reaches neither its Secrets nor its claims, and names there mean others. */
export function checkNamespace(
  scope: Construct,
  prop: string,
  other: IConstruct,
  fix = 'put both into charts of one namespace',
): void {
  const [here, there] = [scope, other].map((construct) => Chart.of(construct).namespace);
  if (here !== there) refuse(prop, `be in this chart's namespace, ${here ?? 'the default one'}`, there, fix);
}
