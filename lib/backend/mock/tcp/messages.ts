import { MAX_RESOURCE_BYTES } from '../../../option-text/comm-resource';
import type { CacheLayout, Snapshot } from '../cache-table';
import { strideOf } from '../cache-table';
import type { Identity } from '../peer';
import { Refusal } from '../refusal';
import type { Engine } from '../session';
import { FieldReader, FieldWriter } from './fields';
import { FrameError } from './frame';

const ENGINES: readonly Engine[] = ['hccl', 'comm', 'hixl'];

/** Longer than any address. */
const MAX_NAME_BYTES = 64;
const MAX_DETAIL_LENGTH = 2000;
const BYTES_PER_CHARACTER = 4;

/** One character more is enough for the other side to find a resource too long. */
const MAX_RESOURCE_LENGTH = MAX_RESOURCE_BYTES + 1;

/** How long a token of a connection may be. */
const MAX_TOKEN_BYTES = 64;

/** What both sides of a connection say first. */
export interface Greeting {
  readonly identity: Identity;
  /** Of the connection on that side, see `VOUCH`; '' for a side that has none. */
  readonly token: string;
}

/** A {@link Greeting}. */
export function writeIdentity(identity: Identity, token = ''): Buffer {
  return new FieldWriter()
    .text(identity.instance)
    .uint64(identity.clusterId)
    .uint8(ENGINES.indexOf(identity.engine))
    .uint32(identity.deviceId)
    .text(identity.host)
    .text(identity.address)
    .optionalText(identity.resource?.text.slice(0, MAX_RESOURCE_LENGTH))
    .optionalText(identity.generatedFrom)
    .text(token)
    .end();
}

/** @throws FrameError */
export function readGreeting(payload: Buffer): Greeting {
  const fields = new FieldReader(payload);
  const instance = fields.text(MAX_NAME_BYTES);
  const clusterId = fields.uint64();
  const engine = ENGINES[fields.uint8()];
  if (engine === undefined) throw new FrameError('an unknown transfer backend');
  const deviceId = fields.uint32();
  const host = fields.text(MAX_NAME_BYTES);
  const address = fields.text(MAX_NAME_BYTES);
  const text = fields.optionalText(MAX_RESOURCE_LENGTH * BYTES_PER_CHARACTER);
  const generatedFrom = fields.optionalText(MAX_NAME_BYTES);
  const token = fields.text(MAX_TOKEN_BYTES);
  fields.end();
  const resource = text === undefined ? undefined : { text, deviceId };
  return { identity: { instance, clusterId, engine, deviceId, host, address, resource, generatedFrom }, token };
}

export const writeToken = (token: string): Buffer => new FieldWriter().text(token).end();

/** @throws FrameError */
export function readToken(payload: Buffer): string {
  const fields = new FieldReader(payload);
  const token = fields.text(MAX_TOKEN_BYTES);
  fields.end();
  return token;
}

export const writeFlag = (value: boolean): Buffer => new FieldWriter().flag(value).end();

/** The payload of what says all by its kind. @throws FrameError */
export function readNothing(payload: Buffer): void {
  new FieldReader(payload).end();
}

/** @throws FrameError */
export function readFlag(payload: Buffer): boolean {
  const fields = new FieldReader(payload);
  const value = fields.flag();
  fields.end();
  return value;
}

export const writeCacheId = (cacheId: bigint): Buffer => new FieldWriter().uint64(cacheId).end();

/** @throws FrameError */
export function readCacheId(payload: Buffer): bigint {
  const fields = new FieldReader(payload);
  const cacheId = fields.int64();
  fields.end();
  return cacheId;
}

export function writeRefusal({ statusCode, detail }: Refusal): Buffer {
  return new FieldWriter().uint32(statusCode).text(detail.slice(0, MAX_DETAIL_LENGTH)).end();
}

