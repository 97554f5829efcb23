import type { CallOptions } from '../../lib';
import { abortInTime, earlyEndOf, listenersLeft, problemOf, releaseOf } from './early-end';
import type { Limits } from './steps';
import type { Uses } from './uses';

/** One call that an interleaving makes. */
export interface Call<T> {
  /** For the report: the number of its step. */
  readonly step: number;
  readonly operation: string;
  readonly limits?: Limits | undefined;
  readonly uses?: Uses | undefined;
  readonly make: (options: CallOptions | undefined) => Promise<T>;
  /** What follows from its success, while nothing else can use its rows. */
  readonly resolved?: (value: T) => void;
  readonly rejected?: (error: unknown) => void;
  /** When it does nothing any more. */
  readonly released?: () => void;
}

/** The calls of an interleaving: those that have not settled, those not released, and what was wrong with any. */
export class Calls {
  readonly problems: string[] = [];
  readonly #sleep: (ms: number) => Promise<void>;
  readonly #running = new Map<number, string>();
  readonly #unreleased = new Map<number, string>();
  #made = 0;
  readonly outcomes = new Map<string, number>();

  constructor(sleep: (ms: number) => Promise<void>) {
    this.#sleep = sleep;
  }

  get running(): string[] {
    return [...this.#running.values()];
  }

  get unreleased(): string[] {
    return [...this.#unreleased.values()];
  }

  start<T>(call: Call<T>): void {
    const { step, operation, limits, make } = call;
    const key = (this.#made += 1);
    const name = `${operation} of step ${step}`;
    const early = earlyEndOf(limits);
    let promise: Promise<T>;
    try {
      promise = make(early.options);
    } catch (error) {
      this.problems.push(`${name} threw at once: ${String(error)}`);
      call.uses?.release();
      return;
    }
    this.#running.set(key, name);
    void abortInTime(early, this.#sleep);
    const release = () => {
      this.#unreleased.delete(key);
      call.uses?.release();
      call.released?.();
    };
    const settled = (outcome: string) => {
      this.#running.delete(key);
      const line = `${operation} ${outcome}`;
      this.outcomes.set(line, (this.outcomes.get(line) ?? 0) + 1);
      const left = listenersLeft(early);
      if (left > 0) this.problems.push(`${name} left ${left} listeners on its signal`);
    };
    promise.then(
      (value) => {
        settled('resolved');
        call.resolved?.(value);
        release();
      },
      (error: unknown) => {
        settled(outcomeOf(error));
        const problem = problemOf(error, operation, early);
        if (problem !== undefined) this.problems.push(`${name}: ${problem}`);
        call.rejected?.(error);
        const released = releaseOf(error);
        if (released === undefined) {
          release();
          return;
        }
        this.#unreleased.set(key, name);
        // Where it never returns its rows are never free again.
        released.then(release, () => this.#unreleased.delete(key));
      },
    );
  }
}

function outcomeOf(error: unknown): string {
  const { name, code, deadline } = error as Partial<Record<'name' | 'code' | 'deadline', string>>;
  const kind = (name === 'AbortError' ? name : code) ?? 'other';
  return deadline === undefined ? kind : `${kind} (${deadline})`;
}
