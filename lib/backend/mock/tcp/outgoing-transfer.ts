import { Refusal } from '../refusal';
import { FrameKind } from './frame';
import type { OutgoingFrame, OutgoingFrames } from './outbox';
import type { Spread } from './spread';

/** The bytes of a transfer as frames, with one before and one behind them. */
export class OutgoingTransfer implements OutgoingFrames {
  begun = false;
  readonly #bytes: Spread;
  readonly #next: (piece: Uint8Array) => OutgoingFrame;
  #first: (() => OutgoingFrame) | undefined;
  #last: (() => OutgoingFrame) | undefined;
  readonly #failed: (refusal: Refusal) => void;

  /** @param failed called when the memory was freed; the frames end then */
  constructor(
    bytes: Spread,
    frames: {
      readonly first?: () => OutgoingFrame;
      readonly next: (piece: Uint8Array) => OutgoingFrame;
      readonly last?: () => OutgoingFrame;
    },
    failed: (refusal: Refusal) => void,
  ) {
    this.#bytes = bytes;
    this.#first = frames.first;
    this.#next = frames.next;
    this.#last = frames.last;
    this.#failed = failed;
  }

  next(): OutgoingFrame | undefined {
    this.begun = true;
    const first = this.#first;
    this.#first = undefined;
    if (first !== undefined) return first();
    if (this.#bytes.left > 0) return this.#nextPiece();
    const last = this.#last;
    this.#last = undefined;
    return last?.();
  }

  #nextPiece(): OutgoingFrame | undefined {
    try {
      return this.#next(this.#bytes.nextFrame());
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#last = undefined;
      this.#failed(error);
      return undefined;
    }
  }
}

/** What answers a READ. */
export function readFrames(
  id: number,
  bytes: Spread,
  ended: () => void,
  failed: (refusal: Refusal) => void,
): OutgoingFrames {
  return new OutgoingTransfer(
    bytes,
    {
      next: (payload) => ({ kind: FrameKind.PULLED, id, payload }),
      last() {
        ended();
        return { kind: FrameKind.ANSWER, id };
      },
    },
    failed,
  );
}

/** A WRITE and its bytes. */
export function writeFrames(
  id: number,
  bytes: Spread,
  request: () => Buffer,
  failed: (refusal: Refusal) => void,
): OutgoingFrames {
  return new OutgoingTransfer(
    bytes,
    {
      first: () => ({ kind: FrameKind.WRITE, id, payload: request() }),
      next: (payload) => ({ kind: FrameKind.PUSHED, id, payload }),
    },
    failed,
  );
}
