import type { KvCacheExtParam, LayerRange } from '../backend/backend';
import type { CacheLayout, CheckedKey } from '../cache';
import { fingerprintInWords } from '../fingerprint';
import type { Registration } from '../registrations';
import { MAX_TENSORS } from '../cache-limits';
import { refusal } from './rule';

/** A transfer as the guards see it, whichever way its bytes go. */
export interface Transfer {
  readonly operation: 'pullCache' | 'pullBlocks' | 'pushCache' | 'pushBlocks';
  readonly remote: CheckedKey;
  readonly layout: CacheLayout | undefined;
  /** `undefined` for an id that is not registered here: the library says so itself. */
  readonly local: Registration | undefined;
  readonly localRange: LayerRange;
  readonly remoteRange: LayerRange;
  readonly tensorNumPerLayer: number;
}

const MAX_BLOCK = 0xffff_ffffn;

/** Layer ranges: the library aborts, or asks for all memory, on some that are far outside. */
export function guardLayers(transfer: Transfer, ext: KvCacheExtParam): void {
  const { operation, local, localRange, remoteRange, tensorNumPerLayer } = transfer;
  checkLayers(transfer, ext.srcLayerRange);
  checkLayers(transfer, ext.dstLayerRange);
  if (isDefault(localRange) !== isDefault(remoteRange)) {
    throw refuse(transfer, 'both-layer-ranges', `only one layer range is given to ${operation}`);
  }
  const localTensors = local?.desc.numTensors ?? MAX_TENSORS;
  checkEnd(transfer, 'local', localRange, tensorNumPerLayer, localTensors);
  checkEnd(transfer, 'remote', remoteRange, tensorNumPerLayer, transfer.layout?.numTensors ?? MAX_TENSORS);
}

function checkLayers(transfer: Transfer, range: LayerRange): void {
  if (isDefault(range) || (range[0] >= 0 && range[0] <= range[1])) return;
  throw refuse(transfer, 'layer-range', `the layer range is [${range.join(', ')}]`);
}

function checkEnd(
  transfer: Transfer,
  side: string,
  range: LayerRange,
  tensorNumPerLayer: number,
  tensors: number,
): void {
  if ((range[1] + 1) * tensorNumPerLayer <= tensors) return;
  throw refuse(
    transfer,
    'layer-range',
    `the ${side} layers [${range.join(', ')}] of ${tensorNumPerLayer} tensors each go beyond ${tensors} tensors`,
  );
}

/** Block numbers, of which the library checks the ends of runs only, and adds one to them in int64. */
export function guardBlockNumbers(transfer: Transfer, localBlocks: BigUint64Array, remoteBlocks: BigUint64Array): void {
  const { local, layout } = transfer;
  const rows = local?.size.rows ?? MAX_BLOCK + 1n;
  const outside = firstFrom(rows, localBlocks);
  if (outside !== undefined && outside <= MAX_BLOCK) {
    throw refuse(transfer, 'local-block', `block ${outside} of a local cache with ${rows} rows`);
  }
  const unknown = outside ?? firstFrom(MAX_BLOCK + 1n, remoteBlocks);
  if (unknown !== undefined) throw refuse(transfer, 'block-number', `block ${unknown}`);
  if (layout === undefined || local === undefined) return;
  const beyond = firstFrom(BigInt(layout.rows), remoteBlocks);
  if (beyond !== undefined) {
    throw refuse(transfer, 'peer-layout', `block ${beyond} of a remote cache with ${layout.rows} rows`);
  }
}

/** The largest numbers that {@link guardBlockNumbers} lets pass. */
export function largestBlocks({ local, layout }: Transfer): { readonly local: number; readonly remote: number } {
  const largest = Number(MAX_BLOCK);
  return {
    local: local === undefined ? largest : Math.min(largest, Number(local.size.rows) - 1),
    remote: layout === undefined || local === undefined ? largest : Math.min(largest, layout.rows - 1),
  };
}

