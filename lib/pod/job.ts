import { type Duration, Size } from 'cdk8s';
import { Cpu, k8s } from 'cdk8s-plus-28';
import { refuse } from '../guard/input-error';
import { seconds, YEAR } from '../guard/seconds';
import { type ContainerProps, emptyDir, hardenedPod } from './hardened-pod';
import type { ImageFacts } from './image-facts';
import { type Resources, renderResources } from './resources';

export interface JobProps {
  readonly image: ImageFacts;
  readonly labels: Record<string, string>;
  readonly container: Omit<ContainerProps, 'resources'>;
  readonly resources?: Resources;
  readonly restartPolicy: 'OnFailure' | 'Never';
  readonly backoffLimit: number;
  /** How long a run may take, retries included. */
  readonly deadline: Duration;
  /** How long a finished Job is kept. */
  readonly timeToLive: Duration;
}

/** The one shape of the library's Jobs: every Job has a deadline, a time to live and room for scratch files in `/tmp`. */
export function jobSpec(props: JobProps): k8s.JobSpec {
  if (!Number.isInteger(props.backoffLimit) || props.backoffLimit < 0) {
    refuse('retries', 'be 0 or more', props.backoffLimit, 'write for example 3');
  }
  return {
    backoffLimit: props.backoffLimit,
    activeDeadlineSeconds: seconds('deadline', props.deadline, 1, YEAR),
    ttlSecondsAfterFinished: seconds('timeToLive', props.timeToLive, 1, YEAR),
    template: {
      metadata: { labels: props.labels },
      spec: hardenedPod({
        image: props.image,
        restartPolicy: props.restartPolicy,
        containers: [
          {
            ...props.container,
            mounts: [...props.container.mounts, emptyDir('tmp', '/tmp', { sizeLimit: k8s.Quantity.fromString('1Gi') })],
            resources: renderResources(props.resources ?? JOB_RESOURCES),
          },
        ],
      }),
    },
  };
}

/** Measured in docs/performance.md: a dump's memory is flat in the size of the database, but not in that of one row. */
const JOB_RESOURCES: Resources = {
  cpu: { request: Cpu.millis(100), limit: Cpu.units(2) },
  memory: { request: Size.mebibytes(128), limit: Size.gibibytes(1) },
};
