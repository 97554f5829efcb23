/** Numbers that look random and are the same in every run. */
export class Numbers {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** A whole number from 0 to `limit - 1`, at most 2^16. */
  below(limit: number): number {
    // Of Numerical Recipes; the upper bits are the better ones.
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    return (this.#state >>> 16) % limit;
  }

  /** The numbers from 0 to `count - 1` in another order. */
  shuffled(count: number): number[] {
    const numbers: number[] = [];
    for (let i = 0; i < count; i++) {
      const j = this.below(i + 1);
      numbers.push(numbers[j] ?? i);
      numbers[j] = i;
    }
    return numbers;
  }
}
