import './disposable';
import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';
import { hexAddress } from './address';
import { CALL_OPTIONS, checkCallOptions } from './call-options';
import type { CallLimits, CallOptions } from './call-options';
import { checkBytes, checkInteger, checkUint64, outOfRange } from './check';
import { LLMException } from './exception';
import { refusal } from './guard/rule';
import { inspected } from './inspection';
import type { Instance } from './instance';
import type { LimitedCall } from './limited-call';
import { isHost, Placement } from './placement';
import { Repeatable } from './repeatable';
import { LLMStatusCode } from './status';
import { takeTurns } from './turns';
import { Uses } from './uses';

/**
 * Memory of the device or the host that this package allocated.
 *
 * C++ `aclrtMalloc`/`aclrtMallocHost`; the Python package leaves this to torch_npu.
 */
export interface MemoryRegion extends AsyncDisposable {
  /** Virtual address of the first byte. Any address inside the region may be registered. */
  readonly address: bigint;
  readonly byteLength: bigint;
  readonly placement: Placement;
  /**
   * Copies bytes of the host into the region, from byte `offset` on (default 0). `data` is copied before the call returns:
   * what happens to its buffer afterwards changes nothing.
   * @throws TypeError for anything but a view of a live buffer; RangeError where the bytes do not fit.
   * @throws LLMException `LLM_PARAM_INVALID` when the region was freed; `LLM_OUT_OF_MEMORY` where there is no memory for the
   *   copy of `data`.
   */
  write(data: ArrayBufferView, offset?: number, call?: CallOptions): Promise<void>;
  /**
   * Copies bytes of the region to the host: `length` of them (default: all that follow) from byte `offset` (default 0).
   * @throws RangeError where the range is outside the region; LLMException as {@link write}.
   */
  read(offset?: number, length?: number, call?: CallOptions): Promise<Uint8Array>;
  /**
   * Gives the memory back, when the copies of it that run have ended. Unregister the caches in it first.
   *
   * Memory of a cache that was registered while a link was made is in the peer's reach until that link is gone. It is
   * given back then, without another word: for the caller it is freed now.
   * @throws LLMException `LLM_PARAM_INVALID` when the region was freed before, or holds memory of a registered cache.
   */
  free(call?: CallOptions): Promise<void>;
}

export const ALLOCATION_OPTIONS = { ...CALL_OPTIONS, placement: true } as const;

/** Largest copy between host and device in one call: a Uint8Array holds no more on any supported Node. */
const MAX_COPY = 2 ** 32;

/** What `read` and `write` of 64-bit sizes cannot exceed. */
const MAX_OFFSET = Number.MAX_SAFE_INTEGER;

/** A region of one instance; it ends with the instance's Finalize. */
export class AllocatedRegion implements MemoryRegion {
  readonly #instance: Instance;
  readonly #copies = new Uses();
  static {
    takeTurns(AllocatedRegion.prototype, ['write', 'read', 'free', Symbol.asyncDispose], (region) =>
      typeof region === 'object' && region !== null && #instance in region ? region.#instance.backend.turns : undefined,
    );
  }

  /** `freed` for the caller, while copies or links still hold the memory; `held` by the latter. */
  #state: 'live' | 'freed' | 'held' | 'gone' = 'live';
  /** The last call of `free` with options that may end it. */
  #freeing: Repeatable | undefined;

  constructor(
    instance: Instance,
    readonly address: bigint,
    readonly byteLength: bigint,
    readonly placement: Placement,
  ) {
    this.#instance = instance;
    // Changed from outside, these would lead copies to memory of somebody else.
    Object.freeze(this);
  }

  /** @internal Whether the caller has freed it. */
  static isFreed(region: AllocatedRegion): boolean {
    return region.#state !== 'live';
  }

  async write(data: ArrayBufferView, offset = 0, call?: CallOptions): Promise<void> {
    const limits = checkCallOptions(call);
    const given = checkBytes(data, 'data');
    const start = this.#checkRange(offset, given.length);
    this.#checkLive('write');
    const bytes = snapshot(given);
    const range = { address: this.address + start, byteLength: BigInt(bytes.length) };
    await this.#copy('write', range, () => this.#instance.backend.write(range.address, bytes), limits);
  }

  async read(offset = 0, length?: number, call?: CallOptions): Promise<Uint8Array> {
    const limits = checkCallOptions(call);
    const start = this.#checkRange(offset, 0);
    const rest = this.byteLength - start;
    const count = length === undefined ? rest : BigInt(checkInteger(length, 'length', 0, MAX_OFFSET));
    if (count > rest) throw outOfRange('length', `<= ${rest}, the bytes that follow byte ${start}`, length);
    if (count > MAX_COPY) throw outOfRange('length', `<= ${MAX_COPY} bytes in one call`, count);
    const range = { address: this.address + start, byteLength: count };
    return await this.#copy('read', range, () => this.#instance.backend.read(range.address, Number(count)), limits);
  }

