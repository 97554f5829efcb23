/**
 * What the library can hold of caches. The mock answers by these limits, and guards keep callers away from them.
 */

/** Bytes of the table of caches that an instance publishes to its peers. */
export const TABLE_LIMIT = 1024 * 1024;
const TABLE_HEADER = 24;
const TABLE_PER_CACHE = 64;
const TABLE_PER_TENSOR = 8;

/** How the bytes of a table come about, for messages. */
export const TABLE_FORMULA = `${TABLE_HEADER} + ${TABLE_PER_CACHE} per cache + ${TABLE_PER_TENSOR} per tensor`;

/** Bytes of a table with this number of caches, and of tensors in all. */
export function tableBytes(caches: number, tensors: number): number {
  return TABLE_HEADER + TABLE_PER_CACHE * caches + TABLE_PER_TENSOR * tensors;
}

/** Most tensors that fit in a table, and so in a cache. */
export const MAX_TENSORS = Math.floor((TABLE_LIMIT - tableBytes(1, 0)) / TABLE_PER_TENSOR);

/** The library rounds the bits of types below a byte up to bytes in 32-bit arithmetic. */
export const MAX_SUB_BYTE_BITS = 0x7fff_ffffn;
