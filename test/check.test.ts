import fc from 'fast-check';
import { runInNewContext } from 'node:vm';
import {
  checkArray,
  checkBoolean,
  checkBytes,
  checkInt32,
  checkInt64,
  checkInteger,
  checkObject,
  checkOptions,
  checkString,
  checkUint16,
  checkUint32,
  checkUint64,
  checkUint64List,
  checkUint8,
  invalidArgType,
  MAX_LIST_LENGTH,
  outOfRange,
} from '../lib/check';
import { cutOff, detached } from './bad-input/values';

type Check = (value: unknown, name: string) => unknown;

/** Whether `check` takes the value, or how it refuses it. */
function verdict(check: Check, value: unknown): 'taken' | 'type' | 'range' {
  try {
    check(value, 'x');
    return 'taken';
  } catch (error) {
    if (error instanceof TypeError && Reflect.get(error, 'code') === 'ERR_INVALID_ARG_TYPE') return 'type';
    if (error instanceof RangeError && Reflect.get(error, 'code') === 'ERR_OUT_OF_RANGE') return 'range';
    throw error;
  }
}

function messageOf(check: Check, value: unknown): string {
  try {
    check(value, 'x');
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was refused');
}

const never = new Proxy(
  {},
  {
    get() {
      throw new Error('a message must not run code of the value');
    },
  },
);

describe('the errors', () => {
  test('have the class and the code of Node, and say what was expected and received', () => {
    const type = invalidArgType('options.timeout', 'an integer', 'soon');
    expect(type).toBeInstanceOf(TypeError);
    expect(type).toMatchObject({
      name: 'TypeError',
      code: 'ERR_INVALID_ARG_TYPE',
      message: 'The "options.timeout" argument must be an integer. Received "soon"',
    });
    const range = outOfRange('port', '>= 0 and <= 65535', 65_536);
    expect(range).toBeInstanceOf(RangeError);
    expect(range).toMatchObject({
      name: 'RangeError',
      code: 'ERR_OUT_OF_RANGE',
      message: 'The value of "port" is out of range. It must be >= 0 and <= 65535. Received 65536',
    });
  });

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['true', true],
    ['-0', -0],
    ['1.5', 1.5],
    ['NaN', NaN],
    ['-Infinity', -Infinity],
    ['12n', 12n],
    ['-340282366920938463463374607431768211456n', -(2n ** 128n)],
    ['a bigint of more than 128 bits', 2n ** 128n + 1n],
    ['a bigint of more than 128 bits', -(1n << 400_000_000n)],
    ['"a \\"text\\"\\n"', 'a "text"\n'],
    [`"${'x'.repeat(60)}"`, 'x'.repeat(60)],
    [`"${'x'.repeat(57)}..."`, 'x'.repeat(61)],
    ['Symbol(s)', Symbol('s')],
    ['Symbol()', Symbol()],
    [`Symbol(${'y'.repeat(57)}...)`, Symbol('y'.repeat(1000))],
    ['a function', () => never],
    ['an Array', [never]],
    ['a TypedArray', new Uint8Array(1)],
    ['an object', { toString: null }],
    ['a Proxy', never],
  ])('name %s', (text, value) => {
    expect(invalidArgType('x', 'y', value).message).toBe(`The "x" argument must be y. Received ${text}`);
  });
});

describe('checkString, checkBoolean and checkObject', () => {
  test('give back what they take', () => {
    expect(checkString('', 'x')).toBe('');
    expect(checkBoolean(false, 'x')).toBe(false);
    const object = Object.create(null) as object;
    expect(checkObject(object, 'x')).toBe(object);
    expect(checkObject(never, 'x')).toBe(never);
    expect(checkOptions(object, 'x', {})).toBe(object);
    expect(checkOptions(undefined, 'x', {})).toEqual({});
  });

  test('take nothing that only resembles it', () => {
    for (const value of [undefined, null, 1, true, new String('x'), ['x'], Symbol('x'), {}]) {
      expect(verdict(checkString, value)).toBe('type');
    }
    for (const value of [undefined, null, 0, 1, '', 'true', new Boolean(true), {}]) {
      expect(verdict(checkBoolean, value)).toBe('type');
    }
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    const lists = [[], runInNewContext('[]') as unknown, new Proxy([], {})];
    for (const value of [undefined, null, 0, 'x', 1n, Symbol('x'), () => 1, ...lists, proxy]) {
      expect(verdict(checkObject, value)).toBe('type');
    }
    expect(verdict((value, name) => checkOptions(value, name, {}), null)).toBe('type');
  });
});

