import type { LayerRange } from '../backend/backend';

/** One call of a scenario, what it must be given and what must come of it. 64-bit values are bigints. */
export type Step =
  | InitStep
  | FinalizeStep
  | SetRoleStep
  | RegisterStep
  | UnregisterStep
  | LinkStep
  | UnlinkStep
  | PullCacheStep
  | PullBlocksStep
  | PushCacheStep
  | PushBlocksStep
  | RawStep;

export type Op = Step['op'];

/** Texts of a step may hold `${port:NAME}`. */
export type Options = ReadonlyMap<string, string>;

interface StepOf<O extends string> {
  readonly op: O;
  /** The instance that it is called on. */
  readonly node: string;
}

/** Every call but `finalize` answers with a status. */
interface Answered {
  readonly status: number;
}

export interface InitStep extends StepOf<'init'>, Answered {
  readonly options: Options;
}

export type FinalizeStep = StepOf<'finalize'>;

export interface SetRoleStep extends StepOf<'setRole'>, Answered {
  readonly role: number;
  readonly options: Options;
}

export interface DescFields {
  readonly numTensors: number;
  readonly dataType: number;
  readonly shape: readonly bigint[];
  readonly placement: number;
}

export interface RegisterStep extends StepOf<'register'>, Answered {
  /** What later steps call it. */
  readonly cache: string;
  readonly desc: DescFields;
  /** Byte `k` of tensor `t` starts as `(base + 131*t + k) mod 251`. */
  readonly base: number;
  /** The number of addresses that are passed, instead of one per tensor. */
  readonly addrCount?: number;
  /** The address at this index is passed as 0. */
  readonly nullAddr?: number;
  /** The cache whose memory is registered again, in place of fresh memory. */
  readonly memoryOf?: string;
  /** Only of a registration that succeeds. */
  readonly cacheId?: bigint;
}

/** A cache by the name of its registration, or by an id that needs no registration. */
export type CacheReference = { readonly cache: string } | { readonly cacheId: bigint };

export interface UnregisterStep extends StepOf<'unregister'>, Answered {
  readonly target: CacheReference;
}

export interface ClusterFields {
  readonly remoteClusterId: bigint;
  readonly remote: readonly Address[];
  readonly local: readonly Address[];
  readonly remoteRoleType?: number;
}

/** The port is a number or a text with `${port:NAME}`. */
export type Address = readonly [ip: string, port: number | string];

interface ClusterCall extends Answered {
  readonly clusters: readonly ClusterFields[];
  readonly timeout: number;
  /** One status per cluster; empty when the call was refused as a whole. */
  readonly results: readonly number[];
}

export interface LinkStep extends StepOf<'link'>, ClusterCall {}

export interface UnlinkStep extends StepOf<'unlink'>, ClusterCall {
  readonly force: boolean;
}

/** A cache of the other side. */
export interface RemoteCache {
  readonly clusterId: bigint;
  readonly target: CacheReference;
  readonly batchIndex: number;
}

interface Transfer extends Answered {
  readonly ext: {
    readonly srcLayerRange?: LayerRange;
    readonly dstLayerRange?: LayerRange;
    readonly tensorNumPerLayer?: number;
  };
  /** CRC-32 over all tensors of each named cache, after the step. */
  readonly crc: ReadonlyMap<string, string>;
}

interface BlockLists {
  readonly srcBlocks: readonly bigint[];
  readonly dstBlocks: readonly bigint[];
}

interface Pull extends Transfer {
  readonly src: RemoteCache;
  readonly dst: CacheReference;
}

interface Push extends Transfer {
  readonly src: CacheReference;
  readonly dst: RemoteCache;
  /** The C++ struct of the source has nothing but the id. */
  readonly bareSource: boolean;
  /** Fields of the struct that differ from the registration. */
  readonly srcDesc?: Partial<DescFields>;
}

export interface PullCacheStep extends StepOf<'pullCache'>, Pull {
  readonly batchIndex: number;
  readonly size?: bigint;
}

export interface PullBlocksStep extends StepOf<'pullBlocks'>, Pull, BlockLists {}

export interface PushCacheStep extends StepOf<'pushCache'>, Push {
  readonly srcBatchIndex: number;
  readonly size?: bigint;
}

export interface PushBlocksStep extends StepOf<'pushBlocks'>, Push, BlockLists {}

/** C++ methods that the public classes do not offer as they are. */
export const RAW_CALLS = ['AllocateCache', 'DeallocateCache', 'CopyKvCache', 'CopyKvBlocks'] as const;
export type RawCall = (typeof RAW_CALLS)[number];

export interface RawStep extends StepOf<'raw'>, Answered {
  readonly call: RawCall;
}

/** The caches that a step names. */
export function namedCaches(step: Step): string[] {
  const nameOf = (target: CacheReference) => ('cache' in target ? [target.cache] : []);
  switch (step.op) {
    case 'unregister':
      return nameOf(step.target);
    case 'register':
      return step.memoryOf === undefined ? [] : [step.memoryOf];
    case 'pullCache':
    case 'pullBlocks':
      return [...nameOf(step.src.target), ...nameOf(step.dst)];
    case 'pushCache':
    case 'pushBlocks':
      return [...nameOf(step.src), ...nameOf(step.dst.target)];
    default:
      return [];
  }
}
