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
import { MAX_EXTENTS, readFlag, readNothing, readTable, writeCacheId, writeTransfer } from './messages';
import { Spread } from './spread';
import { hostMilliseconds, TimeLimit } from './time-limit';

/** The library waits for ever when the time was cut to a negative number; here it is given its default. */
const INSTEAD_OF_FOR_EVER_MS = 1000;

/** The other end of a link, in another process. */
export class RemoteEnd implements LinkEnd {
  readonly #session: Session;
  readonly #channel: Channel;

  /** @param session of this side */
  constructor(
    session: Session,
    channel: Channel,
    readonly clusterId: bigint,
  ) {
    this.#session = session;
    this.#channel = channel;
    channel.gone = () => peerGone(clusterId);
  }

  get alive(): boolean {
    return this.#channel.alive;
  }

  copyTable(): Promise<Snapshot<CacheLayout> | undefined> {
    return this.#channel.ask({ kind: FrameKind.TABLE }, this.#limit(), readTable);
  }

  async hasCache(cacheId: bigint): Promise<boolean> {
    try {
      const request = { kind: FrameKind.HAS_CACHE, payload: writeCacheId(cacheId) };
      return await this.#channel.ask(request, this.#limit(), readFlag);
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
  ): Promise<void> {
    const limit = this.#limit();
    const deadline = hostMilliseconds() + Math.max(Math.floor(limit.left), 0);
    const tensors = local.tensors.slice(localStart, localStart + count);
    for (let first = 0; first < spans.length; first += MAX_EXTENTS) {
      const some = spans.slice(first, first + MAX_EXTENTS);
      const here = new Spread(tensors, some.map(toExtent('local')));
      const extents = some.map(toExtent('remote'));
      const request = { cacheId: remote.id, firstTensor: remoteStart, tensors: count, extents, deadline };
      if (direction === 'pull') await this.#pull(request, here, limit);
      else await this.#push(request, here, limit);
    }
  }

  release(): void {
    this.#channel.release();
  }

  #pull(transfer: TransferRequest, destination: Spread, limit: TimeLimit): Promise<void> {
    const request = { kind: FrameKind.READ, payload: writeTransfer(transfer) };
    const read = (answer: Buffer): void => {
      readNothing(answer);
      if (destination.left > 0) throw new FrameError(`${destination.left} bytes are missing`);
    };
    return this.#channel.ask(request, limit, read, {
      pulled(bytes) {
        if (bytes.length > destination.left) throw new FrameError('more bytes than were asked for');
        destination.fill(bytes);
      },
    });
  }

  #push(transfer: TransferRequest, source: Spread, limit: TimeLimit): Promise<void> {
    const channel = this.#channel;
    const request = { kind: FrameKind.WRITE, payload: writeTransfer(transfer) };
    const send = async (id: number): Promise<void> => {
      try {
        await channel.stream(FrameKind.PUSHED, id, source, () => channel.isWaiting(id));
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        channel.giveUp(id, error);
      }
    };
    let sending: Promise<void> | undefined;
    return channel.ask(request, limit, readNothing, {
      ready(id) {
        if (sending !== undefined) throw new FrameError('a transfer that was to begin twice');
        sending = send(id);
      },
    });
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
