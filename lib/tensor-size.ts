import { bitsOf } from './data-type';

const MAX_INT64 = 0x7fff_ffff_ffff_ffffn;

/** Bytes of one tensor, or why it has none. */
export type TensorSize = { readonly byteLength: bigint; readonly bits: bigint } | { readonly problem: string };

/**
 * Bytes of one tensor as the library counts them: product of the shape times the bits of an element, rounded up to
 * whole bytes, and refused when a dimension is not positive, a product leaves int64 or the type has no size.
 */
export function tensorSize(shape: readonly bigint[], dataType: number): TensorSize {
  let elements = 1n;
  for (const dimension of shape) {
    if (dimension <= 0n) return { problem: `dimension ${dimension} of the shape is not positive` };
    elements *= dimension;
    if (elements > MAX_INT64) return { problem: `the number of elements of shape [${shape.join(', ')}] exceeds int64` };
  }
  const bitsPerElement = bitsOf(dataType);
  if (bitsPerElement === undefined) return { problem: `data type ${dataType} has no size` };
  const bits = elements * BigInt(bitsPerElement);
  const byteLength = (bits + 7n) / 8n;
  // The library multiplies by bytes for whole-byte types and by bits for the smaller ones.
  const product = bitsPerElement % 8 === 0 ? byteLength : bits;
  if (product > MAX_INT64) return { problem: `a tensor of shape [${shape.join(', ')}] exceeds int64 bytes` };
  return { byteLength, bits };
}
