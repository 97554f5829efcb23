import { DescribedCache } from '../cache';
import type { CacheDesc, KvCache } from '../cache';

/**
 * An id with a description, which the manager takes in place of a handle: without guards it passes on whatever description
 * comes with the id. Users have no use for it, so that the public type does not name it.
 */
export function describedCache(cacheId: bigint, desc: CacheDesc): KvCache {
  return new DescribedCache(cacheId, desc) as unknown as KvCache;
}
