/** Numbers that look like chance and are the same for the same seed (mulberry32). */
export class Random {
  #state: number;

  /** @param seed uint32 */
  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** An integer of 0 to `bound` - 1; `bound` at most 2^53. */
  below(bound: number): number {
    // Two draws: one has 32 bits, and a transfer may have more bytes than that.
    const high = this.#next() >>> 5;
    const low = this.#next() >>> 6;
    return Math.floor(((high * 2 ** 26 + low) / 2 ** 53) * bound);
  }

  /** `count` different integers of 0 to `bound` - 1, or all of them. */
  someBelow(bound: number, count: number): Set<number> {
    const chosen = new Set<number>();
    // Floyd's algorithm: as many draws as numbers, however many of all there are.
    for (let top = Math.max(0, bound - count); top < bound; top++) {
      const candidate = this.below(top + 1);
      chosen.add(chosen.has(candidate) ? top : candidate);
    }
    return chosen;
  }

  /** The integers of 0 to `count` - 1 in another order. */
  shuffled(count: number): number[] {
    const numbers: number[] = [];
    for (let i = 0; i < count; i++) {
      const j = this.below(i + 1);
      numbers.push(numbers[j] ?? i);
      numbers[j] = i;
    }
    return numbers;
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }
}
