import type { DeadlineClock } from '../../backend/backend';
import { ManualClock } from '../../backend/mock/clock';
import type { Clock, Schedule } from '../../backend/mock/clock';
import { checkFinite, checkInteger } from '../../check';
import { Deadline } from '../../deadline';
import { nodeTimers } from '../../node-timers';
import type { SharedRules } from './protocol';

/** What the clock asks of the hub. */
export type AskTime = (
  call: 'advance' | 'runAll' | 'schedule',
  args: Readonly<Record<string, unknown>>,
) => Promise<unknown>;

interface Wait {
  readonly ms: number;
  readonly isLimit: boolean;
  /** When it is due, on this clock. */
  due: number;
  readonly over: () => void;
  /** The time that it waits for does not come any more. */
  readonly lost?: (error: Error) => void;
  callOff(): void;
}

/** More than any test waits for, as on a `ManualClock`. */
const MAX_WAKES = 100_000;

const NEVER_ARMED = (): void => undefined;

/**
 * The time of a rehearsal over several processes: all of them see the same one, and any of them may advance it. What waits
 * before its process has joined waits until then.
 */
export class SharedClock implements Clock, DeadlineClock {
  readonly #ask: AskTime;
  readonly #keepAlive: (difference: 1 | -1) => void;
  readonly #manual = new ManualClock();
  readonly #waits = new Set<Wait>();
  #mode: 'joining' | 'manual' | 'real' = 'joining';
  /** What the real time has to be reduced by. */
  #origin = 0;

  /** @internal @param keepAlive counts what waits for the time of others */
  constructor(ask: AskTime, keepAlive: (difference: 1 | -1) => void) {
    this.#ask = ask;
    this.#keepAlive = keepAlive;
  }

  /** Milliseconds since the rehearsal began. */
  now(): number {
    return this.#mode === 'real' ? hostMs() - this.#origin : this.#manual.now();
  }

  /** Rejects when the hub of the rehearsal goes while the time is a manual one. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#wait({ ms, isLimit: false, due: 0, over: resolve, lost: reject, callOff: NEVER_ARMED });
    });
  }

  /** @internal For what is ended by other means when the hub goes. */
  after(ms: number, wake: () => void): () => void {
    return this.#wait({ ms, isLimit: false, due: 0, over: wake, callOff: NEVER_ARMED });
  }

  /** For limits: as on a `ManualClock`. When the hub goes, what is left of it passes in real time. */
  deadline(ms: number, expire: () => void): () => void {
    return this.#wait({ ms, isLimit: true, due: 0, over: expire, callOff: NEVER_ARMED });
  }

  /** How many sleep, in all processes. Deadlines of instances are not counted. */
  get sleeping(): Promise<number> {
    return this.#schedule().then(({ sleeping }) => sleeping);
  }

  /** When the first of them is due; `undefined` when nobody sleeps. */
  get nextDueMs(): Promise<number | undefined> {
    return this.#schedule().then(({ nextDueMs }) => nextDueMs);
  }

  /**
   * Lets `ms` milliseconds pass in all processes, as `ManualClock.advance` does in one: what waits is woken one after the other,
   * in order of time, and between two of them everything happens that follows, messages between instances included. Of what is
   * due in the same moment in two processes, that of the process which joined first is woken first.
   *
   * It cannot be known what follows from messages of other kinds (IPC, sockets, files), and from work in threads: wait for that
   * yourself.
   *
   * @throws TypeError, RangeError; Error when the time is a real one, the processes do not come to rest, or the hub has gone
   */
  async advance(ms: number): Promise<void> {
    await this.#ask('advance', { ms: checkFinite(ms, 'ms', 0) });
  }

  /**
   * Lets time pass until nothing sleeps in any process.
   * @param mostWakes how many are woken at most, default 100,000
   * @throws as {@link advance}; Error when something still sleeps after that many
   */
  async runAll(mostWakes = MAX_WAKES): Promise<void> {
    await this.#ask('runAll', { mostWakes: checkInteger(mostWakes, 'mostWakes', 1, Number.MAX_SAFE_INTEGER) });
  }

  /** @internal The process has joined. */
  start({ time, originNs }: SharedRules, now: number): void {
    this.#mode = time;
    this.#origin = Number(originNs) / 1e6;
    this.#manual.moveTo(now);
    for (const wait of this.#waits) this.#arm(wait);
  }

  /** @internal The hub has gone, or was never reached: what sleeps on a manual clock ends, and real time passes from now on. */
  lose(error: Error): void {
    if (this.#mode === 'real') return;
    const now = this.now();
    this.#mode = 'real';
    this.#origin = hostMs() - now;
    for (const wait of [...this.#waits]) {
      wait.callOff();
      if (wait.lost === undefined) this.#armReal(wait, wait.due - now);
      else this.#end(wait, () => wait.lost?.(error));
    }
  }

  /** @internal */
  get schedule(): Schedule {
    return this.#manual.schedule;
  }

  /** @internal Settles when nothing happens any more in this process by itself. */
  settled(): Promise<void> {
    return this.#manual.settled();
  }

  /** @internal It is so late by now. */
  moveTo(now: number): void {
    this.#manual.moveTo(now);
  }

  /** @internal Wakes the first in this process that is due. */
  wakeDue(): void {
    this.#manual.wakeDue();
  }

  async #schedule(): Promise<Schedule> {
    return (await this.#ask('schedule', {})) as Schedule;
  }

  #wait(wait: Wait): () => void {
    this.#waits.add(wait);
    this.#keepAlive(1);
    wait.due = this.now() + wait.ms;
    if (this.#mode !== 'joining') this.#arm(wait);
    return () => {
      wait.callOff();
      if (this.#waits.has(wait)) this.#end(wait);
    };
  }

  #arm(wait: Wait): void {
    wait.due = this.now() + wait.ms;
    if (this.#mode === 'real') {
      this.#armReal(wait, wait.ms);
      return;
    }
    const over = () => {
      this.#end(wait, wait.over);
    };
    wait.callOff = wait.isLimit ? this.#manual.deadline(wait.ms, over) : this.#manual.after(wait.ms, over);
  }

  #armReal(wait: Wait, ms: number): void {
    const end = hostMs() + ms;
    const over = () => {
      this.#end(wait, wait.over);
    };
    const deadline = new Deadline(Math.max(ms, 0), () => end - hostMs(), over);
    wait.callOff = () => {
      deadline.end();
    };
  }

  #end(wait: Wait, then?: () => void): void {
    this.#waits.delete(wait);
    this.#keepAlive(-1);
    then?.();
  }
}

/** Milliseconds of a clock that all processes of a host share. */
function hostMs(): number {
  return Number(nodeTimers.hostNanoseconds()) / 1e6;
}
