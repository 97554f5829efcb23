import type { Operation } from '../backend/mock/call-observer';
import {
  checkArray,
  checkBoolean,
  checkInt64,
  checkInteger,
  checkFields,
  checkUint32,
  invalidArgType,
  outOfRange,
  unfit,
} from '../check';
import type { Names } from '../check';
import { withDecimalJSON } from '../decimal-json';
import { FaultRemoval } from './fault-removal';
import { keepStackOf } from '../rejection';
import { checkStatusName, LLMStatusCode, operations, statusName, statusOfName } from '../status';
import { clusterIdOf } from './node-ref';
import type { NodeRef } from './node-ref';

/** A call that reaches a backend, by the name of the method of the public API that makes it. */
export type FaultOperation = Exclude<Operation, 'allocateCache' | 'deallocateCache'>;

/**
 * What is to go wrong. A fault says which calls it hits and what happens to them; an effect must be given: `status`,
 * `throwError`, `hang`, `delayMs`, `partialLayers` or `corrupt`.
 *
 * A call is hit by the first fault, in the order of injection, that it matches and that has neither calls to let pass nor
 * hits used up. Calls that a guard or the package itself refuses reach no backend, and no fault.
 */
export interface Fault {
  /** One operation or several. `allocateCache` of the public API is made of `allocateMemory` and `registerCache`, `deallocateCache` of `unregisterCache` and `free`. */
  readonly op: FaultOperation | readonly FaultOperation[];
  /** Whose call. Default: anyone's. */
  readonly node?: NodeRef;
  /**
   * The other end of a transfer; or one of the clusters of a link or unlink call, for which alone the fault holds then: what
   * the call does about the others it does.
   */
  readonly peer?: NodeRef;
  /** The remote cache of a transfer, int64; for `unregisterCache` the cache itself. */
  readonly cacheId?: bigint | number;
  /** How many calls that match are let pass first. Default 0. */
  readonly skip?: number;
  /** How many calls it hits, 1 or more. Default: all, until it is removed. */
  readonly times?: number;
  /** The call does nothing and is rejected with this status: any uint32 but 0, or a name such as `LLM_TIMEOUT`. */
  readonly status?: number | string;
  /** The number of milliseconds on the fabric's clock before the call does what it does: for real, or as the fault says. */
  readonly delayMs?: number;
  /**
   * The call does not return until the fault is removed or `kill(node)` ends it. Then it does what it does, or fails where
   * `partialLayers` is given. What waits for it waits too. The instance may give it up; as in the library it hangs all the same,
   * and holds what it holds.
   */
  readonly hang?: boolean;
  /**
   * What a transfer keeps others from while `delayMs` passes or it hangs. `link` (default) is what the library's mutexes
   * hold: a pull holds its link, a push its link and all pushes of the instance. What comes later over it waits, and so
   * does an unlink. Where the peer unlinks without force, or links anew by force, that waits as well, with all links of this
   * instance locked: nothing can be done over any of them meanwhile. With `call` the call itself waits and nothing else does. Other operations hold no link: control calls
   * of an instance take turns in any case.
   */
  readonly hold?: 'link' | 'call';
  /**
   * The number of layers (of `tensorNumPerLayer` tensors) of a transfer that are moved for real before it fails, with `status`
   * (default `LLM_FAILED`) or `throwError`, after `delayMs`, or hangs.
   */
  readonly partialLayers?: number;
  /**
   * The call succeeds, and bytes are changed of what it moved: this number of them, 1 for `true`, chosen by the fabric's seed. For
   * transfers, `read` and `write`.
   */
  readonly corrupt?: boolean | number;
  /** The call does nothing and is rejected with this very error. */
  readonly throwError?: Error;
}

/** A fault that was looked through. */
export interface CheckedFault {
  /** As the test put it, with nodes by their ids. */
  readonly definition: Fault;
  readonly ops: ReadonlySet<Operation>;
  readonly node: bigint | undefined;
  readonly peer: bigint | undefined;
  readonly cacheId: bigint | undefined;
  readonly skip: number;
  /** `Infinity` for all. */
  readonly times: number;
  readonly status: number | undefined;
  readonly delayMs: number;
  readonly hang: boolean;
  readonly hold: 'link' | 'call';
  readonly partialLayers: number | undefined;
  /** Bytes to change. */
  readonly corrupt: number;
  readonly throwError: Error | undefined;
  readonly removal: FaultRemoval;
}

