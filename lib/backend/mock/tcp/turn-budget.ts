import { nodeTimers } from '../../../node-timers';

/** What a connection may do in a turn of the event loop: one to three milliseconds of work. */
export const TURN_WORK = 8192;

/** Below this nothing is scheduled: most turns serve a request or two. */
const UNNOTICED = TURN_WORK / 8;

/** One unit is about the copy of a short piece. */
export const FRAME_WORK = 8;

/** Bytes that are copied, or passed to the socket, per unit. */
const BYTES_PER_UNIT_SHIFT = 9;

/** Bytes of fields per unit: an extent has 12. */
const FIELD_BYTES_PER_UNIT_SHIFT = 4;

/** To look at a tensor, or a connection, is so much cheaper than to copy a piece. */
const LOOKS_PER_UNIT_SHIFT = 4;

export const pieceWork = (byteLength: number): number => 1 + (byteLength >>> BYTES_PER_UNIT_SHIFT);

/** To receive fields and to make objects of them. */
export const fieldsWork = (byteLength: number): number => 1 + (byteLength >>> FIELD_BYTES_PER_UNIT_SHIFT);

export const looksWork = (count: number): number => count >>> LOOKS_PER_UNIT_SHIFT;

/**
 * The work of one connection in one turn of the event loop. What a peer asks for may take long; other connections, timers
 * and callers get their turn meanwhile. What cannot be divided may exceed a turn: the turns that follow pay for it.
 */
export class TurnBudget {
  readonly #next: () => void;
  #used = 0;
  #scheduled = false;

  /** @param next called in the first turn with work left, after one in which much was done */
  constructor(next: () => void) {
    this.#next = next;
  }

  get isSpent(): boolean {
    return this.#used >= TURN_WORK;
  }

  spend(work: number): void {
    this.#used += work;
    if (this.#used >= UNNOTICED && !this.#scheduled) this.#schedule();
  }

  #schedule(): void {
    this.#scheduled = true;
    nodeTimers.setImmediate(() => {
      this.#scheduled = false;
      this.#used = Math.max(0, this.#used - TURN_WORK);
      if (this.isSpent) this.#schedule();
      else this.#next();
    });
  }
}
