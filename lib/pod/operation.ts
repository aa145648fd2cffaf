import { JsonPatch } from 'cdk8s';
import { k8s } from 'cdk8s-plus-28';
import type { Construct } from 'constructs';
import { place } from '../place';

/** A Job that is run by hand and anew each time: `kubectl create -f dist/<system>/ops/<id>.yaml`; `kubectl apply` refuses it. */
export function operation(
  scope: Construct,
  id: string,
  { name, labels }: { readonly name: string; readonly labels: Record<string, string> },
  spec: k8s.JobSpec,
): k8s.KubeJob {
  const job = new k8s.KubeJob(scope, id, { metadata: { generateName: `${name}-`, labels }, spec });
  // cdk8s always writes a name, with which there could be one run only.
  job.addJsonPatch(JsonPatch.remove('/metadata/name'));
  place(job, 'ops');
  return job;
}
