import { TABLE_FORMULA, TABLE_LIMIT, tableBytes } from '../../cache-limits';
import { invalid } from './refusal';
import type { Tensor } from './registered-memory';

/** What a peer's table of caches says of a cache. */
export interface CacheLayout {
  readonly id: bigint;
  readonly tensorCount: number;
  readonly tensorBytes: number;
  /** Rows, which are blocks as well. */
  readonly rows: number;
  /** Bytes of a row or block, rounded down. */
  readonly stride: number;
}

export const strideOf = (tensorBytes: number, rows: number): number => Math.floor(tensorBytes / rows);

/** A registered cache, as its owner and those of its process that copied the table see it. */
export class CacheEntry implements CacheLayout {
  /** Bytes of a row or block, rounded down. */
  readonly stride: number;

  constructor(
    readonly id: bigint,
    readonly tensors: readonly Tensor[],
    readonly tensorBytes: number,
    /** Rows, which are blocks as well. */
    readonly rows: number,
  ) {
    this.stride = strideOf(tensorBytes, rows);
  }

  get tensorCount(): number {
    return this.tensors.length;
  }

  tensorAt(index: number): Tensor {
    const tensor = this.tensors[index];
    if (tensor === undefined) throw invalid(`cache ${this.id} has ${this.tensors.length} tensors, not ${index + 1}`);
    return tensor;
  }
}

/** The library keeps the first dimension in 32 bits and divides by it. */
export function rowsOf(firstDimension: bigint): number {
  const rows = Number(BigInt.asUintN(32, firstDimension));
  if (rows > 0) return rows;
  throw invalid(`first dimension ${firstDimension} is a multiple of 2^32: the library would divide by zero`);
}

/** What a peer sees after it copied the table. */
export type Snapshot<Cache extends CacheLayout = CacheEntry> = ReadonlyMap<bigint, Cache>;

/**
 * The caches of one instance and the table of them that it publishes to its peers.
 *
 * The two differ after a registration that did not fit: its entry stays, although it failed, and nothing is published
 * any more until enough is unregistered.
 */
export class CacheTable {
  readonly #entries = new Map<bigint, CacheEntry>();
  #tensors = 0;
  #nextId = 1n;
  #version = 0;
  /** The published table where it is known; `undefined` while it equals the entries and nobody asked for it. */
  #published: Snapshot | undefined;

  /** Every registration that gets as far as the engine takes an id, whether it succeeds or not. */
  takeId(): bigint {
    return this.#nextId++;
  }

  get(id: bigint): CacheEntry | undefined {
    return this.#entries.get(id);
  }

  /** Registered caches, the oldest first. */
  get entries(): readonly CacheEntry[] {
    return [...this.#entries.values()];
  }

  add(entry: CacheEntry): void {
    this.#change(1, entry.tensors.length, () => this.#entries.set(entry.id, entry));
  }

  remove(id: bigint): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#change(-1, -entry.tensors.length, () => this.#entries.delete(id));
  }

  /** The published table; `undefined` before the first successful registration, so that peers look again. */
  snapshot(): Snapshot | undefined {
    if (this.#version === 0) return undefined;
    this.#published ??= new Map(this.#entries);
    return this.#published;
  }

  #change(caches: number, tensors: number, apply: () => void): void {
    this.#tensors += tensors;
    const bytes = tableBytes(this.#entries.size + caches, this.#tensors);
    if (bytes > TABLE_LIMIT) {
      this.#published ??= new Map(this.#entries);
      apply();
      throw invalid(`the cache table needs ${bytes} bytes (${TABLE_FORMULA}) and holds ${TABLE_LIMIT}`);
    }
    apply();
    this.#version += 1;
    this.#published = undefined;
  }
}
