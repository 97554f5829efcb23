import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';
import { checkArray, checkInt32, checkInt64, checkObject, checkUint32, checkUint64, invalidArgType } from './check';
import type { BackendCacheDesc, CacheIndex } from './backend/backend';
import { readBlocks, writeBlocks } from './cache-blocks';
import type { OwnCache } from './cache-blocks';
import type { CallOptions } from './call-options';
import { DataType } from './data-type';
import { withDecimalJSON } from './decimal-json';
import { inspected } from './inspection';
import type { Instance } from './instance';
import type { AllocatedRegion, MemoryRegion } from './memory';
import { Placement } from './placement';
import type { Registration } from './registrations';
import type { BlockList } from './transfer-options';
import { takeTurns } from './turns';

/**
 * The shape of a cache: `numTensors` tensors that are all alike.
 *
 * C++ `CacheDesc`, Python `CacheDesc`.
 */
export interface CacheDesc {
  /** Tensors of the cache: usually two per layer, K and V. uint32, at most 131061. */
  readonly numTensors: number;
  /** Type of an element; it serves to compute bytes only. */
  readonly dataType: DataType;
  /** 1 to 31 dimensions, each > 0. The first one counts rows (batch) and blocks alike. */
  readonly shape: readonly (number | bigint)[];
  /** Where the addresses live. Default `Placement.DEVICE`. */
  readonly placement?: Placement;
}

/** What a peer has to know of a cache so that its transfers can be checked before they start. */
export interface CacheLayout {
  readonly numTensors: number;
  /** Rows, which are blocks as well. */
  readonly rows: number;
  /** Bytes of one row or block of one tensor. */
  readonly rowBytes: bigint;
}

/**
 * Names a cache of another cluster.
 *
 * C++ `CacheIndex`, Python `CacheKeyByIdAndIndex`.
 */
export interface CacheKeyByIdAndIndex {
  readonly clusterId: bigint | number;
  /** The id that the owner's registration gave. */
  readonly cacheId: bigint | number;
  /** The remote row, uint32; 0 for the block calls. Default 0. */
  readonly batchIndex?: number;
  /** With it the peer's bounds are checked before the call; the library itself would read or write past them. */
  readonly layout?: CacheLayout;
}

/**
 * A registered cache of this side.
 *
 * C++ `Cache`, Python `Cache`.
 */
export interface KvCache {
  readonly cacheId: bigint;
  readonly desc: CacheDesc;
  /** One address per tensor. A copy: changing it changes nothing. */
  readonly tensorAddrs: BigUint64Array;
  /** Only of a cache that `allocateCache` made: one region per tensor. */
  readonly regions?: MemoryRegion[];
  /**
   * The key that a peer needs, with the layout of this cache. It can be sent as it is: a structured clone of it is a key,
   * and `JSON.stringify` gives what `cacheKeyFromJSON` reads.
   * @param batchIndex the row that is meant, default 0
   */
  key(batchIndex?: number): CacheKeyByIdAndIndex;
  /**
   * Copies blocks of all tensors to the host, in one call.
   *
   * @param blocks block numbers, each below the first dimension; one may be named several times
   * @returns the blocks one behind the other as in the list, of each block all tensors one behind the other: tensor `t` of
   *   block `blocks[i]` begins at byte `(i * numTensors + t) * rowBytes`, where `rowBytes` is that of `key().layout`. At
   *   most 4 GiB
   * @throws RangeError for more than 4 GiB; LLMException `LLM_PARAM_INVALID` for a block that there is not,
   *   `LLM_KV_CACHE_NOT_EXIST` for a cache that is not registered any more, `LLM_FAILED` where the backend cannot reach the
   *   memory: the native one copies memory only that this package allocated
   */
  readBlocks(blocks: BlockList, call?: CallOptions): Promise<Uint8Array>;
  /**
   * Copies bytes of the host into blocks of all tensors, in one call. `data` is read before the call returns. Blocks are
   * written in the order of the list; where the call fails in between, those before stay written.
   *
   * @param blocks as in {@link readBlocks}
   * @param data `blocks.length * numTensors * rowBytes` bytes, laid out as {@link readBlocks} gives them
   * @throws TypeError for anything but a view of a live buffer; RangeError for another number of bytes; LLMException as
   *   {@link readBlocks}
   */
  writeBlocks(blocks: BlockList, data: ArrayBufferView, call?: CallOptions): Promise<void>;
}

/** A cache of this side: its handle, what stands for one, or the bare id as C++ would take it. */
export type LocalCache = KvCache | Pick<KvCache, 'cacheId' | 'desc'> | bigint | number;

