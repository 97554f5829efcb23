import { failed } from '../refusal';
import type { Tensor } from '../registered-memory';
import { MAX_PAYLOAD } from './frame';
import type { Extent } from './messages';

/** Below this a frame of its own costs more than a copy. */
const SMALL = 64 * 1024;
const GATHERED = 256 * 1024;

/** The bytes of a transfer on one side, as they follow each other: tensor after tensor, extent after extent. */
export class Spread {
  readonly #tensors: readonly Tensor[];
  readonly #extents: readonly Extent[];
  #tensor = 0;
  #extent = 0;
  /** Within the extent. */
  #offset = 0;
  #left: number;

  constructor(tensors: readonly Tensor[], extents: readonly Extent[]) {
    this.#tensors = tensors;
    // Empty ones would only have to be skipped, and a stranger may send as many as he likes.
    this.#extents = extents.filter(({ length }) => length > 0);
    this.#left = tensors.length * this.#extents.reduce((sum, { length }) => sum + length, 0);
  }

  /** How many bytes are still to come. */
  get left(): number {
    return this.#left;
  }

  /**
   * The memory of the next bytes: at least one and at most `most`, as far as they lie together.
   * @throws Refusal when it was freed, or there are no more
   */
  next(most: number): Uint8Array {
    for (;;) {
      const tensor = this.#tensors[this.#tensor];
      const extent = this.#extents[this.#extent];
      if (tensor === undefined || extent === undefined) throw failed('the transfer has no more bytes');
      const length = Math.min(extent.length - this.#offset, most);
      if (length > 0) return this.#take(tensor, extent, length);
      this.#advance();
    }
  }

  /** The next bytes as one piece that is worth a frame: large ones as they lie in memory, small ones copied together. */
  nextFrame(): Uint8Array {
    const first = this.next(MAX_PAYLOAD);
    if (first.length >= SMALL || this.#left === 0) return first;
    const frame = Buffer.allocUnsafe(Math.min(first.length + this.#left, GATHERED));
    frame.set(first);
    for (let done = first.length; done < frame.length;) {
      const piece = this.next(frame.length - done);
      frame.set(piece, done);
      done += piece.length;
    }
    return frame;
  }

  /** Copies `bytes` to the next ones. */
  fill(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const place = this.next(bytes.length - done);
      place.set(bytes.subarray(done, done + place.length));
      done += place.length;
    }
  }

  #take({ region, offset }: Tensor, extent: Extent, length: number): Uint8Array {
    if (region.freed) throw failed('the memory was freed during the transfer');
    const start = offset + extent.offset + this.#offset;
    this.#offset += length;
    this.#left -= length;
    return region.bytes.subarray(start, start + length);
  }

  #advance(): void {
    this.#offset = 0;
    this.#extent += 1;
    if (this.#extent < this.#extents.length) return;
    this.#extent = 0;
    this.#tensor += 1;
  }
}
