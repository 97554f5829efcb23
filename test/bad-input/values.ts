/** What a value has to be at one place of a call: the C++ type of it, or the JavaScript type where C++ has none. */
export type Kind =
  | 'uint8'
  | 'uint16'
  | 'uint32'
  | 'int32'
  | 'uint64'
  | 'int64'
  | 'placement'
  | 'byteCount'
  | 'string'
  | 'decimal'
  | 'life'
  | 'fingerprint'
  | 'tag'
  | 'locale'
  | 'boolean'
  | 'object'
  | 'optionalObject'
  | 'initOptions'
  | 'json'
  | 'array'
  | 'layerRange'
  | 'uint64List'
  | 'bytes'
  | 'map'
  | 'handle'
  | 'localCache'
  | 'backend';

/** How a value is refused: `TypeError` with `ERR_INVALID_ARG_TYPE`, or `RangeError` with `ERR_OUT_OF_RANGE`. */
export type Refusal = 'type' | 'range';

export interface HostileValue {
  readonly label: string;
  readonly value: unknown;
  readonly refusal: Refusal;
}

/** What a trap or a getter throws: it must reach the caller as it is. */
export const BOOM = new Error('thrown by the value itself');

function boom(): never {
  throw BOOM;
}

/** Every trap throws: a check that runs any code of such a value is found out by the error. */
const ALL_TRAPS: ProxyHandler<object> = Object.fromEntries(
  Reflect.ownKeys(Reflect)
    .filter((key) => typeof key === 'string')
    .map((name) => [name, boom]),
);

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

export function detached<T>(make: (buffer: ArrayBuffer) => T, bytes = 64): T {
  const buffer = new ArrayBuffer(bytes);
  const view = make(buffer);
  structuredClone(buffer, { transfer: [buffer] });
  return view;
}

/** A view whose end a resizable buffer was shrunk below. */
export function cutOff<T>(make: (buffer: ArrayBuffer) => T): T {
  // Node 20 has them, the language level of the types has not.
  const buffer = Reflect.construct(ArrayBuffer, [64, { maxByteLength: 128 }]) as ArrayBuffer;
  const view = make(buffer);
  (buffer as unknown as { resize(length: number): void }).resize(8);
  return view;
}

/** An array that claims a length. */
function claiming(length: unknown): unknown {
  return new Proxy([], { get: (target, key) => (key === 'length' ? length : (Reflect.get(target, key) as unknown)) });
}

const noText = { toString: boom, valueOf: boom, toJSON: boom, [Symbol.toPrimitive]: boom };
/** As text it would take minutes, and more memory than a string can have. */
const HUGE = 1n << 400_000_000n;

type Category =
  | 'undefined'
  | 'null'
  | 'boolean'
  | 'string'
  | 'number'
  | 'bigint'
  | 'symbol'
  | 'function'
  | 'object'
  | 'array'
  | 'view'
  | 'map'
  | 'revoked'
  | 'trapped object'
  | 'trapped array';

