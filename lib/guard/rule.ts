import { LLMException } from '../exception';
import { LLMStatusCode } from '../status';
import type { Recovery } from '../status';

/**
 * What the library does not survive, or takes without saying that it cannot work. Each rule is refused with
 * `LLM_PARAM_INVALID` before the library is called, and named in the remedy. `guards: false` switches all of them off.
 */
export const RULES = {
  'first-dimension': 'the first dimension of a shape is at most 4294967295, because the library keeps 32 bits of it',
  'tensor-memory': 'every tensor lies inside the memory region that its address belongs to, and that is not freed',
  'whole-byte-rows': 'types smaller than a byte need rows of whole bytes, and tensors of less than 2^31 bits',
  'cache-tensors': 'a cache has at most 131061 tensors',
  'cache-table': 'all caches of an instance fit a table of 1 MiB: 24 bytes, 64 per cache and 8 per tensor',
  'memory-overlap':
    'a tensor overlaps no other one of the call, and none that is registered or that the library may still hold',
  'registered-memory': 'memory of a registered cache is not freed: unregister first',
  'one-link': 'a link call names each cluster and each address once, because two links to one peer at a time lose one',
  'layer-range': 'a layer range is [-1, -1] or 0 <= first <= last, and ends within the cache',
  'both-layer-ranges': 'either both layer ranges are given or none, because the library ignores one that stands alone',
  'local-block': 'the blocks of the local cache are below its number of rows',
  'block-number': 'block numbers are below 4294967296',
  'listen-port': 'the port of llm.ListenIpInfo is 1 to 65535, because the library cuts it to 16 bits',
  'wait-time': 'llm.SyncKvCacheWaitTime is 1 to 2147483647 ms, because a failed init keeps its port and more is cut',
  'memory-pool':
    'llm.MemPoolConfig and llm.HostMemPoolConfig are JSON objects with memory_size >= the page and page_shift 10 to 30, ' +
    'because a failed init keeps its port',
  'resource-json':
    'llm.LocalCommRes and llm.GlobalResourceConfig are JSON that the engine accepts, nested at most 64 levels deep',
  'own-cache': 'a cache handle is used with the instance that it came from, and not after that was finalized',
  'peer-layout':
    'data type, shape behind the first dimension, tensors per layer and tag of both caches are the same, and rows, blocks, ' +
    'layers and row size fit the remote cache, as far as its key says (KvCache.key())',
  'rows-in-flight':
    'no call reads or writes memory that a call rejected early may still write, and none writes what it may still read. ' +
    'Wait until `released` settles',
  'require-layout': 'keys carry the layout of the cache that they name (KvCache.key()), as requireLayout asks',
  'stale-key': 'a key is used only over a link to the life that made it',
  'require-life': 'keys carry the life of the instance that registered the cache (KvCache.key()), as requireLife asks',
} as const;

export type Rule = keyof typeof RULES;

/** What to do, where it does not follow from the rule. */
const ACTIONS: Partial<Record<Rule, string>> = {
  'own-cache':
    'Use a handle that this instance has given since its last init: after finalize() and init(), register the cache again in this ' +
    'life and use the new handle.',
  'peer-layout': 'Use caches of one layout, or ask the peer for a key of the right cache.',
};

interface Refusal {
  readonly clusterId?: bigint;
  readonly cacheId?: bigint;
  readonly recovery?: Recovery;
  /** What to do, where the rule itself does not say it. Whole sentences. */
  readonly advice?: string;
}

/** The refusal of a guard. */
export function refusal(
  rule: Rule,
  operation: string,
  problem: string,
  { advice, ...more }: Refusal = {},
): LLMException {
  return new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
    operation,
    message: problem,
    remedy: `Rule ${rule}: ${advice ?? adviceOf(rule)}`,
    ...more,
  });
}

function adviceOf(rule: Rule): string {
  const action = ACTIONS[rule];
  return `${RULES[rule]}.${action === undefined ? '' : ` ${action}`}`;
}

/** Whether a rule has refused a call, so that nothing was moved. */
export function isRefusal(error: unknown): boolean {
  return error instanceof LLMException && error.remedy.startsWith('Rule ');
}
