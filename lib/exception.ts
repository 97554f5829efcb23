import { inspect, type InspectOptionsStylized, types } from 'node:util';
import {
  checkArray,
  checkFields,
  checkInt64,
  checkObject,
  checkString,
  checkUint32,
  checkUint64,
  invalidArgType,
} from './check';
import type { Names } from './check';
import { hasOwn, recognizeCopies } from './brand';
import { withDecimalJSON } from './decimal-json';
import { shortList } from './short-list';
import { captureStack } from './stack';
import type { ClusterResult } from './cluster';
import { describeStatus, LLMStatusCode, recoveries, recoveryOf, remedyOf, statusHex, statusName } from './status';
import type { Recovery, StatusDescription } from './status';

export { LLMBackendError } from './backend-error';
export type { LLMBackendErrorInfo, LLMBackendErrorJSON, LoadAttempt } from './backend-error';

/** More would be a wall of text; `results` has all of them. */
const MAX_CLUSTERS_TOLD = 16;

/** As many clusters as a call takes. */
const MAX_RESULTS = 65_536;

const TELLS_CLUSTERS_APART: ReadonlySet<string> = new Set(['linkClusters', 'unlinkClusters']);

/** The own fields of every exception, whichever copy of this package has made it. */
const OWN_FIELDS = { name: 'string', message: 'string', statusCode: 'number', operation: 'string' } as const;

/** What is known about a failure besides its status. Empty texts count as not given. */
export interface LLMExceptionInfo {
  /** The method that failed, such as `pullBlocks`. */
  readonly operation: string;
  /** What happened, where more can be said than the meaning of the status. */
  readonly message?: string | undefined;
  /** The runtime's own last error text. */
  readonly detail?: string | undefined;
  /** What to do, where more can be said than `remedyOf` does. */
  readonly remedy?: string | undefined;
  /** The peer. */
  readonly clusterId?: bigint | undefined;
  readonly cacheId?: bigint | undefined;
  /** Link and unlink: one per cluster, in input order. */
  readonly results?: readonly ClusterResult[] | undefined;
  readonly cause?: unknown;
  /** Where `recoveryOf` is not the answer. */
  readonly recovery?: Recovery | undefined;
  /** Whose deadline it was; of `LLM_TIMEOUT` the library's unless something else is said. */
  readonly deadline?: DeadlineOwner | undefined;
  readonly released?: Promise<void> | undefined;
  /** Of a push: layers that were written completely. */
  readonly layersCompleted?: number | undefined;
}

/** Whose deadline a call ran into. */
export type DeadlineOwner = (typeof deadlineOwners)[number];

const deadlineOwners = Object.freeze(['caller', 'package', 'library'] as const);

const INFO: Names<LLMExceptionInfo> = {
  operation: true,
  message: true,
  detail: true,
  remedy: true,
  clusterId: true,
  cacheId: true,
  results: true,
  cause: true,
  recovery: true,
  deadline: true,
  released: true,
  layersCompleted: true,
};

/** What {@link LLMException.toJSON} gives: 64-bit ids as decimal strings, no stack, no cause. */
export interface LLMExceptionJSON {
  name: 'LLMException';
  message: string;
  code: string;
  statusCode: number;
  hex: string;
  operation: string;
  recoverable: boolean | undefined;
  recovery: Recovery;
  remedy: string;
  deadline?: DeadlineOwner;
  detail?: string;
  clusterId?: string;
  cacheId?: string;
  results?: { remoteClusterId: string; statusCode: number; code: string }[];
  layersCompleted?: number;
}

// A structured clone (postMessage, structuredClone) reduces what the Error constructor has made to a nameless Error with
// nothing but message and stack. An object that only inherits from Error.prototype keeps its own properties, and is an
// Error to `instanceof`, `catch` and loggers all the same.
const ErrorByPrototype = function () {
  // The object is filled by the class that extends this.
} as unknown as new () => Error;
ErrorByPrototype.prototype = Object.create(Error.prototype, {
  constructor: { value: ErrorByPrototype, configurable: true, writable: true },
}) as Error;

