import { Settlement } from './addon';
import type { Settle, Submitted } from './addon';

/** What settles the promise of a call. */
interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
}

const RELEASED = Promise.resolve();

/**
 * The promises of the calls that are in flight, by the numbers of the calls. They are made here and not in the addon: V8 ends the
 * process where a `vm` script runs out of its time in a promise hook, as AsyncLocalStorage has them, of a promise that C++ makes.
 */
export class PendingCalls {
  readonly #pending: (Pending | undefined)[] = [];

  /** The promise of a call that has just been handed over. */
  promise<T>(call: Submitted<T>): Promise<T> {
    return typeof call === 'number' ? this.#add<T>(call) : Promise.reject(call);
  }

  /**
   * Settles the promise of a call. There is none where JavaScript was stopped in between: then nothing waits for the call.
   * It refers to nothing else of its instance, because the addon keeps it.
   */
  readonly settle: Settle = (call, how = Settlement.Resolved, value) => {
    const pending = this.#pending[call];
    this.#pending[call] = undefined;
    switch (how) {
      case Settlement.Resolved:
        pending?.resolve(value);
        return undefined;
      case Settlement.Rejected:
        pending?.reject(value);
        return undefined;
      case Settlement.Withdrawn:
        pending?.reject(releasing(value, RELEASED));
        return undefined;
      case Settlement.Parted: {
        const returned = this.#add<unknown>(call);
        pending?.reject(releasing(value, returned));
        return returned;
      }
    }
  };

  #add<T>(call: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#pending[call] = { resolve: resolve as (value: unknown) => void, reject };
    });
  }
}

/** The exception of a call that was given up carries what settles when the call has come back. */
function releasing(exception: unknown, released: Promise<unknown>): unknown {
  if (typeof exception === 'object' && exception !== null)
    Object.defineProperty(exception, 'released', { value: released, configurable: true, writable: true });
  return exception;
}
