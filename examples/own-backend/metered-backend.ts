import { LLMException } from 'llm-datadist';
import type { Backend } from 'llm-datadist';

/** What is known of the calls of one method. */
export interface CallMetrics {
  readonly calls: number;
  /** By the code of the exception. */
  readonly failures: Readonly<Record<string, number>>;
  readonly totalMs: number;
  readonly slowestMs: number;
}

/** What a service exports of its LLM-DataDist instances: how often each method was called, how it ended, how long it took. */
export class Metrics {
  readonly #byMethod = new Map<string, CallMetrics>();

  /** @param now - the time in milliseconds */
  constructor(private readonly now: () => number = () => performance.now()) {}

  of(method: string): CallMetrics {
    return this.#byMethod.get(method) ?? { calls: 0, failures: {}, totalMs: 0, slowestMs: 0 };
  }

  async measure<T>(method: string, result: Promise<T>): Promise<T> {
    const start = this.now();
    try {
      const value = await result;
      this.#add(method, start);
      return value;
    } catch (error) {
      this.#add(method, start, error instanceof LLMException ? error.code : 'OTHER');
      throw error;
    }
  }

  #add(method: string, start: number, failure?: string): void {
    const { calls, failures, totalMs, slowestMs } = this.of(method);
    const ms = this.now() - start;
    this.#byMethod.set(method, {
      calls: calls + 1,
      failures: failure === undefined ? failures : { ...failures, [failure]: (failures[failure] ?? 0) + 1 },
      totalMs: totalMs + ms,
      slowestMs: Math.max(slowestMs, ms),
    });
  }
}

/**
 * The backend, measured. The call is made before anything is awaited: a backend that reads block lists at once
 * (`readsBlocksAtOnce`) must see them as they are now.
 */
export function metered(backend: Backend, metrics: Metrics): Backend {
  return new Proxy(backend, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args);
        return result instanceof Promise ? metrics.measure(String(property), result) : result;
      };
    },
  });
}
