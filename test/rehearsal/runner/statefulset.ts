import type { PodTemplate, VolumeYaml } from './podspec';
import type { KubeObject } from './types';

/** The StatefulSet controller: the one pod's name and labels, and a claim for each template. */
export function statefulPod(set: KubeObject): { podName: string; template: PodTemplate; claims: string[] } {
  const { template, volumeClaimTemplates = [] } = set['spec'];
  const podName = `${set.metadata.name}-0`;
  const volumes: VolumeYaml[] = volumeClaimTemplates.map((one: KubeObject) => ({
    name: one.metadata.name,
    persistentVolumeClaim: { claimName: `${one.metadata.name}-${podName}` },
  }));
  const replaced = new Set(volumes.map((one) => one.name));
  const others = (template.spec.volumes ?? []).filter((one: VolumeYaml) => !replaced.has(one.name));
  const labels = {
    ...template.metadata?.labels,
    'statefulset.kubernetes.io/pod-name': podName,
    'apps.kubernetes.io/pod-index': '0',
  };
  const spec = { ...template.spec, volumes: [...others, ...volumes] };
  return {
    podName,
    template: { metadata: { ...template.metadata, labels }, spec },
    claims: volumes.map((one) => one.persistentVolumeClaim?.claimName as string),
  };
}
