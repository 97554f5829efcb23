import { LLMStatusCode } from '../../status';
import type { CacheIndex } from '../backend';
import { CacheEntry } from './cache-table';
import type { CacheLayout } from './cache-table';
import type { ObservedTransfer } from './call-observer';
import type { Lane } from './lane';
import type { Link } from './link';
import { checkInside, LocalEnd } from './local-end';
import type { MockCall } from './mock-call';
import { failed, invalid, Refusal } from './refusal';
import type { Session } from './session';
import type { Arrival, Load } from './wire';

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

/** What a transfer has copied: `spans` of `count` tensors from `start` on, in a cache of this process. */
export interface MovedBytes {
  /** Which offsets of the spans are meant: in the local cache, or in the remote one. */
  readonly side: 'local' | 'remote';
  readonly cache: CacheEntry;
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

function linkTo(session: Session, clusterId: bigint): Link {
  const link = session.links.find(clusterId);
  if (link === undefined) throw notLinked(clusterId);
  return link;
}

/** Runs `work` on the lane of the link to a cluster; a link that went away while waiting is none. From then on the call runs. */
export function onLink(
  session: Session,
  clusterId: bigint,
  call: MockCall,
  work: (link: Link) => void | Promise<void>,
): void | Promise<void> {
  const { observed } = call;
  const held = observed === undefined ? undefined : session.links.find(clusterId);
  // It was looked up before its lane was taken; the call that has locked the table may be waiting for that lane.
  if (held !== undefined && observed?.holds(held) === true) return work(held);
  const waiting = session.links.unlocked(call);
  if (waiting === undefined) return onFoundLink(session, clusterId, call, work);
  return waiting.then(() => onFoundLink(session, clusterId, call, work));
}

function onFoundLink(
  session: Session,
  clusterId: bigint,
  call: MockCall,
  work: (link: Link) => void | Promise<void>,
): void | Promise<void> {
  const link = linkTo(session, clusterId);
  return link.run(() => {
    call.begin();
    if (link.closed) throw notLinked(clusterId);
    return work(link);
  }, call);
}

/** Runs `work` on a lane, at once where the call holds it already. */
export function onLane(lane: Lane, call: MockCall, work: () => void | Promise<void>): void | Promise<void> {
  return call.observed?.holds(lane) === true ? work() : lane.run(work, call);
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
 *
 * @param written called when all of a push is there
 */
export function move(
  direction: Direction,
  link: Link,
  local: CacheEntry,
  remote: CacheLayout,
  pairs: TensorPairs,
  spans: readonly Span[],
  call?: ObservedTransfer,
  written?: () => void,
): void | Promise<void> {
  for (const span of spans) {
    checkInside(span.local, span.length, local, 'local');
    checkInside(span.remote, span.length, remote, 'remote');
    if (span.length === 0 && link.local.engine === 'hixl') throw invalid('a copy of 0 bytes: rows have no bytes');
  }
  if (isDisturbed(link)) return timeOut(link);
  checkNear(link, local, pairs);
  const { wire } = link.local.fabric;
  // Only within a process do transfers take the time of a wire.
  if (wire === undefined || !(link.far instanceof LocalEnd) || !(remote instanceof CacheEntry)) {
    return deliver(direction, link, local, remote, pairs, spans, call, written);
  }
  link.far.checkReach(remote, pairs.remoteStart, pairs.count, 'remote');
  const carried = wire.carry(loadOf(direction, link, local, remote, pairs, spans));
  if (carried === undefined) return deliver(direction, link, local, remote, pairs, spans, call, written);
  return afterWire(link, carried, () => {
    checkNear(link, local, pairs);
    return deliver(direction, link, local, remote, pairs, spans, call, written);
  });
}

/** Copies as many of the tensors as an observer admits. */
function deliver(
  direction: Direction,
  { far }: Link,
  local: CacheEntry,
  remote: CacheLayout,
  pairs: TensorPairs,
  spans: readonly Span[],
  call: ObservedTransfer | undefined,
  written: (() => void) | undefined,
): void | Promise<void> {
  if (call === undefined) return far.move(direction, local, remote, pairs, spans, written);
  const count = call.admit(pairs.count);
  const admitted = count === pairs.count ? pairs : { ...pairs, count };
  const isSent = direction === 'push' && !(remote instanceof CacheEntry);
  const source = isSent
    ? call.outgoing({ side: 'local', cache: local, start: admitted.localStart, count, spans })
    : local;
  const moving = far.move(direction, source, remote, admitted, spans, count === pairs.count ? written : undefined);
  if (moving instanceof Promise) {
    return moving.then(() => {
      tell(call, direction, local, remote, admitted, spans, pairs.count);
    });
  }
  tell(call, direction, local, remote, admitted, spans, pairs.count);
  return undefined;
}

/** Tells an observer of what was copied, which may have been all that it admitted of `wanted` tensors. */
function tell(
  call: ObservedTransfer,
  direction: Direction,
  local: CacheEntry,
  remote: CacheLayout,
  { localStart, remoteStart, count }: TensorPairs,
  spans: readonly Span[],
  wanted: number,
): void {
  if (direction === 'pull') call.moved({ side: 'local', cache: local, start: localStart, count, spans });
  else if (remote instanceof CacheEntry)
    call.moved({ side: 'remote', cache: remote, start: remoteStart, count, spans });
  else call.sent(byteLengthOf(spans) * count);
  if (count < wanted) throw call.cutOff();
}

/** The bytes of spans in one tensor. */
export function byteLengthOf(spans: readonly Span[]): number {
  let length = 0;
  for (const span of spans) length += span.length;
  return length;
}

function loadOf(
  direction: Direction,
  { local: { clusterId, waitTimeMs }, far }: Link,
  local: CacheEntry,
  remote: CacheEntry,
  { localStart, remoteStart, count }: TensorPairs,
  spans: readonly Span[],
): Load {
  const mine = local.tensorAt(localStart).handle.host ? 'H' : 'D';
  const theirs = remote.tensorAt(remoteStart).handle.host ? 'H' : 'D';
  return {
    ...(direction === 'pull'
      ? { source: far.clusterId, destination: clusterId, direction: `r${theirs}2${mine}` }
      : { source: clusterId, destination: far.clusterId, direction: `${mine}2r${theirs}` }),
    copies: spans.map(({ length }) => length),
    tensors: count,
    // The library waits for ever when the time is negative.
    limitMs: waitTimeMs < 0 ? Infinity : waitTimeMs,
  };
}

/** Goes on when the bytes have crossed the wire. Meanwhile anything may have happened to both ends. */
async function afterWire(link: Link, carried: Promise<Arrival>, arrive: () => void | Promise<void>): Promise<void> {
  const { clock, waitTimeMs } = link.local;
  const start = clock.now();
  const arrival = await carried;
  if (arrival === 'late') throw late(link);
  if (!link.local.alive) throw failed('this instance was finalized, or it died, while the transfer was on its way');
  if (isDisturbed(link)) return timeOut(link, waitTimeMs - (clock.now() - start));
  if (arrival === 'dropped' && link.far.alive) throw failed(`the connection to cluster ${link.far.clusterId} broke`);
  return arrive();
}

/** What may have changed on this side since the link was made, or while bytes were on the wire; and which sides are there at all. */
function checkNear(link: Link, local: CacheEntry, pairs: TensorPairs): void {
  if (!link.far.alive) throw link.peerGone();
  link.near.checkReach(local, pairs.localStart, pairs.count, 'local');
}

function notLinked(clusterId: bigint): Refusal {
  return new Refusal(LLMStatusCode.LLM_NOT_YET_LINK, `this instance holds no link to cluster ${clusterId}`);
}

function isDisturbed(link: Link): boolean {
  return link.local.fabric.isDisturbed(link);
}

/** @param restMs what is left of the time limit */
async function timeOut(link: Link, restMs = link.local.waitTimeMs): Promise<void> {
  // The library waits for ever when the time is negative; the mock waits for nobody that long.
  await link.local.clock.sleep(Math.max(restMs, 0));
  throw new Refusal(
    LLMStatusCode.LLM_TIMEOUT,
    `cluster ${link.far.clusterId} did not answer within ${link.local.waitTimeMs} ms (llm.SyncKvCacheWaitTime)`,
  );
}

function late({ local, far }: Link): Refusal {
  return new Refusal(
    LLMStatusCode.LLM_TIMEOUT,
    `the bytes had not crossed the wire between cluster ${local.clusterId} and cluster ${far.clusterId} after ` +
      `${local.waitTimeMs} ms (llm.SyncKvCacheWaitTime): too much is moved per call, or by too many transfers at a time`,
  );
}
