/**
 * JSON as the library's own reader (nlohmann::json) sees it: it distinguishes `1` from `1.0` and from `-1`, which
 * `JSON.parse` does not, and the library's option checks depend on that.
 */
export type JsonValue =
  | { readonly kind: 'null' }
  | { readonly kind: 'boolean'; readonly value: boolean }
  /** Written without sign, point or exponent: 0 to 2^64 - 1. */
  | { readonly kind: 'unsigned'; readonly value: bigint }
  /** Written with a minus, without point or exponent: -2^63 to 0. */
  | { readonly kind: 'integer'; readonly value: bigint }
  /** Every other number, integers beyond 64 bits included. Finite. */
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'array'; readonly items: readonly JsonValue[] }
  /** Of a key that occurs twice the last value counts. */
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, JsonValue> };

/** A text that is not JSON. */
export class JsonError extends Error {
  override readonly name = 'JsonError';
}

/** Deepest nesting that is read. The library's process dies of a stack overflow somewhat above it. */
export const MAX_JSON_DEPTH = 50_000;

/** @throws JsonError, and nothing else, whatever the text */
export function parseJson(text: string): JsonValue {
  return new JsonReader(text).read();
}

/** The member `key` of an object; `undefined` when there is none or `value` is no object. */
export function memberOf(value: JsonValue, key: string): JsonValue | undefined {
  return value.kind === 'object' ? value.members.get(key) : undefined;
}

type Container =
  | { readonly kind: 'array'; readonly items: JsonValue[] }
  | { readonly kind: 'object'; readonly members: Map<string, JsonValue>; key: string };

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const INTEGER = /^-?[0-9]{1,20}$/;
const LITERAL = /true|false|null/y;
const HEX = /^[0-9a-fA-F]{4}$/;
const ESCAPED: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
]);

const BYTE_ORDER_MARK = '\ufeff';
/** Ends the text wherever a token could begin, as in the library. */
const NUL = '\0';

/** Containers under construction are on a list, not on the call stack, so that no nesting can overflow it. */
class JsonReader {
  readonly #text: string;
  readonly #open: Container[] = [];
  #at = 0;

  constructor(text: string) {
    this.#text = text;
    if (text.startsWith(BYTE_ORDER_MARK)) this.#at = 1;
  }

  read(): JsonValue {
    for (;;) {
      const value = this.#readScalarOrOpen();
      if (value === undefined) continue;
      const whole = this.#place(value);
      if (whole === undefined) continue;
      const rest = this.#nextToken();
      if (rest !== '' && rest !== NUL) this.#fail('a second value or other text after the end');
      return whole;
    }
  }

  /** A scalar or an empty container; `undefined` when a container with contents was opened. */
  #readScalarOrOpen(): JsonValue | undefined {
    switch (this.#nextToken()) {
      case '[':
        this.#at++;
        if (this.#nextToken() === ']') {
          this.#at++;
          return { kind: 'array', items: [] };
        }
        this.#push({ kind: 'array', items: [] });
        return undefined;
      case '{':
        this.#at++;
        if (this.#nextToken() === '}') {
          this.#at++;
          return { kind: 'object', members: new Map() };
        }
        this.#push({ kind: 'object', members: new Map(), key: this.#readKey() });
        return undefined;
      case '"':
        return { kind: 'string', value: this.#readString() };
      case 't':
      case 'f':
      case 'n':
        return this.#readLiteral();
      default:
        return this.#readNumber();
    }
  }

  #push(container: Container): void {
    if (this.#open.length === MAX_JSON_DEPTH) this.#fail(`nesting deeper than ${MAX_JSON_DEPTH}`);
    this.#open.push(container);
  }

  /**
   * Puts a finished value where it belongs and closes the containers that end after it.
   * @returns the whole text's value once nothing is open any more
   */
  #place(value: JsonValue): JsonValue | undefined {
    let finished = value;
    for (;;) {
      const parent = this.#open.at(-1);
      if (parent === undefined) return finished;
      if (parent.kind === 'array') parent.items.push(finished);
      else parent.members.set(parent.key, finished);
      const token = this.#nextToken();
      if (token === ',') {
        this.#at++;
        if (parent.kind === 'object') parent.key = this.#readKey();
        return undefined;
      }
      if (token !== (parent.kind === 'array' ? ']' : '}')) this.#unexpected();
      this.#at++;
      this.#open.pop();
      finished = parent;
    }
  }

  #readKey(): string {
    if (this.#nextToken() !== '"') this.#unexpected();
    const key = this.#readString();
    if (this.#nextToken() !== ':') this.#unexpected();
    this.#at++;
    return key;
  }

  #readLiteral(): JsonValue {
    switch (this.#match(LITERAL)) {
      case 'true':
        return { kind: 'boolean', value: true };
      case 'false':
        return { kind: 'boolean', value: false };
      case 'null':
        return { kind: 'null' };
      default:
        return this.#unexpected();
    }
  }

  #readNumber(): JsonValue {
    const written = this.#match(NUMBER);
    if (written === undefined) return this.#unexpected();
    if (INTEGER.test(written)) {
      const value = BigInt(written);
      if (written.startsWith('-')) {
        if (BigInt.asIntN(64, value) === value) return { kind: 'integer', value };
      } else if (BigInt.asUintN(64, value) === value) {
        return { kind: 'unsigned', value };
      }
    }
    const value = Number(written);
    if (!Number.isFinite(value)) this.#fail('a number that no double can hold');
    return { kind: 'float', value };
  }

  #readString(): string {
    let start = ++this.#at;
    let head = '';
    for (;;) {
      const character = this.#text.charAt(this.#at);
      if (character === '"') return head + this.#text.slice(start, this.#at++);
      if (character === '\\') {
        head += this.#text.slice(start, this.#at) + this.#readEscape();
        start = this.#at;
      } else if (character === '') {
        this.#fail('the end of the text inside a string');
      } else if (character < ' ') {
        this.#fail('a control character inside a string');
      } else {
        this.#at++;
      }
    }
  }

  #readEscape(): string {
    const letter = this.#text.charAt(++this.#at);
    this.#at++;
    if (letter === 'u') return this.#readCodePoint();
    return ESCAPED.get(letter) ?? this.#fail('an unknown escape');
  }

  /** Surrogates must come as a pair of escapes. */
  #readCodePoint(): string {
    const unit = this.#readUnit();
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit);
    if (unit <= 0xdbff && this.#text.startsWith('\\u', this.#at)) {
      this.#at += 2;
      const low = this.#readUnit();
      if (low >= 0xdc00 && low <= 0xdfff) return String.fromCharCode(unit, low);
    }
    return this.#fail('half a surrogate pair');
  }

  #readUnit(): number {
    const digits = this.#text.slice(this.#at, this.#at + 4);
    if (!HEX.test(digits)) this.#fail('\\u without four hexadecimal digits');
    this.#at += 4;
    return Number.parseInt(digits, 16);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  /** The character at which the next token begins; empty at the end. */
  #nextToken(): string {
    for (;;) {
      const character = this.#text.charAt(this.#at);
      if (character !== ' ' && character !== '\n' && character !== '\t' && character !== '\r') return character;
      this.#at++;
    }
  }

  #unexpected(): never {
    const character = this.#text.charAt(this.#at);
    return this.#fail(character === '' ? 'the end of the text' : `an unexpected ${JSON.stringify(character)}`);
  }

  #fail(what: string): never {
    throw new JsonError(`${what} at offset ${this.#at}`);
  }
}
