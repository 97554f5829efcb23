import type { Obstacles } from '../backend/mock/network';
import { pairOf } from './node-pair';

/** See {@link Partitions.state}; pairs as `pairOf` writes them. */
export interface PartitionState {
  readonly isolated: readonly bigint[];
  readonly parted: readonly string[];
  readonly joined: readonly string[];
}

/** Which nodes cannot reach each other. */
export class Partitions implements Obstacles {
  readonly #isolated = new Set<bigint>();
  readonly #parted = new Set<string>();
  /** Pairs that were healed by name although one of them is isolated. */
  readonly #joined = new Set<string>();

  between(from: bigint, to: bigint | undefined): boolean {
    // Asked on the way of every transfer: with nothing cut it costs nothing.
    if (this.#isolated.size === 0 && this.#parted.size === 0) return false;
    if (from === to) return false;
    if (to === undefined) return this.#isolated.has(from);
    const pair = pairOf(from, to);
    if (this.#parted.has(pair)) return true;
    return (this.#isolated.has(from) || this.#isolated.has(to)) && !this.#joined.has(pair);
  }

  /** All of it, as text may carry it. */
  get state(): PartitionState {
    return { isolated: [...this.#isolated], parted: [...this.#parted], joined: [...this.#joined] };
  }

  /** Becomes what another one is. */
  restore({ isolated, parted, joined }: PartitionState): void {
    this.healAll();
    for (const node of isolated) this.#isolated.add(node);
    for (const pair of parted) this.#parted.add(pair);
    for (const pair of joined) this.#joined.add(pair);
  }

  part(a: bigint, b: bigint): void {
    this.#parted.add(pairOf(a, b));
    this.#joined.delete(pairOf(a, b));
  }

  isolate(node: bigint): void {
    this.#isolated.add(node);
    removePairs(this.#joined, node);
  }

  healAll(): void {
    this.#isolated.clear();
    this.#parted.clear();
    this.#joined.clear();
  }

  healNode(node: bigint): void {
    this.#isolated.delete(node);
    removePairs(this.#parted, node);
  }

  healPair(a: bigint, b: bigint): void {
    this.#parted.delete(pairOf(a, b));
    if (this.#isolated.has(a) || this.#isolated.has(b)) this.#joined.add(pairOf(a, b));
  }
}

function removePairs(pairs: Set<string>, node: bigint): void {
  for (const pair of pairs) if (pair.split(' ').includes(String(node))) pairs.delete(pair);
}
