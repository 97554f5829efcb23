/**
 * Numbers as the library reads them out of texts: C++ stream extraction in the C locale.
 *
 * White space may lead, nothing may trail, `+` and leading zeros are fine, an overflow is an error. All functions
 * answer `undefined` for a text that the library refuses.
 */

const INTEGER = /^[ \t\n\v\f\r]*([+-]?)([0-9]+)$/;
const DECIMAL = /^[ \t\n\v\f\r]*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)$/;
const DIGITS = /^[0-9]+$/;

/** More digits overflow every type; not converting them keeps a hostile text from costing time. */
const MAX_DIGITS = 20;

const UINT32_MAX = 2n ** 32n - 1n;
const INT64_MAX = 2n ** 63n - 1n;
/** Stands for every text that is no number, or one of too many digits: too large for any type. */
const OUT_OF_RANGE: Magnitude = { negative: false, magnitude: 2n ** 64n };

interface Magnitude {
  readonly negative: boolean;
  readonly magnitude: bigint;
}

/** `int32_t` */
export function parseInt32(text: string): number | undefined {
  const value = signed(text, 32);
  return value === undefined ? undefined : Number(value);
}

/** `int64_t` */
export function parseInt64(text: string): bigint | undefined {
  return signed(text, 64);
}

/** `uint32_t`. A negative text wraps (`-1` is 4294967295) as long as its magnitude fits. */
export function parseUint32(text: string): number | undefined {
  const { negative, magnitude } = integer(text) ?? OUT_OF_RANGE;
  if (magnitude > UINT32_MAX) return undefined;
  return Number(BigInt.asUintN(32, negative ? -magnitude : magnitude));
}

/** `double`: decimal digits with point and exponent; no hexadecimal, no infinity. */
export function parseDouble(text: string): number | undefined {
  const value = Number(DECIMAL.exec(text)?.[1] ?? Number.NaN);
  return Number.isFinite(value) ? value : undefined;
}

/** What `atoi` makes of digits: a 64-bit number that stops at its maximum, cut to 32 bits. Digits only. */
export function parseDigitsAsInt32(text: string): number | undefined {
  if (!DIGITS.test(text)) return undefined;
  const { magnitude } = integer(text) ?? OUT_OF_RANGE;
  return Number(BigInt.asIntN(32, magnitude < INT64_MAX ? magnitude : INT64_MAX));
}

function signed(text: string, bits: number): bigint | undefined {
  const { negative, magnitude } = integer(text) ?? OUT_OF_RANGE;
  const value = negative ? -magnitude : magnitude;
  return BigInt.asIntN(bits, value) === value ? value : undefined;
}

function integer(text: string): Magnitude | undefined {
  const [, sign, digits] = INTEGER.exec(text) ?? [];
  const significant = digits?.replace(/^0+(?=[0-9])/, '');
  if (significant === undefined || significant.length > MAX_DIGITS) return undefined;
  return { negative: sign === '-', magnitude: BigInt(significant) };
}
