import { DEFAULT_EXT_PARAM } from '../backend/backend';
import type { KvCacheExtParam } from '../backend/backend';
import type { Operation } from '../backend/mock/call-observer';
import { withDecimalJSON } from '../decimal-json';
import { LLMException } from '../exception';
import { LLMStatusCode, operations, statusName } from '../status';
import type { CallRecord } from './call-record';
import type { CheckedFault } from './fault';

/** A call as the log takes it. */
export interface LoggedCall {
  /** Its place in the log, from 0 on. */
  readonly index: number;
  readonly node: bigint;
  readonly operation: Operation;
  readonly startMs: number;
  readonly bytes: number;
  readonly peer: bigint | undefined;
  readonly cacheId: bigint | undefined;
  /** Of a transfer. */
  readonly localCacheId: bigint | undefined;
  readonly ext: KvCacheExtParam | undefined;
  readonly srcBlocks: BigUint64Array | undefined;
  readonly dstBlocks: BigUint64Array | undefined;
  /** Other arguments, as the record has them. */
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly faults: readonly CheckedFault[];
}

/** Calls of a page: few enough that a short test pays for little, and enough that pages hardly count. */
export const PAGE = 1024;
/** What few calls have. */
interface Rarity {
  readonly details: LoggedCall['details'];
  readonly error: unknown;
  readonly faults: readonly CheckedFault[];
}

/** Times and bytes of a call: start, end, bytes. */
const TIMES = 3;
/** Ids of a call, as unsigned 64-bit numbers: node, peer, remote cache, local cache. */
const IDS = 4;
/** Small numbers of a call: which ids it has, its operation, two layer ranges, tensors per layer, blocks from, source, destination. */
const SMALL = 10;

/** Blocks that are copied one by one. */
const FEW = 16;

const HAS_PEER = 1;
const HAS_CACHE = 2;
const HAS_LOCAL_CACHE = 4;
const HAS_EXT = 8;
const FAILED = 16;
const DONE = 32;
const HAS_DEFAULT_EXT = 64;

/** Calls that are over, in columns outside of the heap: nothing in them is for the garbage collector to look at. */
export class CallPage {
  readonly #times = new Float64Array(PAGE * TIMES);
  readonly #ids = new BigUint64Array(PAGE * IDS);
  readonly #small = new Int32Array(PAGE * SMALL);
  readonly #rarities = new Map<number, Rarity>();
  readonly #records = new Map<number, CallRecord>();
  #blocks = new BigUint64Array(2 * PAGE);
  #used = 0;
  #lastOperation: Operation = 'init';
  #lastNumber = operations.indexOf('init');

  /** How many block numbers it holds. */
  get blocks(): number {
    return this.#used;
  }

  /** Makes it a new one: its memory has been paid for. */
  clear(): void {
    this.#small.fill(0);
    this.#rarities.clear();
    this.#records.clear();
    this.#used = 0;
  }

  /** @returns how many block numbers it holds more */
  put(row: number, call: LoggedCall, endMs: number, error: unknown): number {
    const { peer, cacheId, localCacheId, ext, srcBlocks, dstBlocks, details, faults } = call;
    const before = this.#used;
    const times = this.#times;
    const ids = this.#ids;
    const small = this.#small;
    let at = row * TIMES;
    times[at] = call.startMs;
    times[at + 1] = endMs;
    times[at + 2] = call.bytes;
    let flags = error === undefined ? DONE : DONE | FAILED;
    at = row * IDS;
    ids[at] = call.node;
    if (peer !== undefined) {
      ids[at + 1] = peer;
      flags |= HAS_PEER;
    }
    if (cacheId !== undefined) {
      ids[at + 2] = cacheId;
      flags |= HAS_CACHE;
    }
    if (localCacheId !== undefined) {
      ids[at + 3] = localCacheId;
      flags |= HAS_LOCAL_CACHE;
    }
    at = row * SMALL;
    // Mostly it is what it was before.
    if (call.operation !== this.#lastOperation) {
      this.#lastOperation = call.operation;
      this.#lastNumber = operations.indexOf(call.operation);
    }
    small[at + 1] = this.#lastNumber;
    if (ext === DEFAULT_EXT_PARAM) flags |= HAS_DEFAULT_EXT;
    else if (ext !== undefined) {
      flags |= HAS_EXT;
      small[at + 2] = ext.srcLayerRange[0];
      small[at + 3] = ext.srcLayerRange[1];
      small[at + 4] = ext.dstLayerRange[0];
      small[at + 5] = ext.dstLayerRange[1];
      small[at + 6] = ext.tensorNumPerLayer;
    }
    if (srcBlocks !== undefined && dstBlocks !== undefined) {
      small[at + 7] = this.#used;
      small[at + 8] = srcBlocks.length;
      small[at + 9] = dstBlocks.length;
      this.#keep(srcBlocks);
      this.#keep(dstBlocks);
    }
    small[at] = flags;
    if (details !== undefined || error !== undefined || faults.length > 0) {
      this.#rarities.set(row, { details, error, faults });
    }
    return this.#used - before;
  }

