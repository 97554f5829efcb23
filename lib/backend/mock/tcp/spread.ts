import { failed } from '../refusal';
import type { Tensor } from '../registered-memory';
import { MAX_PAYLOAD } from './frame';
import type { Extent } from './messages';
import type { TurnBudget } from './turn-budget';
import { pieceWork } from './turn-budget';

/** Below this a separate frame costs more than a copy. */
const SMALL = 64 * 1024;
const GATHERED = 256 * 1024;

/** Pieces that are copied at a time: a transfer may be made of very many very small ones. */
const MAX_PIECES = 2048;

/** Tensors of a cache, from `first` on. */
export interface TensorRange {
  readonly tensors: readonly Tensor[];
  readonly first: number;
  readonly count: number;
}

/** The bytes of a transfer on one side, as they follow each other: tensor after tensor, extent after extent. */
export class Spread {
  readonly #tensors: readonly Tensor[];
  readonly #extents: readonly Extent[];
  readonly #budget: TurnBudget;
  #tensor: number;
  #extent = 0;
  /** Within the extent. */
  #offset = 0;
  #left: number;

  /**
   * @param budget that the work counts against
   * @throws Refusal for more bytes than can be counted
   */
  constructor({ tensors, first, count }: TensorRange, extents: readonly Extent[], budget: TurnBudget) {
    this.#tensors = tensors;
    this.#tensor = first;
    this.#budget = budget;
    this.#extents = extents;
    this.#left = count * extents.reduce((sum, { length }) => sum + length, 0);
    if (!Number.isSafeInteger(this.#left)) throw failed(`a transfer of ${this.#left} bytes`);
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
      if (tensor === undefined || extent === undefined || this.#left === 0)
        throw failed('the transfer has no more bytes');
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
    let done = first.length;
    for (let pieces = 1; done < frame.length && pieces < MAX_PIECES; pieces++) {
      const piece = this.next(frame.length - done);
      frame.set(piece, done);
      done += piece.length;
    }
    // What waits to be sent is counted by its bytes: a few of them must not hold a large buffer.
    return done < frame.length / 2 ? Buffer.from(frame.subarray(0, done)) : frame.subarray(0, done);
  }

  /**
   * Copies `bytes` to the next ones.
   * @returns how many: not all where they go to very many places
   */
  fill(bytes: Uint8Array): number {
    let done = 0;
    for (let pieces = 0; done < bytes.length && pieces < MAX_PIECES; pieces++) {
      const place = this.next(bytes.length - done);
      place.set(bytes.subarray(done, done + place.length));
      done += place.length;
    }
    return done;
  }

  #take({ region, offset }: Tensor, extent: Extent, length: number): Uint8Array {
    if (region.freed) throw failed('the memory was freed during the transfer');
    const start = offset + extent.offset + this.#offset;
    this.#offset += length;
    this.#left -= length;
    this.#budget.spend(pieceWork(length));
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