describe.each<[string, Check, min: bigint, max: bigint, wide: boolean]>([
  ['checkUint8', checkUint8, 0n, 0xffn, false],
  ['checkUint16', checkUint16, 0n, 0xffffn, false],
  ['checkUint32', checkUint32, 0n, 0xffff_ffffn, false],
  ['checkInt32', checkInt32, -(2n ** 31n), 2n ** 31n - 1n, false],
  ['checkInteger', (value, name) => checkInteger(value, name, -3, 5), -3n, 5n, false],
  ['checkUint64', checkUint64, 0n, 2n ** 64n - 1n, true],
  ['checkInt64', checkInt64, -(2n ** 63n), 2n ** 63n - 1n, true],
])('%s', (_, check, min, max, wide) => {
  const given = (value: bigint) => (wide ? value : Number(value));

  test('takes both ends of its range, as bigint and as number', () => {
    for (const end of [min, max, 0n, 1n]) {
      expect(check(end, 'x')).toBe(given(end));
      if (Number.isSafeInteger(Number(end))) expect(check(Number(end), 'x')).toBe(given(end));
    }
  });

  test('refuses what is just outside, and names the place and the value', () => {
    for (const value of [min - 1n, max + 1n]) {
      expect(verdict(check, value)).toBe('range');
      expect(messageOf(check, value)).toMatch(
        new RegExp(`^The value of "x" is out of range\\. .* Received ${value}n$`),
      );
      expect(verdict(check, Number(value))).toBe('range');
    }
  });

  test('turns -0 into 0', () => {
    expect(Object.is(check(-0, 'x'), wide ? 0n : 0)).toBe(true);
  });

  test('refuses numbers that are no integers as out of range, and what is no number as a type', () => {
    for (const value of [NaN, Infinity, -Infinity, 0.5, -0.5, 5e-324]) expect(verdict(check, value)).toBe('range');
    const toxic = { valueOf: () => 1, [Symbol.toPrimitive]: () => 1 };
    for (const value of [
      '1',
      '',
      null,
      undefined,
      true,
      [1],
      {},
      Object(1),
      Object(1n),
      new Date(1),
      Symbol('1'),
      toxic,
    ]) {
      expect(verdict(check, value)).toBe('type');
    }
  });

  test('rounds nothing: it takes exactly the integers of its range', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.bigInt(-(2n ** 65n), 2n ** 65n),
          fc.double(),
          fc.integer(),
          fc.maxSafeInteger(),
          fc.integer({ min: -9, max: 300 }),
        ),
        (value) => {
          const integer = typeof value === 'bigint' || (wide ? Number.isSafeInteger(value) : Number.isInteger(value));
          const exact = integer ? BigInt(value) : undefined;
          if (exact === undefined || exact < min || exact > max) expect(verdict(check, value)).toBe('range');
          else expect(check(value, 'x')).toBe(given(exact));
        },
      ),
    );
  });
});

test('checkUint64 and checkInt64 want a bigint beyond 2^53 - 1, and say so', () => {
  for (const check of [checkUint64, checkInt64]) {
    expect(check(Number.MAX_SAFE_INTEGER, 'x')).toBe(2n ** 53n - 1n);
    expect(messageOf(check, 2 ** 53)).toContain('use a bigint');
    expect(check(2n ** 53n, 'x')).toBe(2n ** 53n);
  }
});

