import type { Backend } from '../backend/backend';
import { crc32, crcText } from './crc32';

/** Bytes repeat after this number. */
const PERIOD = 251;
const TENSOR_STEP = 131;

/** Beyond this the tensors of a cache share one allocation, which is much quicker to fill and to read. */
const MAX_ALLOCATIONS = 1024;

/** More is not allocated for a registration that is going to fail anyway. */
const MAX_BYTES_TO_FAIL = 64n * 1024n * 1024n;

/** Where addresses begin that nobody is going to look behind. */
const NOWHERE = 0x1000n;

/** The memory of a cache: tensors of equal size, in memory of one instance's backend. */
export class CacheMemory {
  private constructor(
    private readonly backend: Backend,
    readonly addresses: BigUint64Array<ArrayBuffer>,
    private readonly tensorBytes: number,
    private readonly allocations: bigint[],
    /** Whether the tensors follow each other in one allocation. */
    private readonly inOne: boolean,
  ) {}

  /**
   * Fresh memory.
   * @param tensorBytes `undefined` where a tensor has no size: the addresses lead nowhere then
   * @param base byte `k` of tensor `t` is `(base + 131*t + k) mod 251`
   * @param fails whether the registration of it is expected to fail
   */
  static async allocate(
    backend: Backend,
    { count, tensorBytes, placement, base, fails }: FreshMemory,
  ): Promise<CacheMemory> {
    const tooMuch = fails && tensorBytes !== undefined && tensorBytes * BigInt(count) > MAX_BYTES_TO_FAIL;
    if (count === 0 || tensorBytes === undefined || tooMuch) {
      return new CacheMemory(backend, addresses(count, NOWHERE, NOWHERE), 0, [], false);
    }
    const bytes = Number(tensorBytes);
    const perAllocation = count > MAX_ALLOCATIONS ? count : 1;
    const starts = new BigUint64Array(count);
    const memory = new CacheMemory(backend, starts, bytes, [], perAllocation > 1);
    try {
      for (let first = 0; first < count; first += perAllocation) {
        const start = await backend.malloc(tensorBytes * BigInt(perAllocation), placement);
        memory.allocations.push(start);
        starts.set(addresses(perAllocation, start, tensorBytes), first);
        await backend.write(start, initialBytes(first, perAllocation, bytes, base));
      }
    } catch (error) {
      await memory.free();
      throw error;
    }
    return memory;
  }

  /** The same memory, as another cache of `count` tensors sees it. */
  view(count: number, tensorBytes: bigint | undefined): CacheMemory {
    const bytes = Number(tensorBytes ?? 0n);
    return new CacheMemory(
      this.backend,
      this.addresses.slice(0, count),
      bytes,
      [],
      this.inOne && bytes === this.tensorBytes,
    );
  }

  /** The bytes of each tensor, in order. */
  async tensors(): Promise<Uint8Array[]> {
    const tensors: Uint8Array[] = [];
    for (const address of this.addresses) tensors.push(await this.backend.read(address, this.tensorBytes));
    return tensors;
  }

  /** CRC-32 over the bytes of all tensors, in order, as 8 hexadecimal digits. */
  async crc(): Promise<string> {
    let crc = 0;
    const [first] = this.addresses;
    if (this.inOne && first !== undefined) {
      crc = crc32(await this.backend.read(first, this.addresses.length * this.tensorBytes));
    } else {
      for (const address of this.addresses) crc = crc32(await this.backend.read(address, this.tensorBytes), crc);
    }
    return crcText(crc);
  }

  async free(): Promise<void> {
    for (const allocation of this.allocations) await this.backend.free(allocation);
  }
}

export interface FreshMemory {
  readonly count: number;
  readonly tensorBytes: bigint | undefined;
  readonly placement: number;
  readonly base: number;
  readonly fails: boolean;
}

function addresses(count: number, start: bigint, step: bigint): BigUint64Array<ArrayBuffer> {
  const result = new BigUint64Array(count);
  for (let i = 0; i < count; i++) result[i] = start + BigInt(i) * step;
  return result;
}

/** The bytes of `count` tensors from the one with number `first`; byte `k` of tensor `t` is `(base + 131*t + k) mod 251`. */
export function initialBytes(first: number, count: number, tensorBytes: number, base: number): Uint8Array {
  const pattern = new Uint8Array(tensorBytes + PERIOD);
  for (let k = 0; k < pattern.length; k++) pattern[k] = k % PERIOD;
  const bytes = new Uint8Array(count * tensorBytes);
  for (let i = 0; i < count; i++) {
    const start = (base + TENSOR_STEP * (first + i)) % PERIOD;
    bytes.set(pattern.subarray(start, start + tensorBytes), i * tensorBytes);
  }
  return bytes;
}
