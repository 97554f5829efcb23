/**
 * LLM-DataDist for Node.js.
 *
 * @packageDocumentation
 */
import { writeBigintsInJSON } from './bigint-json';

export { LLMDataDist } from './datadist';
export type { LLMDataDistOptions } from './datadist';
export { KvCacheManager } from './kv-cache-manager';
export type { BlockList, PullCacheOptions, PullOptions, PushOptions, TransferOptions } from './transfer-options';
export type { CopyCacheOptions } from './cache-copy';
export { LLMConfig } from './config';
export type { LLMConfigOptions } from './config';
export type { LLMInitOptions, LLMRawOptions } from './init-options';
export type { ClusterResult, LLMClusterInfo } from './cluster';
export { cacheKeyFromJSON } from './cache';
export type { CacheDesc, CacheKeyByIdAndIndex, CacheKeyJSON, CacheLayout, KvCache, LocalCache } from './cache';
export type { MemoryRegion } from './memory';
export type { AbortError } from './abort-error';
export type { CallOptions } from './call-options';
export { DataType } from './data-type';
export { LLMRole } from './role';
export { Placement } from './placement';
export { describeStatus, LLMStatusCode } from './status';
export type { Locale, Recovery, StatusDescription } from './status';
export { LLMBackendError, LLMException } from './exception';
export type {
  DeadlineOwner,
  LLMBackendErrorInfo,
  LLMBackendErrorJSON,
  LLMExceptionInfo,
  LLMExceptionJSON,
  LoadAttempt,
} from './exception';
export { RULES as GUARD_RULES } from './guard/rule';
export type { Rule as GuardRule } from './guard/rule';
export { probeNative } from './backend/native';
export type { AscendSign, NativeProbe, ProbeOptions } from './backend/native';
export { DEFAULT_CACHE_DESC, DEFAULT_EXT_PARAM, DEFAULT_LAYER_RANGE } from './backend/backend';
export type {
  Backend,
  BackendCacheDesc,
  BackendFactory,
  BackendOptions,
  BlockLimits,
  Cache,
  CacheIndex,
  ClusterInfo,
  DeadlineClock,
  IpInfo,
  KvCacheExtParam,
  LayerRange,
  PushProgress,
} from './backend/backend';
export type { BackendChoice } from './backend/select';

writeBigintsInJSON();
