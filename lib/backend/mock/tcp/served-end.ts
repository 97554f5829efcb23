import type { CacheEntry, Snapshot } from '../cache-table';
import { checkInside, LocalEnd } from '../local-end';
import { failed, Refusal } from '../refusal';
import type { Session } from '../session';
import type { Service } from './channel';
import { Channel, lost } from './channel';
import { FrameError, FrameKind } from './frame';
import type { TransferRequest } from './messages';
import { readCacheId, readToken, readTransfer, writeFlag, writeRefusal, writeTable } from './messages';
import type { OutgoingFrames } from './outbox';
import { readFrames } from './outgoing-transfer';
import { Spread } from './spread';
import { hostMilliseconds } from './time-limit';
import { looksWork } from './turn-budget';

/** A link has two directions, with one transfer at a time; the rest are leftovers of ones that were given up. */
const MAX_OPEN = 4;

/** A WRITE of the other side that was allowed. */
interface OpenWrite {
  readonly destination: Spread;
  /** See {@link TransferRequest}; the bytes of one that was given up must not be written. */
  readonly deadline: number;
}

/** The WRITE of the other side that came last: the next one of its push depends on it. */
interface LastWrite {
  readonly id: number;
  state: 'open' | 'written' | 'failed';
  endedAt: number;
}

/**
 * What an instance lets another process do over a link: copy its table, read and write the bytes of caches that are in it,
 * and ask whether a connection is one of this side. Nothing is taken from the other side but numbers, and each is compared with what is registered here.
 */
export class ServedEnd implements Service {
  readonly #session: Session;
  readonly #channel: Channel;
  readonly #end: LocalEnd;
  readonly #reads = new Map<number, OutgoingFrames>();
  readonly #writes = new Map<number, OpenWrite>();
  #lastWrite: LastWrite | undefined;
  /** As the other side copied it: what was unregistered since has gone from the table, but may still be registered memory. */
  #table: Snapshot | undefined;

  constructor(session: Session, channel: Channel) {
    this.#session = session;
    this.#channel = channel;
    this.#end = new LocalEnd(session);
  }

  /** @throws FrameError for what is no request of a linked instance */
  request(kind: FrameKind, id: number, payload: Buffer): void {
    switch (kind) {
      case FrameKind.TABLE:
        this.#table = this.#end.copyTable();
        this.#channel.send(FrameKind.ANSWER, id, writeTable(this.#table));
        return;
      case FrameKind.HAS_CACHE:
        this.#channel.send(FrameKind.ANSWER, id, writeFlag(this.#end.hasCache(readCacheId(payload))));
        return;
      case FrameKind.VOUCH:
        this.#channel.send(FrameKind.ANSWER, id, writeFlag(this.#hasConnection(readToken(payload))));
        return;
      case FrameKind.READ:
        this.#beginRead(id, readTransfer(payload));
        return;
      case FrameKind.WRITE:
        this.#beginWrite(id, readTransfer(payload));
        return;
      default:
        throw new FrameError(`an unexpected frame of kind ${kind}`);
    }
  }

