import { refusal } from './guard/rule';
import type { CallInfo } from './limited-call';
import type { Registration } from './registrations';

/** Memory that a call reads or writes: rows of a cache, or a part of a region. */
export type Access = { readonly writes: boolean } & (
  { readonly cache: Registration; readonly rows: Iterable<number | bigint> } | ByteRange
);

interface ByteRange {
  readonly address: bigint;
  readonly byteLength: bigint;
}

/** Memory of a call that was rejected before it has ended. */
interface Held {
  readonly info: CallInfo;
  readonly since: number;
  readonly accesses: readonly HeldAccess[];
}

type HeldAccess = { readonly writes: boolean } & (
  { readonly cache: Registration; readonly rows: ReadonlySet<bigint> } | ByteRange
);

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

  /** @param since when the call was made */
  hold(call: object, info: CallInfo, since: number, accesses: readonly Access[]): void {
    this.#held.set(call, { info, since, accesses: accesses.map(held) });
  }

  release(call: object): void {
    this.#held.delete(call);
  }

  /** @throws LLMException `LLM_PARAM_INVALID` that names the call that holds the memory */
  check(operation: string, accesses: readonly Access[]): void {
    for (const access of accesses.map(held)) {
      for (const { info, since, accesses: others } of this.#held.values()) {
        const other = others.find((each) => (each.writes || access.writes) && overlaps(each, access));
        if (other === undefined) continue;
        const age = Math.round(this.#now() - since);
        const peer = info.clusterId === undefined ? '' : ` with cluster ${info.clusterId}`;
        const what = other.writes ? 'writes' : 'reads';
        throw refusal(
          'rows-in-flight',
          operation,
          `${placeOf(access)} overlaps what ${info.operation}${peer}, called ${age} ms ago and rejected early, still ${what}`,
          'cache' in access ? { cacheId: access.cache.cacheId } : {},
        );
      }
    }
  }
}

function held(access: Access): HeldAccess {
  if (!('cache' in access)) return access;
  const { writes, cache, rows } = access;
  return { writes, cache, rows: new Set(Array.from(rows, BigInt)) };
}

function placeOf(access: HeldAccess): string {
  if (!('cache' in access)) return 'the part of the region';
  return access.rows.size === 1 ? `row ${[...access.rows].join('')}` : `one of ${access.rows.size} rows`;
}

function overlaps(a: HeldAccess, b: HeldAccess): boolean {
  if (!('cache' in a)) return 'cache' in b ? hasRowsWithin(b, a) : rangesOverlap(a, b);
  if (!('cache' in b)) return hasRowsWithin(a, b);
  // Two caches that are registered overlap only without guards.
  return a.cache === b.cache && haveCommon(a.rows, b.rows);
}

function hasRowsWithin(
  { cache, rows }: { readonly cache: Registration; readonly rows: ReadonlySet<bigint> },
  range: ByteRange,
): boolean {
  const { rowBytes } = cache.size;
  for (const base of cache.addrs)
    for (const row of rows)
      if (rangesOverlap({ address: base + row * rowBytes, byteLength: rowBytes }, range)) return true;
  return false;
}

function rangesOverlap(a: ByteRange, b: ByteRange): boolean {
  return a.address < b.address + b.byteLength && b.address < a.address + a.byteLength;
}

function haveCommon(a: ReadonlySet<bigint>, b: ReadonlySet<bigint>): boolean {
  const [few, many] = a.size < b.size ? [a, b] : [b, a];
  for (const row of few) if (many.has(row)) return true;
  return false;
}