export const TRANSFERS: ReadonlySet<Operation> = new Set(['pullCache', 'pullBlocks', 'pushCache', 'pushBlocks']);
const WITH_PEER: ReadonlySet<Operation> = new Set([...TRANSFERS, 'linkClusters', 'unlinkClusters']);
const WITH_CACHE: ReadonlySet<Operation> = new Set([...TRANSFERS, 'unregisterCache']);
const WITH_BYTES: ReadonlySet<Operation> = new Set([...TRANSFERS, 'read', 'write']);
const NOT_OF_A_BACKEND: ReadonlySet<string> = new Set([
  'transferCacheAsync',
  'swapBlocks',
  'readBlocks',
  'writeBlocks',
]);
/** Methods of the public API that make calls of other names. */
const MADE_OF: Readonly<Record<string, string>> = {
  allocateCache: 'allocateMemory or registerCache',
  deallocateCache: 'unregisterCache or free',
};

/** The longest delay: what a timer takes. */
const MAX_DELAY_MS = 2 ** 31 - 1;

const FAULT: Names<Fault> = {
  op: true,
  node: true,
  peer: true,
  cacheId: true,
  skip: true,
  times: true,
  status: true,
  delayMs: true,
  hang: true,
  hold: true,
  partialLayers: true,
  corrupt: true,
  throwError: true,
};

export function checkFault(value: unknown): CheckedFault {
  const fields = checkFields(value, 'fault', FAULT);
  const { op, node, peer, cacheId, skip, times, status, delayMs, hang, hold, partialLayers, corrupt, throwError } =
    fields;
  const ops = checkOperations(op);
  const nodeId = node === undefined ? undefined : clusterIdOf(node, 'fault.node');
  const peerId = peer === undefined ? undefined : clusterIdOf(peer, 'fault.peer');
  const fault: CheckedFault = {
    definition: Object.freeze(
      withDecimalJSON({
        ...fields,
        op: [...ops],
        ...(nodeId !== undefined && { node: nodeId }),
        ...(peerId !== undefined && { peer: peerId }),
      }),
    ),
    ops,
    node: nodeId,
    peer: peerId,
    cacheId: cacheId === undefined ? undefined : checkInt64(cacheId, 'fault.cacheId'),
    skip: count(skip, 'fault.skip', 0) ?? 0,
    times: count(times, 'fault.times', 1) ?? Infinity,
    status: status === undefined ? undefined : checkStatus(status),
    delayMs: delayMs === undefined ? 0 : checkInteger(delayMs, 'fault.delayMs', 0, MAX_DELAY_MS),
    hang: hang === undefined ? false : checkBoolean(hang, 'fault.hang'),
    hold: hold === undefined ? 'link' : checkHold(hold),
    partialLayers: count(partialLayers, 'fault.partialLayers', 0),
    corrupt: typeof corrupt === 'boolean' ? Number(corrupt) : (count(corrupt, 'fault.corrupt', 1) ?? 0),
    throwError: checkError(throwError),
    removal: new FaultRemoval(),
  };
  checkReach(fault);
  checkEffects(fault, delayMs !== undefined);
  if (hold !== undefined && !fault.hang && delayMs === undefined) {
    throw outOfRange('fault.hold', 'given with hang or delayMs only', hold);
  }
  return Object.freeze(fault);
}

function checkOperations(value: unknown): ReadonlySet<FaultOperation> {
  const ops = checkArray(Array.isArray(value) ? value : [value], 'fault.op', (op, name) => {
    const known = operations.find((each): each is FaultOperation => each === op && isOfABackend(each));
    if (known !== undefined) return known;
    const all = operations.filter(isOfABackend).join(', ');
    const where = Array.isArray(value) ? name : 'fault.op';
    const madeOf = typeof op === 'string' && Object.hasOwn(MADE_OF, op) ? MADE_OF[op] : undefined;
    if (madeOf !== undefined) throw outOfRange(where, `${madeOf}, which calls of ${String(op)} are made of`, op);
    if (typeof op !== 'string') throw invalidArgType(where, `one of ${all}`, op);
    throw outOfRange(where, `one of ${all}`, op);
  });
  if (ops.length === 0) throw outOfRange('fault.op', 'an operation, or a list of at least one', value);
  return new Set(ops);
}

function isOfABackend(op: string): boolean {
  return !NOT_OF_A_BACKEND.has(op) && !Object.hasOwn(MADE_OF, op);
}

function count(value: unknown, name: string, min: number): number | undefined {
  return value === undefined ? undefined : checkInteger(value, name, min, Number.MAX_SAFE_INTEGER);
}