/**
 * A failure that the library reported (or the mock in its place), or that this package found in its name.
 *
 * The stack of a control call or a local copy ends in the line that made the call; that of a pull or push in the line that
 * awaits it, and in the place where the failure was found if nothing awaits it then.
 *
 * The message says what happened, with which peer, and what to do. `structuredClone` and `postMessage` make a plain
 * object of an exception, with the same `name`, `message`, `code` and so on but without stack and cause;
 * {@link LLMException.from} makes an exception of that again.
 *
 * C++: a `Status` other than `LLM_SUCCESS`; Python: `LLMException`.
 *
 * @example
 * try {
 *   await manager.pullBlocks(key, cache, [0, 1], [4, 5]);
 * } catch (error) {
 *   if (!(error instanceof LLMException) || error.recovery !== 'relink') throw error;
 *   // One for all calls of the peer (examples/retry-policy has it), which also gives a new key.
 *   await sharedRelink(error.clusterId);
 * }
 */
export class LLMException extends ErrorByPrototype {
  static {
    // Without this tag an exception that ends a worker reaches the worker's `error` event as a plain object.
    Object.defineProperty(this.prototype, Symbol.toStringTag, { value: 'Error', configurable: true });
    recognizeCopies(this, 'LLMException', OWN_FIELDS);
  }

  override readonly name = 'LLMException';
  override message: string;
  /** Name of the status, such as `LLM_TIMEOUT`; `LLM_UNKNOWN_STATUS` for a number that nobody has named. */
  readonly code: string;
  /** The raw status as the library returned it, an unsigned 32-bit number. */
  readonly statusCode: number;
  /** The same, in the spelling of the Python class. */
  readonly status_code: number;
  /** The method that failed, such as `pullBlocks`. */
  readonly operation: string;
  /** Whether the vendor documents the status as recoverable; `undefined` where the vendor is silent. */
  readonly recoverable: boolean | undefined;
  /** What a program can do about it. */
  readonly recovery: Recovery;
  /** What to do now, one or two sentences. */
  readonly remedy: string;
  /**
   * Of `LLM_TIMEOUT`, whose deadline it was: `caller` for the `timeout` in the options of the call, `package` for
   * `hangTimeout`, `library` for the library's own. Only after the library's a link is dead.
   */
  declare readonly deadline?: DeadlineOwner;
  /**
   * Has one of two meanings, for a deadline `caller` or `package`.
   *
   * Of a call that was rejected before it had ended in the library: resolves when the call writes and reads nothing any more. That
   * is at once where it never got to the library, otherwise when it has come back, and where it comes back with a status that ends
   * its link, when that link is unlinked. While the call hangs it stays pending. Where several transfers with a peer hang, the
   * peer is responsive again before the last of these promises resolves. A `released` that waits for an unlink resolves only when
   * the peer is relinked, so do not wait for it alone: the next transfer with that peer over the dead link has the recovery
   * `relink`, and so has the refusal (rule `rows-in-flight`) of a call that uses the memory.
   *
   * Of a call that was refused because a transfer hangs (`package`; the remedy says so): the call uses no memory, and this resolves
   * when the transfer has come back, so that calls pass again.
   *
   * Rejects when the instance is lost. Nothing has to be done with it. It is not enumerable, and clones and JSON leave it out.
   */
  declare readonly released?: Promise<void>;
  /** The runtime's own last error text, when there is one. */
  declare readonly detail?: string;
  /** The peer of the call, when there is one. */
  declare readonly clusterId?: bigint;
  /** The cache of the call, when there is one. */
  declare readonly cacheId?: bigint;
  /** Link and unlink: one per cluster, in input order; empty when the call as a whole was refused. */
  declare readonly results?: ClusterResult[];
  /**
   * Of a push that failed: the number of layers written completely, from the first one on; the next one may be written
   * in part. 0 where nothing was moved. The library does not say it: over the native backend it is not there when several
   * layers were pushed and the library was called; then any of them may be written. Push layer by layer to know.
   */
  declare readonly layersCompleted?: number;
  /** What led to this, when that is known. As with any Error it is not enumerable, so clones leave it out. */
  declare readonly cause?: unknown;

