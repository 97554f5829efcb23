import { checkFinite, checkFunction, checkInteger, checkObject } from '../../check';
import { LONGEST_DELAY } from '../../deadline';
import { nodeTimers } from '../../node-timers';
import { EventLoop } from './event-loop';
import { Timetable } from './timetable';
import { turns } from './turns';

/**
 * Where the mock takes its time from. It waits for peers that never answer, until their timeout has passed, and, on a fabric
 * with a model of the wire, for the bytes of transfers.
 */
export interface Clock {
  /** Milliseconds since some fixed point. */
  now(): number;
  /** Settles when `ms` milliseconds of this clock have passed. */
  sleep(ms: number): Promise<void>;
  /** As {@link sleep}, with a callback, and it can be called off: by what it returns. A model of the wire needs it. */
  after?(ms: number, wake: () => void): () => void;
  /**
   * As {@link after}, for limits, of what is in the same instant the last. A clock that has it measures the deadlines of
   * instances too (`hangTimeout`), which otherwise run in real time.
   */
  deadline?(ms: number, expire: () => void): () => void;
}

/** The methods that a clock has to have, and those that it may have. */
const METHODS = ['now', 'sleep'] as const satisfies readonly (keyof Clock)[];
const OPTIONAL_METHODS = ['after', 'deadline'] as const satisfies readonly (keyof Clock)[];

/**
 * A clock of the user's own.
 * @param needed optional methods that have to be there too
 * @throws TypeError that names what is no function
 */
export function checkClock(value: unknown, name: string, needed: readonly (keyof Clock)[] = []): Clock {
  const clock = checkObject(value, name);
  for (const method of [...METHODS, ...needed]) checkFunction(clock[method], `${name}.${method}`);
  for (const method of OPTIONAL_METHODS) {
    if (clock[method] !== undefined) checkFunction(clock[method], `${name}.${method}`);
  }
  return value as Clock;
}

/** What a clock of this package is asked to do, and when: refused at the call, and not when the time has come. */
function checkWait(ms: unknown, wake: unknown, name = 'wake'): number {
  checkFunction(wake, name);
  return checkFinite(ms, 'ms', 0);
}

/**
 * The default: time passes only by waiting, and waiting takes no real time. A timeout of 60 s is over at once, and
 * {@link now} says that 60 s have passed. Deadlines of instances run in real time: what hangs waits for no clock.
 */
export class VirtualClock implements Clock {
  #now = 0;
  readonly #timetable = new Timetable();

  now(): number {
    return this.#now;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /** As {@link sleep}; what it returns calls it off. */
  after(ms: number, wake: () => void): () => void {
    const strike = this.#timetable.add(this.#now + checkWait(ms, wake), wake);
    // In a separate task, so that what others do meanwhile happens first, as it would with real time.
    const task = nodeTimers.setImmediate(() => {
      const due = this.#timetable.next;
      if (due === undefined) return;
      this.#now = Math.max(this.#now, due);
      this.#timetable.wakeNext();
    });
    return () => {
      nodeTimers.clearImmediate(task);
      strike();
    };
  }
}

/** After this number of turns without any change nothing follows any more from what was woken. */
const QUIET_TURNS = 3;

/** Turns in which calls settle and nothing sleeps: after this number they belong to a loop that never waits for this clock. */
const MAX_BUSY_TURNS = 10_000;

/** More than any test waits for. */
const MAX_WAKES = 100_000;

/** What waits on a manual clock, for one that several processes share. */
export interface Schedule {
  /** When the first is due, and whether it is a deadline. */
  readonly first: { readonly due: number; readonly isLimit: boolean } | undefined;
  /** How many sleep, without deadlines. */
  readonly sleeping: number;
  /** When the first of them is due. */
  readonly nextDueMs: number | undefined;
  /** Rises with all that comes or goes. */
  readonly changes: number;
}

/** Time stands still until {@link advance} is called. Works with jest's fake timers, and without. */
export class ManualClock implements Clock {
  #now = 0;
  readonly #timetable = new Timetable();
  #advances: Promise<void> = Promise.resolve();

  now(): number {
    return this.#now;
  }

  /** How many sleep. Deadlines of instances are not counted. */
  get sleeping(): number {
    return this.#timetable.waiting;
  }

