import { hasDecimalJSON } from '../../decimal-json';
import { LLMException } from '../../exception';
import type { LLMExceptionJSON } from '../../exception';
import { ownValue } from './own-value';

/** What JSON has no words for: 64-bit numbers, and errors. */
interface Tagged {
  readonly $bigint?: string;
  readonly $error?: ErrorFields;
  readonly $exception?: LLMExceptionJSON;
}

interface ErrorFields {
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
}

/** A message between the processes of a rehearsal as one line of JSON, without its end. */
export function toText(message: unknown): string {
  return JSON.stringify(message, function (this: Record<string, unknown>, key, value: unknown) {
    // A value with a toJSON has gone through it already.
    const original = this[key];
    return tag(original) ?? (hasDecimalJSON(original) ? { ...original } : value);
  });
}

/** @throws SyntaxError for what is no JSON */
export function fromText(text: string): unknown {
  return JSON.parse(text, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    const { $bigint, $error, $exception } = value as Tagged;
    if (typeof $bigint === 'string') return BigInt($bigint);
    if (typeof $error === 'object') return errorOf($error);
    return typeof $exception === 'object' ? LLMException.from($exception) : value;
  });
}

function tag(value: unknown): Tagged | undefined {
  if (typeof value === 'bigint') return { $bigint: String(value) };
  if (value instanceof LLMException) return { $exception: value.toJSON() };
  if (!isError(value)) return undefined;
  const { name, message, stack, code } = value as Error & { code?: unknown };
  return { $error: { name, message, stack, code: typeof code === 'string' ? code : undefined } };
}

/** Those of another realm, such as the one that a test runs in, too. */
function isError(value: unknown): value is Error {
  return value instanceof Error || Object.prototype.toString.call(value) === '[object Error]';
}

const CLASSES: Readonly<Record<string, ErrorConstructor>> = { TypeError, RangeError };

function errorOf({ name, message, stack, code }: ErrorFields): Error {
  const error = new (ownValue(CLASSES, name) ?? Error)(message);
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  if (stack !== undefined) error.stack = stack;
  return code === undefined ? error : Object.assign(error, { code });
}
