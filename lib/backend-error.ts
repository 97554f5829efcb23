import { recognizeCopies } from './brand';
import { checkArray, checkFields, checkOptions, checkString } from './check';
import type { Names } from './check';
import { SumLimit } from './sum-limit';

/** One attempt to load the native backend. */
export interface LoadAttempt {
  /** The file that was tried. */
  readonly path: string;
  /** Why it could not be loaded: what is wrong with the file, or the words of the loader. */
  readonly error: string;
}

/** What is known about a failure to load the native backend, besides the files that were tried. */
export interface LLMBackendErrorInfo {
  /** Why this platform, C library or version of Node cannot have the native backend. */
  readonly unsupported?: string | undefined;
  /** Variables of the environment that are set, and what they excluded; one sentence each. */
  readonly notes?: readonly string[] | undefined;
  /** Signs of an Ascend host, because of which `auto` did not fall back to the mock. */
  readonly signs?: readonly string[] | undefined;
  /** What to do; without it, what to do where the library was not found. */
  readonly advice?: string | undefined;
  readonly cause?: unknown;
}

/** What {@link LLMBackendError.toJSON} gives. */
export interface LLMBackendErrorJSON {
  name: string;
  message: string;
  code: string;
  attempts: readonly LoadAttempt[];
  unsupported?: string;
  notes?: readonly string[];
  signs?: readonly string[];
  /** Where it is not the usual one. */
  advice?: string;
}

const INFO: Names<LLMBackendErrorInfo> = { unsupported: true, notes: true, signs: true, advice: true, cause: true };
const ATTEMPT: Names<LoadAttempt> = { path: true, error: true };

/** Files that were tried, or sentences of one kind. */
const MAX_ENTRIES = 1024;
/** UTF-16 units of all texts of an argument together: they make one message. */
const MAX_CHARACTERS = 2 ** 20;

/** What to do where the library was not found. */
export const FIND_THE_LIBRARY =
  'Source the CANN environment (source <CANN directory>/set_env.sh, which sets ASCEND_HOME_PATH), ' +
  "or set LLM_DATADIST_LIBRARY to the path of libllm_datadist.so, or choose backend: 'mock' where no NPU is meant to be used.";

/**
 * The native backend was asked for and cannot be loaded; or `auto` was asked for on a host that looks like an Ascend host,
 * or with a file of the native backend named in the environment.
 *
 * C++: no counterpart, since a program linked with the library does not start without it; Python: `ImportError`.
 */
export class LLMBackendError extends Error {
  static {
    // On the prototype, as with the errors of the language: the stack is headed by it and fields do not repeat it.
    Object.defineProperty(this.prototype, 'name', { value: 'LLMBackendError', configurable: true, writable: true });
    recognizeCopies(this, 'LLMBackendError', { code: 'string', attempts: 'object' });
  }

  declare readonly name: 'LLMBackendError';
  readonly code = 'ERR_LLM_BACKEND_UNAVAILABLE';
  // Not enumerable, here and below: the message has them too.
  /** Every file that was tried, in this order. */
  declare readonly attempts: readonly LoadAttempt[];
  /** Why this platform, C library or version of Node cannot have the native backend; absent where it can. */
  declare readonly unsupported?: string;
  /** Variables of the environment that are set, and what they excluded. */
  declare readonly notes: readonly string[];
  /** Signs of an Ascend host, because of which `auto` did not fall back to the mock. */
  declare readonly signs: readonly string[];
  /** What to do. */
  declare readonly advice: string;

  /**
   * @param attempts every file that was tried, at most 1,024; their paths and the reasons make the message
   * @param info what else is known; at most 1,024 notes and as many signs
   * @throws RangeError beyond these limits, and for more than 1,048,576 characters in the texts of one argument together
   */
  constructor(attempts: readonly LoadAttempt[], info?: LLMBackendErrorInfo) {
    const tried = checkArray(attempts, 'attempts', checkAttempt, MAX_ENTRIES);
    const { cause, ...rest } = checkOptions(info, 'info', INFO);
    const unsupported = optionalText(rest.unsupported, 'info.unsupported');
    const notes = texts(rest.notes, 'info.notes');
    const signs = texts(rest.signs, 'info.signs');
    const advice = optionalText(rest.advice, 'info.advice') ?? FIND_THE_LIBRARY;
    countCharacters(
      tried.flatMap(({ path, error }) => [path, error]),
      'attempts',
    );
    countCharacters([unsupported ?? '', ...notes, ...signs, advice], 'info');
    super(
      [
        headline(tried, unsupported),
        ...tried.map(({ path, error }) => `  ${path}: ${oneLine(error)}`),
        ...notes.map(oneLine),
        ...(signs.length === 0 ? [] : [`This looks like an Ascend host: ${signs.map(oneLine).join('; ')}.`]),
        advice,
      ].join('\n'),
      cause === undefined ? undefined : { cause },
    );
    const fields = { attempts: tried, notes, signs };
    for (const [key, value] of Object.entries(fields))
      Object.defineProperty(this, key, { value: Object.freeze(value) });
    Object.defineProperty(this, 'advice', { value: advice });
    if (unsupported !== undefined) Object.defineProperty(this, 'unsupported', { value: unsupported });
  }

  /** The error as an object for logs, without what is empty. */
  toJSON(): LLMBackendErrorJSON {
    const { name, message, code, attempts, unsupported, notes, signs, advice } = this;
    return {
      name,
      message,
      code,
      attempts,
      ...(unsupported !== undefined && { unsupported }),
      ...(notes.length > 0 && { notes }),
      ...(signs.length > 0 && { signs }),
      ...(advice !== FIND_THE_LIBRARY && { advice }),
    };
  }
}

function headline(tried: readonly LoadAttempt[], unsupported: string | undefined): string {
  const reason = unsupported === undefined ? '' : `: ${oneLine(unsupported)}`;
  return `The native backend cannot be loaded${reason}; ${tried.length === 0 ? 'no file was found to try.' : 'tried:'}`;
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

function checkAttempt(value: unknown, name: string): LoadAttempt {
  const attempt = checkFields(value, name, ATTEMPT);
  return { path: checkString(attempt.path, `${name}.path`), error: checkString(attempt.error, `${name}.error`) };
}

function texts(value: unknown, name: string): string[] {
  return value === undefined
    ? []
    : checkArray(value, name, (text, textName) => checkString(text, textName), MAX_ENTRIES);
}

function countCharacters(all: readonly string[], name: string): void {
  const characters = new SumLimit(name, MAX_CHARACTERS, 'characters');
  for (const text of all) characters.add(text.length);
}

function optionalText(value: unknown, name: string): string | undefined {
  return value === undefined ? undefined : checkString(value, name);
}
