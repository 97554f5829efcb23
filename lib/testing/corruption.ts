import { Region } from '../backend/mock/address-space';
import { CacheEntry } from '../backend/mock/cache-table';
import type { MovedBytes } from '../backend/mock/transfer';
import type { Random } from '../random';

/** The bytes of a transfer, piece by piece. */
export function piecesOf({ side, cache, start, count, spans }: MovedBytes): Uint8Array[] {
  return cache.tensors.slice(start, start + count).flatMap(({ region, offset }) =>
    spans.map((span) => {
      const first = offset + span[side];
      return region.bytes.subarray(first, first + span.length);
    }),
  );
}

/** A cache that has these tensors as copies. */
export function copyOf({ cache, start, count }: Pick<MovedBytes, 'cache' | 'start' | 'count'>): CacheEntry {
  const { id, tensorBytes, rows } = cache;
  const tensors = cache.tensors.map((tensor, i) => {
    if (i < start || i >= start + count) return tensor;
    const { region, offset, handle } = tensor;
    const bytes = new Uint8Array(region.bytes.subarray(offset, offset + tensorBytes));
    return { region: new Region(region.address, region.placement, bytes), offset: 0, handle };
  });
  return new CacheEntry(id, tensors, tensorBytes, rows);
}

/** Changes `count` bytes, or all where there are no more; each one differs from what it was. */
export function corrupt(pieces: readonly Uint8Array[], count: number, random: Random): void {
  const total = pieces.reduce((sum, { length }) => sum + length, 0);
  const places = [...random.someBelow(total, count)].sort((a, b) => a - b);
  let passed = 0;
  let next = 0;
  for (const piece of pieces) {
    for (let place = places[next]; place !== undefined && place < passed + piece.length; place = places[++next]) {
      piece[place - passed] = (piece[place - passed] ?? 0) ^ (1 + random.below(0xff));
    }
    passed += piece.length;
  }
}
