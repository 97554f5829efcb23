import fc from 'fast-check';
import { JsonError, MAX_JSON_DEPTH, memberOf, parseJson, type JsonValue } from '../lib/option-text/json';

/** The reader's tree as `JSON.parse` would give it. */
function plain(value: JsonValue): unknown {
  switch (value.kind) {
    case 'null':
      return null;
    case 'array':
      return value.items.map(plain);
    case 'object':
      return Object.fromEntries([...value.members].map(([key, member]) => [key, plain(member)]));
    case 'unsigned':
      return Number(value.value);
    case 'integer':
      return -Number(-value.value); // -0 stays -0
    default:
      return value.value;
  }
}

const nested = (depth: number): string => '['.repeat(depth) + '1' + ']'.repeat(depth);

describe('numbers keep the kind that they are written with', () => {
  test.each<[string, JsonValue]>([
    ['0', { kind: 'unsigned', value: 0n }],
    ['9007199254740993', { kind: 'unsigned', value: 9007199254740993n }],
    ['18446744073709551615', { kind: 'unsigned', value: 2n ** 64n - 1n }],
    ['18446744073709551616', { kind: 'float', value: 2 ** 64 }],
    ['999999999999999999999999', { kind: 'float', value: 1e24 }],
    ['-0', { kind: 'integer', value: 0n }],
    ['-1', { kind: 'integer', value: -1n }],
    ['-9223372036854775808', { kind: 'integer', value: -(2n ** 63n) }],
    ['-9223372036854775809', { kind: 'float', value: -(2 ** 63) }],
    ['1.0', { kind: 'float', value: 1 }],
    ['1e2', { kind: 'float', value: 100 }],
    ['-2.5E-1', { kind: 'float', value: -0.25 }],
    ['1e-999', { kind: 'float', value: 0 }],
  ])('%s', (text, value) => {
    expect(parseJson(text)).toEqual(value);
  });
});

describe('accepted texts', () => {
  test.each<[string, unknown]>([
    [' \t\r\n[ 1 , 2 ] \n', [1, 2]],
    ['[]', []],
    ['{}', {}],
    ['[[],{},[{}]]', [[], {}, [{}]]],
    ['{"a" : {"b" : [true,false,null]}}', { a: { b: [true, false, null] } }],
    ['{"a":1,"b":2,"a":3}', { a: 3, b: 2 }],
    ['{"a":1,"\\u0061":2}', { a: 2 }],
    ['"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'],
    ['"x\\u00e9y\\uD83d\\uDe00z"', 'x\u00e9y\u{1f600}z'],
    ['"\u007f\u00e9"', '\u007f\u00e9'],
    ['\ufeff{}', {}],
    ['{"a":1}\0anything', { a: 1 }],
  ])('%j', (text, value) => {
    expect(plain(parseJson(text))).toEqual(value);
  });

  test('a key that is special in JavaScript is a member like any other', () => {
    const value = parseJson('{"__proto__":1,"constructor":2}');
    expect(memberOf(value, '__proto__')).toEqual({ kind: 'unsigned', value: 1n });
    expect(memberOf(value, 'constructor')).toEqual({ kind: 'unsigned', value: 2n });
    expect(memberOf(value, 'toString')).toBeUndefined();
  });

  test('only objects have members', () => {
    expect(memberOf(parseJson('["a"]'), '0')).toBeUndefined();
    expect(memberOf(parseJson('"a"'), 'length')).toBeUndefined();
  });
});

