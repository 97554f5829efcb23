/** A cache that its owner has unregistered, and that the package has not told the library about. */
interface HeldCache {
  /** Link calls that had been made when it was registered, and when it was unregistered. */
  readonly from: number;
  readonly to: number;
  /** Peers may have linked unseen; the count says whether anything has proved since that none is left. */
  readonly unseen: number | undefined;
}

/**
 * With guards the package unregisters in the library only when no link can be left that holds the memory: those links
 * that the instance has made and not unlinked, and, as long as it listens, any that a peer may have made.
 */
export class Holdings {
  readonly #hixl: boolean;
  readonly #registeredAt = new Map<number, number>();
  readonly #held = new Map<number, HeldCache>();
  /** By the id that the link call gave: the first and the last call that may have left a link. */
  readonly #links = new Map<number, { readonly first: number; last: number }>();
  #calls = 0;
  #proofs = 0;
  port: number | undefined;

  constructor(hixl: boolean, port: number | undefined) {
    this.#hixl = hixl;
    this.port = port;
  }

  registered(id: number): void {
    this.#registeredAt.set(id, this.#calls);
  }

  isHeld(id: number): boolean {
    return this.#held.has(id);
  }

  linked(ids: readonly number[], statuses: readonly string[]): void {
    this.#calls += 1;
    for (const [i, id] of ids.entries()) {
      // These say that nothing was begun.
      if (statuses[i] === 'LLM_LINK_FAILED' || statuses[i] === 'LLM_PARAM_INVALID') continue;
      const known = this.#links.get(id);
      if (known === undefined) this.#links.set(id, { first: this.#calls, last: this.#calls });
      else known.last = this.#calls;
    }
  }

  unlinked(ids: readonly number[], statuses: readonly string[]): void {
    for (const [i, id] of ids.entries()) if (statuses[i] === 'LLM_SUCCESS') this.#links.delete(id);
  }

  /** The default backend switches roles only where no link is left. */
  switched(port: number | undefined): void {
    if (this.#hixl) return;
    this.port = port;
    this.#links.clear();
    if (port === undefined) this.#proofs += 1;
  }

  /** @returns whether the library has to wait */
  withdraw(id: number): boolean {
    const unseen = this.port === undefined ? undefined : this.#proofs;
    const held = { from: this.#registeredAt.get(id) ?? 0, to: this.#calls, unseen };
    if (!this.#mayBeLinked(held)) return false;
    this.#held.set(id, held);
    return true;
  }

  /** The caches that the library is to be told about now. */
  released(): number[] {
    const ids = [...this.#held].flatMap(([id, held]) => (this.#mayBeLinked(held) ? [] : [id]));
    for (const id of ids) this.#held.delete(id);
    return ids;
  }

  #mayBeLinked({ from, to, unseen }: HeldCache): boolean {
    if (unseen !== undefined && unseen === this.#proofs) return true;
    return [...this.#links.values()].some(({ first, last }) => last > from && first <= to);
  }
}