describe('checkArray', () => {
  test('checks each element once, by its name, and gives a new array', () => {
    const names: string[] = [];
    const given = ['a', 'b'];
    const result = checkArray(given, 'list', (value, name) => names.push(name) && checkString(value, name));
    expect(result).toEqual(given);
    expect(result).not.toBe(given);
    expect(names).toEqual(['list[0]', 'list[1]']);
  });

  test('takes arrays of another realm and proxies of arrays', () => {
    expect(checkArray(runInNewContext('[1, 2]'), 'x', checkUint8)).toEqual([1, 2]);
    expect(checkArray(new Proxy([1, 2], {}), 'x', checkUint8)).toEqual([1, 2]);
  });

  test('does not iterate, and reads length and elements once', () => {
    const read: unknown[] = [];
    const list = new Proxy([7, 8], {
      get(target, key) {
        read.push(key);
        return Reflect.get(target, key) as unknown;
      },
    });
    expect(checkArray(list, 'x', checkUint8)).toEqual([7, 8]);
    expect(read).toEqual(['length', '0', '1']);
  });

  test('refuses holes, or has them checked as undefined', () => {
    expect(verdict((value, name) => checkArray(value, name, checkUint8), new Array(2))).toBe('type');
    expect(checkArray(new Array(2), 'x', (value) => value)).toEqual([undefined, undefined]);
  });

  test('refuses what is longer than allowed before it reads an element', () => {
    const check: Check = (value, name) => checkArray(value, name, checkUint8, 2);
    expect(verdict(check, [1, 2])).toBe('taken');
    expect(verdict(check, [1, 2, 3])).toBe('range');
    expect(messageOf(check, ['not a number', 2, 3])).toContain('"x.length"');
    expect(verdict((value, name) => checkArray(value, name, checkUint8), new Array(MAX_LIST_LENGTH + 1))).toBe('range');
  });

  test.each([undefined, null, 'text', 1, {}, { length: 0 }, new Set([1]), new Uint8Array(1), () => 1])(
    'refuses %p',
    (value) => {
      expect(verdict((given, name) => checkArray(given, name, checkUint8), value)).toBe('type');
    },
  );
});

describe('checkUint64List', () => {
  const MAX = 2n ** 64n - 1n;

  test.each<[string, unknown, bigint[]]>([
    ['numbers', [0, 1, Number.MAX_SAFE_INTEGER], [0n, 1n, 2n ** 53n - 1n]],
    ['bigints', [0n, MAX], [0n, MAX]],
    ['both', [1, 2n], [1n, 2n]],
    ['nothing', [], []],
    ['a proxy of an array', new Proxy([3], {}), [3n]],
    ['a BigUint64Array', BigUint64Array.of(5n, MAX), [5n, MAX]],
    ['a part of a BigUint64Array', BigUint64Array.of(1n, 2n, 3n, 4n).subarray(1, 3), [2n, 3n]],
    ['an empty BigUint64Array', new BigUint64Array(0), []],
    ['a Uint32Array', Uint32Array.of(0, 0xffff_ffff), [0n, 0xffff_ffffn]],
    ['a part of a Uint32Array', Uint32Array.of(1, 2, 3, 4).subarray(2), [3n, 4n]],
    ['shared memory', new BigUint64Array(new SharedArrayBuffer(16)), [0n, 0n]],
    ['shared narrow memory', new Uint32Array(new SharedArrayBuffer(8)), [0n, 0n]],
    ['an array of another realm', runInNewContext('[1, 2n]'), [1n, 2n]],
    ['a typed array of another realm', runInNewContext('BigUint64Array.of(9n)'), [9n]],
  ])('takes %s', (_, list, expected) => {
    const result = checkUint64List(list, 'x');
    expect(result).toBeInstanceOf(BigUint64Array);
    expect([...result]).toEqual(expected);
  });

  test.each([BigUint64Array.of(1n, 2n), Uint32Array.of(1, 2), [1, 2]])('gives a list of our own for %p', (list) => {
    const result = checkUint64List(list, 'x');
    list.reverse();
    expect([...result]).toEqual([1n, 2n]);
    if (!Array.isArray(list)) expect(result.buffer).not.toBe(list.buffer);
  });

  test.each([1023, 1024, 1025, 2048, 2049, 5000])('keeps all of %d elements, in order', (length) => {
    const given = Array.from({ length }, (_, i) => (i % 2 === 0 ? i : MAX - BigInt(i)));
    expect([...checkUint64List(given, 'x')]).toEqual(given.map(BigInt));
  });

  test('asks the typed array itself, not the properties that its object pretends', () => {
    const lie = () => {
      throw new Error('asked');
    };
    for (const list of [BigUint64Array.of(1n, 2n), Uint32Array.of(1, 2)]) {
      for (const key of ['length', 'buffer', 'byteLength', 'byteOffset', 'constructor', Symbol.iterator]) {
        Object.defineProperty(list, key, { get: lie });
      }
      expect([...checkUint64List(list, 'x')]).toEqual([1n, 2n]);
    }
  });

  test('takes lists of up to 2^20 elements', () => {
    expect(MAX_LIST_LENGTH).toBe(2 ** 20);
    for (const list of [BigUint64Array, Uint32Array].map((List) => new List(MAX_LIST_LENGTH))) {
      expect(checkUint64List(list, 'x')).toHaveLength(MAX_LIST_LENGTH);
    }
    for (const list of [BigUint64Array, Uint32Array, Array].map((List) => new List(MAX_LIST_LENGTH + 1))) {
      expect(verdict(checkUint64List, list)).toBe('range');
      expect(messageOf(checkUint64List, list)).toContain('"x.length"');
    }
  });

  test.each<[string, unknown]>([
    ['a BigInt64Array', BigInt64Array.of(1n)],
    ['an Int32Array', Int32Array.of(1)],
    ['a Uint8Array', Uint8Array.of(1)],
    ['a Float64Array', Float64Array.of(1)],
    ['an array-like', { length: 1, 0: 1 }],
    ['a Set', new Set([1])],
    ['a text', '1'],
    ['a hole', new Array(1)],
    ['a detached BigUint64Array', detached((buffer) => new BigUint64Array(buffer))],
    ['a detached Uint32Array', detached((buffer) => new Uint32Array(buffer))],
    ['a BigUint64Array that was cut off', cutOff((buffer) => new BigUint64Array(buffer, 8, 1))],
    ['a Uint32Array that was cut off', cutOff((buffer) => new Uint32Array(buffer, 8, 1))],
  ])('refuses %s', (_, list) => {
    expect(verdict(checkUint64List, list)).toBe('type');
  });

  test('names the element that it refuses', () => {
    expect(messageOf(checkUint64List, [1, 2, -3])).toMatch(/"x\[2\]".*-3$/);
    expect(messageOf(checkUint64List, [1, '2'])).toMatch(/"x\[1\]".*"2"$/);
  });
});