describe('refused texts', () => {
  test.each<[string, string]>([
    ['', 'the end of the text at offset 0'],
    ['  ', 'the end of the text at offset 2'],
    ['{', 'the end of the text'],
    ['[', 'the end of the text'],
    ['[1', 'the end of the text'],
    ['[1,', 'the end of the text'],
    ['[1,]', 'an unexpected "]" at offset 3'],
    ['[1}', 'an unexpected "}"'],
    ['{"a"}', 'an unexpected "}"'],
    ['{"a":}', 'an unexpected "}"'],
    ['{"a":1,}', 'an unexpected "}"'],
    ['{"a":1]', 'an unexpected "]"'],
    ['{1:2}', 'an unexpected "1"'],
    ['{} {}', 'a second value or other text after the end at offset 3'],
    ['1 x', 'a second value'],
    ['01', 'a second value'],
    ['1.', 'a second value'],
    ['1e', 'a second value'],
    ['+1', 'an unexpected "+"'],
    ['.5', 'an unexpected "."'],
    ['-', 'an unexpected "-"'],
    ['-x', 'an unexpected "-"'],
    ['1e999', 'a number that no double can hold'],
    ['-1e999', 'a number that no double can hold'],
    ['nul', 'an unexpected "n"'],
    ['True', 'an unexpected "T"'],
    ['NaN', 'an unexpected "N"'],
    ["'a'", 'an unexpected "\'"'],
    ['// c\n1', 'an unexpected "/"'],
    ['\v1', 'an unexpected'],
    ['\u00a01', 'an unexpected'],
    ['\ufeff\ufeff1', 'an unexpected'],
    ['\0', 'an unexpected "\\u0000"'],
    ['"a', 'the end of the text inside a string'],
    ['"\\"', 'the end of the text inside a string'],
    ['"a\nb"', 'a control character inside a string'],
    ['"\0"', 'a control character inside a string'],
    ['"\\x41"', 'an unknown escape'],
    ['"\\', 'an unknown escape'],
    ['"\\u12g4"', '\\u without four hexadecimal digits'],
    ['"\\u123', '\\u without four hexadecimal digits'],
    ['"\\ud83d"', 'half a surrogate pair'],
    ['"\\ude00"', 'half a surrogate pair'],
    ['"\\ud83d\\u0041"', 'half a surrogate pair'],
    ['"\\ud83dx"', 'half a surrogate pair'],
  ])('%j', (text, reason) => {
    expect(() => parseJson(text)).toThrow(JsonError);
    expect(() => parseJson(text)).toThrow(reason);
  });
});

describe('nesting', () => {
  test('is read without recursion up to the bound', () => {
    let value = parseJson(nested(MAX_JSON_DEPTH));
    let depth = 0;
    for (; value.kind === 'array'; depth++) value = value.items[0]!;
    expect(depth).toBe(MAX_JSON_DEPTH);
    expect(value).toEqual({ kind: 'unsigned', value: 1n });
  });

  test.each([nested(MAX_JSON_DEPTH + 1), '{"a":'.repeat(MAX_JSON_DEPTH + 1), '['.repeat(1_000_000)])(
    'is refused above it',
    (text) => {
      expect(() => parseJson(text)).toThrow(`nesting deeper than ${MAX_JSON_DEPTH}`);
    },
  );
});

describe('compared with JSON.parse', () => {
  test('whatever JSON.stringify writes is read alike', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.constantFrom(0, 2), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        expect(plain(parseJson(text))).toEqual(JSON.parse(text));
      }),
    );
  });

  test('a text that JSON.parse refuses is refused, and nothing but a JsonError is thrown', () => {
    const pieces = fc.oneof(
      fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)),
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        ':',
        ',',
        '"',
        '"a"',
        '0',
        '1',
        '-',
        '.',
        'e',
        '1e',
        'true',
        'null',
        '\\u00',
        '\t',
        '\f',
      ),
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 12 }), (parts) => {
        const text = parts.join('');
        expect(outcome(() => plain(parseJson(text)), JsonError)).toEqual(
          outcome(() => JSON.parse(text, finite) as unknown, SyntaxError),
        );
      }),
      { numRuns: 2000 },
    );
  });
});

/** `JSON.parse` makes an infinity of a number that is too large. */
function finite(_key: string, value: unknown): unknown {
  if (value === Infinity || value === -Infinity) throw new SyntaxError('too large');
  return value;
}

function outcome(read: () => unknown, refusal: new (message: string) => Error): { value: unknown } | 'refused' {
  try {
    return { value: read() };
  } catch (error) {
    expect(error).toBeInstanceOf(refusal);
    return 'refused';
  }
}