  pushed(id: number, bytes: Buffer): number {
    const write = this.#writes.get(id);
    if (write === undefined) {
      const last = this.#lastWrite;
      if (last?.id !== id || last.state !== 'failed')
        throw new FrameError(`bytes of WRITE ${id}, which is not the last one or is complete`);
      // They were on their way when it was cancelled or refused.
      return this.#channel.discard(bytes);
    }
    if (bytes.length > write.destination.left) throw new FrameError('more bytes than were announced');
    if (this.#channel.isLocal && hostMilliseconds() > write.deadline) {
      this.#refuse(id, failed('the time of the transfer was over before its bytes were there'));
      return this.#channel.discard(bytes);
    }
    let taken = bytes.length;
    this.#refusing(id, () => {
      taken = write.destination.fill(bytes);
      if (write.destination.left === 0) this.#finishWrite(id);
    });
    return taken;
  }

  cancel(id: number): void {
    const isOpen = this.#reads.has(id) || this.#writes.has(id);
    // The other side counts on an answer to each request.
    if (isOpen) this.#refuse(id, failed('the transfer was given up'));
  }

  cut(): void {
    // The other side counts on an answer to each request.
    for (const id of [...this.#reads.keys(), ...this.#writes.keys()]) this.#refuse(id, lost());
  }

  closed(): void {
    this.#reads.clear();
    this.#writes.clear();
  }

  #beginRead(id: number, request: TransferRequest): void {
    this.#checkNumber(id);
    this.#refusing(id, () => {
      if (this.#channel.isBlocked) throw lost();
      const bytes = this.#spread(request);
      const frames = readFrames(
        id,
        bytes,
        () => this.#reads.delete(id),
        (refusal) => {
          this.#refuse(id, refusal);
        },
      );
      this.#reads.set(id, frames);
      this.#channel.sendRead(frames);
    });
  }

  #beginWrite(id: number, request: TransferRequest): void {
    this.#checkNumber(id);
    const { after = 0, waitMs, deadline } = request;
    const before = after === 0 ? undefined : this.#lastWrite;
    if (after !== (before?.id ?? 0) || before?.state === 'open')
      throw new FrameError(`a WRITE that follows WRITE ${after}, which is not the last one or is not complete`);
    this.#lastWrite = { id, state: 'open', endedAt: 0 };
    this.#refusing(id, () => {
      if (this.#channel.isBlocked) throw lost();
      if (before?.state === 'failed') throw failed('an earlier part of the push failed');
      const destination = this.#spread(request);
      const end = waitMs === undefined ? deadline : (before?.endedAt ?? 0) + waitMs;
      this.#writes.set(id, { destination, deadline: end });
      if (destination.left === 0) this.#finishWrite(id);
    });
  }

  #finishWrite(id: number): void {
    this.#writes.delete(id);
    this.#endWrite(id, 'written');
    this.#channel.send(FrameKind.ANSWER, id);
  }

  #endWrite(id: number, state: 'written' | 'failed'): void {
    if (this.#lastWrite?.id !== id) return;
    this.#lastWrite.state = state;
    this.#lastWrite.endedAt = hostMilliseconds();
  }

  #checkNumber(id: number): void {
    if (this.#reads.has(id) || this.#writes.has(id)) throw new FrameError(`transfer ${id} was begun twice`);
    if (this.#reads.size + this.#writes.size >= MAX_OPEN)
      throw new FrameError(`more than ${MAX_OPEN} transfers at a time`);
  }

  /** The bytes of a request, all of which may be read and written. */
  #spread({ cacheId, firstTensor, tensors, extents }: TransferRequest): Spread {
    const entry = this.#entry(cacheId);
    if (firstTensor + tensors > entry.tensorCount) {
      throw failed(`tensors ${firstTensor} to ${firstTensor + tensors - 1} of ${entry.tensorCount} were asked for`);
    }
    const { budget } = this.#channel;
    budget.spend(extents.length + looksWork(tensors));
    for (const { offset, length } of extents) checkInside(offset, length, entry, 'remote');
    this.#end.checkReach(entry, firstTensor, tensors, 'remote');
    return new Spread({ tensors: entry.tensors, first: firstTensor, count: tensors }, extents, budget);
  }

  /** Whether this side made the connection whose other side has been given this token by it. */
  #hasConnection(token: string): boolean {
    const instance = this.#channel.peer?.instance;
    const { connections } = this.#session;
    this.#channel.budget.spend(looksWork(connections.size));
    for (const connection of connections) {
      if (connection instanceof Channel && connection.token === token) return connection.peer?.instance === instance;
    }
    return false;
  }

  #entry(cacheId: bigint): CacheEntry {
    const entry = this.#table?.get(cacheId);
    if (entry === undefined) throw failed(`cluster ${this.#session.clusterId} has offered no cache ${cacheId}`);
    return entry;
  }

  #refusing(id: number, work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#refuse(id, error);
    }
  }

  #refuse(id: number, refusal: Refusal): void {
    const frames = this.#reads.get(id);
    if (frames !== undefined) this.#channel.drop(frames);
    this.#reads.delete(id);
    this.#writes.delete(id);
    this.#endWrite(id, 'failed');
    this.#channel.send(FrameKind.REFUSAL, id, writeRefusal(refusal));
  }
}
