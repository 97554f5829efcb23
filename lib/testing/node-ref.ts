import { checkObject, checkUint64, invalidArgType } from '../check';

/** A node of a fabric: its cluster id, or anything that has one, such as an `LLMDataDist`. */
export type NodeRef = bigint | number | { readonly clusterId: bigint };

/** The cluster id that is meant. */
export function checkNode(value: unknown, name: string): bigint {
  if (typeof value === 'bigint' || typeof value === 'number') return checkUint64(value, name);
  if (typeof value !== 'object' || value === null) {
    throw invalidArgType(name, 'a cluster id, an LLMDataDist or another object with a clusterId', value);
  }
  return checkUint64(checkObject(value, name).clusterId, `${name}.clusterId`);
}
