import { abortError } from './abort-error';
import type { DeadlineClock } from './backend/backend';
import type { CallLimits } from './call-options';
import type { Access, EarlyCall, EndedLink } from './rows-in-flight';
import { Deadline } from './deadline';
import { LLMException } from './exception';
import { RELEASED } from './released';
import { isAborted, offAbort, onAbort, reasonOf } from './signal-listeners';
import { callSite, moveStack } from './stack';
import { LLMStatusCode } from './status';

/** What is to be said of a call that ends early. */
export interface CallInfo {
  readonly operation: string;
  readonly clusterId?: bigint | undefined;
  readonly cacheId?: bigint | undefined;
}

/** What a call reports its early end to. */
export interface CallOwner {
  readonly clock: DeadlineClock | undefined;
  now(): number;
  /** The call was rejected and runs on in the library. */
  runsOn(call: LimitedCall): void;
  /**
   * Such a call has ended after all.
   * @param error what it has ended with
   * @returns what the end of its work in the transport waits for
   */
  hasEnded(call: LimitedCall, error: unknown): Promise<void> | undefined;
}

/** What a withdrawn call ends with inside; its caller has got another answer. */
class Withdrawn extends Error {}

/**
 * A call that may be rejected before it has ended. One that still waits is withdrawn then and never reaches the library. One that
 * runs goes on there; {@link released} settles when it writes and reads nothing any more.
 */
export class LimitedCall implements EarlyCall {
  readonly info: CallInfo;
  /** When it was made, in milliseconds of the clock of its deadlines. */
  readonly since: number;
  /** What it reads and writes, as far as it is known. */
  accesses: (() => readonly Access[]) | undefined;
  endedLink: EndedLink | undefined;
  readonly #owner: CallOwner;
  #isEnded = false;
  #isSettled = false;
  #isRunning = false;
  #isWithdrawn = false;
  #takeBack: (() => boolean) | undefined;
  #undo: (() => void) | undefined;
  #wake: (() => void) | undefined;
  #stop: (() => void) | undefined;
  #reject: ((error: Error) => void) | undefined;
  #release: (() => void) | undefined;
  #strand: ((error: unknown) => void) | undefined;

  constructor(info: CallInfo, owner: CallOwner) {
    this.info = info;
    this.since = owner.now();
    this.#owner = owner;
  }

  /** Whether its caller has got an answer before it has ended. */
  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** Whether it ended before it got to the library. Of a call in several steps: with none of them in the library. */
  get isWithdrawn(): boolean {
    return this.#isWithdrawn;
  }

  /** At each place where it has waited: throws where it was withdrawn meanwhile. */
  check(): void {
    if (this.#isEnded) throw new Withdrawn();
  }

  /** It gets to the library now, or the next step of it. */
  begin(): void {
    this.check();
    this.#isRunning = true;
    this.#takeBack = undefined;
  }

  /**
   * The backend has it.
   * @param takeBack returns whether the backend has taken the call out of its queue
   */
  canBeTakenBack(takeBack: () => boolean): void {
    this.#takeBack = takeBack;
  }

  /** What has been done for the call so far is undone by this if it is withdrawn. */
  onWithdrawal(undo: () => void): void {
    this.#undo = undo;
  }

  /** Waits for something, but no longer than until the call ends. */
  async orEnded<T>(waiting: Promise<T>): Promise<T> {
    const ended = new Promise<never>((_, reject) => {
      this.#wake = () => {
        reject(new Withdrawn());
      };
    });
    const answer = await Promise.race([waiting, ended]);
    this.check();
    return answer;
  }