  /** The call at its place, if it is over. */
  record(index: number): CallRecord | undefined {
    const row = index % PAGE;
    const flags = this.#small[row * SMALL] ?? 0;
    if ((flags & DONE) === 0) return undefined;
    let record = this.#records.get(row);
    if (record === undefined) {
      record = this.#read(index, row, flags);
      this.#records.set(row, record);
    }
    return record;
  }

  #keep(blocks: BigUint64Array): void {
    const end = this.#used + blocks.length;
    if (end > this.#blocks.length) {
      const longer = new BigUint64Array(Math.max(end, 2 * this.#blocks.length));
      longer.set(this.#blocks.subarray(0, this.#used));
      this.#blocks = longer;
    }
    // Most calls are about a few blocks, and to set up a bulk copy takes longer than to copy those.
    if (blocks.length > FEW) this.#blocks.set(blocks, this.#used);
    else {
      for (let i = 0; i < blocks.length; i++) {
        const block = blocks[i];
        if (block !== undefined) this.#blocks[this.#used + i] = block;
      }
    }
    this.#used = end;
  }

  #read(index: number, row: number, flags: number): CallRecord {
    const [startMs = 0, endMs = 0, bytes = 0] = this.#times.subarray(row * TIMES);
    const [node = 0n, peer, cacheId = 0n, localCacheId = 0n] = this.#ids.subarray(row * IDS);
    const [, operation = 0, srcFirst = 0, srcLast = 0, dstFirst = 0, dstLast = 0, tensorNumPerLayer = 0, ...lists] =
      this.#small.subarray(row * SMALL, (row + 1) * SMALL);
    const [first = 0, srcCount = 0, dstCount = 0] = lists;
    const middle = first + srcCount;
    const hasBlocks = srcCount + dstCount > 0;
    const { details, error, faults = [] } = this.#rarities.get(row) ?? {};
    const call: LoggedCall = {
      index,
      node,
      operation: operations[operation] as Operation,
      startMs,
      bytes,
      peer: (flags & HAS_PEER) === 0 ? undefined : peer,
      cacheId: (flags & HAS_CACHE) === 0 ? undefined : BigInt.asIntN(64, cacheId),
      localCacheId: (flags & HAS_LOCAL_CACHE) === 0 ? undefined : BigInt.asIntN(64, localCacheId),
      ext:
        (flags & HAS_EXT) === 0
          ? (flags & HAS_DEFAULT_EXT) === 0
            ? undefined
            : DEFAULT_EXT_PARAM
          : { srcLayerRange: [srcFirst, srcLast], dstLayerRange: [dstFirst, dstLast], tensorNumPerLayer },
      srcBlocks: hasBlocks ? this.#blocks.subarray(first, middle) : undefined,
      dstBlocks: hasBlocks ? this.#blocks.subarray(middle, middle + dstCount) : undefined,
      details,
      faults,
    };
    return recordOf(call, {
      state: (flags & FAILED) === 0 ? 'succeeded' : 'failed',
      ...outcomeOf(error),
      durationMs: endMs - startMs,
    });
  }
}

export function recordInFlight(call: LoggedCall): CallRecord {
  const unknown = { status: undefined, code: undefined, message: undefined, results: undefined };
  return recordOf(call, { state: 'in flight', ...unknown, durationMs: undefined });
}

type Outcome = Pick<CallRecord, 'status' | 'code' | 'message' | 'results'>;

function outcomeOf(error: unknown): Outcome {
  if (error === undefined) {
    const status = LLMStatusCode.LLM_SUCCESS;
    return { status, code: statusName(status), message: undefined, results: undefined };
  }
  if (error instanceof LLMException) {
    return { status: error.statusCode, code: error.code, message: error.message, results: error.results };
  }
  return {
    status: undefined,
    code: undefined,
    message: error instanceof Error ? error.message : undefined,
    results: undefined,
  };
}

function recordOf(call: LoggedCall, outcome: Outcome & Pick<CallRecord, 'state' | 'durationMs'>): CallRecord {
  const { index, node, operation, peer, cacheId, bytes, startMs, faults } = call;
  const record = {
    number: index + 1,
    node,
    op: operation,
    args: withDecimalJSON(argumentsOf(call)),
    peer,
    cacheId,
    ...outcome,
    bytes,
    startMs,
    faults: faults.map(({ definition }) => definition),
  };
  return Object.freeze(withDecimalJSON(record));
}

function argumentsOf({ localCacheId, ext, srcBlocks, dstBlocks, details }: LoggedCall): CallRecord['args'] {
  return {
    ...(localCacheId !== undefined && { localCacheId }),
    ...details,
    ...(srcBlocks !== undefined && { srcBlocks: numbersOf(srcBlocks) }),
    ...(dstBlocks !== undefined && { dstBlocks: numbersOf(dstBlocks) }),
    ...(ext !== undefined && {
      srcLayerRange: ext.srcLayerRange,
      dstLayerRange: ext.dstLayerRange,
      tensorNumPerLayer: ext.tensorNumPerLayer,
    }),
  };
}

/** Numbers of blocks as they were given: beyond what a number holds they stay what they are. */
function numbersOf(blocks: BigUint64Array): (number | bigint)[] {
  return Array.from(blocks, (block) => (block <= Number.MAX_SAFE_INTEGER ? Number(block) : block));
}
