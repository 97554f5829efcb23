import { unfit } from './check';

/**
 * Counts what the lists and texts of one call hold together. Lists may share one array, and options one text: each of them
 * is within its limit, and the copies of all of them would take all memory. So a sum is counted before anything is copied.
 */
export class SumLimit {
  readonly #name: string;
  readonly #most: number;
  readonly #what: string;
  #sum = 0;

  /**
   * @param name of the argument
   * @param most how many there may be in all
   * @param what is counted, such as `addresses`
   */
  constructor(name: string, most: number, what: string) {
    this.#name = name;
    this.#most = most;
    this.#what = what;
  }

  /** @throws RangeError */
  add(count: number): void {
    this.#sum += count;
    if (this.#sum > this.#most) throw unfit(this.#name, `holds too much: at most ${this.#most} ${this.#what} in all`);
  }
}
