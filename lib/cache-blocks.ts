import { checkCallOptions } from './call-options';
import type { CallLimits } from './call-options';
import { checkBytes, checkUint64List, outOfRange } from './check';
import { LLMException } from './exception';
import { refusal } from './guard/rule';
import type { Instance } from './instance';
import { snapshot } from './memory';
import type { Registration } from './registrations';
import type { LimitedCall } from './limited-call';
import { LLMStatusCode } from './status';

/** The largest result of one call: a Uint8Array holds no more on any supported Node. */
const MAX_BYTES = 2n ** 32n;

/** Places that one call goes to, each of which takes an address; blocks of a byte would make billions. */
const MAX_PLACES = 2n ** 24n;

/** A cache of an instance, as its handle knows it. */
export interface OwnCache {
  readonly instance: Instance;
  readonly registration: Registration;
  /** Whether it was registered in the life that the instance leads now. */
  readonly isCurrent: boolean;
}

interface BlockAccess {
  readonly cache: OwnCache;
  readonly operation: 'readBlocks' | 'writeBlocks';
  readonly blocks: BigUint64Array;
  readonly limits: CallLimits | undefined;
}

/** Where the blocks are. */
interface Places {
  /** The address of every block in every tensor: block after block, tensor after tensor. */
  readonly addrs: BigUint64Array;
  /** Bytes at each. */
  readonly pieceBytes: number;
  /** A step of the call has ended. */
  readonly moved: () => void;
  /** Where its options may end it early. */
  readonly call: LimitedCall | undefined;
}

/** Bytes of blocks in all tensors, block after block; see `KvCache.readBlocks`. */
export async function readBlocks(cache: OwnCache, blocks: unknown, call: unknown): Promise<Uint8Array> {
  const operation = 'readBlocks';
  const limits = checkCallOptions(call);
  const list = checkUint64List(blocks, 'blocks');
  const byteLength = totalBytes(cache, list, 'blocks');
  const read = async ({ addrs, pieceBytes, moved, call: limited }: Places) => {
    const { instance } = cache;
    const { backend } = instance;
    const readRanges = backend.readRanges?.bind(backend);
    if (byteLength === 0) return new Uint8Array(0);
    if (readRanges !== undefined) {
      return await instance.handOver(limited, () => readRanges(addrs, pieceBytes));
    }
    const bytes = new Uint8Array(byteLength);
    for (const [i, address] of addrs.entries()) {
      bytes.set(await instance.handOver(limited, () => backend.read(address, pieceBytes)), i * pieceBytes);
      moved();
    }
    return bytes;
  };
  return await onCache({ cache, operation, blocks: list, limits }, read);
}

export async function writeBlocks(cache: OwnCache, blocks: unknown, data: unknown, call: unknown): Promise<void> {
  const operation = 'writeBlocks';
  const limits = checkCallOptions(call);
  const list = checkUint64List(blocks, 'blocks');
  const byteLength = totalBytes(cache, list, 'blocks');
  const given = checkBytes(data, 'data');
  if (given.length !== byteLength) {
    const { length } = list;
    const { desc, size } = cache.registration;
    throw outOfRange(
      'data.byteLength',
      `${byteLength}: ${length} blocks of ${desc.numTensors} tensors of ${size.rowBytes} bytes each`,
      given.length,
    );
  }
  // As it is at the call: the caller may use its memory again as soon as this has returned.
  const bytes = snapshot(given);
  await onCache({ cache, operation, blocks: list, limits }, (places) =>
    byteLength === 0 ? Promise.resolve() : write(cache.instance, places, bytes),
  );
}

async function write(instance: Instance, { addrs, pieceBytes, moved, call }: Places, bytes: Uint8Array): Promise<void> {
  const { backend } = instance;
  const writeRanges = backend.writeRanges?.bind(backend);
  if (writeRanges !== undefined) {
    await instance.handOver(call, () => writeRanges(addrs, pieceBytes, bytes));
    return;
  }
  for (const [i, address] of addrs.entries()) {
    const piece = bytes.subarray(i * pieceBytes, (i + 1) * pieceBytes);
    await instance.handOver(call, () => backend.write(address, piece));
    moved();
  }
}

function totalBytes({ registration: { desc, size } }: OwnCache, blocks: BigUint64Array, name: string): number {
  const places = BigInt(blocks.length) * BigInt(desc.numTensors);
  const bytes = places * size.rowBytes;
  if (bytes <= MAX_BYTES && places <= MAX_PLACES) return Number(bytes);
  const most = `${MAX_BYTES} bytes and ${MAX_PLACES} places`;
  const what = `${desc.numTensors} tensors and ${size.rowBytes} bytes in each`;
  throw outOfRange(`${name}.length`, `such that blocks of ${what} stay within ${most} a call`, blocks.length);
}

/** Runs `work` with the places of blocks. */
function onCache<T>(
  { cache: { instance, registration, isCurrent }, operation, blocks, limits }: BlockAccess,
  work: (places: Places) => Promise<T>,
): Promise<T> {
  const { cacheId, addrs, size } = registration;
  // Before init and after finalize there is one answer to everything, and the call is going to get it.
  if (instance.isInitialized && !isCurrent) {
    throw refusal(
      'own-cache',
      operation,
      `the handle of cache ${cacheId} does not come from the present life of this instance (cluster ${instance.clusterId})`,
      { cacheId },
    );
  }
  const onPlaces = async (moved: () => void, call: LimitedCall | undefined) => {
    const far = blocks.find((block) => block >= size.rows);
    if (far !== undefined) {
      throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, {
        operation,
        message: `block ${far} of a cache with ${size.rows} blocks`,
        cacheId,
      });
    }
    if (instance.noticesAccess(call)) {
      instance.access(operation, call, () => [
        { cache: registration, rows: blocks, writes: operation === 'writeBlocks' },
      ]);
    }
    const places = new BigUint64Array(blocks.length * addrs.length);
    for (const [i, block] of blocks.entries()) {
      const offset = block * size.rowBytes;
      for (const [t, address] of addrs.entries()) places[i * addrs.length + t] = address + offset;
    }
    return await work({ addrs: places, pieceBytes: Number(size.rowBytes), moved, call });
  };
  return instance.copy(operation, [cacheId], onPlaces, limits);
}
