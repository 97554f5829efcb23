/** Where the mock takes its time from. It waits only for peers that never answer: until their timeout has passed. */
export interface Clock {
  /** Milliseconds since some fixed point. */
  now(): number;
  /** Settles when `ms` milliseconds of this clock have passed. */
  sleep(ms: number): Promise<void>;
}

/**
 * The default: time passes only by waiting, and waiting takes no real time. A timeout of 60 s is over at once, and
 * {@link now} says that 60 s have passed.
 */
export class VirtualClock implements Clock {
  #now = 0;

  now(): number {
    return this.#now;
  }

  sleep(ms: number): Promise<void> {
    const due = this.#now + ms;
    // In a task of its own, so that what others do meanwhile happens first, as it would with real time.
    return new Promise((resolve) => {
      setImmediate(() => {
        this.#now = Math.max(this.#now, due);
        resolve();
      });
    });
  }
}

/** Time stands still until {@link advance} is called. */
export class ManualClock implements Clock {
  #now = 0;
  #sleepers: { due: number; wake: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  /** How many sleep: what a test waits for before it advances. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#sleepers.push({ due: this.#now + ms, wake: resolve });
    });
  }

  /** Wakes everyone who is due within the next `ms` milliseconds, in order. */
  advance(ms: number): void {
    this.#now += ms;
    const due = this.#sleepers.filter((sleeper) => sleeper.due <= this.#now).sort((a, b) => a.due - b.due);
    this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.due > this.#now);
    for (const sleeper of due) sleeper.wake();
  }
}

/** The clock on the wall. */
export class RealClock implements Clock {
  now(): number {
    return performance.now();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      setTimeout(resolve, ms);
    });
  }
}