  /**
   * @param statusCode the raw status, any unsigned 32-bit number
   * @param info what else is known
   * @throws TypeError (`ERR_INVALID_ARG_TYPE`) when an argument has the wrong type
   * @throws RangeError (`ERR_OUT_OF_RANGE`) when a number does not fit its C++ type
   */
  constructor(statusCode: number, info: LLMExceptionInfo) {
    super();
    const status = describeStatus(checkUint32(statusCode, 'statusCode'));
    const checked = checkInfo(checkFields(info, 'info', INFO));
    const { operation, detail, clusterId, cacheId, results, cause } = checked;
    this.recovery = checked.recovery ?? recoveryOf(status.code, operation);
    this.remedy = checked.remedy ?? remedyOf(status.code, operation);
    this.message = [
      `${operation} failed: ${named(status)}: ${happened(status, checked)}.`,
      ...(detail === undefined ? [] : [sentence(detail)]),
      sentence(this.remedy),
    ].join(' ');
    this.code = status.name;
    this.statusCode = status.code;
    this.status_code = status.code;
    this.operation = operation;
    this.recoverable = status.recoverable;
    const deadline = checked.deadline ?? (status.code === LLMStatusCode.LLM_TIMEOUT ? 'library' : undefined);
    if (deadline !== undefined) this.deadline = deadline;
    if (checked.released !== undefined) {
      Object.defineProperty(this, 'released', { value: checked.released, configurable: true, writable: true });
    }
    if (detail !== undefined) this.detail = detail;
    if (clusterId !== undefined) this.clusterId = clusterId;
    if (cacheId !== undefined) this.cacheId = cacheId;
    // Link and unlink have a result for each cluster; a call that was refused as a whole has none.
    if (results !== undefined || TELLS_CLUSTERS_APART.has(operation)) this.results = results ?? [];
    if (checked.layersCompleted !== undefined) this.layersCompleted = checked.layersCompleted;
    if (cause !== undefined) {
      Object.defineProperty(this, 'cause', { value: cause, configurable: true, writable: true });
    }
    captureStack(this, new.target);
    infos.set(this, checked);
  }

  /**
   * An exception from its structured clone or from its `toJSON()`, with the stack of this call. An exception is returned
   * as it is.
   *
   * @throws TypeError (`ERR_INVALID_ARG_TYPE`) for anything else, with the reason as its `cause`
   */
  static from(value: unknown): LLMException {
    try {
      // What inherits from the class without being made by it has no fields.
      if (value instanceof LLMException && hasOwn(value, OWN_FIELDS)) return value;
      const { name, statusCode } = checkObject(value, 'value');
      if (name !== 'LLMException') throw invalidArgType('value.name', "'LLMException'", name);
      const info = checkInfo(value, fromDecimal);
      const exception = new LLMException(checkUint32(statusCode, 'value.statusCode'), info);
      exception.message = checkString(info.message, 'value.message');
      // Its message is a whole one, not the clause that a message is made of.
      infos.delete(exception);
      return exception;
    } catch (cause) {
      const error = invalidArgType('value', 'an LLMException, its structured clone or its toJSON()', value);
      error.cause = cause;
      throw error;
    }
  }

  /** The exception as an object that is safe for logs: 64-bit ids as decimal strings, no stack, no cause. */
  toJSON(): LLMExceptionJSON {
    return {
      name: this.name,
      message: this.message,
      code: this.code,
      statusCode: this.statusCode,
      hex: statusHex(this.statusCode),
      operation: this.operation,
      recoverable: this.recoverable,
      recovery: this.recovery,
      remedy: this.remedy,
      ...(this.deadline !== undefined && { deadline: this.deadline }),
      ...(this.detail !== undefined && { detail: this.detail }),
      ...(this.clusterId !== undefined && { clusterId: String(this.clusterId) }),
      ...(this.cacheId !== undefined && { cacheId: String(this.cacheId) }),
      ...(this.results && {
        results: this.results.map((result) => ({ ...result, remoteClusterId: String(result.remoteClusterId) })),
      }),
      ...(this.layersCompleted !== undefined && { layersCompleted: this.layersCompleted }),
    };
  }

