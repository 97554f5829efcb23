import { checkUint32, invalidArgType } from '../../check';
import { LLMException } from '../../exception';
import type { LLMStatusCode } from '../../status';
import { checkStatusName, statusHex, statusName, statusOfName } from '../../status';
import type { MatcherResult, MatcherState } from './matcher';
import { result } from './matcher';

/** A status: the name of it, or its number, also one that has no name. */
export type ExpectedStatus = keyof typeof LLMStatusCode | number;

const CALL = 'promise.toRejectWithStatus(status)';

/** Whether a promise, or the one that a function returns, rejects with an `LLMException` of a status. */
export async function toRejectWithStatus(
  this: MatcherState,
  received: unknown,
  status: unknown,
): Promise<MatcherResult> {
  const code = codeOf(status);
  const expected = `Expected: ${this.isNot === true ? 'no ' : ''}rejection with ${named(code)}`;
  const outcome = await outcomeOf(received);
  const pass = 'error' in outcome && outcome.error instanceof LLMException && outcome.error.statusCode === code;
  return result(this, pass, CALL, [expected, `Received: ${described(outcome)}`]);
}

type Outcome = { readonly error: unknown } | { readonly value: unknown };

async function outcomeOf(received: unknown): Promise<Outcome> {
  const promise: unknown = typeof received === 'function' ? (received as () => unknown)() : received;
  if (!isThenable(promise)) {
    throw invalidArgType('received', 'a promise or a function that returns one', promise);
  }
  try {
    return { value: await promise };
  } catch (error) {
    return { error };
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}

function codeOf(status: unknown): number {
  if (typeof status === 'number') return checkUint32(status, 'status');
  if (typeof status !== 'string') throw invalidArgType('status', 'the name of a status or its number', status);
  return statusOfName(status) ?? checkStatusName(status, 'status');
}

function named(code: number): string {
  return `${statusName(code)} (${statusHex(code)}, ${code})`;
}

function described(outcome: Outcome): string {
  if ('value' in outcome)
    return `the promise resolved${outcome.value === undefined ? '' : ` with ${typeof outcome.value}`}`;
  const { error } = outcome;
  if (error instanceof LLMException) return `rejection with ${named(error.statusCode)}\n\n${error.message}`;
  return `rejection with what is no LLMException\n\n${error instanceof Error ? (error.stack ?? String(error)) : String(error)}`;
}