/** Values of every JavaScript type. No kind takes all of them. */
const POOL: readonly (readonly [label: string, category: Category, value: unknown])[] = [
  ['undefined', 'undefined', undefined],
  ['null', 'null', null],
  ['true', 'boolean', true],
  ['false', 'boolean', false],
  ['""', 'string', ''],
  ['"1"', 'string', '1'],
  ['a long text', 'string', '9'.repeat(2 ** 20)],
  ['0', 'number', 0],
  ['1n', 'bigint', 1n],
  ['a symbol', 'symbol', Symbol('s')],
  ['a symbol with a long name', 'symbol', Symbol('s'.repeat(2 ** 20))],
  ['a function', 'function', () => 1],
  [
    'a class',
    'function',
    class Sample {
      readonly field = 1;
    },
  ],
  ['a revoked function', 'function', revoked(() => 1)],
  ['a function whose traps throw', 'function', new Proxy(() => 1, ALL_TRAPS)],
  ['{}', 'object', {}],
  ['an object without a prototype', 'object', Object.create(null)],
  ['an object with an own __proto__', 'object', JSON.parse('{"__proto__":{"length":1,"0":1}}')],
  ['an array-like object', 'object', { length: 1, 0: 1 }],
  ['a boxed number', 'object', Object(1)],
  ['a boxed bigint', 'object', Object(1n)],
  ['a boxed string', 'object', Object('1')],
  ['a boxed boolean', 'object', Object(true)],
  ['a boxed symbol', 'object', Object(Symbol.iterator)],
  ['a Date', 'object', new Date(1)],
  ['a RegExp', 'object', /1/],
  ['an Error', 'object', new Error('1')],
  ['a promise', 'object', Promise.resolve(1)],
  ['a Set', 'object', new Set([1])],
  ['a WeakMap', 'object', new WeakMap()],
  ['an iterator', 'object', [1][Symbol.iterator]()],
  ['an ArrayBuffer', 'object', new ArrayBuffer(8)],
  ['a SharedArrayBuffer', 'object', new SharedArrayBuffer(8)],
  ['an object that has no text', 'object', noText],
  ['an object that only looks like a Map', 'object', Object.create(Map.prototype)],
  ['a Proxy of a Map', 'object', new Proxy(new Map(), {})],
  ['a Proxy of a typed array', 'object', new Proxy(new BigUint64Array(1), {})],
  ['an object with the prototype of a typed array', 'object', Object.create(BigUint64Array.prototype)],
  ['[]', 'array', []],
  ['a Map', 'map', new Map([[1, 1]])],
  ['a DataView', 'view', new DataView(new ArrayBuffer(8))],
  ['a Uint8Array', 'view', new Uint8Array(8)],
  ['an Int32Array', 'view', new Int32Array(1)],
  ['a Float64Array', 'view', new Float64Array(1)],
  ['a BigInt64Array', 'view', new BigInt64Array(1)],
  ['a view of shared memory', 'view', new Uint8Array(new SharedArrayBuffer(8))],
  ['a revoked object', 'revoked', revoked({})],
  ['a revoked array', 'revoked', revoked([])],
  ['an object whose traps throw', 'trapped object', new Proxy({}, ALL_TRAPS)],
  ['an array whose traps throw', 'trapped array', new Proxy([], ALL_TRAPS)],
];

/** What a kind takes, at least as far as the place itself is concerned. */
const TAKES: Readonly<Record<Kind, readonly Category[]>> = {
  uint8: ['number', 'bigint'],
  uint16: ['number', 'bigint'],
  uint32: ['number', 'bigint'],
  int32: ['number', 'bigint'],
  uint64: ['number', 'bigint'],
  int64: ['number', 'bigint'],
  placement: ['number', 'bigint'],
  byteCount: ['number', 'bigint'],
  string: ['string'],
  decimal: ['string'],
  life: ['string'],
  fingerprint: ['string'],
  tag: ['string'],
  locale: [],
  boolean: ['boolean'],
  // Objects of the wrong sort lack what is required of them, and are refused for that.
  object: ['trapped object'],
  // None of their properties is required.
  optionalObject: ['object', 'trapped object'],
  initOptions: ['object', 'view', 'trapped object'],
  json: ['string', 'trapped object'],
  array: ['array', 'trapped array'],
  layerRange: ['array', 'trapped array'],
  uint64List: ['array', 'trapped array'],
  bytes: ['view'],
  map: ['map'],
  handle: [],
  localCache: ['number', 'bigint'],
  // A function is called, and what it throws or returns is its own affair.
  backend: ['undefined', 'function', 'trapped object', 'trapped array', 'revoked'],
};

