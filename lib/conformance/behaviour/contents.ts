/** The bytes of a cache, tensor by tensor. */
export type Contents = readonly Uint8Array[];

/** Bytes that go from one tensor to another. */
export interface Piece {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/** What a transfer is to do: `pieces` in each pair of tensors. */
export interface Transfer {
  readonly tensors: readonly (readonly [from: number, to: number])[];
  readonly pieces: readonly Piece[];
}

/** What `target` must hold when the pieces of `source` have got there. */
export function transferred(source: Contents, target: Contents, { tensors, pieces }: Transfer): Contents {
  const result = target.map((tensor) => Uint8Array.from(tensor));
  for (const [from, to] of tensors) {
    for (const piece of pieces) {
      const bytes = source[from]?.subarray(piece.from, piece.from + piece.length);
      if (bytes !== undefined) result[to]?.set(bytes, piece.to);
    }
  }
  return result;
}

/** Each tensor that differs, and where it begins to. */
export function contentDifferences(actual: Contents, expected: Contents): string[] {
  return expected.flatMap((tensor, t) => {
    const found = actual[t] ?? new Uint8Array(0);
    if (found.length !== tensor.length) return [`tensor ${t} has ${found.length} bytes instead of ${tensor.length}`];
    const first = tensor.findIndex((byte, k) => byte !== found[k]);
    if (first < 0) return [];
    const count = tensor.reduce((sum, byte, k) => sum + (byte === found[k] ? 0 : 1), 0);
    return [
      `tensor ${t}: ${count} bytes differ, the first is ${first}: expected ${tensor[first]}, got ${found[first]}`,
    ];
  });
}
