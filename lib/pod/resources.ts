import type { Size } from 'cdk8s';
import { type Cpu, k8s } from 'cdk8s-plus-28';
import { refuse } from '../guard/input-error';
import { quantity } from '../storage/quantity';

/** CPU and memory of a container. */
export interface Resources {
  readonly cpu: { readonly request: Cpu; readonly limit: Cpu };
  readonly memory: { readonly request: Size; readonly limit: Size };
}

/** @throws InputError if a request is above its limit, which the API server rejects */
export function renderResources({ cpu, memory }: Resources): k8s.ResourceRequirements {
  const [cpuRequest, cpuLimit] = [millis(cpu.request), millis(cpu.limit)];
  if (cpuRequest > cpuLimit) {
    refuse('resources.cpu.request', `be at most the limit, ${cpuLimit}m`, `${cpuRequest}m`, 'raise the limit');
  }
  if (memory.request.toMebibytes() > memory.limit.toMebibytes()) {
    const limit = quantity(memory.limit).value;
    refuse(
      'resources.memory.request',
      `be at most the limit, ${limit}`,
      quantity(memory.request).value,
      'raise the limit',
    );
  }
  return {
    requests: { cpu: cpuQuantity(cpu.request), memory: quantity(memory.request) },
    limits: { cpu: cpuQuantity(cpu.limit), memory: quantity(memory.limit) },
  };
}

function cpuQuantity(cpu: Cpu): k8s.Quantity {
  return k8s.Quantity.fromString(cpu.amount);
}

function millis(cpu: Cpu): number {
  return cpu.amount.endsWith('m') ? Number(cpu.amount.slice(0, -1)) : Number(cpu.amount) * 1000;
}
