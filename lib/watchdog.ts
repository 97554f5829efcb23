import type { Backend, ClusterInfo } from './backend/backend';
import { Deadline } from './deadline';
import { LLMException } from './exception';
import { nodeTimers } from './node-timers';
import { peerAddresses } from './peer-addresses';
import { atCaller } from './rejection';
import { shortList } from './short-list';
import { LLMStatusCode } from './status';
import type { Uses } from './uses';

/** A call of the library that may never return. */
export interface WatchedCall {
  readonly operation:
    | 'init'
    | 'switchRole'
    | 'linkClusters'
    | 'unlinkClusters'
    | 'registerCache'
    | 'unregisterCache'
    | 'allocateCache'
    | 'deallocateCache'
    | 'finalize';
  /** The peers that it talks to. */
  readonly clusters?: readonly ClusterInfo[];
  /** The time limit that the library was given; it does not always keep it. */
  readonly timeoutMs?: number;
  /**
   * Whether it only reads and changes the library's tables of caches and links, beside the calls of other instances: all of its time
   * counts then, not only what {@link Backend.controlElapsedMs} says.
   */
  readonly isOfTables?: boolean;
}

/** What a call waits for. */
export interface Awaited {
  readonly uses: Uses;
  readonly wait: () => Promise<void>;
  /** What these calls are, for the message. */
  readonly calls: string;
  /** The time limit that the library keeps for each of them. */
  readonly timeoutMs: number;
}

/** What is reported of a call that does not come back. */
interface Hang {
  readonly what: string;
  readonly remedy: string;
  readonly clusterId: bigint | undefined;
}

const CONNECTED_CLIENT =
  'Restart the process: the call cannot be ended. A client that is connected to the listen address and sends nothing ' +
  'may hold the library up: where this instance listens, check which clients are connected there.';

const LOCKED_TABLES =
  'Restart the process: the call cannot be ended. The library may keep its tables locked for a transfer that hangs, or for a ' +
  'peer that does not answer.';

/**
 * Sees to it that no caller waits for ever for a library that does not come back.
 *
 * What hangs in the library cannot be ended, and the library does not survive that its object is used meanwhile. So the
 * instance is lost then: the backend abandons what runs, and nothing is called any more.
 */
export class Watchdog {
  readonly #backend: Backend;
  readonly #clusterId: bigint;
  readonly #graceMs: number;
  readonly #onLoss: (loss: LLMException) => void;
  /** Calls that reject at once at a loss. */
  readonly #watched = new Set<(refusal: (operation: string) => LLMException) => void>();
  #loss: { readonly what: string; readonly rejection: LLMException } | undefined;

  /**
   * @param graceMs how long a call may take beyond its own time limit
   * @param onLoss called once
   */
  constructor(backend: Backend, clusterId: bigint, graceMs: number, onLoss: (loss: LLMException) => void) {
    this.#backend = backend;
    this.#clusterId = clusterId;
    this.#graceMs = graceMs;
    this.#onLoss = onLoss;
  }

  get isLost(): boolean {
    return this.#loss !== undefined;
  }

  /** Whether an error is the one that reported the loss. */
  hasToldBy(error: unknown): boolean {
    return error === this.#loss?.rejection;
  }