/** A {@link CacheKeyByIdAndIndex} in JSON: 64-bit values are decimal strings. */
export interface CacheKeyJSON {
  clusterId: string;
  cacheId: string;
  batchIndex: number;
  layout?: { numTensors: number; rows: number; rowBytes: string };
}

/** A key that can be serialised. */
class CacheKey implements CacheKeyByIdAndIndex {
  readonly clusterId: bigint;
  readonly cacheId: bigint;
  readonly batchIndex: number;
  declare readonly layout?: CacheLayout;

  constructor({ clusterId, cacheId, batchIndex }: CacheIndex, layout: CacheLayout | undefined) {
    this.clusterId = clusterId;
    this.cacheId = cacheId;
    this.batchIndex = batchIndex;
    if (layout !== undefined) this.layout = layout;
  }

  toJSON(): CacheKeyJSON {
    const json: CacheKeyJSON = {
      clusterId: String(this.clusterId),
      cacheId: String(this.cacheId),
      batchIndex: this.batchIndex,
    };
    if (this.layout !== undefined) json.layout = { ...this.layout, rowBytes: String(this.layout.rowBytes) };
    return json;
  }
}

/**
 * The key in what `JSON.stringify(cache.key())` gave, parsed or not.
 * @throws TypeError, RangeError for anything else; SyntaxError for a text that is not JSON.
 */
export function cacheKeyFromJSON(json: unknown): CacheKeyByIdAndIndex {
  const object = checkObject(typeof json === 'string' ? JSON.parse(json) : json, 'json');
  const { clusterId, cacheId, batchIndex, layout } = object;
  const index = {
    clusterId: checkUint64(decimal(clusterId, 'json.clusterId'), 'json.clusterId'),
    cacheId: checkInt64(decimal(cacheId, 'json.cacheId'), 'json.cacheId'),
    batchIndex: batchIndex === undefined ? 0 : checkUint32(batchIndex, 'json.batchIndex'),
  };
  if (layout === undefined) return new CacheKey(index, undefined);
  const { rowBytes, ...fields } = checkObject(layout, 'json.layout');
  const exact = { ...fields, rowBytes: decimal(rowBytes, 'json.layout.rowBytes') };
  return new CacheKey(index, checkLayout(exact, 'json.layout'));
}

function decimal(value: unknown, name: string): bigint {
  if (typeof value !== 'string' || !/^-?\d{1,20}$/.test(value)) throw invalidArgType(name, 'a decimal string', value);
  return BigInt(value);
}

/** A key as the seam takes it, and the layout that it carries. */
export interface CheckedKey extends CacheIndex {
  readonly layout: CacheLayout | undefined;
}

const FROM_JSON = ' (cacheKeyFromJSON() makes a key of JSON, parsed or not)';

/** A 64-bit value of a key: in JSON it is a string, and the reader of a message about that knows the way. */
function fromKey(value: unknown, name: string): unknown {
  if (typeof value === 'string') throw invalidArgType(name, `a bigint or an integer${FROM_JSON}`, value);
  return value;
}

export function checkKey(value: unknown, name: string): CheckedKey {
  if (typeof value === 'string') throw invalidArgType(name, `an object${FROM_JSON}`, value);
  const key = checkObject(value, name);
  const { clusterId, cacheId, batchIndex, layout } = key;
  return {
    clusterId: checkUint64(fromKey(clusterId, `${name}.clusterId`), `${name}.clusterId`),
    cacheId: checkInt64(fromKey(cacheId, `${name}.cacheId`), `${name}.cacheId`),
    batchIndex: batchIndex === undefined ? 0 : checkUint32(batchIndex, `${name}.batchIndex`),
    layout: layout === undefined ? undefined : checkLayout(layout, `${name}.layout`),
  };
}

function checkLayout(value: unknown, name: string): CacheLayout {
  const { numTensors, rows, rowBytes } = checkObject(value, name);
  return {
    numTensors: checkUint32(numTensors, `${name}.numTensors`),
    rows: checkUint32(rows, `${name}.rows`),
    rowBytes: checkUint64(fromKey(rowBytes, `${name}.rowBytes`), `${name}.rowBytes`),
  };
}

/** Longer than any shape the library takes (31), so that it can say so itself. */
const MAX_SHAPE = 1024;

