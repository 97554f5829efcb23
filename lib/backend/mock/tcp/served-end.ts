import type { CacheEntry, Snapshot } from '../cache-table';
import { checkInside, LocalEnd } from '../local-end';
import { failed, Refusal } from '../refusal';
import type { Tensor } from '../registered-memory';
import type { Session } from '../session';
import type { Channel, Service } from './channel';
import { FrameError, FrameKind } from './frame';
import type { TransferRequest } from './messages';
import { readCacheId, readTransfer, writeFlag, writeRefusal, writeTable } from './messages';
import { Spread } from './spread';
import { hostMilliseconds } from './time-limit';

/** A link has two directions, with one transfer at a time; the rest are leftovers of ones that were given up. */
const MAX_OPEN = 4;

/** A WRITE of the other side that was allowed. */
interface OpenWrite {
  readonly destination: Spread;
  /** See {@link TransferRequest}; the bytes of one that was given up must not be written. */
  readonly deadline: number;
}

/**
 * What an instance lets another process do over a link: copy its table, and read and write the bytes of caches that are
 * in it. Nothing is taken from the other side but numbers, and each is compared with what is registered here.
 */
export class ServedEnd implements Service {
  readonly #session: Session;
  readonly #channel: Channel;
  readonly #end: LocalEnd;
  readonly #reads = new Set<number>();
  readonly #writes = new Map<number, OpenWrite>();
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
      case FrameKind.READ:
      case FrameKind.WRITE:
        this.#begin(kind, id, readTransfer(payload));
        return;
      default:
        throw new FrameError(`an unexpected frame of kind ${kind}`);
    }
  }

  pushed(id: number, bytes: Buffer): void {
    const write = this.#writes.get(id);
    // Bytes on their way when it was cancelled or refused.
    if (write === undefined) return;
    if (bytes.length > write.destination.left) throw new FrameError('more bytes than were announced');
    if (this.#channel.isLocal && hostMilliseconds() > write.deadline) {
      this.#refuse(id, failed('the time of the transfer was over before its bytes were there'));
      return;
    }
    this.#refusing(id, () => {
      write.destination.fill(bytes);
      if (write.destination.left > 0) return;
      this.#writes.delete(id);
      this.#channel.send(FrameKind.ANSWER, id);
    });
  }

  cancel(id: number): void {
    this.#reads.delete(id);
    this.#writes.delete(id);
  }

  cut(): void {
    this.closed();
  }

  closed(): void {
    this.#reads.clear();
    this.#writes.clear();
  }

  #begin(kind: typeof FrameKind.READ | typeof FrameKind.WRITE, id: number, request: TransferRequest): void {
    if (this.#reads.has(id) || this.#writes.has(id)) throw new FrameError(`transfer ${id} was begun twice`);
    if (this.#reads.size + this.#writes.size >= MAX_OPEN)
      throw new FrameError(`more than ${MAX_OPEN} transfers at a time`);
    this.#refusing(id, () => {
      const spread = new Spread(this.#tensors(request), request.extents);
      if (kind === FrameKind.READ) {
        this.#reads.add(id);
        void this.#read(id, spread);
        return;
      }
      this.#writes.set(id, { destination: spread, deadline: request.deadline });
      this.#channel.send(FrameKind.READY, id);
      if (spread.left === 0) this.pushed(id, NOTHING);
    });
  }

  async #read(id: number, source: Spread): Promise<void> {
    try {
      await this.#channel.stream(FrameKind.PULLED, id, source, () => this.#reads.has(id));
      if (this.#reads.delete(id)) this.#channel.send(FrameKind.ANSWER, id);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#refuse(id, error);
    }
  }

  /** The tensors of a request, all of whose bytes may be read and written. */
  #tensors({ cacheId, firstTensor, tensors, extents }: TransferRequest): readonly Tensor[] {
    const entry = this.#entry(cacheId);
    if (firstTensor + tensors > entry.tensorCount) {
      throw failed(`tensors ${firstTensor} to ${firstTensor + tensors - 1} of ${entry.tensorCount} were asked for`);
    }
    for (const { offset, length } of extents) checkInside(offset, length, entry, 'remote');
    this.#end.checkReach(entry, firstTensor, tensors, 'remote');
    return entry.tensors.slice(firstTensor, firstTensor + tensors);
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
    this.cancel(id);
    this.#channel.send(FrameKind.REFUSAL, id, writeRefusal(refusal));
  }
}

const NOTHING = Buffer.alloc(0);
