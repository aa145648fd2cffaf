import type { Size } from 'cdk8s';
import { k8s } from 'cdk8s-plus-28';

/** A size as Kubernetes writes it, in the largest binary unit that keeps it whole: `8Gi`, `256Mi`. */
export function quantity(size: Size): k8s.Quantity {
  const kibibytes = size.toKibibytes();
  if (kibibytes % 1024 ** 2 === 0) return k8s.Quantity.fromString(`${kibibytes / 1024 ** 2}Gi`);
  if (kibibytes % 1024 === 0) return k8s.Quantity.fromString(`${kibibytes / 1024}Mi`);
  return k8s.Quantity.fromString(`${kibibytes}Ki`);
}
