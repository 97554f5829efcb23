import { BLOCK_BYTES, TENSORS } from './geometry';

/** More blocks than any cache of the demo has. */
const BLOCK_SPACE = 32;

/**
 * Stands in for what a model computes: bytes that depend on the run of the prompt, the tensor, the block and the position
 * in it, so that nothing that lands in a wrong place goes unnoticed.
 */
export class Pattern {
  readonly #byPosition: Uint32Array;
  readonly #words = new Uint32Array(BLOCK_BYTES / Uint32Array.BYTES_PER_ELEMENT);
  readonly #bytes = new Uint8Array(this.#words.buffer);

  constructor() {
    this.#byPosition = this.#words.map((_, position) => scramble(position));
  }

  /** The bytes of one block of one tensor, in a buffer that the next call overwrites. */
  block(run: number, tensor: number, block: number): Uint8Array {
    // An odd factor keeps different places different; a xor keeps them so at each position.
    const key = Math.imul((run * TENSORS + tensor) * BLOCK_SPACE + block + 1, 0x9e37_79b1);
    const words = this.#words;
    for (let i = 0; i < words.length; i++) words[i] = (this.#byPosition[i] ?? 0) ^ key;
    return this.#bytes;
  }
}

/** Turns neighbours into numbers that look unrelated. */
function scramble(position: number): number {
  let word = Math.imul(position ^ (position >>> 16), 0x85eb_ca6b);
  word = Math.imul(word ^ (word >>> 13), 0xc2b2_ae35);
  return word ^ (word >>> 16);
}
