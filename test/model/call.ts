/** How many tensors of how many rows of how many elements. Types: one byte, or half a byte an element. */
export interface Shape {
  readonly tensors: number;
  readonly rows: number;
  readonly columns: number;
  readonly halfBytes: boolean;
  readonly host: boolean;
}

export type Layers = readonly [first: number, last: number];

/** Where a node is told to listen. */
export type Port = number | 'none' | 'malformed';

export interface Cluster {
  readonly id: number;
  /** Ports of its addresses: exactly one is right. */
  readonly ports: readonly number[];
}

export interface ClustersCall {
  readonly node: number;
  readonly clusters: readonly Cluster[];
  /** Local addresses given for each. */
  readonly locals: number;
  readonly timeout: number;
  /** Whether one of the addresses is no IPv4 address. */
  readonly badAddress: boolean;
}

/** A cache of the calling node: by the handle in a slot, or by an id. */
export interface LocalRef {
  readonly slot: number;
  readonly id: number;
  readonly byHandle: boolean;
}

export interface Transfer {
  readonly op: 'pullCache' | 'pullBlocks' | 'pushCache' | 'pushBlocks';
  readonly node: number;
  readonly local: LocalRef;
  readonly localRow: number;
  readonly peer: number;
  readonly remoteId: number;
  readonly remoteRow: number;
  /** Of the slot whose handle made the key; without one the key carries no layout. */
  readonly keyOf: { readonly node: number; readonly slot: number } | undefined;
  readonly size: number;
  readonly srcBlocks: readonly number[];
  readonly dstBlocks: readonly number[];
  readonly srcLayers: Layers;
  readonly dstLayers: Layers;
  readonly perLayer: number;
}

/** One call of the public API, with everything in it that decides what comes of it. */
export type Call =
  | {
      readonly op: 'init';
      readonly node: number;
      readonly device: number | 'absent' | 'malformed' | 'two' | 'missing';
      readonly port: Port;
      readonly waitTime: 'default' | 'zero' | 'malformed';
    }
  | { readonly op: 'finalize'; readonly node: number }
  | { readonly op: 'switchRole'; readonly node: number; readonly role: number; readonly port: Port }
  | ({ readonly op: 'linkClusters' } & ClustersCall)
  | ({ readonly op: 'unlinkClusters'; readonly force: boolean } & ClustersCall)
  | {
      readonly op: 'allocateCache';
      readonly node: number;
      readonly slot: number;
      readonly shape: Shape;
      readonly base: number;
    }
  | {
      readonly op: 'registerCache';
      readonly node: number;
      readonly slot: number;
      readonly shape: Shape;
      /** Fresh memory is filled as that of the recordings: byte k of tensor t is (base + 131 t + k) mod 251. */
      readonly base: number;
      /** Whose memory is registered again; fresh memory otherwise. */
      readonly memoryOf: number | undefined;
      readonly flaw: Flaw | undefined;
    }
  | { readonly op: 'unregisterCache'; readonly node: number; readonly local: LocalRef }
  | { readonly op: 'deallocateCache'; readonly node: number; readonly slot: number }
  | { readonly op: 'free'; readonly node: number; readonly slot: number }
  | WriteCall
  | Transfer;

export interface WriteCall {
  readonly op: 'write';
  readonly node: number;
  readonly slot: number;
  readonly tensor: number;
  readonly offset: number;
  readonly bytes: readonly number[];
}

/** What is wrong with a registration. */
export type Flaw = 'no addresses' | 'an address too few' | 'address 0' | 'no dimensions' | 'dimension 0' | 'no type';

/** What came of a call. */
export interface Outcome {
  /** The name of the status; what was thrown instead of an exception with one is told in its own words. */
  readonly status: string;
  /** Of a link or unlink call: one status per cluster. */
  readonly results?: readonly string[];
  readonly cacheId?: number;
  /** How many warnings it gave. */
  readonly warnings?: number;
}
