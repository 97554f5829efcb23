import { refusal } from './guard/rule';
import type { LLMException } from './exception';
import type { CallInfo } from './limited-call';
import type { LinkEnd } from './link-ends';
import type { Registration } from './registrations';

/** Memory that a call reads or writes: rows of a cache, or a part of a region. */
export type Access = { readonly writes: boolean } & (
  { readonly cache: Registration; readonly rows: Iterable<number | bigint> | 'all' } | ByteRange
);

interface ByteRange {
  readonly address: bigint;
  readonly byteLength: bigint;
}

/** A call that was rejected before it has ended. */
export interface EarlyCall {
  readonly info: CallInfo;
  /** When it was made; of one that the package has given up, when it got to the backend. */
  readonly since: number;
  readonly isGivenUp?: boolean;
  /** Where it has come back with a status that has ended its link. */
  endedLink?: EndedLink | undefined;
}

/** The link that a call has ended, and with what. */
export interface EndedLink {
  readonly clusterId: bigint;
  readonly error: LLMException;
  readonly link: LinkEnd;
}

/** Memory of such a call. */
interface Held {
  readonly call: EarlyCall;
  readonly accesses: readonly HeldAccess[];
}

interface HeldRows {
  readonly cache: Registration;
  readonly rows: ReadonlySet<bigint> | 'all';
}

type HeldAccess = { readonly writes: boolean } & (HeldRows | ByteRange);

const WAITS_FOR_RELINK =
  'If that call comes back with a status that ends its link, `released` waits for a relink: this refusal says so then.';

/**
 * Rule `rows-in-flight`: what a call that was rejected early may still write is no source and no destination of another call, and
 * what it may still read is no destination.
 */
export class RowsInFlight {
  readonly #held = new Map<object, Held>();
  readonly #now: () => number;

  /** @param now milliseconds of the clock that deadlines are measured with */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Whether there is nothing to look for: as good as always. */
  get isEmpty(): boolean {
    return this.#held.size === 0;
  }

  hold(call: EarlyCall, accesses: readonly Access[]): void {
    this.#held.set(call, { call, accesses: accesses.map(held) });
  }

  release(call: EarlyCall): void {
    this.#held.delete(call);
  }

  /** @throws LLMException `LLM_PARAM_INVALID` that names the call that holds the memory */
  check(operation: string, accesses: readonly Access[]): void {
    for (const access of accesses.map(held)) {
      for (const { call, accesses: others } of this.#held.values()) {
        const other = others.find((each) => (each.writes || access.writes) && overlaps(each, access));
        if (other === undefined) continue;
        const problem = `${placeOf(access)} overlaps what ${this.#describe(call)}, still ${other.writes ? 'writes' : 'reads'}`;
        throw this.#refusal(operation, problem, call, access);
      }
    }
  }

  /** What a program can do: wait as long as the call is in the library, and relink the peer where it has ended the link. */
  #refusal(operation: string, problem: string, { info, endedLink }: EarlyCall, access: HeldAccess): LLMException {
    const place = 'cache' in access ? { cacheId: access.cache.cacheId } : {};
    if (endedLink === undefined || endedLink.link.isUnlinked) {
      const more = info.clusterId === undefined || endedLink !== undefined ? '' : ` ${WAITS_FOR_RELINK}`;
      const advice = `wait until \`released\` of the error of that call has settled, then repeat this call.${more}`;
      return refusal('rows-in-flight', operation, problem, { ...place, recovery: 'retry', advice });
    }
    const { clusterId, error } = endedLink;
    const state =
      `that call has come back with ${error.code}, which has ended the link, and its memory is free when cluster ${clusterId} ` +
      'has been unlinked';
    const advice =
      `relink cluster ${clusterId} once, for all its calls together: let its running transfers end, unlink with force: true, link ` +
      'with the life that the cluster reports now, and repeat this call, with a new key where it has one of that cluster.';
    return refusal('rows-in-flight', operation, `${problem}: ${state}`, {
      ...place,
      clusterId,
      recovery: 'relink',
      advice,
    });
  }

  #describe({ info: { operation, clusterId }, since, isGivenUp = false }: EarlyCall): string {
    const age = `${Math.round(this.#now() - since)} ms`;
    const what = clusterId === undefined ? operation : `${operation} with cluster ${clusterId}`;
    return isGivenUp
      ? `${what}, in the library for ${age} and given up`
      : `${what}, called ${age} ago and rejected early`;
  }
}

function held(access: Access): HeldAccess {
  if (!('cache' in access)) return access;
  const { writes, cache, rows } = access;
  return { writes, cache, rows: typeof rows === 'string' ? rows : new Set(Array.from(rows, BigInt)) };
}

function placeOf(access: HeldAccess): string {
  if (!('cache' in access)) return 'the part of the region';
  if (access.rows === 'all') return 'one of all rows';
  return access.rows.size === 1 ? `row ${[...access.rows].join('')}` : `one of ${access.rows.size} rows`;
}

function overlaps(a: HeldAccess, b: HeldAccess): boolean {
  if (!('cache' in a)) return 'cache' in b ? hasRowsWithin(b, a) : rangesOverlap(a, b);
  if (!('cache' in b)) return hasRowsWithin(a, b);
  // Two caches that are registered overlap only without guards.
  return a.cache === b.cache && haveCommon(a.rows, b.rows);
}

function hasRowsWithin({ cache, rows }: HeldRows, range: ByteRange): boolean {
  const { rowBytes, tensorBytes } = cache.size;
  for (const base of cache.addrs) {
    if (!rangesOverlap({ address: base, byteLength: tensorBytes }, range)) continue;
    if (rows === 'all') return true;
    for (const row of rows)
      if (rangesOverlap({ address: base + row * rowBytes, byteLength: rowBytes }, range)) return true;
  }
  return false;
}

function rangesOverlap(a: ByteRange, b: ByteRange): boolean {
  return a.address < b.address + b.byteLength && b.address < a.address + a.byteLength;
}

function haveCommon(a: HeldRows['rows'], b: HeldRows['rows']): boolean {
  if (a === 'all') return b === 'all' || b.size > 0;
  if (b === 'all') return a.size > 0;
  const [few, many] = a.size < b.size ? [a, b] : [b, a];
  for (const row of few) if (many.has(row)) return true;
  return false;
}