  /**
   * The stack, then what it does not say. Node would repeat every field of the message, and in another realm (jest) not
   * print an Error at all.
   *
   * @internal
   */
  [inspect.custom](depth: number | null, options: InspectOptionsStylized): string {
    if (beingInspected.has(this)) return options.stylize('[Circular]', 'special');
    if (depth !== null && depth < 0) return options.stylize(`[${String(this)}]`, 'special');
    beingInspected.add(this);
    try {
      const inner = { ...options, depth: depth === null ? null : depth - 1 };
      const fields = untold(this).map(([key, value]) => `  ${key}: ${inspect(value, inner).replaceAll('\n', '\n  ')}`);
      const head = typeof this.stack === 'string' ? this.stack : `[${String(this)}]`;
      return `${head} {\n${fields.join(',\n')}\n}`;
    } finally {
      beingInspected.delete(this);
    }
  }
}

/** What exceptions were made of. */
const infos = new WeakMap<LLMException, CheckedInfo>();

/**
 * The exception as one of the method that the user has called: several calls of a backend may make up one method, and only
 * the method means something to its caller.
 * @param cacheId the cache of the method, where the exception names none
 */
export function asFailureOf(exception: LLMException, operation: string, cacheId?: bigint): LLMException {
  const info = infos.get(exception);
  const isComplete = cacheId === undefined || exception.cacheId !== undefined;
  if (info === undefined || (exception.operation === operation && isComplete)) return exception;
  const named = { ...info, operation, cacheId: info.cacheId ?? cacheId };
  return withLaterFields(new LLMException(exception.statusCode, named), exception);
}

/** The exception with other advice. */
export function withAdvice(exception: LLMException, remedy: string, recovery = exception.recovery): LLMException {
  const info = infos.get(exception);
  if (info === undefined) return exception;
  return withLaterFields(new LLMException(exception.statusCode, { ...info, remedy, recovery }), exception);
}

/** The exception once more, with all its own properties: each call that is rejected with it gives its own the stack of its caller. */
export function copyOf(exception: LLMException): LLMException {
  const { stack } = exception;
  const prototype = Object.getPrototypeOf(exception) as object;
  const copy = Object.create(prototype, Object.getOwnPropertyDescriptors(exception)) as LLMException;
  // Of an error that V8 has given its stack, the property reads what only that error has.
  if (stack !== undefined) Object.defineProperty(copy, 'stack', { value: stack, configurable: true, writable: true });
  const info = infos.get(exception);
  if (info !== undefined) infos.set(copy, info);
  return copy;
}

/** Carries over what an exception has got since it was made, and another one made of the same lacks. */
function withLaterFields(made: LLMException, exception: LLMException): LLMException {
  for (const [name, descriptor] of Object.entries(Object.getOwnPropertyDescriptors(exception)))
    if (!Object.hasOwn(made, name)) Object.defineProperty(made, name, descriptor);
  return made;
}

/** An inspection inside an inspection does not see the cycles of the outer one. */
const beingInspected = new WeakSet<LLMException>();

/** Own properties that the message contains. */
const TOLD_BY_MESSAGE: ReadonlySet<string> = new Set([
  'name',
  'message',
  'code',
  'statusCode',
  'status_code',
  'operation',
  'remedy',
  'detail',
  'clusterId',
  'cacheId',
]);

/** The fields for a reader who has seen the message. */
function untold(exception: LLMException): (readonly [key: string, value: unknown])[] {
  const { results = [], cause } = exception;
  const allFailed = results.every(({ statusCode }) => statusCode !== LLMStatusCode.LLM_SUCCESS);
  const own: [string, unknown][] = Object.entries(exception);
  const fields = own.filter(
    ([key, value]) => value !== undefined && !TOLD_BY_MESSAGE.has(key) && !(key === 'results' && allFailed),
  );
  return cause === undefined ? fields : [...fields, ['[cause]', cause]];
}

interface CheckedInfo extends LLMExceptionInfo {
  readonly results?: ClusterResult[] | undefined;
}

