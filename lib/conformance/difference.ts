import { statusHex, statusName } from '../status';

/** What differs. */
export type DifferenceKind =
  /** The status of the call; a success where a failure is recorded, and the other way round, is one of these. */
  | 'status'
  /** The statuses of the clusters of a link or unlink call. */
  | 'results'
  | 'cacheId'
  /** The bytes of a cache after the step. */
  | 'crc'
  /** The call was rejected with something else than an `LLMException`. */
  | 'exception'
  /** The call could not be made, because what it builds on did not come about. */
  | 'not made'
  /** The memory of a cache could not be allocated, written, read or freed. */
  | 'memory';

/** One point in which a backend does not do what was recorded. */
export interface Difference {
  readonly scenario: string;
  /** Index of the step, from 0; the number of steps for what goes wrong when the scenario is cleaned up. */
  readonly step: number;
  readonly op: string;
  readonly node: string;
  readonly kind: DifferenceKind;
  /** Whose bytes differ, for a `crc`. */
  readonly cache?: string;
  readonly expected: string;
  readonly got: string;
  /** The exception that the call was rejected with. */
  readonly message?: string;
}

/** The difference on one line. */
export function formatDifference(difference: Difference): string {
  const { scenario, step, op, node, kind, cache, expected, got, message } = difference;
  const what = cache === undefined ? kind : `${kind} of cache ${cache}`;
  const why = message === undefined ? '' : ` (${message.replace(/\s+/g, ' ')})`;
  return `${scenario}: step ${step} (${op} on ${node}): ${what}: expected ${expected}, got ${got}${why}`;
}

/** A status as recordings write it. */
export function statusText(status: number): string {
  const name = statusName(status);
  return name === 'LLM_UNKNOWN_STATUS' ? statusHex(status) : name;
}
