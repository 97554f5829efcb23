import type { Backend } from '../backend/backend';
import { DEFAULT_CACHE_DESC } from '../backend/backend';
import type { CacheKeyByIdAndIndex, KvCache, LocalCache } from '../cache';
import type { LLMClusterInfo } from '../cluster';
import type { LLMDataDist } from '../datadist';
import type { PullCacheOptions } from '../transfer-options';
import { describedCache } from './described-cache';
import type { Ports } from './ports';
import type {
  Address,
  CacheReference,
  ClusterFields,
  Options,
  PushBlocksStep,
  PushCacheStep,
  RawCall,
  RegisterStep,
  RemoteCache,
  Step,
} from './step';

/** What a call gives besides its status. */
export interface CallResult {
  /** Of link and unlink: one status per cluster. */
  readonly results?: readonly number[];
  /** Of a registration. */
  readonly cache?: KvCache;
}

/** What a step is called on and with. */
export interface CallContext {
  readonly dist: LLMDataDist;
  readonly backend: Backend;
  readonly ports: Ports;
  /** A cache by its name. */
  cache(name: string): KvCache;
  /** Addresses for a registration. */
  readonly addresses: BigUint64Array;
}

/** Makes the call of a step through the public API, or where that has no such call to the backend. */
export async function makeCall(step: Step, context: CallContext): Promise<CallResult> {
  const { dist, backend, ports } = context;
  const manager = dist.kvCacheManager;
  switch (step.op) {
    case 'init':
      await dist.init(optionsOf(step.options, ports));
      return {};
    case 'finalize':
      await dist.finalize();
      return {};
    case 'setRole':
      await dist.switchRole(step.role, optionsOf(step.options, ports));
      return {};
    case 'register':
      return { cache: await manager.registerCache(step.desc, passedAddresses(step, context.addresses)) };
    case 'unregister':
      await manager.unregisterCache(localCache(step.target, context));
      return {};
    case 'link': {
      const clusters = step.clusters.map((cluster) => clusterInfo(cluster, ports));
      const results = await dist.linkClusters(clusters, { timeout: step.timeout });
      return { results: results.map(({ statusCode }) => statusCode) };
    }
    case 'unlink': {
      const { timeout, force } = step;
      const clusters = step.clusters.map((cluster) => clusterInfo(cluster, ports));
      const results = await dist.unlinkClusters(clusters, { timeout, force });
      return { results: results.map(({ statusCode }) => statusCode) };
    }
    case 'pullCache':
      await manager.pullCache(
        remoteKey(step.src, context),
        localCache(step.dst, context),
        step.batchIndex,
        transferOptions(step),
      );
      return {};
    case 'pullBlocks': {
      const { srcBlocks, dstBlocks, ext } = step;
      await manager.pullBlocks(remoteKey(step.src, context), localCache(step.dst, context), srcBlocks, dstBlocks, ext);
      return {};
    }
    case 'pushCache':
      await manager.pushCache(
        remoteKey(step.dst, context),
        pushSource(step, context),
        step.srcBatchIndex,
        transferOptions(step),
      );
      return {};
    case 'pushBlocks': {
      const { srcBlocks, dstBlocks, ext } = step;
      await manager.pushBlocks(remoteKey(step.dst, context), pushSource(step, context), srcBlocks, dstBlocks, ext);
      return {};
    }
    case 'raw':
      await RAW[step.call](backend);
      return {};
  }
}

/** The public methods do the work of these themselves, with the backend's memory. */
const RAW: Readonly<Record<RawCall, (backend: Backend) => Promise<unknown>>> = {
  AllocateCache: (backend) => backend.allocateCache(DEFAULT_CACHE_DESC),
  DeallocateCache: (backend) => backend.deallocateCache(BARE.cacheId),
  CopyKvCache: (backend) => backend.copyKvCache(BARE, BARE, 0, 0, 0n, -1n),
  CopyKvBlocks: (backend) => backend.copyKvBlocks(BARE, BARE, new BigUint64Array(0), []),
};

/** What a default-constructed C++ `Cache` holds. */
const BARE = { cacheId: -1n, tensorAddrs: new BigUint64Array(0), desc: DEFAULT_CACHE_DESC };

function optionsOf(options: Options, ports: Ports): Record<string, string> {
  return Object.fromEntries(Array.from(options, ([key, value]) => [ports.fill(key), ports.fill(value)]));
}

function passedAddresses({ nullAddr }: RegisterStep, addresses: BigUint64Array): BigUint64Array {
  return nullAddr === undefined ? addresses : addresses.with(nullAddr, 0n);
}

function clusterInfo({ remoteClusterId, remote, local, remoteRoleType }: ClusterFields, ports: Ports): LLMClusterInfo {
  const ipInfo = ([ip, port]: Address) => ({ ip: ports.fill(ip), port: ports.number(port) });
  return {
    remoteClusterId,
    remoteIpInfos: remote.map(ipInfo),
    localIpInfos: local.map(ipInfo),
    ...(remoteRoleType !== undefined && { remoteRole: remoteRoleType }),
  };
}

function remoteKey({ clusterId, target, batchIndex }: RemoteCache, context: CallContext): CacheKeyByIdAndIndex {
  return { clusterId, cacheId: idOf(target, context), batchIndex };
}

function idOf(target: CacheReference, context: CallContext): bigint {
  return 'cache' in target ? context.cache(target.cache).cacheId : target.cacheId;
}

function localCache(target: CacheReference, context: CallContext): LocalCache {
  return 'cache' in target ? context.cache(target.cache) : target.cacheId;
}

/** A handle carries the description of its registration; an id stands for a C++ struct with nothing else in it. */
function pushSource(step: PushCacheStep | PushBlocksStep, context: CallContext): LocalCache {
  const { src, bareSource, srcDesc } = step;
  const registered = 'cache' in src && !bareSource ? context.cache(src.cache) : undefined;
  if (srcDesc === undefined) return registered ?? idOf(src, context);
  return describedCache(idOf(src, context), { ...DEFAULT_CACHE_DESC, ...registered?.desc, ...srcDesc });
}

function transferOptions({ ext, size }: { ext: PullCacheOptions; size?: bigint }): PullCacheOptions {
  return size === undefined ? ext : { ...ext, size };
}