  /** When the first sleeper is due, as {@link now} will say then; `undefined` when nothing sleeps. */
  get nextDueMs(): number | undefined {
    return this.#timetable.nextWaiting;
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /** As {@link sleep}; what it returns calls it off. */
  after(ms: number, wake: () => void): () => void {
    return this.#timetable.add(this.#now + checkWait(ms, wake), wake);
  }

  /** As {@link after}, behind all that sleep until the same moment, and not counted as one of them. */
  deadline(ms: number, expire: () => void): () => void {
    return this.#timetable.add(this.#now + checkWait(ms, expire, 'expire'), expire, true);
  }

  /**
   * Lets `ms` milliseconds pass. Sleepers are woken in order of time, and of arrival where that is the same: {@link now} is
   * then the moment at which the sleeper was due, and everything that follows from it happens before the next one is woken. So all of a
   * chain of waits happens that `ms` is enough for. What was begun before the call happens first.
   *
   * Calls of mock instances happen too that follow from it, up to 10,000 one after the other without a wait in between: a loop
   * that never waits does not stop the clock. It cannot be known what follows from work outside of this process or in its threads (sockets, files): wait for that
   * yourself. Calls one after the other need not be awaited; each begins when the one before has ended.
   *
   * @param ms 0 or more; 0 wakes sleepers that are due already
   * @throws TypeError, RangeError
   */
  async advance(ms: number): Promise<void> {
    const wait = checkFinite(ms, 'ms', 0);
    await this.#inTurn(async (loop) => {
      const end = this.#now + wait;
      for (;;) {
        const { next } = this.#timetable;
        if (next === undefined || next > end) break;
        await this.#wake(next, loop);
      }
      this.#now = end;
    });
  }

  /**
   * Lets time pass until nothing sleeps. A deadline expires only when it is due before the last one wakes.
   * @param mostWakes how many are woken at most, default 100,000
   * @throws TypeError, RangeError; Error when something still sleeps after that number
   */
  async runAll(mostWakes = MAX_WAKES): Promise<void> {
    const most = checkInteger(mostWakes, 'mostWakes', 1, Number.MAX_SAFE_INTEGER);
    await this.#inTurn(async (loop) => {
      for (let wakes = 0; this.sleeping > 0; wakes++) {
        if (wakes === most) {
          throw new Error(
            `${this.sleeping} still sleep after ${most} were woken: does something sleep again and again?`,
          );
        }
        await this.#wake(this.#timetable.next ?? this.#now, loop);
      }
    });
  }

  /** @internal */
  get schedule(): Schedule {
    const { first, waiting, nextWaiting, changes } = this.#timetable;
    return { first, sleeping: waiting, nextDueMs: nextWaiting, changes };
  }

  /** @internal It is so late by now; nothing is woken. */
  moveTo(now: number): void {
    this.#now = Math.max(this.#now, now);
  }

  /** @internal Wakes the first, if it is due. */
  wakeDue(): void {
    const { next } = this.#timetable;
    if (next !== undefined && next <= this.#now) this.#timetable.wakeNext();
  }

  /** @internal Settles when everything has happened that follows, in this process, from what was woken. */
  settled(): Promise<void> {
    return this.#inTurn(() => Promise.resolve());
  }

  async #wake(due: number, loop: EventLoop): Promise<void> {
    this.#now = Math.max(this.#now, due);
    this.#timetable.wakeNext();
    await this.#quiet(loop);
  }

  #inTurn(work: (loop: EventLoop) => Promise<void>): Promise<void> {
    const running = this.#advances.then(async () => {
      const loop = new EventLoop();
      try {
        await this.#quiet(loop);
        await work(loop);
      } finally {
        loop.close();
      }
    });
    // The next one begins also when this one fails; its own caller gets the failure.
    this.#advances = running.then(
      () => undefined,
      () => undefined,
    );
    return running;
  }

  /** Everything has happened that follows from what was woken, as far as it waits for nothing but the event loop. */
  async #quiet(loop: EventLoop): Promise<void> {
    let { changes } = this.#timetable;
    let settled = turns.count;
    let busy = 0;
    for (let quiet = 0; quiet < QUIET_TURNS; quiet++) {
      await loop.turn();
      const isBusy = turns.count !== settled;
      if (this.#timetable.changes !== changes) busy = 0;
      else if (!isBusy || busy === MAX_BUSY_TURNS) continue;
      else busy += 1;
      ({ changes } = this.#timetable);
      settled = turns.count;
      quiet = -1;
    }
  }
}

/**
 * The clock on the wall. Follows the fake timers of jest, and all that replace the global ones; deadlines of instances and limits
 * of connections do not.
 */
export class RealClock implements Clock {
  now(): number {
    return performance.now();
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.after(ms, resolve);
    });
  }

  /** As {@link sleep}; what it returns calls it off. */
  after(ms: number, wake: () => void): () => void {
    const wait = checkWait(ms, wake);
    let timer: NodeJS.Timeout;
    const arm = (rest: number): void => {
      const delay = Math.min(Math.ceil(rest), LONGEST_DELAY);
      timer = setTimeout(() => {
        if (delay < rest) arm(rest - delay);
        else wake();
      }, delay);
    };
    arm(wait);
    return () => {
      clearTimeout(timer);
    };
  }
}
