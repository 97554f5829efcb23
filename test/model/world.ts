import type { Shape } from './call';
import type { Holdings } from './holdings';

/** Names of the statuses that the calls of a run can end with. */
export type Status =
  | 'LLM_SUCCESS'
  | 'LLM_FAILED'
  | 'LLM_PARAM_INVALID'
  | 'LLM_KV_CACHE_NOT_EXIST'
  | 'LLM_NOT_YET_LINK'
  | 'LLM_ALREADY_LINK'
  | 'LLM_LINK_FAILED'
  | 'LLM_UNLINK_FAILED'
  | 'LLM_EXIST_LINK'
  | 'LLM_FEATURE_NOT_ENABLED'
  | 'LLM_TIMEOUT';

/** The transfer backend of all nodes of a run; `comm` is hixl with its communicator engine. */
export type Engine = 'hccl' | 'comm';

/** One allocation of a node. */
export interface Region {
  readonly bytes: number[];
  /** Freed for the caller; the package may keep the memory for links that still hold it. */
  freed: boolean;
  gone: boolean;
  /** The registration of this memory with the transport; a second one of the same memory shares it. */
  pin: Pin | undefined;
}

export interface Pin {
  live: boolean;
}

/** A registered cache: what its owner has in its table, and what a peer copies of it. */
export interface CacheRecord {
  readonly id: number;
  readonly tensors: readonly { readonly region: Region; readonly pin: Pin }[];
  /** The pins that go with it: memory that an earlier cache registered is that one's. */
  readonly owned: readonly Pin[];
  readonly rows: number;
  readonly tensorBytes: number;
  /** Bytes of a row or block, rounded down. */
  readonly stride: number;
  readonly host: boolean;
  /** What the bytes of a row mean: a key and a local cache that differ in it are not copied to each other. */
  readonly meaning: string;
}

/** One side of a link. */
export interface LinkRecord {
  readonly peer: Life;
  /** Where the peer was reached. */
  readonly port: number;
  /** Memory of both sides that was registered when the link was made. */
  readonly bound: ReadonlySet<Pin>;
  /** The peer's caches, copied at the first transfer that finds any published. */
  table: ReadonlyMap<number, CacheRecord> | undefined;
}

/** From an init that succeeds to the next finalize. */
export interface Life {
  readonly node: NodeRecord;
  readonly device: number;
  over: boolean;
  port: number | undefined;
  /** hccl: whether it can describe itself to a peer. */
  described: boolean;
  readonly links: Map<number, LinkRecord>;
  /** hixl: ports it is connected to. */
  readonly connected: Set<number>;
  readonly caches: Map<number, CacheRecord>;
  readonly pins: Set<Pin>;
  /** Memory that the transport has refused: it may keep a part of it, and guards refuse it from then on. */
  readonly stuck: Set<Region>;
  lastId: number;
  /** What the package does not tell the library yet. */
  readonly held: Holdings;
  /** Whether peers find a table: from the first registration on. */
  published: boolean;
}

/** What a node keeps of a cache that it made, whatever has become of it. */
export interface Slot {
  readonly id: number;
  readonly life: Life;
  readonly cache: CacheRecord;
  readonly shape: Shape;
  readonly regions: readonly Region[];
  /** Whether allocateCache made it. */
  readonly allocated: boolean;
}

export interface NodeRecord {
  readonly index: number;
  readonly clusterId: number;
  life: Life | undefined;
  /** A port that an init which failed late has left taken. */
  kept: number | undefined;
  /** After such an init the communicator engine takes no other one. */
  broken: boolean;
  readonly slots: (Slot | undefined)[];
  /** Everything allocated in the present life. */
  regions: Region[];
}

/** All that there is in a run. */
export interface World {
  readonly engine: Engine;
  readonly guards: boolean;
  readonly nodes: readonly NodeRecord[];
  /** Made so far. */
  calls: number;
  /** Who listens on a port; `undefined` where it is taken and nobody answers. */
  readonly listeners: Map<number, Life | undefined>;
}

export const SLOTS = 3;

export function newWorld(engine: Engine, guards: boolean, count: number): World {
  const nodes = Array.from({ length: count }, (_, index) => ({
    index,
    clusterId: index + 1,
    life: undefined,
    kept: undefined,
    broken: false,
    slots: Array.from({ length: SLOTS }, () => undefined),
    regions: [],
  }));
  return { engine, guards, nodes, calls: 0, listeners: new Map() };
}
