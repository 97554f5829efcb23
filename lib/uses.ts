/**
 * How many calls use something at this moment - a peer, a cache, memory, an instance -, and what waits for the last of
 * them to end. Nothing is allocated by a call that nobody waits for.
 */
export class Uses {
  /**
   * Raised by {@link hold}, and by transfers themselves in the same way: when what lowers it again waits already, and with nothing in
   * between. A `vm` timeout or the end of a worker stops JavaScript wherever a function is entered or a loop goes round, also within an
   * `await` where promise hooks are installed, and no `finally` runs then. What was counted before that moment would stay counted for
   * ever.
   */
  count = 0;
  /** Those of before, where some calls have not ended: what was to wait for them has not, and the next one has to. */
  readonly #before: Uses | undefined;
  #moves = 0;
  #waiting: Waiter[] | undefined;
  /** What was said of calls that were given up, and use it until they come back; and when their peers are responsive again. */
  #stranded: Map<Error, Promise<void>> | undefined;

  /** @param before what new calls used until now */
  constructor(before?: Uses) {
    this.#before = before === undefined || before.count > 0 ? before : before.#before;
  }

  /** Everything that is used by calls, the earliest ones last. */
  get busy(): Uses[] {
    const busy: Uses[] = this.count > 0 ? [this] : [];
    for (let uses = this.#before; uses !== undefined; uses = uses.#before) if (uses.count > 0) busy.push(uses);
    return busy;
  }

  /** Grows whenever a call ends or gets a step further: what waits can distinguish slow calls from those that stand still. */
  get moves(): number {
    return this.#moves;
  }

  /** Counts a call until its answer has come. @returns the answer */
  hold<T>(answer: Promise<T>): Promise<T> {
    const held = this.#held(answer);
    // Nothing may come in between; see `count`.
    this.count += 1;
    return held;
  }

  async #held<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } finally {
      this.leave();
    }
  }

  leave(): void {
    this.count -= 1;
    this.#moves += 1;
    if (this.count > 0 || this.#waiting === undefined) return;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const { wake } of waiting) wake();
  }

  /**
   * A call that uses it was given up: nothing waits for it any more, though it may go on.
   * @param over settles when the peer of the call is responsive again
   */
  strand(error: Error, over: Promise<void>): void {
    this.#stranded ??= new Map();
    this.#stranded.set(error, over);
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const { giveUp } of waiting) giveUp(new StrandedError(error, over));
  }

  /** Such a call has come back. */
  comeBack(error: Error): void {
    this.#stranded?.delete(error);
    this.leave();
  }

  /** A call that uses it has got a step further. */
  move(): void {
    this.#moves += 1;
  }

  /**
   * Resolves when no call uses it. Who waits has seen to it that no new ones come.
   * @throws StrandedError where one of them was given up
   */
  whenIdle(): Promise<void> {
    if (this.count === 0) return Promise.resolve();
    const [stranded] = this.#stranded ?? [];
    return new Promise((wake, giveUp) => {
      if (stranded !== undefined) {
        giveUp(new StrandedError(...stranded));
        return;
      }
      this.#waiting ??= [];
      this.#waiting.push({ wake, giveUp });
    });
  }
}

interface Waiter {
  readonly wake: () => void;
  readonly giveUp: (error: StrandedError) => void;
}

/** What was waited for may never be idle. */
export class StrandedError extends Error {
  /**
   * @param cause what the call was rejected with that has not come back
   * @param over settles when the peer of that call is responsive again
   */
  constructor(
    override readonly cause: Error,
    readonly over: Promise<void>,
  ) {
    super(cause.message);
  }
}
