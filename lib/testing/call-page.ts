import type { KvCacheExtParam } from '../backend/backend';
import type { Operation } from '../backend/mock/call-observer';
import { LLMException } from '../exception';
import { LLMStatusCode, statusName } from '../status';
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

/** Calls of a page: few enough that a short test pays for little, and so many that pages hardly count. */
export const PAGE = 1024;
/** What few calls have. */
interface Rarity {
  readonly error: unknown;
  readonly faults: readonly CheckedFault[];
}

/** Numbers of a call: start, end, bytes, where its block numbers begin, and how many it has of source and destination. */
const NUMBERS = 6;

/** Calls that are over, in columns. */
export class CallPage {
  readonly #done = new Uint8Array(PAGE);
  readonly #numbers = new Float64Array(PAGE * NUMBERS);
  readonly #nodes = new Array<bigint>(PAGE);
  readonly #operations = new Array<Operation>(PAGE);
  readonly #peers = new Array<bigint | undefined>(PAGE);
  readonly #cacheIds = new Array<bigint | undefined>(PAGE);
  readonly #localCacheIds = new Array<bigint | undefined>(PAGE);
  readonly #exts = new Array<KvCacheExtParam | undefined>(PAGE);
  readonly #rest = new Array<LoggedCall['details']>(PAGE);
  readonly #rarities = new Map<number, Rarity>();
  readonly #records = new Map<number, CallRecord>();
  #blocks = new BigUint64Array(2 * PAGE);
  #used = 0;

  /** How many block numbers it holds. */
  get blocks(): number {
    return this.#used;
  }

  put(row: number, call: LoggedCall, endMs: number, error: unknown): void {
    const { srcBlocks, dstBlocks, faults } = call;
    const numbers = this.#numbers;
    const at = row * NUMBERS;
    numbers[at] = call.startMs;
    numbers[at + 1] = endMs;
    numbers[at + 2] = call.bytes;
    if (srcBlocks !== undefined && dstBlocks !== undefined) {
      numbers[at + 3] = this.#used;
      numbers[at + 4] = srcBlocks.length;
      numbers[at + 5] = dstBlocks.length;
      this.#keep(srcBlocks);
      this.#keep(dstBlocks);
    }
    this.#nodes[row] = call.node;
    this.#operations[row] = call.operation;
    this.#peers[row] = call.peer;
    this.#cacheIds[row] = call.cacheId;
    this.#localCacheIds[row] = call.localCacheId;
    this.#exts[row] = call.ext;
    this.#rest[row] = call.details;
    this.#done[row] = 1;
    if (error !== undefined || faults.length > 0) this.#rarities.set(row, { error, faults });
  }

  /** The call at its place, if it is over. */
  record(index: number): CallRecord | undefined {
    const row = index % PAGE;
    if (this.#done[row] === 0) return undefined;
    let record = this.#records.get(row);
    if (record === undefined) {
      record = this.#read(index, row);
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
    if (blocks.length > 16) this.#blocks.set(blocks, this.#used);
    else for (let i = 0; i < blocks.length; i++) this.#blocks[this.#used + i] = blocks[i] ?? 0n;
    this.#used = end;
  }

  #read(index: number, row: number): CallRecord {
    const [startMs = 0, endMs = 0, bytes = 0, first = 0, srcCount = 0, dstCount = 0] = this.#numbers.subarray(
      row * NUMBERS,
      (row + 1) * NUMBERS,
    );
    const middle = first + srcCount;
    const { error, faults = [] } = this.#rarities.get(row) ?? {};
    const call: LoggedCall = {
      index,
      node: this.#nodes[row] ?? 0n,
      operation: this.#operations[row] ?? 'init',
      startMs,
      bytes,
      peer: this.#peers[row],
      cacheId: this.#cacheIds[row],
      localCacheId: this.#localCacheIds[row],
      ext: this.#exts[row],
      srcBlocks: srcCount + dstCount === 0 ? undefined : this.#blocks.subarray(first, middle),
      dstBlocks: srcCount + dstCount === 0 ? undefined : this.#blocks.subarray(middle, middle + dstCount),
      details: this.#rest[row],
      faults,
    };
    return recordOf(call, {
      state: error === undefined ? 'succeeded' : 'failed',
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
  return Object.freeze({
    number: index + 1,
    node,
    op: operation,
    args: argumentsOf(call),
    peer,
    cacheId,
    ...outcome,
    bytes,
    startMs,
    faults: faults.map(({ definition }) => definition),
  });
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
