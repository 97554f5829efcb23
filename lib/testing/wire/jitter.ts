/**
 * Numbers between 0 and 1 that look random and follow from a seed, the two ends and how many came before between them. So
 * what happens between others does not change them.
 */
export class Jitter {
  readonly #seed: number;
  readonly #counts = new Map<string, number>();

  constructor(seed: number) {
    this.#seed = seed;
  }

  next(source: bigint, destination: bigint): number {
    const pair = `${source}>${destination}`;
    const count = this.#counts.get(pair) ?? 0;
    this.#counts.set(pair, count + 1);
    let hash = mix(this.#seed);
    for (const id of [source, destination]) {
      hash = mix(hash ^ Number(id & 0xffff_ffffn));
      hash = mix(hash ^ Number(id >> 32n));
    }
    return mix(hash ^ count) / 2 ** 32;
  }
}

/** Spreads 32 bits: a change of one of them changes about half of the result. */
function mix(bits: number): number {
  let hash = (bits + 0x9e37_79b9) | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
