import { invalid } from './refusal';
import type { Tensor } from './registered-memory';

/** Bytes of the table that peers copy: its limit, its header, and what a cache and a tensor take. */
const TABLE_BYTES = 1024 * 1024;
const HEADER_BYTES = 24;
const CACHE_BYTES = 64;
const TENSOR_BYTES = 8;

/** A registered cache, as its owner and those who copied the table see it. */
export class CacheEntry {
  /** Bytes of a row or block, rounded down. */
  readonly stride: number;

  constructor(
    readonly id: bigint,
    readonly tensors: readonly Tensor[],
    readonly tensorBytes: number,
    /** Rows, which are blocks as well. */
    readonly rows: number,
  ) {
    this.stride = Math.floor(tensorBytes / this.rows);
  }

  get tableBytes(): number {
    return CACHE_BYTES + TENSOR_BYTES * this.tensors.length;
  }
}

/** The library keeps the first dimension in 32 bits and divides by it. */
export function rowsOf(firstDimension: bigint): number {
  const rows = Number(BigInt.asUintN(32, firstDimension));
  if (rows > 0) return rows;
  throw invalid(`first dimension ${firstDimension} is a multiple of 2^32: the library would divide by zero`);
}

/** What a peer sees after it copied the table. */
export type Snapshot = ReadonlyMap<bigint, CacheEntry>;

/**
 * The caches of one instance and the table of them that it publishes to its peers.
 *
 * The two differ after a registration that did not fit: its entry stays, although it failed, and nothing is published
 * any more until enough is unregistered.
 */
export class CacheTable {
  readonly #entries = new Map<bigint, CacheEntry>();
  #bytes = HEADER_BYTES;
  #nextId = 1n;
  #version = 0;
  /** The published table where it is known; `undefined` while it equals the entries and nobody asked for it. */
  #published: Snapshot | undefined;

  /** Every registration that gets as far as the engine takes an id, whatever becomes of it. */
  takeId(): bigint {
    return this.#nextId++;
  }

  get(id: bigint): CacheEntry | undefined {
    return this.#entries.get(id);
  }

  add(entry: CacheEntry): void {
    this.#change(entry.tableBytes, () => this.#entries.set(entry.id, entry));
  }

  remove(id: bigint): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#change(-entry.tableBytes, () => this.#entries.delete(id));
  }

  /** The published table; `undefined` before the first successful registration, so that peers look again. */
  snapshot(): Snapshot | undefined {
    if (this.#version === 0) return undefined;
    this.#published ??= new Map(this.#entries);
    return this.#published;
  }

  #change(bytes: number, apply: () => void): void {
    this.#bytes += bytes;
    if (this.#bytes > TABLE_BYTES) {
      this.#published ??= new Map(this.#entries);
      apply();
      throw invalid(
        `the cache table needs ${this.#bytes} bytes (${HEADER_BYTES} + ${CACHE_BYTES} per cache + ${TENSOR_BYTES} per ` +
          `tensor) and holds ${TABLE_BYTES}`,
      );
    }
    apply();
    this.#version += 1;
    this.#published = undefined;
  }
}
