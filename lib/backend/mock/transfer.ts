import { LLMStatusCode } from '../../status';
import type { CacheIndex } from '../backend';
import type { CacheEntry, CacheLayout } from './cache-table';
import type { Link } from './link';
import { checkInside } from './local-end';
import { invalid, Refusal } from './refusal';
import type { Session } from './session';

/** Bytes to copy in every pair of tensors, as offsets from the start of the local and of the remote tensor. */
export interface Span {
  readonly local: number;
  readonly remote: number;
  readonly length: number;
}

/** Tensors of both sides that are copied pairwise: `count` of them, from these indices on. */
export interface TensorPairs {
  readonly localStart: number;
  readonly remoteStart: number;
  readonly count: number;
}

export type Direction = 'pull' | 'push';

export function localEntry(session: Session, cacheId: bigint): CacheEntry {
  const entry = session.table.get(cacheId);
  if (entry === undefined) {
    throw new Refusal(LLMStatusCode.LLM_KV_CACHE_NOT_EXIST, `this instance has no cache ${cacheId}`, {
      remedy: 'Use a cache that this instance registered, and has not unregistered since.',
      recovery: 'fix-input',
    });
  }
  return entry;
}

export function linkTo(session: Session, clusterId: bigint): Link {
  const link = session.links.find(clusterId);
  if (link === undefined) throw notLinked(clusterId);
  return link;
}

/** Runs `work` on the link's lane; a link that went away while waiting is none. */
export function onLink(link: Link, clusterId: bigint, work: () => void | Promise<void>): void | Promise<void> {
  return link.run(() => {
    if (link.closed) throw notLinked(clusterId);
    return work();
  });
}

/** Looks the remote cache up, then goes on with it; looking up may need the peer, and the peer may not answer. */
export function withRemote(
  link: Link,
  index: CacheIndex,
  next: (remote: CacheLayout) => void | Promise<void>,
): void | Promise<void> {
  if (!link.hasTable && isDisturbed(link)) return timeOut(link);
  const remote = link.remoteCache(index.cacheId);
  if (!(remote instanceof Promise)) return next(remote);
  return remote.then((found) => {
    if (link.closed) throw notLinked(index.clusterId);
    return next(found);
  });
}

/**
 * Copies `spans` in each pair of tensors, all of them or none.
 *
 * The library does not compare remote offsets with the peer's tensors and would read or write past their end, or past
 * the local one where its remainder rule applies; here that is refused.
 */
export function move(
  direction: Direction,
  link: Link,
  local: CacheEntry,
  remote: CacheLayout,
  pairs: TensorPairs,
  spans: readonly Span[],
): void | Promise<void> {
  for (const span of spans) {
    checkInside(span.local, span.length, local, 'local');
    checkInside(span.remote, span.length, remote, 'remote');
    if (span.length === 0 && link.local.engine === 'hixl') throw invalid('a copy of 0 bytes: rows have no bytes');
  }
  if (isDisturbed(link)) return timeOut(link);
  if (!link.far.alive) throw link.peerGone();
  link.near.checkReach(local, pairs.localStart, pairs.count, 'local');
  return link.far.move(direction, local, remote, pairs, spans);
}

function notLinked(clusterId: bigint): Refusal {
  return new Refusal(LLMStatusCode.LLM_NOT_YET_LINK, `this instance holds no link to cluster ${clusterId}`);
}

function isDisturbed(link: Link): boolean {
  return link.local.fabric.isDisturbed(link.peerAddress);
}

async function timeOut(link: Link): Promise<void> {
  const { clock, waitTimeMs } = link.local;
  // The library waits for ever when the time is negative; the mock waits for nobody that long.
  await clock.sleep(Math.max(waitTimeMs, 0));
  throw new Refusal(
    LLMStatusCode.LLM_TIMEOUT,
    `cluster ${link.far.clusterId} did not answer within ${waitTimeMs} ms (llm.SyncKvCacheWaitTime)`,
  );
}
