import { Withdrawn } from './mock-call';
import type { MockCall } from './mock-call';

/** Work that waits for its turn. */
interface Waiting {
  readonly start: () => void;
  previous: Waiting | undefined;
  next: Waiting | undefined;
}

/**
 * What the library guards with a mutex: work that runs one after the other, in the order in which it came.
 *
 * Work that does not wait runs at once, on the caller's turn: a promise per step would cost more than a small pull.
 */
export class Lane {
  #isBusy = false;
  #first: Waiting | undefined;
  #last: Waiting | undefined;

  /**
   * Runs `work` when everything before it has ended.
   * @param call can be withdrawn while it waits here; the result is rejected with {@link Withdrawn} then
   */
  run(work: () => void | Promise<void>, call?: MockCall): void | Promise<void> {
    if (this.#isBusy) return this.#wait(work, call);
    const running = work();
    if (running === undefined) return undefined;
    this.#isBusy = true;
    const over = () => {
      this.#startNext();
    };
    // The next one starts however this one ends; its failure goes to its caller.
    running.then(over, over);
    return running;
  }

  #wait(work: () => void | Promise<void>, call: MockCall | undefined): Promise<void> {
    let hasTurn = false;
    const turn = new Promise<void>((resolve, reject) => {
      const start = () => {
        hasTurn = true;
        call?.goOn();
        resolve();
      };
      const waiting: Waiting = { start, previous: this.#last, next: undefined };
      call?.wait(() => {
        this.#remove(waiting);
        reject(new Withdrawn());
      });
      this.#add(waiting);
    });
    const running = turn.then(() => {
      call?.check();
      return work();
    });
    const over = () => {
      if (hasTurn) this.#startNext();
    };
    running.then(over, over);
    return running;
  }

  #startNext(): void {
    const first = this.#first;
    if (first === undefined) {
      this.#isBusy = false;
      return;
    }
    this.#remove(first);
    first.start();
  }

  #add(waiting: Waiting): void {
    if (this.#last === undefined) this.#first = waiting;
    else this.#last.next = waiting;
    this.#last = waiting;
  }

  #remove({ previous, next }: Waiting): void {
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
  }
}
