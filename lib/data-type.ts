/** Bytes and bits of one element, by {@link DataType}. */
const BITS: ReadonlyMap<number, number> = new Map(
  Object.entries({
    8: [2, 4, 12, 14, 15, 18, 21, 34, 35, 36, 37],
    16: [1, 6, 7, 19, 22, 27],
    32: [0, 3, 8, 20, 33],
    40: [25],
    64: [9, 10, 11, 16, 23, 26],
    128: [13, 17, 24],
    6: [38, 39],
    4: [29, 40, 41, 42],
    2: [31, 32],
    1: [30],
  }).flatMap(([bits, types]) => types.map((type): [number, number] => [type, Number(bits)])),
);

/**
 * Element types of a cache. They only serve to compute bytes: the library never compares the types of two caches.
 *
 * C++ `ge::DataType`, Python `DataType` (which has 14 of these members).
 */
export enum DataType {
  DT_FLOAT = 0,
  DT_FLOAT16 = 1,
  DT_INT8 = 2,
  DT_INT32 = 3,
  DT_UINT8 = 4,
  DT_INT16 = 6,
  DT_UINT16 = 7,
  DT_UINT32 = 8,
  DT_INT64 = 9,
  DT_UINT64 = 10,
  DT_DOUBLE = 11,
  DT_BOOL = 12,
  DT_STRING = 13,
  DT_DUAL_SUB_INT8 = 14,
  DT_DUAL_SUB_UINT8 = 15,
  DT_COMPLEX64 = 16,
  DT_COMPLEX128 = 17,
  DT_QINT8 = 18,
  DT_QINT16 = 19,
  DT_QINT32 = 20,
  DT_QUINT8 = 21,
  DT_QUINT16 = 22,
  DT_RESOURCE = 23,
  DT_STRING_REF = 24,
  DT_DUAL = 25,
  DT_VARIANT = 26,
  DT_BF16 = 27,
  DT_UNDEFINED = 28,
  DT_INT4 = 29,
  DT_UINT1 = 30,
  DT_INT2 = 31,
  DT_UINT2 = 32,
  DT_COMPLEX32 = 33,
  DT_HIFLOAT8 = 34,
  DT_FLOAT8_E5M2 = 35,
  DT_FLOAT8_E4M3FN = 36,
  DT_FLOAT8_E8M0 = 37,
  DT_FLOAT6_E3M2 = 38,
  DT_FLOAT6_E2M3 = 39,
  DT_FLOAT4_E2M1 = 40,
  DT_FLOAT4_E1M2 = 41,
  DT_HIFLOAT4 = 42,
  DT_MAX = 43,
}

/** Bits of one element, or `undefined` for a type that has no size (`DT_UNDEFINED`, `DT_MAX`, unknown numbers). */
export function bitsOf(dataType: number): number | undefined {
  return BITS.get(dataType);
}

/** Whether elements are smaller than a byte, so that rows may end in the middle of one. */
export function isSubByte(dataType: number): boolean {
  return (bitsOf(dataType) ?? 8) < 8;
}
