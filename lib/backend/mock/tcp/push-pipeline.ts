import { Deadline } from '../../../deadline';
import { failed } from '../refusal';
import type { Channel } from './channel';
import type { TransferRequest } from './messages';
import { readNothing, writeTransfer } from './messages';
import { writeFrames } from './outgoing-transfer';
import type { Spread } from './spread';
import type { TimeLimit } from './time-limit';
import { hostMilliseconds } from './time-limit';

/** What is under way at most: enough to hide the round trip, and few enough lists of blocks to hold. */
const MAX_PARTS = 16;
const MAX_EXTENTS_UNDER_WAY = 65_536;

/** One WRITE of a push: a layer, or a part of one that has very many blocks. */
interface Part {
  readonly id: number;
  readonly extents: number;
  /** A part before it has failed. */
  abandoned: boolean;
}

/**
 * The parts of a push, which follow each other without waiting for the answers. The peer writes them in order, and none after
 * one that failed. Each has its time from the end of the one before on.
 */
export class PushPipeline {
  readonly #channel: Channel;
  readonly #newLimit: () => TimeLimit;
  readonly #parts: Part[] = [];
  /** Number of the last part of this push; 0 before the first one. */
  #last = 0;
  /** Why the first part failed that did. */
  #failure: { readonly error: unknown } | undefined;
  #deadline: Deadline | undefined;
  #waiting: (() => void)[] = [];

  /** @param newLimit the time of a part that begins now */
  constructor(channel: Channel, newLimit: () => TimeLimit) {
    this.#channel = channel;
    this.#newLimit = newLimit;
  }

  /**
   * Resolves when the next part may follow, which may be before this one is written.
   * @param written called when it is, and so are all parts before it
   * @throws Refusal when an earlier part, or this one, has failed
   */
  async push(transfer: Omit<TransferRequest, 'deadline'>, source: Spread, written?: () => void): Promise<void> {
    const extents = transfer.extents.length;
    while (this.#failure === undefined && !this.#hasRoom(extents)) await this.#change();
    if (this.#parts.length === 0) await this.#channel.untilAskable(this.#newLimit());
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#send(transfer, source, written);
  }

  /** Resolves when all parts of this push are written. @throws Refusal of the first one that failed */
  async confirm(): Promise<void> {
    await this.quiet();
    const failure = this.#failure;
    this.#failure = undefined;
    this.#last = 0;
    if (failure !== undefined) throw failure.error;
  }

  /** Resolves when no part is under way. */
  async quiet(): Promise<void> {
    while (this.#parts.length > 0) await this.#change();
  }

  #hasRoom(extents: number): boolean {
    if (this.#parts.length === 0) return true;
    const underWay = this.#parts.reduce((sum, part) => sum + part.extents, 0);
    return this.#parts.length < MAX_PARTS && underWay + extents <= MAX_EXTENTS_UNDER_WAY;
  }

  #send(transfer: Omit<TransferRequest, 'deadline'>, source: Spread, written: (() => void) | undefined): void {
    const isFirst = this.#parts.length === 0;
    const limit = this.#newLimit();
    const left = Math.max(Math.floor(limit.left), 0);
    const deadline = hostMilliseconds() + left;
    const request = { ...transfer, deadline, after: this.#last, waitMs: isFirst ? undefined : left };
    const { id, answer } = this.#channel.stream({
      limit,
      frames: (number) =>
        writeFrames(
          number,
          source,
          () => writeTransfer(request),
          (refusal) => {
            this.#channel.giveUp(number, refusal);
          },
        ),
      read: readNothing,
    });
    const part: Part = { id, extents: transfer.extents.length, abandoned: false };
    this.#last = id;
    this.#parts.push(part);
    if (isFirst) this.#arm(limit);
    answer.then(
      () => {
        written?.();
        this.#end(part);
      },
      (error: unknown) => {
        this.#fail(part, error);
      },
    );
  }

  #fail(part: Part, error: unknown): void {
    if (!part.abandoned) {
      // Those before it are still to be answered, and may fail as well.
      this.#failure = { error };
      for (const later of this.#parts.slice(this.#parts.indexOf(part) + 1)) {
        later.abandoned = true;
        this.#channel.giveUp(later.id, failed('an earlier part of the push failed'));
      }
    }
    this.#end(part);
  }

  #end(part: Part): void {
    const wasFirst = this.#parts[0] === part;
    this.#parts.splice(this.#parts.indexOf(part), 1);
    if (wasFirst) {
      this.#deadline?.end();
      if (this.#parts.length > 0) this.#arm(this.#newLimit());
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }

  /** Limits the time of the first of the parts that are under way. */
  #arm(limit: TimeLimit): void {
    this.#deadline = new Deadline(
      limit.left,
      () => limit.left,
      () => {
        const [first] = this.#parts;
        if (first !== undefined) this.#channel.giveUp(first.id, limit.refusal());
      },
    );
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }
}
