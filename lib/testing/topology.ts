import type { Obstacles } from '../backend/mock/network';
import { withDecimalJSON } from '../decimal-json';
import type { LLMRole } from '../role';
import type { FabricNode } from './fabric-node';

/** What there is on a fabric at a moment. */
export interface Topology {
  /** In the order in which they were made; of a node that was restarted the new instance only, once it is made. */
  readonly nodes: readonly TopologyNode[];
}

export interface TopologyNode {
  /** Its cluster id. */
  readonly node: bigint;
  readonly role: LLMRole;
  /** `down`: killed, and not made anew. */
  readonly state: 'made' | 'initialised' | 'down';
  /** `ip:port` where it listens. */
  readonly address: string | undefined;
  /** The links of its side. */
  readonly links: readonly TopologyLink[];
  /** What it has registered; caches whose unregistration the package has put off until no link is left are among them. */
  readonly caches: readonly TopologyCache[];
  /** What it has allocated. */
  readonly memory: readonly TopologyMemory[];
  /** Calls in flight. */
  readonly calls: number;
}

export interface TopologyLink {
  /** The id under which this side finds it. */
  readonly peer: bigint;
  /** `ip:port` of the peer as this side knows it; '' where that one does not listen. */
  readonly address: string;
  /** Whether the peer is there and can be reached. */
  readonly isUp: boolean;
  /**
   * Whether the peer's table of caches was copied, which the first transfer does, and whether it is another one now: of a
   * peer in another process that is not known, and it is `copied`.
   */
  readonly snapshot: 'none' | 'current' | 'stale' | 'copied';
}

export interface TopologyCache {
  readonly cacheId: bigint;
  readonly numTensors: number;
  /** Rows, which are blocks as well. */
  readonly rows: number;
  readonly tensorBytes: number;
}

export interface TopologyMemory {
  readonly address: bigint;
  readonly byteLength: number;
  readonly placement: number;
}

/** A topology of nodes that were described, here or in another process: each part of it can be logged. */
export function topologyOf(nodes: readonly TopologyNode[]): Topology {
  for (const node of nodes) {
    for (const each of [node, ...node.links, ...node.caches, ...node.memory]) withDecimalJSON(each);
  }
  return withDecimalJSON({ nodes });
}

export function describeNode(instance: FabricNode, obstacles: Obstacles): TopologyNode {
  const { node, role, session, space, calls } = instance;
  return {
    node,
    role,
    state: calls.isDead ? 'down' : session === undefined ? 'made' : 'initialised',
    address: session?.binding?.address,
    links: Array.from(session?.links.all ?? [], ([peer, link]) => ({
      peer,
      address: link.peerAddress,
      isUp: link.far.alive && !obstacles.between(node, link.far.clusterId),
      snapshot: link.snapshot,
    })),
    caches: (session?.table.entries ?? []).map(({ id, tensors, rows, tensorBytes }) => ({
      cacheId: id,
      numTensors: tensors.length,
      rows,
      tensorBytes,
    })),
    memory: space.regions.map(({ address, placement, bytes }) => ({ address, byteLength: bytes.length, placement })),
    calls: calls.inFlight.length,
  };
}
