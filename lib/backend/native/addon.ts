import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { LLMException, LoadAttempt } from '../../exception';
import type { RunningTransfer } from '../backend';
import { BUNDLED, modulesFolder } from '../../package-files';
import { VERSION } from '../../version';
import { ADDON_NAME, addonFiles, addonProblem, renewal } from './addon-file';
import { closeAtExit } from './close-at-exit';
import { closeLimitMs } from './close-limit';

/** What the addon exports. Its methods take their arguments by position: reading objects in C++ costs several times as much. */
export interface Addon {
  readonly version: string;
  readonly napiVersion: number;
  /** How long the end of the environment may take. */
  configure(closeLimitMs: number): void;
  /**
   * Opens the vendor's library for the whole process; once opened it stays.
   * @param runtimes of each library, where the Ascend runtime may be
   */
  openLibrary(libraries: readonly string[], runtimes: readonly (readonly string[])[], bridge: string): OpenedLibrary;
  /** Ends everything of this environment, within the given milliseconds. */
  close(limitMs: number): void;
  readonly DataDist: new (
    clusterId: bigint,
    role: number,
    allowMultipleInstances: boolean,
    /** Initialize an object again whose Initialize failed, as a C++ program would; the library may crash in it. */
    reuseFailed: boolean,
    threads: number,
    /** What calls reject with: the class of the module that makes the instance, since several may use one addon. */
    exceptionClass: typeof LLMException,
    settle: Settle,
  ) => NativeDataDist;
}

export interface OpenedLibrary {
  /** Absent when no place would do. */
  readonly library?: VendorLibrary;
  /** What was tried in vain before. */
  readonly attempts: readonly LoadAttempt[];
}

/** The vendor's library as it was loaded. */
export interface VendorLibrary {
  readonly libraryPath: string;
  readonly runtimePath: string;
  readonly bridgePath: string;
  /** `null` where the runtime does not say. */
  readonly runtimeVersion: string | null;
  readonly socName: string | null;
}

declare const RESULT: unique symbol;

/** The number of a call that ends with `T`, for its promise; the exception where the call is refused at once. */
export type Submitted<T> = (number & { readonly [RESULT]?: T }) | LLMException;

/** Settles the promise of a call, once. What has no promise is dropped. */
export type Settle = (call: number, how?: Settlement, value?: unknown) => Promise<unknown> | undefined;

/** How a call has ended; the addon knows these numbers. */
export enum Settlement {
  Resolved,
  Rejected,
  /** It was given up before it got to the library. */
  Withdrawn,
  /** It was given up there and goes on: it is settled again, which the promise is for that comes back. */
  Parted,
}

/** The C++ object and the memory functions of the runtime; see `Backend` for what the methods do. */
export interface NativeDataDist {
  initialize(keys: readonly string[], values: readonly string[], device: number): Submitted<void>;
  finalize(): Submitted<void>;
  setRole(role: number, keys: readonly string[], values: readonly string[]): Submitted<void>;
  linkLlmClusters(...args: [...clusters: ClusterLists, timeoutMs: number]): Submitted<number[]>;
  unlinkLlmClusters(...args: [...clusters: ClusterLists, timeoutMs: number, force: boolean]): Submitted<number[]>;

  allocateCache(
    ...args: [...desc: DescFields, tensorBytes: bigint]
  ): Submitted<{ readonly cacheId: bigint; readonly tensorAddrs: BigUint64Array }>;
  deallocateCache(cacheId: bigint): Submitted<void>;
  copyKvCache(
    ...args: [
      ...src: CacheFields,
      ...dst: CacheFields,
      srcBatchIndex: number,
      dstBatchIndex: number,
      offset: bigint,
      size: bigint,
    ]
  ): Submitted<void>;
  copyKvBlocks(
    ...args: [
      ...src: CacheFields,
      ...dst: CacheFields,
      srcBlocks: BigUint64Array,
      dstBlocksList: readonly BigUint64Array[],
    ]
  ): Submitted<void>;
  registerKvCache(...args: [...desc: DescFields, addrs: BigUint64Array]): Submitted<bigint>;
  unregisterKvCache(cacheId: bigint): Submitted<void>;
  unregisterUnlinked(cacheIds: BigUint64Array): Submitted<number[]>;

  pullKvCache(
    ...args: [...src: IndexFields, dstCacheId: bigint, batchIndex: number, size: bigint, ...ext: ExtFields]
  ): Submitted<void>;
  pullKvBlocks(
    ...args: [...src: IndexFields, dstCacheId: bigint, ...ext: ExtFields, ...blocks: BlockFields]
  ): Submitted<void>;
  pushKvCache(
    ...args: [...src: CacheFields, ...dst: IndexFields, srcBatchIndex: number, size: bigint, ...ext: ExtFields]
  ): Submitted<void>;
  pushKvBlocks(
    ...args: [...src: CacheFields, ...dst: IndexFields, ...ext: ExtFields, ...blocks: BlockFields]
  ): Submitted<void>;