  /** The answer of the call, or what ends it before. */
  race<T>(answer: Promise<T>, { signal, timeoutMs }: CallLimits): Promise<T> {
    const site = callSite();
    return new Promise<T>((resolve, reject) => {
      this.#reject = (error) => {
        moveStack(error, site);
        reject(error);
      };
      let deadline: Deadline | undefined;
      const abort = () => {
        this.end((released) => abortError(this.info.operation, reasonOf(signal), released));
      };
      const stop = () => {
        deadline?.end();
        if (signal !== undefined) offAbort(signal, abort);
      };
      this.#stop = stop;
      const settled = (error?: unknown) => {
        // Also where a `vm` timeout has stopped the call below, and its deadline is not known here.
        this.#isSettled = true;
        stop();
        if (this.#release === undefined) return;
        const rest = this.#owner.hasEnded(this, error);
        if (rest === undefined) this.#release();
        else void rest.then(this.#release, this.#strand);
      };
      answer.then(
        (value) => {
          settled();
          resolve(value);
        },
        (error: unknown) => {
          settled(error);
          // As it came: it has the stack of the call already.
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
          reject(error);
        },
      );
      if (signal !== undefined) {
        onAbort(signal, abort);
        // The backend may be the user's, and has been called.
        if (isAborted(signal)) abort();
      }
      if (timeoutMs !== undefined) {
        const expire = () => {
          this.end((released) => pastDeadline(this.info, timeoutMs, released));
        };
        deadline = new Deadline(timeoutMs, () => 0, expire, this.#owner.clock);
      }
    });
  }

  /** Rejects the call now, where it has not got its answer. */
  end(errorOf: (released: Promise<void>) => Error): void {
    if (this.#isEnded || this.#isSettled) return;
    this.#isEnded = true;
    this.#stop?.();
    const released = this.#released();
    this.#reject?.(errorOf(released));
    this.#wake?.();
  }

  /** The instance is lost: what the call still does is not known any more. */
  giveUp(error: unknown): void {
    this.#strand?.(error);
  }

  #released(): Promise<void> {
    if (!this.#isRunning || this.#takeBack?.() === true) {
      this.#isWithdrawn = true;
      this.#undo?.();
      return RELEASED;
    }
    const released = new Promise<void>((resolve, reject) => {
      this.#release = resolve;
      this.#strand = reject;
    });
    // Nothing has to be done with it.
    released.catch(() => undefined);
    this.#owner.runsOn(this);
    return released;
  }
}

/** Runs a call that its options may end early. */
export async function limited<T>(
  limits: CallLimits,
  info: CallInfo,
  owner: CallOwner,
  work: (call: LimitedCall) => Promise<T>,
): Promise<T> {
  const { signal } = limits;
  if (signal !== undefined && isAborted(signal)) throw abortError(info.operation, reasonOf(signal), RELEASED);
  const call = new LimitedCall(info, owner);
  const answer = work(call);
  return await call.race(answer, limits);
}

function pastDeadline(info: CallInfo, timeoutMs: number, released: Promise<void>): LLMException {
  return new LLMException(LLMStatusCode.LLM_TIMEOUT, {
    ...info,
    message: `the call had not ended ${timeoutMs} ms after it was made, which is the timeout in its options`,
    remedy: released === RELEASED ? NEVER_BEGUN : remedyOfRunning(info),
    recovery: 'retry',
    deadline: 'caller',
    released,
  });
}

const NEVER_BEGUN = 'The call never got to the library, and uses no memory. Repeat it with a larger timeout.';

/** Calls whose effect stays when they end later than their callers wait. Others move bytes, or what they make is undone. */
const TAKES_EFFECT: ReadonlySet<string> = new Set([
  'init',
  'finalize',
  'switchRole',
  'unregisterCache',
  'deallocateCache',
  'free',
]);

function remedyOfRunning({ operation, clusterId }: CallInfo): string {
  if (TAKES_EFFECT.has(operation))
    return (
      'The call goes on in the library, and takes effect when it succeeds there. Wait until `released` of this exception has ' +
      'settled; then repeat the call if you have to know that it has succeeded.'
    );
  const wait =
    'The call goes on in the library: do not use its memory before `released` of this exception has settled. Then repeat the ' +
    'call with a larger timeout.';
  if (clusterId === undefined) return wait;
  return (
    `${wait} If it comes back with a status that ends its link, \`released\` waits until cluster ${clusterId} has been relinked: ` +
    'the next transfer with the cluster then has the recovery relink, and so has the refusal of a call that uses the memory.'
  );
}
