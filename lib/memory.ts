import { hexAddress } from './address';
import { checkBytes, checkInteger, checkUint64, outOfRange } from './check';
import { LLMException } from './exception';
import type { Instance } from './instance';
import { Placement } from './placement';
import { LLMStatusCode } from './status';

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
   * Copies bytes of the host into the region, from byte `offset` on (default 0).
   * @throws TypeError for anything but a view of a live buffer; RangeError where the bytes do not fit.
   * @throws LLMException `LLM_PARAM_INVALID` when the region was freed.
   */
  write(data: ArrayBufferView, offset?: number): Promise<void>;
  /**
   * Copies bytes of the region to the host: `length` of them (default: all that follow) from byte `offset` (default 0).
   * @throws RangeError where the range is outside the region; LLMException as {@link write}.
   */
  read(offset?: number, length?: number): Promise<Uint8Array>;
  /**
   * Gives the memory back. Unregister the caches in it and unlink first: a peer may still read or write it.
   * @throws LLMException `LLM_PARAM_INVALID` when the region was freed before.
   */
  free(): Promise<void>;
}

/** Largest copy between host and device in one call: a Uint8Array holds no more on any supported Node. */
const MAX_COPY = 2 ** 32;

/** What `read` and `write` of 64-bit sizes cannot exceed. */
const MAX_OFFSET = Number.MAX_SAFE_INTEGER;

/** A region of one instance; it ends with the instance's Finalize. */
export class AllocatedRegion implements MemoryRegion {
  readonly #instance: Instance;
  #freed = false;

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

  async write(data: ArrayBufferView, offset = 0): Promise<void> {
    const bytes = checkBytes(data, 'data');
    const start = this.#checkRange(offset, bytes.length);
    return this.#use('write', () => this.#instance.backend.write(this.address + start, bytes));
  }

  async read(offset = 0, length?: number): Promise<Uint8Array> {
    const start = this.#checkRange(offset, 0);
    const rest = this.byteLength - start;
    const count = length === undefined ? rest : BigInt(checkInteger(length, 'length', 0, MAX_OFFSET));
    if (count > rest) throw outOfRange('length', `<= ${rest}, the bytes that follow byte ${start}`, length);
    if (count > MAX_COPY) throw outOfRange('length', `<= ${MAX_COPY} bytes in one call`, count);
    return this.#use('read', () => this.#instance.backend.read(this.address + start, Number(count)));
  }

  async free(): Promise<void> {
    return this.#use('free', () => this.release());
  }

  /** Frees it as part of a call that is in flight already, or of the instance's end; once is enough. */
  async release(): Promise<void> {
    if (this.#freed) return;
    this.#freed = true;
    this.#instance.regions.delete(this);
    await this.#instance.backend.free(this.address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A finalize that is under way frees it, and says so.
    if (!this.#freed && !this.#instance.isFinalizing) await this.free();
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

  #use<T>(operation: 'read' | 'write' | 'free', work: () => Promise<T>): Promise<T> {
    if (this.#freed) {
      throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
        operation,
        message: `the region at ${hexAddress(this.address)} was freed`,
        remedy: 'Allocate another region; a freed one stays freed, and finalize() frees all of an instance.',
      });
    }
    return this.#instance.run(operation, work);
  }
}

/** The size and the placement of an allocation, as `allocateMemory` takes them. */
export function checkAllocation(
  byteLength: unknown,
  options: Readonly<Record<string, unknown>>,
): { byteLength: bigint; placement: Placement } {
  const size = checkUint64(byteLength, 'byteLength');
  const { placement = Placement.DEVICE } = options;
  return {
    byteLength: size,
    placement: checkInteger(placement, 'options.placement', Placement.HOST, Placement.DEVICE),
  };
}
