import type { MemoryRegion } from '../../lib';

export const ROW_BYTES = 24;

/** One row of one tensor, and what it is known to hold. */
export class Cell {
  /** The number of the write whose bytes it holds; `undefined` where that is not known. */
  stamp: number | undefined;
  /** Calls that may read or write it now, those among them that were rejected and are not released. */
  readers = 0;
  writers = 0;
  /** Rises whenever a call that may write it begins or ends. */
  changes = 0;

  get isFree(): boolean {
    return this.readers === 0 && this.writers === 0;
  }

  /** Nothing is known of it any more, and what is under way with it proves nothing. */
  forget(): void {
    this.changes += 1;
    this.stamp = undefined;
  }
}

/** The memory of one cache: of all tensors as many rows. */
export class Memory {
  readonly tensors: number;
  readonly rows: number;
  readonly tensorsPerLayer: number;
  readonly onHost: boolean;
  /** Where the program allocated it itself. */
  readonly regions: readonly MemoryRegion[] | undefined;
  readonly #cells: Cell[];

  constructor({ layers, tensorsPerLayer, rows, onHost }: Shape, regions?: readonly MemoryRegion[]) {
    this.tensors = layers * tensorsPerLayer;
    this.tensorsPerLayer = tensorsPerLayer;
    this.rows = rows;
    this.onHost = onHost;
    this.regions = regions;
    this.#cells = Array.from({ length: this.tensors * rows }, () => new Cell());
  }

  cell(tensor: number, row: number): Cell {
    const cell = this.#cells[row * this.tensors + tensor];
    if (cell === undefined) throw new Error(`there is no row ${row} of tensor ${tensor}`);
    return cell;
  }

  /** Of some tensors of a row. */
  cellsOf(row: number, [first, last]: readonly [number, number] = [0, this.tensors - 1]): Cell[] {
    return Array.from({ length: last - first + 1 }, (_, i) => this.cell(first + i, row));
  }

  forget(): void {
    for (const cell of this.#cells) cell.forget();
  }
}

interface Shape {
  readonly layers: number;
  readonly tensorsPerLayer: number;
  readonly rows: number;
  readonly onHost: boolean;
}

let lastStamp = 0;

/** A number that no other write has. */
export function newStamp(): number {
  lastStamp += 1;
  return lastStamp;
}

/** The bytes of a write; those of two writes differ everywhere almost surely. */
export function patternOf(stamp: number): Uint8Array {
  const bytes = new Uint8Array(ROW_BYTES);
  let state = Math.imul(stamp, 0x9e37_79b1) | 1;
  for (let i = 0; i < ROW_BYTES; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  // Readable in a report: which write it was.
  new DataView(bytes.buffer).setUint32(0, stamp);
  return bytes;
}
