import { LLMStatusCode } from '../../../status';
import type { CacheEntry, CacheLayout, Snapshot } from '../cache-table';
import { peerGone } from '../link';
import type { LinkEnd } from '../peer';
import { Refusal } from '../refusal';
import type { Session } from '../session';
import type { Direction, Span, TensorPairs } from '../transfer';
import type { Channel } from './channel';
import { FrameError, FrameKind } from './frame';
import type { Extent, TransferRequest } from './messages';
import { MAX_EXTENTS, readFlag, readNothing, readTable, writeCacheId, writeToken, writeTransfer } from './messages';
import { PushPipeline } from './push-pipeline';
import { Spread } from './spread';
import { hostMilliseconds, TimeLimit } from './time-limit';

/** The library waits for ever when the time was cut to a negative number; here it is given its default. */
const INSTEAD_OF_FOR_EVER_MS = 1000;

/** The other end of a link, in another process. */
export class RemoteEnd implements LinkEnd {
  readonly #session: Session;
  readonly #channel: Channel;
  readonly #pushes: PushPipeline;

  /** @param session of this side */
  constructor(
    session: Session,
    channel: Channel,
    readonly clusterId: bigint,
  ) {
    this.#session = session;
    this.#channel = channel;
    this.#pushes = new PushPipeline(channel, () => this.#limit());
    channel.gone = () => peerGone(clusterId);
  }

  /** Whether it is at the other end of this connection. */
  isOver(channel: Channel): boolean {
    return this.#channel === channel;
  }

  get alive(): boolean {
    return this.#channel.alive;
  }

  copyTable(): Promise<Snapshot<CacheLayout> | undefined> {
    return this.#channel.ask({ kind: FrameKind.TABLE, read: readTable }, this.#limit());
  }

  async hasCache(cacheId: bigint): Promise<boolean> {
    try {
      const request = { kind: FrameKind.HAS_CACHE, payload: writeCacheId(cacheId), read: readFlag };
      return await this.#channel.ask(request, this.#limit());
    } catch (error) {
      // The cache was not in the table, whatever there is by now; the answer would only have said more about it.
      if (error instanceof Refusal) return false;
      throw error;
    }
  }

  /** The end of the other side checks what it is asked for; here its layout was compared only. */
  async move(
    direction: Direction,
    local: CacheEntry,
    remote: CacheLayout,
    { localStart, remoteStart, count }: TensorPairs,
    spans: readonly Span[],
    written?: () => void,
  ): Promise<void> {
    if (direction === 'pull') await this.#pushes.quiet();
    const limit = this.#limit();
    // A peer sends no empty extents: what has no bytes at all is a request without any, which is checked like others.
    const filled = spans.some(({ length }) => length === 0) ? spans.filter(({ length }) => length > 0) : spans;
    const end = Math.max(filled.length, Math.min(spans.length, 1));
    for (let first = 0; first < end; first += MAX_EXTENTS) {
      const some = filled.slice(first, first + MAX_EXTENTS);
      const range = { tensors: local.tensors, first: localStart, count };
      const here = new Spread(range, some.map(toExtent('local')), this.#channel.budget);
      const extents = some.map(toExtent('remote'));
      const request = { cacheId: remote.id, firstTensor: remoteStart, tensors: count, extents };
      if (direction === 'pull') await this.#pull(request, here, limit);
      else await this.#pushes.push(request, here, first + MAX_EXTENTS >= end ? written : undefined);
    }
  }

  confirm(): Promise<void> {
    return this.#pushes.confirm();
  }

  quiet(): Promise<void> {
    return this.#pushes.quiet();
  }

  /**
   * Whether the connection with this token was made by the instance at the other end of this link. One that does not answer,
   * although its host keeps the connection, does not vouch for any.
   */
  async vouches(token: string, limit: TimeLimit): Promise<boolean> {
    try {
      const request = { kind: FrameKind.VOUCH, payload: writeToken(token), read: readFlag };
      return await this.#channel.ask(request, limit);
    } catch (error) {
      if (error instanceof Refusal) return !this.#channel.alive;
      throw error;
    }
  }

  release(): void {
    this.#channel.release();
  }

  #pull(transfer: Omit<TransferRequest, 'deadline'>, destination: Spread, limit: TimeLimit): Promise<void> {
    const deadline = hostMilliseconds() + Math.max(Math.floor(limit.left), 0);
    return this.#channel.ask(
      {
        kind: FrameKind.READ,
        payload: writeTransfer({ ...transfer, deadline }),
        read(answer) {
          readNothing(answer);
          if (destination.left > 0) throw new FrameError(`${destination.left} bytes are missing`);
        },
        pulled: (bytes) => {
          if (bytes.length > destination.left) throw new FrameError('more bytes than were asked for');
          return destination.fill(bytes);
        },
      },
      limit,
    );
  }

  #limit(): TimeLimit {
    const { waitTimeMs, clock } = this.#session;
    return new TimeLimit({
      ms: waitTimeMs < 0 ? INSTEAD_OF_FOR_EVER_MS : waitTimeMs,
      patience: this.#channel.limits.patience,
      clock,
      refusal: () =>
        new Refusal(
          LLMStatusCode.LLM_TIMEOUT,
          `cluster ${this.clusterId} did not answer within ${waitTimeMs} ms (llm.SyncKvCacheWaitTime)`,
        ),
    });
  }
}

const toExtent =
  (side: 'local' | 'remote') =>
  (span: Span): Extent => ({ offset: span[side], length: span.length });