/** Reads each property once. `id` prepares a 64-bit id for the check. */
function checkInfo(value: unknown, id: (value: unknown) => unknown = (given) => given): CheckedInfo {
  const info = checkObject(value, 'info');
  return {
    operation: checkString(info.operation, 'info.operation'),
    message: optional(info.message, 'info.message', checkString),
    detail: optional(info.detail, 'info.detail', checkString),
    remedy: optional(info.remedy, 'info.remedy', checkString),
    clusterId: optional(id(info.clusterId), 'info.clusterId', checkUint64),
    cacheId: optional(id(info.cacheId), 'info.cacheId', checkInt64),
    results: optional(info.results, 'info.results', (list, name) =>
      checkArray(list, name, (element, elementName) => checkResult(element, elementName, id), MAX_RESULTS),
    ),
    cause: info.cause,
    recovery: optional(info.recovery, 'info.recovery', oneOf(recoveries)),
    deadline: optional(info.deadline, 'info.deadline', oneOf(deadlineOwners)),
    released: optional(info.released, 'info.released', checkReleased),
    layersCompleted: optional(info.layersCompleted, 'info.layersCompleted', checkUint32),
  };
}

function checkResult(value: unknown, name: string, id: (value: unknown) => unknown): ClusterResult {
  const result = checkObject(value, name);
  const statusCode = checkUint32(result.statusCode, `${name}.statusCode`);
  return withDecimalJSON({
    remoteClusterId: checkUint64(id(result.remoteClusterId), `${name}.remoteClusterId`),
    statusCode,
    code: statusName(statusCode),
  });
}

function oneOf<T extends string>(words: readonly T[]): (value: unknown, name: string) => T {
  return (value, name) => {
    const word = words.find((known) => known === value);
    if (word === undefined) throw invalidArgType(name, `one of '${words.join("', '")}'`, value);
    return word;
  };
}

function checkReleased(value: unknown, name: string): Promise<void> {
  if (!types.isPromise(value)) throw invalidArgType(name, 'a Promise', value);
  return value as Promise<void>;
}

function optional<T>(value: unknown, name: string, check: (value: unknown, name: string) => T): T | undefined {
  return value === undefined || value === '' ? undefined : check(value, name);
}

function fromDecimal(id: unknown): unknown {
  return typeof id === 'string' && /^-?\d+$/.test(id) ? BigInt(id) : id;
}

/** What happened, and to which clusters and cache, as a clause without a full stop. */
function happened(status: StatusDescription, info: CheckedInfo): string {
  const { message = status.meaning, clusterId, cacheId, results = [] } = info;
  const clauses = [sentence(message).replace(/\.$/, '')];
  const failed = results.filter(({ statusCode }) => statusCode !== LLMStatusCode.LLM_SUCCESS);
  const [first] = failed;
  const names: string[] = [];
  if (results.length === 1 && first?.statusCode === status.code) {
    names.push(`cluster ${first.remoteClusterId}`);
  } else if (failed.length > 0) {
    const count = `${failed.length} of ${results.length} clusters failed`;
    const told = failed.slice(0, MAX_CLUSTERS_TOLD);
    if (told.every(({ remoteClusterId }) => says(message, `cluster ${remoteClusterId}`))) {
      clauses.push(count);
    } else {
      const list = failed.map(
        (result) => `cluster ${result.remoteClusterId} ${named(describeStatus(result.statusCode))}`,
      );
      clauses.push(`${count}: ${shortList(list, MAX_CLUSTERS_TOLD).join(', ')}`);
    }
  }
  if (clusterId !== undefined && names.length === 0) names.push(`cluster ${clusterId}`);
  if (cacheId !== undefined) names.push(`cache ${cacheId}`);
  // What the message says itself is not said again.
  const untold = names.filter((name) => !says(message, name));
  if (untold.length > 0) clauses.push(untold.join(', '));
  return clauses.join('; ');
}

/** Whether a text names a cluster or a cache; "cluster 1" is not "cluster 12". */
function says(text: string, name: string): boolean {
  return new RegExp(`\\b${name}\\b`).test(text);
}

/** Name and number of a status; also in decimal where the documentation of the number is in decimal. */
function named({ name, hex, code, origin }: StatusDescription): string {
  return origin === 'public' ? `${name} (${hex})` : `${name} (${hex} = ${code})`;
}

/** The text on one line and with an end: the texts of the runtime come in many shapes. */
function sentence(text: string): string {
  const line = text.replace(/\s+/g, ' ').trim();
  return /[.!?。！？]$/.test(line) ? line : `${line}.`;
}
