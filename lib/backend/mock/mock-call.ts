import { LLMStatusCode } from '../../status';
import type { ObservedCall } from './call-observer';
import { Refusal } from './refusal';

/** What a call ends with that was withdrawn. Its caller has another answer. */
export class Withdrawn extends Refusal {
  constructor() {
    super(LLMStatusCode.LLM_FAILED, 'the call was withdrawn before it began');
  }
}

/**
 * A call of a mock instance. A transfer can be withdrawn as long as it waits for its turn.
 *
 * An instance uses one object for one call after the other: most calls are over at once, and an object for each of them would
 * be a noticeable part of a small transfer.
 */
export class MockCall {
  #observed: ObservedCall | undefined;
  #state: 'waiting' | 'running' | 'withdrawn' = 'running';
  #leave: (() => void) | undefined;

  /** What an observer knows the call by. */
  get observed(): ObservedCall | undefined {
    return this.#observed;
  }

  /**
   * A call is made.
   * @param canWait whether it may have to wait for its turn
   */
  start(observed: ObservedCall | undefined, canWait: boolean): void {
    this.#observed = observed;
    this.#state = canWait ? 'waiting' : 'running';
    this.#leave = undefined;
  }

  /**
   * It waits in a queue.
   * @param leave takes it out of the queue, and makes the wait fail with {@link Withdrawn}
   */
  wait(leave: () => void): void {
    this.check();
    this.#leave = leave;
  }

  /** Its turn in that queue has come. */
  goOn(): void {
    this.#leave = undefined;
  }

  /** After each wait. @throws Withdrawn */
  check(): void {
    if (this.#state === 'withdrawn') throw new Withdrawn();
  }

  /** From now on it runs, as in the library. @throws Withdrawn */
  begin(): void {
    this.check();
    this.#state = 'running';
  }

  /** Takes the call back. @returns false where it runs or has ended */
  withdraw(): boolean {
    if (this.#state === 'running') return false;
    this.#state = 'withdrawn';
    const leave = this.#leave;
    this.#leave = undefined;
    leave?.();
    return true;
  }
}
