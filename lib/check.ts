import { types } from 'node:util';
import { isMisspelling, nearestName } from './nearest-name';

/**
 * Checks of JavaScript values, made once, above the seam, for every backend.
 *
 * They look at types and at what fits the C++ type, never at meaning: meaning is the library's answer (or a guard's).
 * Each property of a caller's object is read once, so that a getter or a proxy cannot change a value between check and use.
 */

const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;
const MAX_INT64 = 0x7fff_ffff_ffff_ffffn;
const MIN_INT64 = -0x8000_0000_0000_0000n;

/** What a list of block numbers rarely exceeds. */
const FIRST_ELEMENTS = 1024;

/** Longest list that is taken from JavaScript. A proxy may claim any length, and reading it must not hang the process. */
export const MAX_LIST_LENGTH = 2 ** 20;

/** What messages quote of a value: more is cut, because to write out a hostile one can take minutes. */
const MAX_QUOTED = 60;
const MAX_WRITTEN_BIGINT = 2n ** 128n;

/** Asked for a view's properties, the language itself answers; the object may have others of the same names. */
const TYPED_ARRAY = Object.getPrototypeOf(Uint8Array.prototype) as typeof Uint8Array.prototype;

export function invalidArgType(name: string, expected: string, actual: unknown): TypeError {
  return wrongType(name, expected, describe(actual));
}

/** As {@link invalidArgType}, where the value itself may not be shown. */
export function wrongType(name: string, expected: string, received: string): TypeError {
  return Object.assign(new TypeError(`The "${name}" argument must be ${expected}. Received ${received}`), {
    code: 'ERR_INVALID_ARG_TYPE' as const,
  });
}

export function outOfRange(name: string, range: string, actual: unknown): RangeError {
  return Object.assign(
    new RangeError(`The value of "${name}" is out of range. It must be ${range}. Received ${describe(actual)}`),
    { code: 'ERR_OUT_OF_RANGE' as const },
  );
}

/** Of a value whose parts do not go together: there is no single one that was received. */
export function unfit(name: string, problem: string): RangeError {
  return Object.assign(new RangeError(`The value of "${name}" ${problem}`), { code: 'ERR_OUT_OF_RANGE' as const });
}