export function checkDesc(value: unknown, name: string): BackendCacheDesc {
  const { numTensors, dataType, shape, placement } = checkObject(value, name);
  const desc = {
    numTensors: checkUint32(numTensors, `${name}.numTensors`),
    dataType: checkInt32(dataType, `${name}.dataType`),
    shape: Object.freeze(checkArray(shape, `${name}.shape`, checkInt64, MAX_SHAPE)),
    placement: placement === undefined ? Placement.DEVICE : checkUint32(placement, `${name}.placement`),
  };
  return Object.freeze(withDecimalJSON(desc));
}

/** The handle of a cache that one instance registered. */
export class RegisteredCache implements KvCache {
  readonly cacheId: bigint;
  readonly desc: CacheDesc;
  declare readonly regions?: AllocatedRegion[];

  static {
    // By `this`: TypeScript gives the class another name here that is not bound yet, since its private getter names it.
    takeTurns(this.prototype, ['readBlocks', 'writeBlocks'], (cache) =>
      this.is(cache) ? cache.#instance.backend.turns : undefined,
    );
  }

  readonly #registration: Registration;
  readonly #instance: Instance;
  readonly #generation: number;
  readonly #regions: readonly AllocatedRegion[] | undefined;

  constructor(instance: Instance, registration: Registration, regions?: readonly AllocatedRegion[]) {
    this.#instance = instance;
    this.#regions = regions;
    this.#generation = instance.registrations.generation;
    this.#registration = registration;
    this.cacheId = registration.cacheId;
    // Numbers that are no member of the enums are the library's to refuse, and it has not.
    this.desc = registration.desc;
    // A list of the caller's own: what deallocateCache() frees is kept apart.
    if (regions !== undefined) this.regions = [...regions];
    Object.freeze(this);
  }

  /** @internal Told by what cannot be imitated or hidden behind a proxy. */
  static is(value: unknown): value is RegisteredCache {
    return typeof value === 'object' && value !== null && #registration in value;
  }

  /** @internal What {@link regions} gave when the cache was made. */
  static regionsOf(cache: RegisteredCache): readonly AllocatedRegion[] | undefined {
    return cache.#regions;
  }

  /** @internal */
  static registrationOf(cache: RegisteredCache): Registration {
    return cache.#registration;
  }

  /** @internal Whether it was registered by this instance, in the life that it leads now. */
  static isOf(cache: RegisteredCache, instance: Instance): boolean {
    return cache.#instance === instance && cache.#generation === instance.registrations.generation;
  }

  get tensorAddrs(): BigUint64Array {
    return this.#registration.addrs.slice();
  }

  /** The handle for logs: what it is about. A peer needs its {@link key}. */
  toJSON(): Record<string, unknown> {
    const { cacheId, desc, addrs } = this.#registration;
    return {
      clusterId: String(this.#instance.clusterId),
      cacheId: String(cacheId),
      desc: { ...desc, shape: desc.shape.map(String) },
      tensorAddrs: Array.from(addrs, String),
    };
  }

  /** @internal */
  [inspect.custom](depth: number | null, options: InspectOptionsStylized): string {
    const { cacheId, desc } = this.#registration;
    const { numTensors, dataType, shape, placement } = desc;
    const type = DataType[dataType] ?? dataType;
    const where = Placement[placement] ?? placement;
    const fields = {
      cacheId,
      clusterId: this.#instance.clusterId,
      numTensors,
      dataType: type,
      shape,
      placement: where,
    };
    return inspected('KvCache', fields, depth, options);
  }

  key(batchIndex = 0): CacheKeyByIdAndIndex {
    const { cacheId, desc, size } = this.#registration;
    const row = checkUint32(batchIndex, 'batchIndex');
    // Without equal rows of whole bytes there is no layout that says the truth; guards refuse such caches.
    const even = size.tensorBytes === size.rows * size.rowBytes && size.rows <= 0xffff_ffffn;
    const layout = even ? { numTensors: desc.numTensors, rows: Number(size.rows), rowBytes: size.rowBytes } : undefined;
    return new CacheKey({ clusterId: this.#instance.clusterId, cacheId, batchIndex: row }, layout);
  }

  async readBlocks(blocks: BlockList, call?: CallOptions): Promise<Uint8Array> {
    return await readBlocks(this.#own, blocks, call);
  }

  async writeBlocks(blocks: BlockList, data: ArrayBufferView, call?: CallOptions): Promise<void> {
    await writeBlocks(this.#own, blocks, data, call);
  }

  get #own(): OwnCache {
    const instance = this.#instance;
    return { instance, registration: this.#registration, isCurrent: RegisteredCache.isOf(this, instance) };
  }
}
