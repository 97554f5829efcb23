import { nodeTimers } from '../../node-timers';

/** Finds out that the hub does not run any more although its connection is open: it is stopped, or its machine has gone. */
export class HubPulse {
  readonly #intervalMs: number;
  readonly #ask: () => Promise<unknown>;
  readonly #lost: (error: Error) => void;
  #timer: NodeJS.Timeout | undefined;
  #isAsking = false;
  #isOver = false;

  /**
   * @param limitMs how long the hub may take to answer; it is asked twice in that time
   * @param ask asks it for an answer; rejects when that does not come in time
   * @param lost called once, with that error
   */
  constructor(limitMs: number, ask: () => Promise<unknown>, lost: (error: Error) => void) {
    this.#intervalMs = Math.ceil(limitMs / 2);
    this.#ask = ask;
    this.#lost = lost;
    this.#arm();
  }

  /** Whether an answer is waited for. */
  get isAsking(): boolean {
    return this.#isAsking;
  }

  stop(): void {
    this.#isOver = true;
    nodeTimers.clearTimeout(this.#timer);
  }

  #arm(): void {
    const timer = nodeTimers.setTimeout(() => void this.#beat(), this.#intervalMs);
    this.#timer = timer.unref();
  }

  async #beat(): Promise<void> {
    this.#isAsking = true;
    try {
      await this.#ask();
      if (!this.#isOver) this.#arm();
    } catch (error) {
      if (!this.#isOver) this.#lost(error as Error);
    } finally {
      this.#isAsking = false;
    }
  }
}