/** Values of the type that the place wants, which it still cannot take. */
const EXTRA: Readonly<Partial<Record<Kind, readonly (readonly [string, unknown, Refusal])[]>>> = {
  uint8: integersOutside(0n, 0xffn),
  uint16: integersOutside(0n, 0xffffn),
  uint32: integersOutside(0n, 0xffff_ffffn),
  int32: integersOutside(-(2n ** 31n), 2n ** 31n - 1n),
  uint64: integersOutside(0n, 2n ** 64n - 1n),
  int64: integersOutside(-(2n ** 63n), 2n ** 63n - 1n),
  placement: integersOutside(0n, 1n),
  byteCount: integersOutside(0n, 2n ** 53n - 1n),
  decimal: [
    ...['', ' 1', '1 ', '+1', '1.5', '0x1', '1e3', '1n', '-', '--1', '１', '1\n'].map(
      (text) => [JSON.stringify(text), text, 'type'] as const,
    ),
    ['2^64', '18446744073709551616', 'range'],
    ['twenty nines', '99999999999999999999', 'range'],
    ['-2^63 - 1', '-9223372036854775809', 'range'],
  ],
  life: ['', '1', 'a'.repeat(31), 'a'.repeat(33), 'A'.repeat(32), 'g'.repeat(32), `${'a'.repeat(32)}\n`].map((text) => [
    JSON.stringify(text),
    text,
    'range',
  ]),
  fingerprint: [
    ...['', '27', '27:8:2', '27:8,:2:', '27: 8:2:', '27:-8:2:', 'DT_BF16:8:2:', '27:8:2:\n', '27:8:2:\ud800'],
    `27:8:2:${'t'.repeat(65)}`,
    `27:${'8,'.repeat(600)}8:2:`,
    '9'.repeat(2 ** 20),
  ].map((text) => [JSON.stringify(text).slice(0, 40), text, 'range']),
  tag: ['\n', '\u0000', '\u0085', '\ud800', 't'.repeat(65)].map((text) => [JSON.stringify(text), text, 'range']),
  locale: ['', 'de', 'EN', 'zh', '__proto__', 'constructor'].map((text) => [JSON.stringify(text), text, 'type']),
  array: [...claims(), ['a sparse array', new Array(1), 'type'], ['2^32 - 1 holes', new Array(2 ** 32 - 1), 'range']],
  layerRange: [
    ...claims(),
    ['[]', [], 'range'],
    ['[0]', [0], 'range'],
    ['three layers', [0, 1, 1], 'range'],
    ['four layers', [0, 1, 1, 1], 'range'],
    ['two holes', new Array(2), 'type'],
    ['2^32 - 1 holes', new Array(2 ** 32 - 1), 'range'],
  ],
  uint64List: [
    ...claims(),
    ['a sparse array', new Array(1), 'type'],
    ['2^32 - 1 holes', new Array(2 ** 32 - 1), 'range'],
    ['a typed array of more than 2^20 elements', new BigUint64Array(2 ** 20 + 1), 'range'],
    ['a narrow typed array of more than 2^20 elements', new Uint32Array(2 ** 20 + 1), 'range'],
    ['a detached BigUint64Array', detached((buffer) => new BigUint64Array(buffer)), 'type'],
    ['a detached Uint32Array', detached((buffer) => new Uint32Array(buffer)), 'type'],
    ['a BigUint64Array that was cut off', cutOff((buffer) => new BigUint64Array(buffer, 8, 2)), 'type'],
    ['a Uint32Array that was cut off', cutOff((buffer) => new Uint32Array(buffer, 4, 4)), 'type'],
    ...[-1, 1.5, NaN, 2 ** 53, 2n ** 64n, HUGE].map(
      (element) => [`a list with ${typeof element === 'bigint' ? 'a bigint' : element}`, [element], 'range'] as const,
    ),
    ...['1', null, true, [1]].map((element) => [`a list with ${JSON.stringify(element)}`, [element], 'type'] as const),
  ],
  bytes: [
    ['a detached Uint8Array', detached((buffer) => new Uint8Array(buffer)), 'type'],
    ['a detached DataView', detached((buffer) => new DataView(buffer)), 'type'],
    ['a detached empty view', detached((buffer) => new Uint8Array(buffer), 0), 'type'],
    ['a Uint8Array that was cut off', cutOff((buffer) => new Uint8Array(buffer, 16, 8)), 'type'],
    ['a DataView that was cut off', cutOff((buffer) => new DataView(buffer, 4, 8)), 'type'],
  ],
  handle: [
    ['an object that looks like a handle', { cacheId: 1n, desc: {}, tensorAddrs: new BigUint64Array(1) }, 'type'],
  ],
  optionalObject: [
    ['a Set', new Set([1]), 'type'],
    ['a promise', Promise.resolve(1), 'type'],
    ['a Date', new Date(1), 'type'],
    ['an Error', new Error('1'), 'type'],
    ['an ArrayBuffer', new ArrayBuffer(8), 'type'],
    ['a boxed text', Object('1'), 'type'],
    ['a boxed number', Object(1), 'type'],
    ['an array-like object', { length: 1, 0: 1 }, 'range'],
    ['an object with an own __proto__', JSON.parse('{"__proto__":{"timeout":1}}'), 'range'],
    ['a name that all objects inherit', { constructor: 1 }, 'range'],
  ],
  backend: [
    ['"hccl"', 'hccl', 'type'],
    ['a function that makes no backend', () => undefined, 'type'],
    ['a backend without methods', { name: 'mine' }, 'type'],
  ],
};

