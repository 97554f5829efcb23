import { Lane } from './lane';
import type { Link } from './link';
import type { MockCall } from './mock-call';

/**
 * The links of one instance, and the library's lock of them. A lookup takes the lock. The removal of a link
 * waits for the transfers of that link with the lock held: while one of them hangs, no link can be looked up.
 */
export class LinkTable {
  readonly #links = new Map<bigint, Link>();
  readonly #lock = new Lane();

  get all(): ReadonlyMap<bigint, Link> {
    return this.#links;
  }

  /**
   * Resolves when the lock is free; `undefined` where it is free already.
   * @param call can be withdrawn while it waits
   */
  unlocked(call?: MockCall): void | Promise<void> {
    return this.#lock.run(nothing, call);
  }

  /**
   * Ends this side of a link, after its transfers.
   * @param disconnect called before that
   */
  drop(peerId: bigint, disconnect?: (link: Link) => void | Promise<void>): void | Promise<void> {
    return this.#lock.run(() => this.#dropIdle(peerId, disconnect));
  }

  /** Stores a link. One that the id had goes on, and nothing finds it any more. */
  put(peerId: bigint, link: Link): void | Promise<void> {
    return this.#lock.run(() => {
      this.#links.set(peerId, link);
    });
  }

  /** Stores a link, and ends the one that the id had, after its transfers. */
  replace(peerId: bigint, link: Link): void | Promise<void> {
    return this.#lock.run(() => {
      const dropping = this.#dropIdle(peerId);
      const set = () => {
        this.#links.set(peerId, link);
      };
      if (dropping !== undefined) return dropping.then(set);
      set();
      return undefined;
    });
  }

  /** Ends this side of all links at once: the instance is over. */
  clear(): void {
    for (const link of this.#links.values()) link.close();
    this.#links.clear();
  }

  #dropIdle(peerId: bigint, disconnect?: (link: Link) => void | Promise<void>): void | Promise<void> {
    const link = this.#links.get(peerId);
    if (link === undefined) return undefined;
    const end = () => {
      link.close();
      // The instance may be over by now, and its links with it.
      if (this.#links.get(peerId) === link) this.#links.delete(peerId);
    };
    const waiting = link.idle();
    if (waiting === undefined && disconnect === undefined) {
      end();
      return undefined;
    }
    return Promise.resolve(waiting)
      .then(() => disconnect?.(link))
      .then(end);
  }
}

function nothing(): void {
  // The lock was all that was wanted.
}
