import { Deadline } from '../../../deadline';
import type { Refusal } from '../refusal';
import { FrameError } from './frame';
import type { OutgoingFrames } from './outbox';
import type { TimeLimit } from './time-limit';

/** What is asked for. */
export interface Request<T> {
  /** Makes the result of the answer, which is there during the call only. */
  read(answer: Buffer): T;
  /** Bytes that come before the answer. @returns how many were taken */
  readonly pulled?: (bytes: Buffer) => number;
}

/** A request that was made and is not answered. */
export interface Asked<T> {
  readonly id: number;
  readonly answer: Promise<T>;
}

export interface Exchange {
  readonly limit: TimeLimit;
  readonly pulled: ((bytes: Buffer) => number) | undefined;
  /** What the request is sent as, when that is more than a frame. */
  readonly frames: OutgoingFrames | undefined;
  answer(payload: Buffer): void;
  readonly refuse: (reason: unknown) => void;
}

/** Requests without an answer, those that were given up too. Further ones wait: the peer is not answering. */
const MAX_UNANSWERED = 32;

/** Requests of one side of a connection, by their numbers. */
export class Exchanges {
  readonly #open = new Map<number, Exchange>();
  /** Numbers of those that were given up and are still to be answered. */
  readonly #givenUp = new Set<number>();
  readonly #waiting = new Set<() => void>();
  #lastId = 0;

  /** Whether one more is to wait for answers to earlier ones. */
  get isFull(): boolean {
    return this.#open.size + this.#givenUp.size >= MAX_UNANSWERED;
  }

  /** Resolves when one was answered, or the connection ended. @throws Refusal when the time is over */
  untilAnswered(limit: TimeLimit): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        deadline.end();
        this.#waiting.delete(wake);
        resolve();
      };
      const deadline = new Deadline(
        limit.left,
        () => limit.left,
        () => {
          this.#waiting.delete(wake);
          reject(limit.refusal());
        },
      );
      this.#waiting.add(wake);
    });
  }

  nextId(): number {
    const id = (this.#lastId % 0xffff_ffff) + 1;
    this.#lastId = id;
    return id;
  }

  /** Numbers of those that are waited for. */
  get waitedFor(): readonly number[] {
    return [...this.#open.keys()];
  }

  begin<T>(id: number, request: Request<T>, limit: TimeLimit, frames?: OutgoingFrames): Asked<T> {
    const { pulled } = request;
    const answer = new Promise<T>((resolve, reject) => {
      this.#open.set(id, {
        limit,
        pulled,
        frames,
        answer: (payload) => {
          resolve(request.read(payload));
        },
        refuse: reject,
      });
    });
    return { id, answer };
  }

  /**
   * @returns the one of this number; `undefined` for one that was given up
   * @throws FrameError for one that was never made, or is answered
   */
  find(id: number): Exchange | undefined {
    const exchange = this.#open.get(id);
    if (exchange === undefined && !this.#givenUp.has(id))
      throw new FrameError(`an answer to request ${id}, which was never made or is answered`);
    return exchange;
  }

  /** The other side has answered; another one may take the place. */
  answered(id: number): void {
    this.#open.delete(id);
    this.#givenUp.delete(id);
    const [next] = this.#waiting;
    next?.();
  }

  /**
   * Nothing waits for this one any more.
   * @param isAnswered whether the other side will answer it all the same
   * @returns what it was, unless it was over
   */
  giveUp(id: number, isAnswered: (exchange: Exchange) => boolean): Exchange | undefined {
    const exchange = this.#open.get(id);
    if (exchange === undefined) return undefined;
    this.#open.delete(id);
    if (isAnswered(exchange)) this.#givenUp.add(id);
    return exchange;
  }

  /** The connection has ended. */
  clear(gone: () => Refusal): void {
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const exchange of open) exchange.refuse(gone());
    for (const wake of [...this.#waiting]) wake();
  }
}
