import { checkArray, checkInt64, checkInteger, checkObject, checkString, checkUint64, outOfRange } from '../../check';
import { operations } from '../../status';
import type { Operation } from '../../backend/mock/call-observer';
import type { FaultTarget, TargetCluster } from '../fault-list';

/**
 * Checks of what a process passes to the hub. A wrong argument is an error to that process and changes nothing.
 * Each of them throws TypeError or RangeError.
 */

export function checkId(value: unknown, taken: ReadonlyMap<string, unknown>, isNew: boolean): string {
  const id = checkString(value, 'id');
  if (taken.has(id) === isNew) throw outOfRange('id', isNew ? 'the id of no other fault' : 'the id of a fault', id);
  return id;
}

export function checkTarget(value: unknown): FaultTarget {
  const { operation, node, peer, cacheId } = checkObject(value, 'target');
  return {
    operation: checkOperation(operation),
    node: checkUint64(node, 'target.node'),
    peer: checkOptionalNode(peer, 'target.peer'),
    cacheId: cacheId === undefined ? undefined : checkInt64(cacheId, 'target.cacheId'),
  };
}

export function checkClusters(value: unknown): TargetCluster[] {
  return checkArray(value, 'clusters', (each, name) => ({
    remoteClusterId: checkUint64(checkObject(each, name).remoteClusterId, `${name}.remoteClusterId`),
  }));
}

export function checkOptionalNode(value: unknown, name: string): bigint | undefined {
  return value === undefined ? undefined : checkUint64(value, name);
}

export function checkCount(value: unknown, name: string, min: number): number {
  return checkInteger(value, name, min, Number.MAX_SAFE_INTEGER);
}

function checkOperation(value: unknown): Operation {
  const name = checkString(value, 'target.operation');
  const known = operations.find((each) => each === name);
  if (known === undefined) throw outOfRange('target.operation', 'the name of an operation', name);
  return known as Operation;
}