  async free(call?: CallOptions): Promise<void> {
    const limits = checkCallOptions(call);
    if (this.#freeing?.ranOn !== true) this.#checkLive('free');
    const free = async (limited: LimitedCall | undefined) => {
      const before = this.#freeing;
      if (before?.ranOn === true) {
        if (await before.hasSucceeded(limited)) return;
        this.#checkLive('free');
      }
      this.#guardFree();
      const answer = this.release(limited);
      if (limited !== undefined) this.#freeing = new Repeatable(limited, answer);
      await answer;
    };
    await this.#instance.run('free', free, undefined, limits);
  }

  /** Frees it as part of a call that is in flight already; once is enough. */
  async release(call?: LimitedCall): Promise<void> {
    if (this.#state !== 'live') return;
    this.#state = 'freed';
    call?.onWithdrawal(() => {
      this.#state = 'live';
    });
    await this.#instance.idle('free', this.#copies, 'the copies of this memory', call);
    call?.check();
    if (this.#isHeldByLibrary()) this.#state = 'held';
    else await this.giveBack(call);
  }

  /** Gives a held region back, unless something still holds it. */
  async releaseHeld(): Promise<void> {
    if (this.#state === 'held' && !this.#isHeldByLibrary()) await this.giveBack();
  }

  /** Gives the memory back, whatever holds it. */
  async giveBack(call?: LimitedCall): Promise<void> {
    const { regions, backend } = this.#instance;
    this.#state = 'gone';
    regions.delete(this);
    call?.onWithdrawal(() => {
      this.#state = 'live';
      regions.add(this);
    });
    await this.#instance.handOver(call, () => backend.free(this.address));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A finalize that is under way frees it, and says so; what a lost instance has stays with the process.
    const { isFinalizing, isLost } = this.#instance;
    if (this.#state === 'live' && !isFinalizing && !isLost) await this.free();
  }

  /** The region for logs, without its bytes. */
  toJSON(): Record<string, unknown> {
    const { address, byteLength, placement } = this;
    return { address: String(address), byteLength: String(byteLength), placement };
  }

  /** @internal */
  [inspect.custom](depth: number | null, options: InspectOptionsStylized): string {
    const { address, byteLength, placement } = this;
    const state = this.#state === 'live' ? 'allocated' : 'freed';
    const fields = { address: hexAddress(address), byteLength, placement: Placement[placement], state };
    return inspected('MemoryRegion', fields, depth, options);
  }

  #checkRange(offset: unknown, length: number): bigint {
    const start = BigInt(checkInteger(offset, 'offset', 0, MAX_OFFSET));
    if (start + BigInt(length) > this.byteLength) {
      throw outOfRange(
        'offset',
        `such that ${length} bytes from it end within the region's ${this.byteLength}`,
        offset,
      );
    }
    return start;
  }

  async #copy<T>(
    operation: 'read' | 'write',
    range: { readonly address: bigint; readonly byteLength: bigint },
    work: () => Promise<T>,
    limits: CallLimits | undefined,
  ): Promise<T> {
    this.#checkLive(operation);
    const copy = async (call: LimitedCall | undefined) => {
      const instance = this.#instance;
      if (instance.noticesAccess(call)) {
        instance.access(operation, call, () => [{ ...range, writes: operation === 'write' }]);
      }
      return await this.#copies.hold(instance.handOver(call, work));
    };
    return await this.#instance.run(operation, copy, undefined, limits);
  }

  #checkLive(operation: 'read' | 'write' | 'free'): void {
    if (this.#state === 'live') return;
    throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
      operation,
      message: `the region at ${hexAddress(this.address)} was freed`,
      remedy: 'Allocate another region; a freed one stays freed, and finalize() frees all of an instance.',
    });
  }

  #guardFree(): void {
    const { guards, registrations } = this.#instance;
    if (!guards) return;
    for (const { state, registration } of registrations.holders(this.address, this.byteLength)) {
      if (state !== 'registered' && state !== 'registering') continue;
      const cache = registration === undefined ? 'a cache that is being registered' : `cache ${registration.cacheId}`;
      throw refusal(
        'registered-memory',
        'free',
        `the region at ${hexAddress(this.address)} holds memory of ${cache}`,
        registration === undefined ? {} : { cacheId: registration.cacheId },
      );
    }
  }

  #isHeldByLibrary(): boolean {
    const { guards, registrations } = this.#instance;
    const [holder] = registrations.holders(this.address, this.byteLength);
    return guards && holder !== undefined;
  }
}

/** The bytes as they are now: the caller may change them, or give their buffer away, as soon as the call has returned. */
export function snapshot(bytes: Uint8Array): Uint8Array {
  let copy: Uint8Array;
  try {
    copy = new Uint8Array(bytes.length);
  } catch (cause) {
    throw new LLMException(LLMStatusCode.LLM_OUT_OF_MEMORY, {
      operation: 'write',
      message: `there is no memory for a copy of the ${bytes.length} bytes`,
      cause,
    });
  }
  copy.set(bytes);
  return copy;
}

/** More than a process can address. */
const MOST_BYTES = 2n ** 48n;

/** Refuses what no host can have, before anything is allocated. */
export function checkTotal(operation: string, byteLength: bigint, placement: number): void {
  if (byteLength <= MOST_BYTES) return;
  const onHost = isHost(placement);
  throw new LLMException(onHost ? LLMStatusCode.LLM_OUT_OF_MEMORY : LLMStatusCode.LLM_DEVICE_OUT_OF_MEMORY, {
    operation,
    message: `${byteLength} bytes are more than a process can address (${MOST_BYTES})`,
  });
}

/** The size and the placement of an allocation, as `allocateMemory` takes them. */
export function checkAllocation(
  byteLength: unknown,
  fields: Readonly<Record<string, unknown>>,
): { byteLength: bigint; placement: Placement } {
  const size = checkUint64(byteLength, 'byteLength');
  const { placement = Placement.DEVICE } = fields;
  return {
    byteLength: size,
    placement: checkInteger(placement, 'options.placement', Placement.HOST, Placement.DEVICE),
  };
}