/** @throws FrameError */
export function readRefusal(payload: Buffer): Refusal {
  const fields = new FieldReader(payload);
  const statusCode = fields.uint32();
  const detail = fields.text(MAX_DETAIL_LENGTH * BYTES_PER_CHARACTER);
  fields.end();
  if (statusCode === 0) throw new FrameError('a refusal with the status of success');
  return new Refusal(statusCode, detail);
}

const BYTES_PER_CACHE = 24;

/** A peer that asks again for the same table is to cost no more than the bytes. */
const written = new WeakMap<Snapshot, Buffer>();

export function writeTable(table: Snapshot | undefined): Buffer {
  if (table === undefined) return new FieldWriter().flag(false).end();
  const before = written.get(table);
  if (before !== undefined) return before;
  const payload = writeCaches(table);
  written.set(table, payload);
  return payload;
}

function writeCaches(table: Snapshot): Buffer {
  const fields = new FieldWriter().flag(true).uint32(table.size);
  for (const { id, tensorCount, tensorBytes, rows } of table.values()) {
    fields.uint64(id).uint32(tensorCount).uint48(tensorBytes).uint48(rows);
  }
  return fields.end();
}

/** @throws FrameError */
export function readTable(payload: Buffer): Snapshot<CacheLayout> | undefined {
  const fields = new FieldReader(payload);
  if (!fields.flag()) {
    fields.end();
    return undefined;
  }
  const caches = fields.list(BYTES_PER_CACHE, (): CacheLayout => {
    const id = fields.int64();
    const tensorCount = fields.uint32();
    const tensorBytes = fields.uint48();
    const rows = fields.uint48();
    if (rows === 0) throw new FrameError(`cache ${id} has no rows`);
    return { id, tensorCount, tensorBytes, rows, stride: strideOf(tensorBytes, rows) };
  });
  fields.end();
  return new Map(caches.map((cache) => [cache.id, cache]));
}

/** Where bytes are in every tensor, from its start: one at least. */
export interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** Bytes of a cache: the same extents in each of a number of tensors. */
export interface TransferRequest {
  readonly cacheId: bigint;
  readonly firstTensor: number;
  readonly tensors: number;
  readonly extents: readonly Extent[];
  /** On the clock that all processes of a host share, see `hostMilliseconds`; whole milliseconds. */
  readonly deadline: number;
  /** Number of the WRITE of the same push before this one: this one is not written when that one was not. */
  readonly after?: number;
  /** Milliseconds that this one has from the end of that one on, instead of the deadline. */
  readonly waitMs?: number | undefined;
}

const BYTES_PER_EXTENT = 12;

/** A request of this number fits a frame. */
export const MAX_EXTENTS = 65_536;

export function writeTransfer(request: TransferRequest): Buffer {
  const { cacheId, firstTensor, tensors, extents, deadline, after = 0, waitMs } = request;
  const fields = new FieldWriter().uint64(cacheId).uint32(firstTensor).uint32(tensors);
  fields
    .uint48(waitMs ?? deadline)
    .uint32(after)
    .flag(waitMs !== undefined);
  fields.uint32(extents.length);
  for (const { offset, length } of extents) fields.uint48(offset).uint48(length);
  return fields.end();
}

function readExtent(fields: FieldReader): Extent {
  const offset = fields.uint48();
  const length = fields.uint48();
  if (length === 0) throw new FrameError('an extent of no bytes');
  return { offset, length };
}

/** @throws FrameError */
export function readTransfer(payload: Buffer): TransferRequest {
  const fields = new FieldReader(payload);
  const cacheId = fields.int64();
  const firstTensor = fields.uint32();
  const tensors = fields.uint32();
  const time = fields.uint48();
  const after = fields.uint32();
  const waitMs = fields.flag() ? time : undefined;
  if (waitMs !== undefined && after === 0) throw new FrameError('a time after nothing');
  const extents = fields.list(BYTES_PER_EXTENT, () => readExtent(fields));
  fields.end();
  if (extents.length > MAX_EXTENTS) throw new FrameError(`a transfer of ${extents.length} extents`);
  return { cacheId, firstTensor, tensors, extents, deadline: time, after, waitMs };
}
