import { Deadline } from '../../deadline';
import { fromText, toText } from './message-text';
import type { Line } from './line';

/** What one side does when the other one asks for it. */
export type Serve = (call: string, args: Readonly<Record<string, unknown>>) => unknown;

export interface RemoteCallsOptions {
  readonly serve: Serve;
  /** The other side has gone, or this one has closed. */
  readonly closed: () => void;
  /** What is waited for in vain then. */
  readonly gone: () => Error;
  /** What is given up when the time of a call is over. */
  readonly late: (call: string) => Error;
}

interface Waiting {
  answer(value: unknown): void;
  fail(error: Error): void;
}

/** Calls between two processes of a rehearsal, in both directions over one line. */
export class RemoteCalls {
  readonly #line: Line;
  readonly #options: RemoteCallsOptions;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #isOpen = true;

  constructor(line: Line, options: RemoteCallsOptions) {
    this.#line = line;
    this.#options = options;
    line.events = {
      arrived: (text) => {
        this.#take(text);
      },
      closed: () => {
        this.#end();
      },
    };
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** How many calls of this side have no answer yet. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** @param limitMs in real time; without it the call takes as long as it takes */
  ask(call: string, args: Readonly<Record<string, unknown>> = {}, limitMs?: number): Promise<unknown> {
    if (!this.#isOpen) return Promise.reject(this.#options.gone());
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const expire = () => {
        this.#settle(id, (one) => {
          one.fail(this.#options.late(call));
        });
      };
      const deadline = limitMs === undefined ? undefined : new Deadline(limitMs, () => 0, expire);
      this.#waiting.set(id, {
        answer: (value) => {
          deadline?.end();
          resolve(value);
        },
        fail: (error) => {
          deadline?.end();
          reject(error);
        },
      });
      this.#line.keepAlive(1);
      this.#line.send(toText({ ask: id, call, args }));
    });
  }

  close(): void {
    this.#line.close();
  }

  #end(): void {
    this.#isOpen = false;
    const { closed, gone } = this.#options;
    for (const id of [...this.#waiting.keys()]) {
      this.#settle(id, (one) => {
        one.fail(gone());
      });
    }
    closed();
  }

  /** What makes no sense ends the line: the other side is no process of this rehearsal, or of another version. */
  #take(text: string): void {
    let message: unknown;
    try {
      message = fromText(text);
    } catch {
      this.close();
      return;
    }
    const fields = typeof message === 'object' && message !== null ? message : {};
    const { ask, answer, call, args, value, error } = fields as Record<string, unknown>;
    if (typeof ask === 'number' && typeof call === 'string' && typeof args === 'object' && args !== null) {
      void this.#serve(ask, call, args as Record<string, unknown>);
    } else if (typeof answer === 'number') {
      this.#settle(answer, (one) => {
        if (error instanceof Error) one.fail(error);
        else one.answer(value);
      });
    } else this.close();
  }

  async #serve(answer: number, call: string, args: Readonly<Record<string, unknown>>): Promise<void> {
    let reply: unknown;
    try {
      const result = this.#options.serve(call, args);
      reply = { answer, value: result instanceof Promise ? ((await result) as unknown) : result };
    } catch (error) {
      reply = { answer, error };
    }
    this.#line.send(toText(reply));
  }

  #settle(id: number, settle: (one: Waiting) => void): void {
    const one = this.#waiting.get(id);
    if (one === undefined) return;
    this.#waiting.delete(id);
    this.#line.keepAlive(-1);
    settle(one);
  }
}