/** The hostile values of a kind. `optional` places may be undefined. */
export function hostileValues(kind: Kind, optional: boolean): HostileValue[] {
  const takes = TAKES[kind];
  const wrong = POOL.filter(([, category]) => !takes.includes(category) && !(optional && category === 'undefined')).map(
    ([label, , value]): HostileValue => ({ label, value, refusal: 'type' }),
  );
  const unfit = (EXTRA[kind] ?? []).map(([label, value, refusal]): HostileValue => ({ label, value, refusal }));
  return [...wrong, ...unfit];
}

/** A value of the right type, as far as one can see, all of whose traps throw; `undefined` for kinds that run none. */
export function trapped(kind: Kind): object | undefined {
  const categories = TAKES[kind];
  if (categories.includes('trapped object')) return new Proxy({}, ALL_TRAPS);
  return categories.includes('trapped array') ? new Proxy([], ALL_TRAPS) : undefined;
}

/** Makes `target[key]` a getter that throws {@link BOOM}. */
export function explodeAt(target: object, key: string): void {
  Object.defineProperty(target, key, { get: boom, enumerable: true, configurable: true });
}

/**
 * The value, with plain objects and arrays inside replaced by ones whose properties can be read once: a second read
 * throws. A value that is checked and read again could be another one by then.
 */
export function readableOnce(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (!Array.isArray(value) && Object.getPrototypeOf(value) !== Object.prototype) return value;
  const seen = new Set<string | symbol>();
  return new Proxy(value, {
    get(target, key, receiver) {
      const path = `${name}.${String(key)}`;
      if (seen.has(key)) throw new Error(`${path} was read twice`);
      seen.add(key);
      return readableOnce(Reflect.get(target, key, receiver), path);
    },
  });
}

function integersOutside(min: bigint, max: bigint): (readonly [string, unknown, Refusal])[] {
  const numbers = [NaN, Infinity, -Infinity, 0.5, 1.5, 5e-324, 2 ** 53, -(2 ** 53), 2 ** 64, Number.MAX_VALUE];
  const bigints = [min - 1n, max + 1n, 2n ** 64n, -(2n ** 63n) - 1n, 2n ** 128n];
  const exact = [min - 1n, max + 1n].map(Number).filter(Number.isSafeInteger);
  return [
    ...[...numbers, ...exact].map((value) => [String(value), value, 'range'] as const),
    ...bigints.map((value) => [`${value}n`, value, 'range'] as const),
    ['a huge bigint', HUGE, 'range'],
    ['a huge negative bigint', -HUGE, 'range'],
  ];
}

function claims(): (readonly [string, unknown, Refusal])[] {
  const claim = (label: string, length: unknown, refusal: Refusal) =>
    [`a Proxy that claims a length of ${label}`, claiming(length), refusal] as const;
  return [
    ...[2 ** 31, 2 ** 53, -1, 0.5, NaN, Infinity].map((length) => claim(String(length), length, 'range')),
    claim('a huge bigint', HUGE, 'range'),
    claim('"1"', '1', 'type'),
    claim('null', null, 'type'),
    claim('undefined', undefined, 'type'),
  ];
}
