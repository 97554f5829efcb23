import type { Nodes } from './nodes';

/** A call whose values have the right types and still make no sense, and the status that it ends with. */
export interface RefusedCall {
  readonly method: string;
  readonly what: string;
  readonly call: (nodes: Nodes) => Promise<unknown>;
  readonly code: string;
  /** Cache ids that the library gives away although it registers nothing. */
  readonly idsTaken: number;
}

/** A refused call of a method that is named elsewhere; the status is LLM_PARAM_INVALID where none is given. */
export type Row = readonly [what: string, call: RefusedCall['call'], code?: string, idsTaken?: number];

export const INVALID = 'LLM_PARAM_INVALID';

export function refused(method: string, rows: readonly Row[]): RefusedCall[] {
  return rows.map(([what, call, code = INVALID, idsTaken = 0]) => ({ method, what, call, code, idsTaken }));
}

export const MAX_UINT64 = 2n ** 64n - 1n;
export const MAX_INT64 = 2n ** 63n - 1n;
export const MAX_INT32 = 2 ** 31 - 1;
export const MIN_INT32 = -(2 ** 31);
