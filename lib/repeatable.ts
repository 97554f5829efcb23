import type { LimitedCall } from './limited-call';

/**
 * The last call that gives something back, where its options may end it. One that runs when they do goes on and takes effect, and
 * its exception has the recovery `retry`: so the repetition joins it.
 */
export class Repeatable {
  readonly #call: LimitedCall;
  readonly #answer: Promise<void>;

  constructor(call: LimitedCall, answer: Promise<void>) {
    this.#call = call;
    this.#answer = answer;
  }

  /** Whether its caller got another answer, and it went on. */
  get ranOn(): boolean {
    return this.#call.isEnded && !this.#call.isWithdrawn;
  }

  /**
   * Whether it has succeeded after all, as soon as it has ended.
   * @param repetition where its options may end that one
   */
  async hasSucceeded(repetition: LimitedCall | undefined): Promise<boolean> {
    const succeeded = this.#answer.then(
      () => true,
      () => false,
    );
    return await (repetition === undefined ? succeeded : repetition.orEnded(succeeded));
  }
}