describe('checkBytes', () => {
  const buffer = Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15).buffer;

  test.each<[string, ArrayBufferView, number[]]>([
    ['a Uint8Array', new Uint8Array(buffer, 2, 3), [2, 3, 4]],
    ['a DataView', new DataView(buffer, 1, 2), [1, 2]],
    ['a BigUint64Array', new BigUint64Array(buffer, 8), [8, 9, 10, 11, 12, 13, 14, 15]],
    ['a Uint16Array', new Uint16Array(buffer, 4, 1), [4, 5]],
    ['a Buffer', Buffer.from(buffer, 14), [14, 15]],
    ['nothing', new Uint8Array(buffer, 16), []],
    ['shared memory', new Uint8Array(new SharedArrayBuffer(2)), [0, 0]],
  ])('gives the bytes of %s, without copying', (_, view, expected) => {
    const bytes = checkBytes(view, 'x');
    expect([...bytes]).toEqual(expected);
    expect(bytes.buffer).toBe(view.buffer);
  });

  test('asks the view itself, not the properties that its object pretends', () => {
    for (const view of [new Uint8Array(buffer, 2, 3), new DataView(buffer, 2, 3)]) {
      Object.defineProperty(view, 'buffer', { value: new ArrayBuffer(1) });
      Object.defineProperty(view, 'byteOffset', { value: -1 });
      Object.defineProperty(view, 'byteLength', { value: 2 ** 40 });
      expect([...checkBytes(view, 'x')]).toEqual([2, 3, 4]);
    }
  });

  test('takes a resizable buffer as it is at the time', () => {
    const view = cutOff((resizable) => new Uint8Array(resizable));
    expect(checkBytes(view, 'x')).toHaveLength(8);
  });

  test.each<[string, unknown]>([
    ['an ArrayBuffer', buffer],
    ['a SharedArrayBuffer', new SharedArrayBuffer(1)],
    ['an array', [1]],
    ['a text', 'bytes'],
    ['null', null],
    ['a proxy of a view', new Proxy(new Uint8Array(1), {})],
    ['a detached Uint8Array', detached((detachable) => new Uint8Array(detachable))],
    ['a detached DataView', detached((detachable) => new DataView(detachable))],
    ['a Uint8Array that was cut off', cutOff((resizable) => new Uint8Array(resizable, 8, 8))],
    ['a DataView that was cut off', cutOff((resizable) => new DataView(resizable, 4, 8))],
  ])('refuses %s', (_, value) => {
    expect(verdict(checkBytes, value)).toBe('type');
  });

  test('keeps what the engine said of a dead view as the cause', () => {
    const view = detached((detachable) => new Uint8Array(detachable));
    expect(() => checkBytes(view, 'data')).toThrow(
      expect.objectContaining({
        message: expect.stringContaining('"data"') as string,
        cause: expect.anything() as unknown,
      }) as Error,
    );
  });
});
