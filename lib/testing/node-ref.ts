import { checkObject, checkUint64, invalidArgType } from '../check';

/** Names a node of a fabric: its cluster id, or whatever has one, as an `LLMDataDist`. */
export type NodeRef = bigint | number | { readonly clusterId: bigint };

/**
 * The cluster id that is meant.
 * @throws TypeError, RangeError
 */
export function clusterIdOf(node: unknown, name: string): bigint {
  if (typeof node === 'bigint' || typeof node === 'number') return checkUint64(node, name);
  if (typeof node !== 'object' || node === null) {
    throw invalidArgType(name, 'a cluster id or an object that has one, as an LLMDataDist', node);
  }
  return checkUint64(checkObject(node, name).clusterId, `${name}.clusterId`);
}
