import { hexAddress } from '../address';
import { shortList } from '../short-list';
import type { CallRecord } from './call-record';
import type { Topology, TopologyNode } from './topology';

/** More would be a wall of text. */
const MAX_TOLD = 8;

/** What a test has left on a fabric, in words; empty when there is nothing. */
export function whatIsLeft(topology: Topology, inFlight: readonly CallRecord[]): string[] {
  return topology.nodes.flatMap((node) => {
    const things = thingsOf(
      node,
      inFlight.filter((call) => call.node === node.node),
    );
    if (things.length === 0) return [];
    const address = node.address === undefined ? '' : `, ${node.address}`;
    return [`cluster ${node.node} (${node.state}${address})`, ...things.map((thing) => `  ${thing}`)];
  });
}

function thingsOf({ links, caches, memory }: TopologyNode, inFlight: readonly CallRecord[]): string[] {
  const bytes = memory.reduce((sum, { byteLength }) => sum + byteLength, 0);
  return [
    ...told('in flight', inFlight, describeCall),
    ...told('linked', links, ({ peer, isUp }) => `to cluster ${peer}${isUp ? '' : ' (which is gone or out of reach)'}`),
    ...told('registered', caches, ({ cacheId, numTensors }) => `cache ${cacheId} (${numTensors} tensors)`),
    ...told(
      `allocated (${bytes} bytes)`,
      memory,
      ({ address, byteLength }) => `${hexAddress(address)} (${byteLength} bytes)`,
    ),
  ];
}

function told<T>(title: string, things: readonly T[], describe: (thing: T) => string): string[] {
  return things.length === 0 ? [] : [`${title}: ${shortList(things.map(describe), MAX_TOLD).join(', ')}`];
}

function describeCall({ number, op, peer, cacheId, startMs, faults }: CallRecord): string {
  return [
    // A read or a write of memory that is not recorded has no number.
    number === 0 ? op : `call ${number} ${op}`,
    ...(peer === undefined ? [] : [`with cluster ${peer}`]),
    ...(cacheId === undefined ? [] : [`on cache ${cacheId}`]),
    `since ${startMs} ms`,
    ...(faults.length === 0 ? [] : ['(hit by a fault)']),
  ].join(' ');
}
