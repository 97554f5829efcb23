/**
 * What one interleaving does. All of it is data, so that it can be printed. Numbers that choose among what there is (nodes,
 * caches, rows) are reduced to how many there are when the step is done.
 */
export interface Plan {
  readonly nodes: readonly NodePlan[];
  readonly steps: readonly Step[];
  /** Whether faults go before the end, or the hang watch has to end what hangs. */
  readonly removesFaults: boolean;
  /** How long a transfer takes, where that can be chosen. */
  readonly latencyMs: number;
}

export interface NodePlan {
  readonly listens: boolean;
  readonly hangTimeout: number;
  readonly requireLife: boolean;
  readonly syncKvTimeout: number;
  readonly caches: readonly CachePlan[];
}

export interface CachePlan {
  /** Allocated and registered by the package, or in regions of the program. */
  readonly isAllocated: boolean;
  readonly layers: number;
  readonly tensorsPerLayer: number;
  readonly rows: number;
  readonly onHost: boolean;
}

export type Step = CallStep | FabricStep;

/** What happens between a step and the next one. */
export type Gap =
  | { readonly kind: 'none' }
  | { readonly kind: 'microtasks' | 'macrotasks'; readonly count: number }
  | { readonly kind: 'time'; readonly ms: number }
  /** Until all calls have settled. */
  | { readonly kind: 'settle' };

/** What ends a call early. */
export interface Limits {
  readonly timeout?: number;
  /** When its signal is aborted: before the call, or so much later. */
  readonly abort?: { readonly kind: 'before' | 'microtasks' | 'macrotasks' | 'time'; readonly count: number };
}

export const CALLS = [
  'init',
  'finalize',
  'dispose',
  'switchRole',
  'linkClusters',
  'unlinkClusters',
  'allocateMemory',
  'write',
  'read',
  'free',
  'registerCache',
  'unregisterCache',
  'allocateCache',
  'deallocateCache',
  'pullCache',
  'pullBlocks',
  'pushCache',
  'pushBlocks',
  'copyCache',
  'copyBlocks',
  'swapBlocks',
  'readBlocks',
  'writeBlocks',
] as const;

export type CallName = (typeof CALLS)[number];

export interface CallStep {
  readonly call: CallName;
  readonly node: number;
  readonly peer: number;
  /** Which cache of the node, and which of the peer or, for copies, of the node again. */
  readonly cache: number;
  readonly other: number;
  readonly rows: readonly number[];
  readonly otherRows: readonly number[];
  /** First layer and number of layers; `undefined` for all. */
  readonly layers: readonly [number, number] | undefined;
  /** Whether memory is used only when no other call uses it, as the documents ask. */
  readonly isCareful: boolean;
  /** Which life a link states. */
  readonly life: 'present' | 'wrong' | 'none';
  /** Whether the key of a cache is one of an earlier time, where there is one. */
  readonly isOldKey: boolean;
  readonly force: boolean;
  /** The library's own limit of link and unlink. */
  readonly linkTimeout: number;
  readonly limits: Limits | undefined;
  readonly gap: Gap;
}

export type FabricStep =
  | { readonly fabric: 'fault'; readonly fault: FaultPlan; readonly gap: Gap }
  | { readonly fabric: 'removeFault'; readonly fault: number; readonly gap: Gap }
  | { readonly fabric: 'kill' | 'restart'; readonly node: number; readonly gap: Gap }
  | { readonly fabric: 'partition' | 'heal'; readonly node: number; readonly peer: number; readonly gap: Gap }
  | { readonly fabric: 'collect'; readonly gap: Gap }
  | { readonly fabric: 'dropHandles'; readonly node: number; readonly cache: number; readonly gap: Gap };

export interface FaultPlan {
  readonly call: CallName;
  readonly node: number;
  readonly effect: 'hang' | 'holdCall' | 'status' | 'delay' | 'partial';
  readonly delayMs: number;
  readonly times: number;
  readonly skip: number;
}
