import { LLMStatusCode } from '../../status';
import type { CacheIndex } from '../backend';
import type { CacheEntry } from './cache-table';
import type { ObservedTransfer } from './call-observer';
import type { Link } from './link';
import { failed, invalid, Refusal } from './refusal';
import type { Tensor } from './registered-memory';
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

/** What a transfer has copied: `spans` of so many tensors from `start` on, at the destination. */
export interface MovedBytes {
  readonly direction: Direction;
  readonly destination: CacheEntry;
  readonly start: number;
  readonly count: number;
  readonly spans: readonly Span[];
}

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
  next: (remote: CacheEntry) => void | Promise<void>,
): void | Promise<void> {
  if (!link.hasTable && isDisturbed(link)) return timeOut(link);
  return next(link.remoteEntry(index.cacheId));
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
  remote: CacheEntry,
  pairs: TensorPairs,
  spans: readonly Span[],
  call?: ObservedTransfer,
): void | Promise<void> {
  for (const span of spans) {
    checkInside(span.local, span.length, local, 'local');
    checkInside(span.remote, span.length, remote, 'remote');
    if (span.length === 0 && link.local.engine === 'hixl') throw invalid('a copy of 0 bytes: rows have no bytes');
  }
  if (isDisturbed(link)) return timeOut(link);
  if (!link.peer.alive) throw link.peerGone();
  for (let i = 0; i < pairs.count; i++) {
    checkReach(link, tensorAt(local, pairs.localStart + i), tensorAt(remote, pairs.remoteStart + i));
  }
  const count = call === undefined ? pairs.count : call.admit(pairs.count);
  for (let i = 0; i < count; i++) {
    const mine = tensorAt(local, pairs.localStart + i);
    const theirs = tensorAt(remote, pairs.remoteStart + i);
    for (const span of spans) {
      if (direction === 'pull') copy(theirs, span.remote, mine, span.local, span.length);
      else copy(mine, span.local, theirs, span.remote, span.length);
    }
  }
  if (call !== undefined) {
    const [destination, start] = direction === 'pull' ? [local, pairs.localStart] : [remote, pairs.remoteStart];
    call.moved({ direction, destination, start, count, spans });
    if (count < pairs.count) throw call.cutOff();
  }
  return undefined;
}

function copy(src: Tensor, srcOffset: number, dst: Tensor, dstOffset: number, length: number): void {
  const start = src.offset + srcOffset;
  dst.region.bytes.set(src.region.bytes.subarray(start, start + length), dst.offset + dstOffset);
}

function tensorAt(entry: CacheEntry, index: number): Tensor {
  const tensor = entry.tensors[index];
  if (tensor === undefined) throw invalid(`cache ${entry.id} has ${entry.tensors.length} tensors, not ${index + 1}`);
  return tensor;
}

function checkInside(offset: number, length: number, entry: CacheEntry, side: string): void {
  if (offset + length > entry.tensorBytes) {
    throw invalid(
      `bytes ${offset} to ${offset + length} are outside the ${side} tensor of ${entry.tensorBytes} bytes (cache ${entry.id})`,
    );
  }
}

/** Memory that the link does not know: registered later, deregistered or freed since. */
function checkReach(link: Link, local: Tensor, remote: Tensor): void {
  const side = !link.reachesLocal(local.handle) ? 'local' : !link.reachesPeer(remote.handle) ? 'remote' : undefined;
  if (side !== undefined) {
    const problem = `the ${side} memory was not registered when the link was made, or was unregistered since`;
    throw link.local.engine === 'hixl' ? invalid(problem) : failed(problem);
  }
  if (local.region.freed || remote.region.freed) {
    throw failed(`the ${local.region.freed ? 'local' : 'remote'} memory was freed while it was registered`);
  }
}

function notLinked(clusterId: bigint): Refusal {
  return new Refusal(LLMStatusCode.LLM_NOT_YET_LINK, `this instance holds no link to cluster ${clusterId}`);
}

function isDisturbed(link: Link): boolean {
  return link.local.fabric.isDisturbed(link);
}

async function timeOut(link: Link): Promise<void> {
  const { clock, waitTimeMs } = link.local;
  // The library waits for ever when the time is negative; the mock waits for nobody that long.
  await clock.sleep(Math.max(waitTimeMs, 0));
  throw new Refusal(
    LLMStatusCode.LLM_TIMEOUT,
    `cluster ${link.peer.clusterId} did not answer within ${waitTimeMs} ms (llm.SyncKvCacheWaitTime)`,
  );
}