/** Never runs code of the value: a message about a hostile value must not execute it. */
function describe(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(shortened(value));
    case 'bigint':
      if (value < -MAX_WRITTEN_BIGINT || value > MAX_WRITTEN_BIGINT) return 'a bigint of more than 128 bits';
      return `${value}n`;
    case 'symbol':
      return `Symbol(${shortened(value.description ?? '')})`;
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

function shortened(text: string): string {
  return text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED - 3)}...` : text;
}

/** @param maxLength in UTF-16 units, where there is a limit */
export function checkString(value: unknown, name: string, maxLength = Infinity): string {
  if (typeof value !== 'string') throw invalidArgType(name, 'a string', value);
  if (value.length > maxLength) throw outOfRange(`${name}.length`, `<= ${maxLength}`, value.length);
  return value;
}

export function checkBoolean(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean') throw invalidArgType(name, 'a boolean', value);
  return value;
}

export function checkFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw invalidArgType(name, 'a function', value);
}

/** A non-null object that is no array, no function and no revoked proxy. */
export function checkObject(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || isRevoked(value) || Array.isArray(value)) {
    throw invalidArgType(name, 'an object', value);
  }
  return value as Record<string, unknown>;
}

/** Each name that an object of a type may have: the compiler finds one that is missing. */
export type Names<T> = Readonly<Record<keyof T, true>>;

/**
 * The options of a call: nothing, or an object with no other names than the known ones. A name that is not read would be
 * lost in silence, and the call would do something else than what was meant: it is refused whatever its value is. Only own
 * enumerable names count, so that getters of a class are as good as values.
 * @throws TypeError for anything but an object; RangeError that names the nearest known name
 */
export function checkOptions(
  value: unknown,
  name: string,
  known: Readonly<Record<string, true>>,
): Record<string, unknown> {
  return value === undefined ? {} : checkFields(value, name, known, 'option');
}

/** As {@link checkOptions}, for an object that must be given. */
export function checkFields(
  value: unknown,
  name: string,
  known: Readonly<Record<string, true>>,
  kind: 'option' | 'property' = 'property',
): Record<string, unknown> {
  const object = checkObject(value, name);
  for (const key of namesOf(object, name, known)) {
    if (Object.hasOwn(known, key)) continue;
    refuseSignal(object, name, known);
    throw unknownName(name, kind, key, known);
  }
  return object;
}

/**
 * As {@link checkFields}, for what comes from another process, where a newer version of this package may have made it: names
 * that are like no known one are left alone, misspelt ones are refused.
 */
export function checkReceived(
  value: unknown,
  name: string,
  known: Readonly<Record<string, true>>,
): Record<string, unknown> {
  const object = checkObject(value, name);
  for (const key of namesOf(object, name, known)) {
    if (Object.hasOwn(known, key)) continue;
    if (Object.keys(known).some((each) => isMisspelling(key, each))) throw unknownName(name, 'property', key, known);
  }
  return object;
}

/**
 * The own enumerable names of an object. Without any, an instance of a class (a Map, an AbortSignal, a promise that was not
 * awaited, an object of this package) would pass for an object with nothing in it: only a class whose getters have known names
 * can be meant. Bytes and texts have a name for each element, which may be very many.
 */
function namesOf(object: object, name: string, known: Readonly<Record<string, true>>): string[] {
  if ('length' in object && (ArrayBuffer.isView(object) || types.isBoxedPrimitive(object))) {
    throw invalidArgType(name, 'an object with names', object);
  }
  const names = Object.keys(object);
  if (names.length === 0 && !isPlain(object)) {
    refuseSignal(object, name, known);
    if (types.isMap(object)) throw invalidArgType(name, 'a plain object (for a Map: Object.fromEntries(map))', object);
    const isOfPlatform = types.isNativeError(object) || Symbol.toStringTag in object;
    if (isOfPlatform || !Object.keys(known).some((each) => each in object)) {
      throw invalidArgType(name, `a plain object with names of ${Object.keys(known).join(', ')}`, object);
    }
  }
  return names;
}

/** A signal or its controller in the place of the options that have one. */
function refuseSignal(object: object, name: string, known: Readonly<Record<string, true>>): void {
  if (!Object.hasOwn(known, 'signal')) return;
  if ('aborted' in object && 'addEventListener' in object) {
    throw invalidArgType(name, 'an object, not the AbortSignal itself: give it as { signal }', object);
  }
  if ('abort' in object && 'signal' in object) {
    throw invalidArgType(name, 'an object, not the AbortController itself: give its signal as { signal }', object);
  }
}

/** Also true for a plain object of another realm. */
export function isPlain(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The error for a name that is not read. */
export function unknownName(
  name: string,
  kind: 'option' | 'property',
  key: string,
  known: Readonly<Record<string, true>>,
): RangeError {
  const names = Object.keys(known);
  const nearest = JSON.stringify(nearestName(key, names));
  return unfit(name, `has the unknown ${kind} ${describe(key)}: the nearest is ${nearest}, of ${names.join(', ')}`);
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

/** A finite number, whole or not. */
export function checkFinite(value: unknown, name: string, min: number): number {
  if (typeof value !== 'number') throw invalidArgType(name, 'a number', value);
  if (!Number.isFinite(value) || value < min) throw outOfRange(name, `a finite number >= ${min}`, value);
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

/** A caller's array whose length was read, once, and is in range. Its elements were not read yet. */
export interface MeasuredArray {
  readonly array: readonly unknown[];
  readonly length: number;
  readonly name: string;
}

/** The length alone, so that several lists can be counted together before one of them is copied. */
export function measureArray(value: unknown, name: string, maxLength = MAX_LIST_LENGTH): MeasuredArray {
  if (!isArray(value)) throw invalidArgType(name, 'an Array', value);
  return { array: value, length: checkLength(value.length, name, maxLength), name };
}

/** The values of a measured array, each read once and passed through `check`. Holes are refused by `check`. */
export function checkElements<T>(
  { array, length, name }: MeasuredArray,
  check: (element: unknown, name: string) => T,
): T[] {
  const result: T[] = [];
  for (let i = 0; i < length; i++) result.push(check(array[i], `${name}[${i}]`));
  return result;
}

/** The values of a caller's array, as {@link checkElements} reads them. */
export function checkArray<T>(
  value: unknown,
  name: string,
  check: (element: unknown, name: string) => T,
  maxLength = MAX_LIST_LENGTH,
): T[] {
  return checkElements(measureArray(value, name, maxLength), check);
}

/** Unsigned 32-bit numbers as a typed array; the name of an element is made only where one is refused. */
export function checkUint32Elements({ array, length, name }: MeasuredArray): Uint32Array {
  const list = new Uint32Array(length);
  for (let i = 0; i < length; i++) {
    const element: unknown = array[i];
    list[i] = isUint32(element) ? element : checkUint32(element, `${name}[${i}]`);
  }
  return list;
}

/**
 * A list of unsigned 64-bit values (block numbers, addresses) as a typed array of our own: the caller may reuse or
 * detach the given one as soon as the call has returned.
 */
export function checkUint64List(value: unknown, name: string): BigUint64Array {
  const list = checkUint64ListInPlace(value, name);
  return list === value ? new BigUint64Array(list) : list;
}

/** As {@link checkUint64List}, but a `BigUint64Array` is the caller's: for what is read before the call returns. */
export function checkUint64ListInPlace(value: unknown, name: string): BigUint64Array {
  if (types.isBigUint64Array(value)) {
    checkLiveTypedArray(value, name);
    checkLength(Reflect.get(TYPED_ARRAY, 'length', value), name, MAX_LIST_LENGTH);
    return value;
  }
  if (types.isUint32Array(value)) {
    checkLiveTypedArray(value, name);
    const wide = new BigUint64Array(checkLength(Reflect.get(TYPED_ARRAY, 'length', value), name, MAX_LIST_LENGTH));
    for (let i = 0; i < wide.length; i++) wide[i] = BigInt(value[i] ?? 0);
    return wide;
  }
  if (!isArray(value)) throw invalidArgType(name, 'an Array, a BigUint64Array or a Uint32Array', value);
  const length = checkLength(value.length, name, MAX_LIST_LENGTH);
  // Grown while checking: a claimed length must not allocate before its elements were seen.
  let list = new BigUint64Array(Math.min(length, FIRST_ELEMENTS));
  for (let i = 0; i < length; i++) {
    if (i === list.length) {
      const longer = new BigUint64Array(Math.min(length, 2 * i));
      longer.set(list);
      list = longer;
    }
    const element = value[i];
    // Most are block numbers: no name is made up for each of a thousand elements that are as they should be.
    list[i] = isUint32(element) ? BigInt(element) : checkUint64(element, `${name}[${i}]`);
  }
  return list;
}

function isUint32(value: unknown): value is number {
  return typeof value === 'number' && value >>> 0 === value;
}

/** The bytes of any view, without copying. */
export function checkBytes(value: unknown, name: string): Uint8Array {
  if (!ArrayBuffer.isView(value))
    throw invalidArgType(name, 'an ArrayBufferView (Buffer, TypedArray, DataView)', value);
  checkLive(value, name);
  const properties = types.isDataView(value) ? DataView.prototype : TYPED_ARRAY;
  return new Uint8Array(
    Reflect.get(properties, 'buffer', value),
    Reflect.get(properties, 'byteOffset', value),
    Reflect.get(properties, 'byteLength', value),
  );
}

/** A view whose buffer was detached, or shrunk until the view did not fit any more, would pass for an empty one. */
function checkLive(view: ArrayBufferView, name: string): void {
  try {
    if (types.isDataView(view)) Reflect.get(DataView.prototype, 'byteLength', view);
    else touch(view);
  } catch (cause) {
    throw notLive(view, name, cause);
  }
}

/** As {@link checkLive}, without the question of which kind of view it is. */
function checkLiveTypedArray(view: ArrayBufferView, name: string): void {
  try {
    touch(view);
  } catch (cause) {
    throw notLive(view, name, cause);
  }
}

/** @throws TypeError where the buffer of a typed array does not hold it any more */
function touch(typedArray: ArrayBufferView): void {
  TYPED_ARRAY.values.call(typedArray as Uint8Array);
}

function notLive(view: ArrayBufferView, name: string, cause: unknown): TypeError {
  const error = invalidArgType(name, 'a view of a buffer that is neither detached nor too short for it', view);
  error.cause = cause;
  return error;
}

function checkLength(length: unknown, name: string, maxLength: number): number {
  return checkInteger(length, `${name}.length`, 0, maxLength);
}

/** A proxy of an array is as good as one. */
function isArray(value: unknown): value is readonly unknown[] {
  return typeof value === 'object' && value !== null && !isRevoked(value) && Array.isArray(value);
}

/** A proxy that was revoked throws whatever one does with it. */
function isRevoked(value: object): boolean {
  try {
    Array.isArray(value);
    return false;
  } catch {
    return true;
  }
}
