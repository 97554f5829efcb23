import type { Call, Cluster, Flaw, LocalRef, Port, Shape, Transfer, WriteCall } from './call';
import type { World } from './world';

export type PortChoice = 'own' | 'next' | 'spare' | 'none' | 'malformed';

export interface Peer {
  readonly node: number;
  readonly id: 'true' | 'unknown' | 'other';
  readonly address: 'listening' | 'spare' | 'none' | 'two';
}

/**
 * A call before it is known whom it meets. Nodes and caches are places, not names, so that a step still makes sense when
 * those before it are left out.
 */
export type Step =
  | {
      readonly op: 'init';
      readonly node: number;
      readonly device: 'own' | 'first' | 'absent' | 'malformed' | 'two' | 'missing';
      readonly port: PortChoice;
      readonly waitTime: 'default' | 'zero' | 'malformed';
    }
  | { readonly op: 'finalize'; readonly node: number }
  | { readonly op: 'switchRole'; readonly node: number; readonly role: number; readonly port: PortChoice }
  | {
      readonly op: 'linkClusters' | 'unlinkClusters';
      readonly node: number;
      readonly peers: readonly Peer[];
      readonly locals: number;
      readonly timeout: number;
      readonly badAddress: boolean;
      readonly force: boolean;
    }
  | {
      readonly op: 'registerCache' | 'allocateCache';
      readonly node: number;
      readonly slot: number;
      readonly shape: Shape;
      readonly memoryOf: number | undefined;
      readonly flaw: Flaw | undefined;
    }
  | {
      readonly op: 'unregisterCache' | 'deallocateCache' | 'free';
      readonly node: number;
      readonly slot: number;
      readonly byHandle: boolean;
    }
  | WriteCall
  | (Omit<Transfer, 'local' | 'peer' | 'remoteId' | 'keyOf'> & {
      readonly slot: number;
      readonly byHandle: boolean;
      /** Among the nodes that the node is linked to, where there are any, or among all. */
      readonly peerNode: number;
      readonly isLinked: boolean;
      readonly peerSlot: number;
      readonly peerId: 'true' | 'unknown' | 'own';
      readonly withLayout: boolean;
    });

/** A run: the world it starts in and what is done in it. */
export interface Run {
  readonly engine: World['engine'];
  readonly guards: boolean;
  readonly nodes: number;
  readonly steps: readonly Step[];
}

export const MAX_NODES = 5;
const FIRST_PORT = 26_000;
const SPARE_PORT = FIRST_PORT + MAX_NODES;
const UNKNOWN_CLUSTER = 77;
const UNKNOWN_CACHE = 99;

/** The call that a step makes in the present world; `undefined` where there is nothing to make it with. */
export function callOf(world: World, step: Step): Call | undefined {
  const node = step.node % world.nodes.length;
  const slot = (place: number) => world.nodes[node]?.slots[place];
  const local = (place: number, byHandle: boolean): LocalRef => {
    const id = slot(place)?.id;
    return { slot: place, id: id ?? UNKNOWN_CACHE, byHandle: byHandle && id !== undefined };
  };
  switch (step.op) {
    case 'init': {
      const { op, waitTime } = step;
      const device = step.device === 'own' ? node : step.device === 'first' ? 0 : step.device;
      return { op, node, device, port: portOf(world, node, step.port), waitTime };
    }
    case 'finalize':
      return { op: 'finalize', node };
    case 'switchRole':
      return { op: 'switchRole', node, role: step.role, port: portOf(world, node, step.port) };
    case 'linkClusters':
    case 'unlinkClusters': {
      const { op, locals, timeout, badAddress, force } = step;
      const clusters = clustersOf(world, step.peers);
      const call = { node, clusters, locals, timeout, badAddress: badAddress && clusters.length > 0 };
      return op === 'linkClusters' ? { op, ...call } : { op, ...call, force };
    }
    case 'allocateCache':
      return { op: 'allocateCache', node, slot: step.slot, shape: step.shape, base: world.calls };
    case 'registerCache': {
      const { memoryOf } = step;
      const other = memoryOf === undefined ? undefined : slot(memoryOf);
      if (memoryOf !== undefined && other === undefined) return undefined;
      return {
        op: 'registerCache',
        node,
        slot: step.slot,
        shape: other?.shape ?? step.shape,
        base: world.calls,
        memoryOf,
        flaw: step.flaw,
      };
    }
    case 'unregisterCache':
      return { op: 'unregisterCache', node, local: local(step.slot, step.byHandle) };
    case 'deallocateCache':
    case 'free':
      return slot(step.slot) && { op: step.op, node, slot: step.slot };
    case 'write': {
      const regions = slot(step.slot)?.regions ?? [];
      const tensor = step.tensor % Math.max(1, regions.length);
      const size = regions[tensor]?.bytes.length;
      if (size === undefined || step.offset + step.bytes.length > size) return undefined;
      return { ...step, node, tensor };
    }
    default:
      return transferOf(world, node, local(step.slot, step.byHandle), step);
  }
}

function transferOf(world: World, node: number, local: LocalRef, step: Extract<Step, { peerNode: number }>): Transfer {
  const { op, localRow, remoteRow, size, srcBlocks, dstBlocks, srcLayers, dstLayers, perLayer } = step;
  const linked = [...(world.nodes[node]?.life?.links.values() ?? [])].map(({ peer }) => peer.node.index);
  const choice = step.isLinked && linked.length > 0 ? linked : world.nodes.map(({ index }) => index);
  const peerNode = choice[step.peerNode % choice.length] ?? node;
  const remote = world.nodes[peerNode]?.slots[step.peerSlot];
  const isTrue = step.peerId === 'true';
  return {
    op,
    node,
    local,
    localRow,
    peer: isTrue ? peerNode + 1 : step.peerId === 'own' ? node + 1 : UNKNOWN_CLUSTER,
    remoteId: remote?.id ?? UNKNOWN_CACHE,
    remoteRow,
    keyOf: step.withLayout && isTrue && remote !== undefined ? { node: peerNode, slot: step.peerSlot } : undefined,
    size,
    srcBlocks,
    dstBlocks,
    srcLayers,
    dstLayers,
    perLayer,
  };
}

function portOf(world: World, node: number, choice: PortChoice): Port {
  switch (choice) {
    case 'own':
      return FIRST_PORT + node;
    case 'next':
      return FIRST_PORT + ((node + 1) % world.nodes.length);
    case 'spare':
      return SPARE_PORT;
    default:
      return choice;
  }
}

function clustersOf(world: World, peers: readonly Peer[]): Cluster[] {
  const clusters = peers.map((peer, i): Cluster => {
    const index = peer.node % world.nodes.length;
    const port = world.nodes[index]?.life?.port ?? FIRST_PORT + index;
    const ports = { listening: [port], spare: [SPARE_PORT], none: [], two: [port, SPARE_PORT] }[peer.address];
    // In a call for several clusters the force bit of one must not hang on what another one does at the same time.
    const other = peers.length > 1 ? UNKNOWN_CLUSTER + i : 1 + ((index + 1) % world.nodes.length);
    return { id: { true: index + 1, unknown: UNKNOWN_CLUSTER + i, other }[peer.id], ports };
  });
  // One peer twice is a race, which guards refuse, but for unlinks.
  return clusters.filter(({ id, ports }, i) => {
    const before = clusters.slice(0, i);
    return !before.some((cluster) => cluster.id === id || cluster.ports.some((port) => ports.includes(port)));
  });
}
