import { types } from 'node:util';

/**
 * Checks of JavaScript values, made once, above the seam, for every backend.
 *
 * They look at types and at what fits the C++ type, never at meaning: meaning is the library's answer (or a guard's).
 * Each property of a caller's object is read once, so that a getter or a proxy cannot change a value between check and use.
 */

const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;
const MAX_INT64 = 0x7fff_ffff_ffff_ffffn;
const MIN_INT64 = -0x8000_0000_0000_0000n;

/** Longest list that is taken from JavaScript. A proxy may claim any length, and reading it must not hang the process. */
export const MAX_LIST_LENGTH = 2 ** 24;

export function invalidArgType(name: string, expected: string, actual: unknown): TypeError {
  return Object.assign(new TypeError(`The "${name}" argument must be ${expected}. Received ${describe(actual)}`), {
    code: 'ERR_INVALID_ARG_TYPE' as const,
  });
}

export function outOfRange(name: string, range: string, actual: unknown): RangeError {
  return Object.assign(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${describe(actual)}`),
    { code: 'ERR_OUT_OF_RANGE' as const },
  );
}

/** Never runs code of the value: a message about a hostile value must not execute it. */
function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
    case 'bigint':
      return `${value}n`;
    case 'function':
      return 'a function';
    case 'object':
      if (value === null) return 'null';
      if (types.isProxy(value)) return 'a Proxy';
      if (Array.isArray(value)) return 'an Array';
      return types.isTypedArray(value) ? 'a TypedArray' : 'an object';
    case 'number':
      return Object.is(value, -0) ? '-0' : String(value);
    default:
      return String(value);
  }
}

export function checkString(value: unknown, name: string): string {
  if (typeof value !== 'string') throw invalidArgType(name, 'a string', value);
  return value;
}

export function checkBoolean(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw invalidArgType(name, 'a boolean', value);
  return value;
}

/** A non-null object that is no array and no function. */
export function checkObject(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || isArray(value)) throw invalidArgType(name, 'an object', value);
  return value as Record<string, unknown>;
}

export function checkOptionalObject(value: unknown, name: string): Record<string, unknown> {
  return value === undefined ? {} : checkObject(value, name);
}

/** An integer that fits the range, as a number; a bigint is accepted as well. */
export function checkInteger(value: unknown, name: string, min: number, max: number): number {
  if (typeof value === 'bigint') {
    if (value < BigInt(min) || value > BigInt(max)) throw outOfRange(name, `>= ${min} and <= ${max}`, value);
    return Number(value);
  }
  if (typeof value !== 'number') throw invalidArgType(name, 'an integer', value);
  if (!Number.isInteger(value)) throw outOfRange(name, 'an integer', value);
  if (value < min || value > max) throw outOfRange(name, `>= ${min} and <= ${max}`, value);
  // -0 would surface as "-0" in texts.
  return value + 0;
}

export const checkUint8 = (value: unknown, name: string): number => checkInteger(value, name, 0, 0xff);
export const checkUint16 = (value: unknown, name: string): number => checkInteger(value, name, 0, 0xffff);
export const checkUint32 = (value: unknown, name: string): number => checkInteger(value, name, 0, 0xffff_ffff);
export const checkInt32 = (value: unknown, name: string): number =>
  checkInteger(value, name, -0x8000_0000, 0x7fff_ffff);

/** An unsigned 64-bit id, address or size: a bigint, or a safe integer number. Nothing is rounded. */
export function checkUint64(value: unknown, name: string): bigint {
  const wide = checkWide(value, name);
  if (wide < 0n || wide > MAX_UINT64) throw outOfRange(name, '>= 0 and <= 2^64 - 1', value);
  return wide;
}

/** A signed 64-bit id or size: a bigint, or a safe integer number. Nothing is rounded. */
export function checkInt64(value: unknown, name: string): bigint {
  const wide = checkWide(value, name);
  if (wide < MIN_INT64 || wide > MAX_INT64) throw outOfRange(name, '>= -2^63 and <= 2^63 - 1', value);
  return wide;
}

function checkWide(value: unknown, name: string): bigint {
  if (typeof value === 'bigint') return value;
  if (typeof value !== 'number') throw invalidArgType(name, 'a bigint or an integer', value);
  if (!Number.isSafeInteger(value)) {
    throw outOfRange(name, 'a safe integer (use a bigint beyond 2^53 - 1)', value);
  }
  return BigInt(value);
}

/** The values of a caller's array, each read once and passed through `check`. Holes are refused by `check`. */
export function checkArray<T>(
  value: unknown,
  name: string,
  check: (element: unknown, name: string) => T,
  maxLength = MAX_LIST_LENGTH,
): T[] {
  if (!isArray(value)) throw invalidArgType(name, 'an Array', value);
  const length = checkLength(value.length, name, maxLength);
  const result: T[] = [];
  for (let i = 0; i < length; i++) result.push(check(value[i], `${name}[${i}]`));
  return result;
}

/**
 * A list of unsigned 64-bit values (block numbers, addresses) as a typed array of our own: the caller may reuse or
 * detach his as soon as the call has returned.
 */
export function checkUint64List(value: unknown, name: string): BigUint64Array {
  if (types.isBigUint64Array(value)) {
    checkAttached(value, name);
    return new BigUint64Array(value);
  }
  if (types.isUint32Array(value)) {
    checkAttached(value, name);
    const narrow = new Uint32Array(value);
    const wide = new BigUint64Array(narrow.length);
    for (let i = 0; i < narrow.length; i++) wide[i] = BigInt(narrow[i] ?? 0);
    return wide;
  }
  if (!isArray(value)) throw invalidArgType(name, 'an Array, a BigUint64Array or a Uint32Array', value);
  const length = checkLength(value.length, name, MAX_LIST_LENGTH);
  // Grown while checking: a claimed length must not allocate before its elements were seen.
  const elements: bigint[] = [];
  for (let i = 0; i < length; i++) elements.push(checkUint64(value[i], `${name}[${i}]`));
  return BigUint64Array.from(elements);
}

/** The bytes of any view, without copying. */
export function checkBytes(value: unknown, name: string): Uint8Array {
  if (!ArrayBuffer.isView(value))
    throw invalidArgType(name, 'an ArrayBufferView (Buffer, TypedArray, DataView)', value);
  checkAttached(value, name);
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
}

function checkAttached(view: ArrayBufferView, name: string): void {
  try {
    // Constructing over a detached buffer throws; `ArrayBuffer.prototype.detached` came with Node 22.
    new Uint8Array(view.buffer, 0, 0);
  } catch (cause) {
    const error = invalidArgType(name, 'a view of a buffer that is not detached', view);
    error.cause = cause;
    throw error;
  }
}

function checkLength(length: unknown, name: string, maxLength: number): number {
  return checkInteger(length, `${name}.length`, 0, maxLength);
}

function isArray(value: unknown): value is readonly unknown[] {
  // Array.isArray throws on a revoked proxy, and a proxy of an array is as good as one.
  try {
    return Array.isArray(value);
  } catch {
    return false;
  }
}
