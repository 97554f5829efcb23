import { LLMException } from '../../exception';
import { LLMStatusCode } from '../../status';
import { errorText, statusText } from '../difference';

/** What a link or unlink gave: the status of the call, and one per cluster. */
export interface ClusterAnswer {
  readonly status: string;
  readonly results: readonly string[];
}

const SUCCESS = statusText(LLMStatusCode.LLM_SUCCESS);

/** The name of the status that a call ended with, or what it did instead of ending with one. */
export async function answerOf(call: () => Promise<unknown>): Promise<string> {
  return (await settled(call)).status;
}

/** The same as {@link answerOf}, with the statuses of the clusters. */
export async function clusterAnswerOf(call: () => Promise<readonly number[]>): Promise<ClusterAnswer> {
  const { status, value, error } = await settled(call);
  if (error === undefined) return { status, results: (value ?? []).map(statusText) };
  return { status, results: (error.results ?? []).map(({ statusCode }) => statusText(statusCode)) };
}

interface Settled<T> {
  readonly status: string;
  readonly value?: T;
  readonly error?: LLMException;
}

async function settled<T>(call: () => Promise<T>): Promise<Settled<T>> {
  let promise: unknown;
  try {
    promise = call();
  } catch (error) {
    return { status: `thrown before there was a promise: ${errorText(error)}` };
  }
  if (typeof (promise as { then?: unknown } | undefined)?.then !== 'function') return { status: 'no promise' };
  try {
    return { status: SUCCESS, value: await (promise as Promise<T>) };
  } catch (error) {
    if (!(error instanceof LLMException)) return { status: errorText(error) };
    // A success is no exception.
    const status =
      error.statusCode === LLMStatusCode.LLM_SUCCESS ? `a rejection with ${SUCCESS}` : statusText(error.statusCode);
    return { status, error };
  }
}
