import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { LLMException, LoadAttempt } from '../../exception';
import { BUNDLED, modulesFolder } from '../../package-files';
import { VERSION } from '../../version';
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
  /** Ends everything of this environment, within so many milliseconds. */
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
  /** `null` where the runtime does not tell. */
  readonly runtimeVersion: string | null;
  readonly socName: string | null;
}

/** The C++ object and the memory functions of the runtime; see `Backend` for what the methods do. */
export interface NativeDataDist {
  initialize(keys: readonly string[], values: readonly string[], device: number): Promise<void>;
  finalize(): Promise<void>;
  setRole(role: number, keys: readonly string[], values: readonly string[]): Promise<void>;
  linkLlmClusters(...args: [...ClusterLists, timeoutMs: number]): Promise<number[]>;
  unlinkLlmClusters(...args: [...ClusterLists, timeoutMs: number, force: boolean]): Promise<number[]>;

  allocateCache(...desc: DescFields): Promise<{ readonly cacheId: bigint; readonly tensorAddrs: BigUint64Array }>;
  deallocateCache(cacheId: bigint): Promise<void>;
  copyKvCache(
    ...args: [
      ...src: CacheFields,
      ...dst: CacheFields,
      srcBatchIndex: number,
      dstBatchIndex: number,
      offset: bigint,
      size: bigint,
    ]
  ): Promise<void>;
  copyKvBlocks(
    ...args: [
      ...src: CacheFields,
      ...dst: CacheFields,
      srcBlocks: BigUint64Array,
      dstBlocksList: readonly BigUint64Array[],
    ]
  ): Promise<void>;
  registerKvCache(...args: [...DescFields, addrs: BigUint64Array]): Promise<bigint>;
  unregisterKvCache(cacheId: bigint): Promise<void>;

  pullKvCache(
    ...args: [...src: IndexFields, dstCacheId: bigint, batchIndex: number, size: bigint, ...ext: ExtFields]
  ): Promise<void>;
  pullKvBlocks(...args: [...src: IndexFields, dstCacheId: bigint, ...ext: ExtFields, ...BlockFields]): Promise<void>;
  pushKvCache(
    ...args: [...src: CacheFields, ...dst: IndexFields, srcBatchIndex: number, size: bigint, ...ext: ExtFields]
  ): Promise<void>;
  pushKvBlocks(...args: [...src: CacheFields, ...dst: IndexFields, ...ExtFields, ...BlockFields]): Promise<void>;

  malloc(byteLength: bigint, onHost: boolean): Promise<bigint>;
  free(address: bigint): Promise<void>;
  /** The data is copied before the call returns. */
  write(address: bigint, data: Uint8Array): Promise<void>;
  read(address: bigint, byteLength: number): Promise<Uint8Array>;
  copy(dst: bigint, src: bigint, byteLength: bigint): Promise<void>;

  /** Gives up the control call that does not come back: nothing waits for it, and no later call gets to the library. */
  abandon(): void;
  /** How long the present control call has been inside the library. */
  elapsedMs(): number;
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
export type CacheFields = [cacheId: bigint, tensorAddrs: BigUint64Array, ...DescFields];
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

const FILE_NAME = 'llm_datadist.node';

let loaded: LoadedAddon | undefined;

/** The addon, with every file that was tried in vain before it. It links nothing of the vendor's. */
export function loadAddon(): { readonly loaded?: LoadedAddon; readonly attempts: readonly LoadAttempt[] } {
  if (loaded !== undefined) return { loaded, attempts: [] };
  const attempts: LoadAttempt[] = [];
  const paths = addonPaths();
  if (paths.length === 0) return { attempts: [{ path: FILE_NAME, error: BUNDLED }] };
  for (const path of paths) {
    try {
      loaded = loadFrom(path);
      return { loaded, attempts };
    } catch (error) {
      attempts.push({ path, error: error instanceof Error ? error.message : String(error) });
    }
  }
  return { attempts };
}

/** Where builds put the addon: the CMake and node-gyp ones, and what a package brings along. None in a bundle. */
function addonPaths(): readonly string[] {
  const { LLM_DATADIST_ADDON: chosen = '' } = process.env;
  if (chosen !== '') return [chosen];
  const modules = modulesFolder();
  if (modules === undefined) return [];
  const root = dirname(modules);
  return [
    join(root, 'build', 'Release', FILE_NAME),
    join(root, 'prebuilds', `${process.platform}-${process.arch}`, FILE_NAME),
  ];
}

function loadFrom(path: string): LoadedAddon {
  if (!existsSync(path)) throw new Error('no such file: the addon was not built (npm run build:native)');
  // An addon can be loaded in no other way, and a bundle has no require() of its own.
  const addon = createRequire(path)(path) as Addon;
  if (addon.version !== VERSION) {
    throw new Error(`the addon is version ${addon.version}, the package ${VERSION}: build it anew`);
  }
  const limit = closeLimitMs();
  addon.configure(limit);
  closeAtExit(addon, limit);
  return { addon, path, bridge: join(dirname(path), 'llm_datadist_bridge.so') };
}
