import { inspect } from 'node:util';
import type { InspectOptionsStylized } from 'node:util';
import {
  checkArray,
  checkFields,
  checkInt32,
  checkInt64,
  checkInteger,
  checkObject,
  checkReceived,
  checkUint32,
  checkUint64,
  invalidArgType,
  wrongType,
} from './check';
import type { Names } from './check';
import type { BackendCacheDesc, CacheIndex } from './backend/backend';
import { readBlocks, writeBlocks } from './cache-blocks';
import type { OwnCache } from './cache-blocks';
import type { CallOptions } from './call-options';
import { DataType } from './data-type';
import { withDecimalJSON } from './decimal-json';
import { checkFingerprint, checkTag } from './fingerprint';
import { inspected } from './inspection';
import type { Instance } from './instance';
import { checkLife } from './life';
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
  /**
   * Tensors of a layer, 1 to 255: the default of `tensorNumPerLayer` of transfers with this local cache, and a part of its
   * fingerprint. Default 2: K and V. A cache of latents (MLA) has 1.
   */
  readonly tensorsPerLayer?: number;
  /**
   * What the other fields do not say of the bytes, such as the order of dimensions or the model: a part of the fingerprint.
   * At most 64 characters, none of them a control character. Default: empty.
   */
  readonly tag?: string;
}

/** What a description has been checked to be: what the seam takes, and what only this package knows of it. */
export interface CheckedDesc extends BackendCacheDesc {
  readonly tensorsPerLayer?: number;
  readonly tag?: string;
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
  /**
   * {@link LLMDataDist.life} of the owner when the cache was registered: 32 lower-case hex digits. With it a key of a life
   * that the peer does not live any more can be refused; see {@link LLMClusterInfo.life}.
   */
  readonly life?: string;
  /** The number of registrations of that life when the cache was registered, this one among them. A safe integer. */
  readonly version?: number;
  /**
   * Data type, shape behind the first dimension, {@link CacheDesc.tensorsPerLayer} and {@link CacheDesc.tag} of the cache as
   * a text, such as `27:128,8,128:2:` for `DT_BF16`, rows of [128, 8, 128], two tensors per layer and no tag. Transfers with a
   * local cache of another fingerprint are refused. A peer in Python writes the same text with
   * `f"{int(data_type)}:{','.join(map(str, shape[1:]))}:{tensors_per_layer}:{tag}"`.
   */
  readonly fingerprint?: string;
}

/** What distinguishes the cache of a key from others with the same id. */
export interface CacheIdentity {
  readonly life?: string | undefined;
  readonly version?: number | undefined;
  readonly fingerprint?: string | undefined;
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
  /** Only of a cache that `allocateCache` made, and not the library itself: one region per tensor. */
  readonly regions?: MemoryRegion[];
  /**
   * The key that a peer needs, with the layout and the identity of this cache. It can be sent as it is: a structured clone of it is a key,
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

/**
 * A cache of this side: its handle, or the bare id as C++ would take it. A copy of a handle (`{ ...cache }`, a clone, what JSON
 * gives) is neither: it would name a cache by its number alone, also one of a later life with that number.
 */
export type LocalCache = KvCache | bigint | number;

/** @internal An id with a description, for conformance: recorded calls describe caches otherwise than they were registered. */
export class DescribedCache {
  readonly cacheId: bigint;
  readonly desc: CheckedDesc;
  readonly #isDescribed = true;

  constructor(cacheId: bigint, desc: CacheDesc) {
    this.cacheId = checkInt64(cacheId, 'cacheId');
    this.desc = checkDesc(desc, 'desc');
  }

  static is(value: unknown): value is DescribedCache {
    return typeof value === 'object' && value !== null && #isDescribed in value && value.#isDescribed;
  }
}

/** A {@link CacheKeyByIdAndIndex} in JSON: 64-bit values are decimal strings. */
export interface CacheKeyJSON {
  clusterId: string;
  cacheId: string;
  batchIndex: number;
  layout?: { numTensors: number; rows: number; rowBytes: string };
  life?: string;
  version?: number;
  fingerprint?: string;
}

/**
 * What a key may have. Keys come from other processes, of newer versions too: fields that are like none of these are left
 * alone, and a misspelt one is refused.
 */
const KEY: Names<CacheKeyByIdAndIndex> = {
  clusterId: true,
  cacheId: true,
  batchIndex: true,
  layout: true,
  life: true,
  version: true,
  fingerprint: true,
};
const LAYOUT: Names<CacheLayout> = { numTensors: true, rows: true, rowBytes: true };
const DESC: Names<CacheDesc> = {
  numTensors: true,
  dataType: true,
  shape: true,
  placement: true,
  tensorsPerLayer: true,
  tag: true,
};

/** A key that can be serialised. */
class CacheKey implements CacheKeyByIdAndIndex {
  readonly clusterId: bigint;
  readonly cacheId: bigint;
  readonly batchIndex: number;
  declare readonly layout?: CacheLayout;
  declare readonly life?: string;
  declare readonly version?: number;
  declare readonly fingerprint?: string;
  readonly #checked: CheckedKey;
  readonly #names: number;