  malloc(byteLength: bigint, onHost: boolean): Submitted<bigint>;
  free(address: bigint): Submitted<void>;
  /** The data is copied before the call returns. */
  write(address: bigint, data: Uint8Array): Submitted<void>;
  read(address: bigint, byteLength: number): Submitted<Uint8Array>;
  copy(dst: bigint, src: bigint, byteLength: bigint): Submitted<void>;
  /** Lists of one length, which are copied before the call returns. */
  copyRanges(dst: BigUint64Array, src: BigUint64Array, byteLengths: BigUint64Array): Submitted<void>;
  readRanges(addresses: BigUint64Array, byteLength: number): Submitted<Uint8Array>;
  /** As many bytes for each address; they are copied before the call returns. */
  writeRanges(addresses: BigUint64Array, data: Uint8Array): Submitted<void>;

  /** Gives up the control call that does not come back: nothing waits for it, and no later call gets to the library. */
  abandon(): void;
  /** How long the present control call has been inside the library. */
  elapsedMs(): number;
  /** Whether `initialize` has succeeded and no `finalize` has got to the library since. */
  isInitialized(): boolean;
  /** See `Backend.runningTransfer`. All pushes share a lane; the cluster is the one of the pull. */
  runningTransfer(isPush: boolean, clusterId: bigint): RunningTransfer | undefined;
  /** See `Backend.giveUpTransfers`. */
  giveUpTransfers(isPush: boolean, clusterId: bigint, ofAllPeers: boolean): Promise<void> | undefined;
  /** How many calls were made; the last one can be withdrawn under this number while it waits. */
  lastCall(): number;
  /** Takes a call back, and rejects it. @returns false where it does not wait any more, and for other numbers */
  withdraw(call: number): boolean;
}

/** Of each cluster its id, role and numbers of addresses; then all addresses, the local ones of a cluster first. */
export type ClusterLists = [
  ids: BigUint64Array,
  roleTypes: Int32Array,
  localCounts: Uint32Array,
  remoteCounts: Uint32Array,
  ips: string[],
  ports: Uint32Array,
];
export type DescFields = [placement: number, numTensors: number, dataType: number, shape: BigInt64Array];
export type CacheFields = [cacheId: bigint, tensorAddrs: BigUint64Array, ...desc: DescFields];
export type IndexFields = [clusterId: bigint, cacheId: bigint, batchIndex: number];
export type ExtFields = [
  srcFirst: number,
  srcLast: number,
  dstFirst: number,
  dstLast: number,
  tensorNumPerLayer: number,
];

/** Lists, which are copied before the call returns, and the largest number in each; more is refused with `LLM_PARAM_INVALID`. */
export type BlockFields = [
  srcBlocks: BigUint64Array,
  dstBlocks: BigUint64Array,
  /** `Infinity` for no limit. */
  srcLimit: number,
  dstLimit: number,
];

/** The addon and the files that belong to it. */
export interface LoadedAddon {
  readonly addon: Addon;
  readonly path: string;
  /** The bridge to the vendor's library, beside the addon. */
  readonly bridge: string;
}

let loaded: LoadedAddon | undefined;

/** The addon, with every file that was tried in vain before it. It links nothing of the vendor's. */
export function loadAddon(): { readonly loaded?: LoadedAddon; readonly attempts: readonly LoadAttempt[] } {
  if (loaded !== undefined) return { loaded, attempts: [] };
  const attempts: LoadAttempt[] = [];
  const modules = modulesFolder();
  const packageRoot = modules === undefined ? undefined : dirname(modules);
  const paths = addonFiles(packageRoot);
  if (paths.length === 0) return { attempts: [{ path: ADDON_NAME, error: BUNDLED }] };
  for (const path of paths) {
    try {
      loaded = loadFrom(path, packageRoot);
      return { loaded, attempts };
    } catch (error) {
      attempts.push({ path, error: error instanceof Error ? error.message : String(error) });
    }
  }
  return { attempts };
}

function loadFrom(path: string, packageRoot: string | undefined): LoadedAddon {
  const problem = addonProblem(path, packageRoot);
  if (problem !== undefined) throw new Error(problem);
  // An addon can be loaded in no other way, and a bundle has no require().
  const addon = createRequire(path)(path) as Addon;
  if (addon.version !== VERSION) {
    throw new Error(`the addon is version ${addon.version}, the package ${VERSION}: ${renewal(packageRoot)}`);
  }
  const limit = closeLimitMs();
  addon.configure(limit);
  closeAtExit(addon, limit);
  return { addon, path, bridge: join(dirname(path), 'llm_datadist_bridge.so') };
}
