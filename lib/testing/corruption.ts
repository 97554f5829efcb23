import type { MovedBytes } from '../backend/mock/transfer';
import type { Random } from '../random';

/** The bytes at the destination of a transfer, piece by piece. */
export function piecesOf({ destination, start, count, spans, direction }: MovedBytes): Uint8Array[] {
  return destination.tensors.slice(start, start + count).flatMap(({ region, offset }) =>
    spans.map((span) => {
      const first = offset + (direction === 'pull' ? span.local : span.remote);
      return region.bytes.subarray(first, first + span.length);
    }),
  );
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
