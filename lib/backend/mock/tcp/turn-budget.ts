import { nodeTimers } from '../../../node-timers';

/** What a connection may do in a turn of the event loop: one to three milliseconds of work. */
const TURN_WORK = 8192;

/** Below this nothing is scheduled: most turns serve a request or two. */
const UNNOTICED = TURN_WORK / 8;

/** One unit is about the copy of a short piece. */
export const FRAME_WORK = 8;

/** Bytes that are copied, or passed to the socket, per unit. */
const BYTES_PER_UNIT_SHIFT = 9;

export const pieceWork = (byteLength: number): number => 1 + (byteLength >>> BYTES_PER_UNIT_SHIFT);

/**
 * The work of one connection in one turn of the event loop. What a peer asks for may take long; other connections, timers
 * and callers get their turn meanwhile.
 */
export class TurnBudget {
  readonly #next: () => void;
  #used = 0;
  #scheduled = false;

  /** @param next called in the turn after one in which much was done */
  constructor(next: () => void) {
    this.#next = next;
  }

  get isSpent(): boolean {
    return this.#used >= TURN_WORK;
  }

  spend(work: number): void {
    this.#used += work;
    if (this.#used < UNNOTICED || this.#scheduled) return;
    this.#scheduled = true;
    nodeTimers.setImmediate(() => {
      this.#scheduled = false;
      this.#used = 0;
      this.#next();
    });
  }
}