  /** @throws LLMException `LLM_FAILED` when the instance is lost */
  check(operation: string): void {
    if (this.#loss !== undefined) throw this.#refusal(operation, this.#loss.what, this.#loss.rejection);
  }

  /** Runs a call of the library that may never return. What comes of it after its time is dropped. */
  call<T>(call: WatchedCall, work: () => Promise<T>): Promise<T> {
    const { operation, clusters = [], timeoutMs = 0, isOfTables = false } = call;
    const allowedMs = Math.max(0, timeoutMs) + this.#graceMs;
    const start = this.#now();
    const restMs = () => {
      const insideMs = isOfTables ? undefined : this.#backend.controlElapsedMs?.();
      return insideMs === undefined ? 0 : allowedMs - insideMs;
    };
    return this.#watch(operation, allowedMs, restMs, work, () => {
      const elapsed = `${Math.round(this.#now() - start)} ms`;
      const peers = shortList(clusters.map(clusterWithAddresses)).join(', ');
      const [only] = clusters;
      const withoutPeer = isOfTables ? LOCKED_TABLES : CONNECTED_CLIENT;
      return {
        what: `${operation}${peers === '' ? '' : ` of ${peers}`} had not returned after ${elapsed}`,
        remedy: clusters.length === 0 ? withoutPeer : silentPeer(clusters),
        clusterId: clusters.length === 1 ? only?.remoteClusterId : undefined,
      };
    });
  }

  /** Waits until no call uses something. */
  idle(operation: string, { uses, wait, calls, timeoutMs }: Awaited): Promise<void> {
    if (uses.count === 0) return Promise.resolve();
    let seen = uses.moves;
    const allowedMs = timeoutMs + this.#graceMs;
    const restMs = () => {
      const moved = uses.moves !== seen;
      seen = uses.moves;
      return moved ? allowedMs : 0;
    };
    return this.#watch(operation, allowedMs, restMs, wait, () => ({
      what: `${operation} has waited ${allowedMs} ms for ${calls} (${uses.count} left), and none has come back`,
      remedy: 'Restart the process: a call that hangs inside the library cannot be ended.',
      clusterId: undefined,
    }));
  }

  #now(): number {
    return (this.#backend.clock ?? nodeTimers).now();
  }

  #watch<T>(
    operation: string,
    allowedMs: number,
    restMs: () => number,
    work: () => Promise<T>,
    describe: () => Hang,
  ): Promise<T> {
    let end = (): void => undefined;
    let rejection: LLMException | undefined;
    // A `vm` timeout may stop the call here, where nothing waits for it yet: then nothing is reported.
    const watch = { isHeld: false, isOver: false };
    let onLoss: ((refusal: (operation: string) => LLMException) => void) | undefined;
    const givenUp = new Promise<never>((_, reject) => {
      const tell = (exception: LLMException) => {
        end();
        rejection = exception;
        reject(exception);
      };
      onLoss = (refusal) => {
        tell(refusal(operation));
      };
      const expire = () => {
        if (!watch.isHeld) return;
        end();
        tell(this.#lose(operation, describe()));
      };
      const rest = () => (watch.isHeld ? restMs() : 0);
      const deadline = new Deadline(allowedMs, rest, expire, this.#backend.clock);
      end = () => {
        watch.isHeld = false;
        deadline.end();
        if (onLoss !== undefined) this.#watched.delete(onLoss);
      };
    });
    const race = async () => {
      try {
        this.check(operation);
        return await Promise.race([work(), givenUp]);
      } catch (error) {
        // A backend rejects what it abandons, and knows less of it.
        if (rejection !== undefined) throw atCaller(rejection);
        throw error;
      } finally {
        watch.isOver = true;
        end();
      }
    };
    const ended = race();
    // What ends the watch waits already, unless the call has failed at once: nothing may come in between.
    watch.isHeld = !watch.isOver;
    if (watch.isHeld && onLoss !== undefined) this.#watched.add(onLoss);
    return ended;
  }

  #lose(operation: string, { what, ...more }: Hang): LLMException {
    let cause: unknown;
    try {
      this.#backend.abandon?.();
    } catch (error) {
      cause = error;
    }
    const message = `${what}; the instance of cluster ${this.#clusterId} is lost`;
    let lose: (loss: LLMException) => void = () => undefined;
    const released = new Promise<void>((_, reject) => {
      lose = reject;
    });
    // Nothing has to be done with it.
    released.catch(() => undefined);
    const rejection = new LLMException(LLMStatusCode.LLM_TIMEOUT, {
      operation,
      message,
      recovery: 'fatal',
      deadline: 'package',
      released,
      cause,
      ...more,
    });
    lose(rejection);
    this.#loss = { what, rejection };
    this.#onLoss(rejection);
    for (const tell of [...this.#watched]) tell((of) => this.#refusal(of, what, rejection));
    return rejection;
  }

  #refusal(operation: string, what: string, cause: LLMException): LLMException {
    return new LLMException(LLMStatusCode.LLM_FAILED, {
      operation,
      message: `cluster ${this.#clusterId} is lost: ${what}`,
      remedy: 'Restart the process: nothing can be done with this instance any more.',
      recovery: 'fatal',
      cause,
    });
  }
}

function clusterWithAddresses({ remoteClusterId, remoteIpInfos }: ClusterInfo): string {
  return `cluster ${remoteClusterId} (${peerAddresses(remoteIpInfos)})`;
}

function silentPeer(clusters: readonly ClusterInfo[]): string {
  const all = clusters.flatMap(({ remoteIpInfos }) => remoteIpInfos);
  return (
    'Restart the process: the call cannot be ended. A peer may accept connections and not answer: check what listens on ' +
    `${peerAddresses(all)}.`
  );
}