  constructor(
    { clusterId, cacheId, batchIndex }: CacheIndex,
    layout: CacheLayout | undefined,
    identity: CacheIdentity,
  ) {
    this.clusterId = clusterId;
    this.cacheId = cacheId;
    this.batchIndex = batchIndex;
    if (layout !== undefined) this.layout = Object.freeze(layout);
    const { life, version, fingerprint } = identity;
    if (life !== undefined) this.life = life;
    if (version !== undefined) this.version = version;
    if (fingerprint !== undefined) this.fingerprint = fingerprint;
    this.#checked = { clusterId, cacheId, batchIndex, layout, life, version, fingerprint };
    this.#names = Object.keys(this).length;
  }

  /** What {@link checkKey} would make of it, where nothing of it was changed: most keys come here, thousands of times a second. */
  static unchanged(value: object): CheckedKey | undefined {
    if (!(#checked in value)) return undefined;
    const checked = value.#checked;
    const isUnchanged =
      value.clusterId === checked.clusterId &&
      value.cacheId === checked.cacheId &&
      value.batchIndex === checked.batchIndex &&
      value.life === checked.life &&
      value.version === checked.version &&
      value.fingerprint === checked.fingerprint &&
      value.layout === checked.layout &&
      Object.keys(value).length === value.#names;
    return isUnchanged ? checked : undefined;
  }

  toJSON(): CacheKeyJSON {
    const json: CacheKeyJSON = {
      clusterId: String(this.clusterId),
      cacheId: String(this.cacheId),
      batchIndex: this.batchIndex,
    };
    if (this.layout !== undefined) json.layout = { ...this.layout, rowBytes: String(this.layout.rowBytes) };
    if (this.life !== undefined) json.life = this.life;
    if (this.version !== undefined) json.version = this.version;
    if (this.fingerprint !== undefined) json.fingerprint = this.fingerprint;
    return json;
  }
}

/**
 * The key in what `JSON.stringify(cache.key())` gave, parsed or not.
 * @throws TypeError for the JSON of a cache handle; TypeError, RangeError for anything else; SyntaxError for a text that is not JSON.
 */
export function cacheKeyFromJSON(json: unknown): CacheKeyByIdAndIndex {
  const object = checkKeyFields(typeof json === 'string' ? JSON.parse(json) : json, 'json');
  const { clusterId, cacheId, batchIndex, layout } = object;
  const index = {
    clusterId: checkUint64(decimal(clusterId, 'json.clusterId'), 'json.clusterId'),
    cacheId: checkInt64(decimal(cacheId, 'json.cacheId'), 'json.cacheId'),
    batchIndex: batchIndex === undefined ? 0 : checkUint32(batchIndex, 'json.batchIndex'),
  };
  const identity = checkIdentity(object, 'json');
  if (layout === undefined) return new CacheKey(index, undefined, identity);
  const { rowBytes, ...fields } = checkReceived(layout, 'json.layout', LAYOUT);
  const exact = { ...fields, rowBytes: decimal(rowBytes, 'json.layout.rowBytes') };
  return new CacheKey(index, checkLayout(exact, 'json.layout'), identity);
}

function decimal(value: unknown, name: string): bigint {
  if (typeof value !== 'string' || !/^-?\d{1,20}$/.test(value)) throw invalidArgType(name, 'a decimal string', value);
  return BigInt(value);
}

/** A key as the seam takes it, and what it carries besides. */
export interface CheckedKey extends CacheIndex, Readonly<Required<CacheIdentity>> {
  readonly layout: CacheLayout | undefined;
}

const FROM_JSON = ' (cacheKeyFromJSON() makes a key of JSON, parsed or not)';

/** A 64-bit value of a key: in JSON it is a string, and the reader of a message about that knows the way. */
function fromKey(value: unknown, name: string): unknown {
  if (typeof value === 'string') throw invalidArgType(name, `a bigint or an integer${FROM_JSON}`, value);
  return value;
}

/** A handle, its JSON and its copies have the id of the cache too, and nothing that says whose life it is of. */
function checkKeyFields(value: unknown, name: string): Record<string, unknown> {
  const object = checkObject(value, name);
  if ('desc' in object || 'tensorAddrs' in object) {
    throw wrongType(name, 'the key of a cache', 'a cache handle (or a copy of one), not a key: send cache.key()');
  }
  return checkReceived(object, name, KEY);
}

export function checkKey(value: unknown, name: string): CheckedKey {
  if (typeof value === 'string') throw invalidArgType(name, `an object${FROM_JSON}`, value);
  const unchanged = typeof value === 'object' && value !== null ? CacheKey.unchanged(value) : undefined;
  if (unchanged !== undefined) return unchanged;
  const key = checkKeyFields(value, name);
  const { clusterId, cacheId, batchIndex, layout, life, version, fingerprint } = key;
  return {
    clusterId: checkUint64(fromKey(clusterId, `${name}.clusterId`), `${name}.clusterId`),
    cacheId: checkInt64(fromKey(cacheId, `${name}.cacheId`), `${name}.cacheId`),
    batchIndex: batchIndex === undefined ? 0 : checkUint32(batchIndex, `${name}.batchIndex`),
    layout: layout === undefined ? undefined : checkLayout(layout, `${name}.layout`),
    life: life === undefined ? undefined : checkLife(life, `${name}.life`),
    version: version === undefined ? undefined : checkVersion(version, `${name}.version`),
    fingerprint: fingerprint === undefined ? undefined : checkFingerprint(fingerprint, `${name}.fingerprint`),
  };
}

function checkIdentity({ life, version, fingerprint }: Record<string, unknown>, name: string): CacheIdentity {
  return {
    life: life === undefined ? undefined : checkLife(life, `${name}.life`),
    version: version === undefined ? undefined : checkVersion(version, `${name}.version`),
    fingerprint: fingerprint === undefined ? undefined : checkFingerprint(fingerprint, `${name}.fingerprint`),
  };
}

function checkVersion(value: unknown, name: string): number {
  return checkInteger(value, name, 0, Number.MAX_SAFE_INTEGER);
}

function checkLayout(value: unknown, name: string): CacheLayout {
  const { numTensors, rows, rowBytes } = checkReceived(value, name, LAYOUT);
  return {
    numTensors: checkUint32(numTensors, `${name}.numTensors`),
    rows: checkUint32(rows, `${name}.rows`),
    rowBytes: checkUint64(fromKey(rowBytes, `${name}.rowBytes`), `${name}.rowBytes`),
  };
}

/** Longer than any shape the library takes (31), so that it can say so itself. */
const MAX_SHAPE = 1024;

export function checkDesc(value: unknown, name: string): CheckedDesc {
  const { numTensors, dataType, shape, placement, tensorsPerLayer, tag } = checkFields(value, name, DESC);
  const desc = {
    numTensors: checkUint32(numTensors, `${name}.numTensors`),
    dataType: checkInt32(dataType, `${name}.dataType`),
    shape: Object.freeze(checkArray(shape, `${name}.shape`, checkInt64, MAX_SHAPE)),
    placement: placement === undefined ? Placement.DEVICE : checkUint32(placement, `${name}.placement`),
    // What is left out stays away: the library has no such fields.
    ...(tensorsPerLayer !== undefined && {
      tensorsPerLayer: checkInteger(tensorsPerLayer, `${name}.tensorsPerLayer`, 1, 255),
    }),
    ...(tag !== undefined && { tag: checkTag(tag, `${name}.tag`) }),
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
    const { cacheId, desc, size, identity } = this.#registration;
    const row = checkUint32(batchIndex, 'batchIndex');
    // Without equal rows of whole bytes there is no layout that says the truth; guards refuse such caches.
    const even = size.tensorBytes === size.rows * size.rowBytes && size.rows <= 0xffff_ffffn;
    const layout = even ? { numTensors: desc.numTensors, rows: Number(size.rows), rowBytes: size.rowBytes } : undefined;
    return new CacheKey({ clusterId: this.#instance.clusterId, cacheId, batchIndex: row }, layout, identity);
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