function checkStatus(value: unknown): number {
  const name = 'fault.status';
  const code =
    typeof value === 'string' ? (statusOfName(value) ?? checkStatusName(value, name)) : checkUint32(value, name);
  if (code === LLMStatusCode.LLM_SUCCESS) throw outOfRange('fault.status', 'the status of a failure', value);
  return code;
}

function checkHold(value: unknown): 'link' | 'call' {
  if (value === 'link' || value === 'call') return value;
  const expected = "'link' or 'call'";
  throw typeof value === 'string'
    ? outOfRange('fault.hold', expected, value)
    : invalidArgType('fault.hold', expected, value);
}

function checkError(value: unknown): Error | undefined {
  if (value === undefined) return undefined;
  // An error of another realm, such as the one that a test runs in, has another class.
  if (value instanceof Error || Object.prototype.toString.call(value) === '[object Error]') {
    keepStackOf(value as Error);
    return value as Error;
  }
  throw invalidArgType('fault.throwError', 'an Error', value);
}

/** What a fault asks of a call must be there in all of its operations. */
function checkReach(fault: CheckedFault): void {
  const needed: [boolean, string, ReadonlySet<Operation>][] = [
    [fault.peer !== undefined, 'peer', WITH_PEER],
    [fault.cacheId !== undefined, 'cacheId', WITH_CACHE],
    [fault.definition.hold !== undefined, 'hold', TRANSFERS],
    [fault.partialLayers !== undefined, 'partialLayers', TRANSFERS],
    [fault.corrupt > 0, 'corrupt', WITH_BYTES],
  ];
  for (const [given, name, possible] of needed) {
    const without = [...fault.ops].find((op) => !possible.has(op));
    if (given && without !== undefined) {
      throw outOfRange('fault.op', `one of ${[...possible].join(', ')} where fault.${name} is given`, without);
    }
  }
}

function checkEffects(fault: CheckedFault, isDelayed: boolean): void {
  const ends = [
    ...(fault.status === undefined ? [] : [`status: ${nameOf(fault.status)}`]),
    ...(fault.throwError === undefined ? [] : [`throwError: ${fault.throwError.name}`]),
    ...(fault.hang ? ['hang: true'] : []),
    ...(fault.corrupt > 0 ? [`corrupt: ${fault.corrupt}`] : []),
  ];
  const partial = fault.partialLayers === undefined ? [] : [`partialLayers: ${fault.partialLayers}`];
  const contradiction =
    ends.length > 1
      ? ends
      : fault.corrupt > 0 && partial.length > 0
        ? [...ends, ...partial]
        : fault.hang && isDelayed
          ? [...ends, `delayMs: ${fault.delayMs}`]
          : undefined;
  if (contradiction !== undefined) {
    throw unfit('fault', `has effects that exclude each other: ${contradiction.join(' and ')}`);
  }
  if (ends.length === 0 && partial.length === 0 && !isDelayed) {
    const named = [...fault.ops].join(', ');
    throw unfit(
      'fault',
      `of ${named} has no effect: give one of status, throwError, hang, delayMs, partialLayers and corrupt`,
    );
  }
}

/** A fault as reports name it. */
export function describeFault(fault: CheckedFault): string {
  const { ops, node, peer, cacheId, skip, times, status, delayMs, hang, hold, partialLayers, corrupt, throwError } =
    fault;
  return [
    [...ops].join('/'),
    ...(node === undefined ? [] : [`of cluster ${node}`]),
    ...(peer === undefined ? [] : [`with cluster ${peer}`]),
    ...(cacheId === undefined ? [] : [`on cache ${cacheId}`]),
    ...(skip === 0 ? [] : [`after ${counted(skip, 'call')}`]),
    ...(times === Infinity ? [] : [counted(times, 'time')]),
    '->',
    [
      ...(partialLayers === undefined ? [] : [counted(partialLayers, 'layer')]),
      ...(delayMs === 0 ? [] : [`${delayMs} ms`]),
      ...(status === undefined ? [] : [nameOf(status)]),
      ...(hang ? ['hangs'] : []),
      ...(hold === 'call' ? ['holds the call only'] : []),
      ...(corrupt === 0 ? [] : [`${counted(corrupt, 'byte')} corrupt`]),
      ...(throwError === undefined ? [] : [`throws ${throwError.name}`]),
    ].join(', ') || 'no delay',
  ].join(' ');
}

function counted(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

function nameOf(status: number): string {
  const name = statusName(status);
  return name === 'LLM_UNKNOWN_STATUS' ? `0x${status.toString(16)}` : name;
}