/** The first block that is `bound` or above it. */
function firstFrom(bound: bigint, blocks: BigUint64Array): bigint | undefined {
  // By index: callbacks and iterators take several times as long.
  let index = 0;
  while ((blocks[index] ?? bound) < bound) index += 1;
  return blocks[index];
}

/** One row against the peer's cache: rows, row size and tensors. `bytes` is what is copied of the row. */
export function guardRowAgainstLayout(transfer: Transfer, bytes: bigint): void {
  const { layout, remote, local } = transfer;
  if (layout === undefined || local === undefined) {
    guardFingerprints(transfer);
    return;
  }
  guardTensorsAgainstLayout(transfer, layout, local);
  if (remote.batchIndex >= layout.rows) {
    throw refuse(transfer, 'peer-layout', `row ${remote.batchIndex} of a remote cache with ${layout.rows} rows`);
  }
  if (bytes > layout.rowBytes) {
    throw refuseLayout(transfer, `${bytes} bytes do not fit a remote row of ${layout.rowBytes} bytes`);
  }
  // A pull steps through the peer's tensor with the local row size; a push uses the peer's.
  const pulls = transfer.operation === 'pullCache';
  if (pulls && remote.batchIndex > 0 && local.size.rowBytes !== layout.rowBytes) {
    throw refuseLayout(
      transfer,
      `row ${remote.batchIndex} would be read in steps of the local row of ${local.size.rowBytes} bytes, the remote row ` +
        `has ${layout.rowBytes}`,
    );
  }
  guardFingerprints(transfer);
}

/** Blocks against the peer's cache: the library addresses both sides with the local block size. */
export function guardBlockSizes(transfer: Transfer): void {
  const { layout, local } = transfer;
  if (layout !== undefined && local !== undefined) {
    guardTensorsAgainstLayout(transfer, layout, local);
    if (local.size.rowBytes !== layout.rowBytes) {
      throw refuseLayout(transfer, `local blocks have ${local.size.rowBytes} bytes, remote ones ${layout.rowBytes}`);
    }
  }
  guardFingerprints(transfer);
}

function guardTensorsAgainstLayout(transfer: Transfer, layout: CacheLayout, local: Registration): void {
  const { numTensors } = local.desc;
  if (!isDefault(transfer.localRange) || numTensors === layout.numTensors) return;
  throw refuseLayout(
    transfer,
    `all layers are meant, but the local cache has ${numTensors} tensors and the remote one ${layout.numTensors}`,
  );
}

/** Rows of one size may still mean something else: the bytes would arrive, and be wrong. */
function guardFingerprints(transfer: Transfer): void {
  const difference = differenceOf(transfer);
  if (difference !== undefined) throw refuse(transfer, 'peer-layout', difference);
}

/** Both sides in words, where their fingerprints differ. */
function differenceOf({ remote, local }: Transfer): string | undefined {
  const { clusterId, cacheId, fingerprint } = remote;
  if (fingerprint === undefined || local === undefined || fingerprint === local.identity.fingerprint) return undefined;
  return (
    `cache ${cacheId} of cluster ${clusterId} has ${fingerprintInWords(fingerprint)}, but the local cache ` +
    `${local.cacheId} has ${fingerprintInWords(local.identity.fingerprint)}`
  );
}

function refuseLayout(transfer: Transfer, problem: string): Error {
  const difference = differenceOf(transfer);
  return refuse(transfer, 'peer-layout', difference === undefined ? problem : `${problem}: ${difference}`);
}

/** By index: every transfer comes here several times, and taking a range apart as an array runs its iterator. */
function isDefault(range: LayerRange): boolean {
  return range[0] === -1 && range[1] === -1;
}

function refuse(transfer: Transfer, rule: Parameters<typeof refusal>[0], problem: string): Error {
  const { clusterId, cacheId } = transfer.remote;
  return refusal(rule, transfer.operation, problem, { clusterId, cacheId });
}
