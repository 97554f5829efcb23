/** Blocks of a pull: `src[i]` goes to `dst[i]`. */
export interface BlockLists {
  readonly src: BigUint64Array;
  readonly dst: BigUint64Array;
}

/** All rows once, `blocks` at a time; destinations fall while sources rise, so that no two blocks make one copy. */
export function reversingLists(rows: number, blocks: number): BlockLists[] {
  const lists: BlockLists[] = [];
  for (let first = 0; first + blocks <= rows; first += blocks) {
    const src = BigUint64Array.from({ length: blocks }, (_, i) => BigInt(first + i));
    lists.push({ src, dst: src.map((block) => BigInt(rows - 1) - block) });
  }
  return lists;
}

/** Buffers of the size of two caches, and the copy that a program would write which has both of them at hand. */
export class PlainCopy {
  readonly #blockBytes: number;
  readonly #src: readonly Uint8Array[];
  readonly #dst: readonly Uint8Array[];

  constructor(blockBytes: number, rows: number, tensors: number) {
    this.#blockBytes = blockBytes;
    // Written once, as the caches are: reading pages that nobody wrote reads one page of zeros, out of the cache.
    const tensor = (value: number): Uint8Array => new Uint8Array(rows * blockBytes).fill(value);
    this.#src = Array.from({ length: tensors }, (_, i) => tensor(i + 1));
    this.#dst = Array.from({ length: tensors }, () => tensor(0xff));
  }

  /** Bytes that one tensor of the destination holds now. */
  destination(tensor: number): Uint8Array | undefined {
    return this.#dst[tensor];
  }

  copy({ src, dst }: BlockLists): void {
    const bytes = this.#blockBytes;
    for (const [tensor, from] of this.#src.entries()) {
      const to = this.#dst[tensor];
      for (let i = 0; i < src.length; i++) {
        const start = Number(src[i]) * bytes;
        to?.set(from.subarray(start, start + bytes), Number(dst[i]) * bytes);
      }
    }
  }
}
