import { inspect, types } from 'node:util';
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
  | 'memory'
  /** A process in which nodes live ended, or had to be ended, too early, or not with exit code 0. */
  | 'process';

/** One point in which a backend does not do what was recorded. */
export interface Difference {
  readonly scenario: string;
  /**
   * Index of the step, from 0; the number of steps for what goes wrong when the scenario is cleaned up. What goes wrong
   * when the instances are made has the `op` `start`.
   */
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
  /** For a `process`: the last lines that it wrote to its standard error. */
  readonly stderr?: readonly string[];
}

/** The difference on one line. */
export function formatDifference(difference: Difference): string {
  const { scenario, step, op, node, kind, cache, expected, got, message, stderr = [] } = difference;
  const what = cache === undefined ? kind : `${kind} of cache ${cache}`;
  const why = message === undefined ? '' : ` (${message.replace(/\s+/g, ' ')})`;
  const told = stderr.length === 0 ? '' : ` (stderr: ${stderr.map((line) => line.trim()).join(' | ')})`;
  return `${scenario}: step ${step} (${op} on ${node}): ${what}: expected ${expected}, got ${got}${why}${told}`;
}

/** A status as recordings write it. */
export function statusText(status: number): string {
  const name = statusName(status);
  return name === 'LLM_UNKNOWN_STATUS' ? statusHex(status) : name;
}

/** What was thrown, in a few words. */
export function errorText(error: unknown): string {
  return types.isNativeError(error) || error instanceof Error ? String(error) : `a rejection with ${inspect(error)}`;
}
