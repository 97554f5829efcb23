import { RELEASED } from '../../released';
import { Settlement } from './addon';
import type { Settle, Submitted } from './addon';

type Conclude = (value: unknown) => void;

/** What settles the promise that was made last. Functions and objects for each promise would cost each pull some percent. */
let resolveLast: Conclude;
let rejectLast: Conclude;
const executor = (resolve: Conclude, reject: Conclude): void => {
  resolveLast = resolve;
  rejectLast = reject;
};

/**
 * The promises of the calls that are in flight, by the numbers of the calls. They are made here and not in the addon: V8 ends the
 * process where a `vm` script runs out of its time in a promise hook, as AsyncLocalStorage has them, of a promise that C++ makes.
 */
export class PendingCalls {
  readonly #resolve: (Conclude | undefined)[] = [];
  readonly #reject: (Conclude | undefined)[] = [];

  /** The promise of a call that has just been handed over. */
  promise<T>(call: Submitted<T>): Promise<T> {
    return typeof call === 'number' ? this.#add<T>(call) : Promise.reject(call);
  }

  /**
   * Settles the promise of a call. There is none where JavaScript was stopped in between: then nothing waits for the call.
   * It refers to nothing else of its instance, because the addon keeps it.
   */
  readonly settle: Settle = (call, how = Settlement.Resolved, value) => {
    const resolve = this.#resolve[call];
    const reject = this.#reject[call];
    this.#resolve[call] = undefined;
    this.#reject[call] = undefined;
    switch (how) {
      case Settlement.Resolved:
        resolve?.(value);
        return undefined;
      case Settlement.Rejected:
        reject?.(value);
        return undefined;
      case Settlement.Withdrawn:
        reject?.(releasing(value, RELEASED));
        return undefined;
      case Settlement.Parted: {
        const returned = this.#add<unknown>(call);
        reject?.(releasing(value, returned));
        return returned;
      }
    }
  };

  #add<T>(call: number): Promise<T> {
    const promise = new Promise<unknown>(executor);
    this.#resolve[call] = resolveLast;
    this.#reject[call] = rejectLast;
    return promise as Promise<T>;
  }
}

/** The exception of a call that was given up carries what settles when the call has come back. */
function releasing(exception: unknown, released: Promise<unknown>): unknown {
  if (typeof exception === 'object' && exception !== null)
    Object.defineProperty(exception, 'released', { value: released, configurable: true, writable: true });
  return exception;
}
