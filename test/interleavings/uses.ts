import type { Cell } from './memory';

/** A row of a tensor that a call copies, and where to. */
export type Pair = readonly [src: Cell, dst: Cell];

interface Mark {
  readonly cell: Cell;
  readonly changes: number;
}

/**
 * The rows that one call reads and writes. From its start until it is released nothing else may write them; where something does,
 * or did when it began, the call proves nothing and what it wrote is not known.
 */
export class Uses {
  readonly #reads: readonly Cell[];
  readonly #writes: readonly Cell[];
  readonly #marks: readonly Mark[];
  #isClean: boolean;

  constructor(reads: readonly Cell[], writes: readonly Cell[]) {
    this.#reads = reads;
    this.#writes = writes;
    this.#isClean = reads.every(({ writers }) => writers === 0) && writes.every((cell) => cell.isFree);
    for (const cell of reads) cell.readers += 1;
    for (const cell of writes) {
      cell.writers += 1;
      cell.changes += 1;
    }
    this.#marks = [...reads, ...writes].map((cell) => ({ cell, changes: cell.changes }));
    // A row that is read and written by one call, or written twice, has no certain end.
    if (new Set([...reads, ...writes]).size < reads.length + writes.length) this.#isClean = false;
  }

  /** Whether no other call has written or may have written these rows since the start. */
  get isClean(): boolean {
    return this.#isClean && this.#marks.every(({ cell, changes }) => cell.changes === changes);
  }

  /** The call does nothing any more. */
  release(): void {
    for (const cell of this.#reads) cell.readers -= 1;
    for (const cell of this.#writes) {
      cell.writers -= 1;
      cell.changes += 1;
    }
  }
}
