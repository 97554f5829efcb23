import type { CacheIndex, KvCacheExtParam, LayerRange } from '../backend/backend';
import type { CacheLayout } from '../cache';
import type { Registration } from '../registrations';
import { MAX_TENSORS } from './registration';
import { refusal } from './rule';

/** A transfer as the guards see it, whichever way its bytes go. */
export interface Transfer {
  readonly operation: 'pullCache' | 'pullBlocks' | 'pushCache' | 'pushBlocks';
  readonly remote: CacheIndex;
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
  for (const range of [ext.srcLayerRange, ext.dstLayerRange]) {
    const [first, last] = range;
    if (isDefault(range) || (first >= 0 && first <= last)) continue;
    throw refuse(transfer, 'layer-range', `the layer range is [${range.join(', ')}]`);
  }
  if (isDefault(localRange) !== isDefault(remoteRange)) {
    throw refuse(transfer, 'both-layer-ranges', `only one layer range is given to ${operation}`);
  }
  const localTensors = local?.desc.numTensors ?? MAX_TENSORS;
  checkEnd(transfer, 'local', localRange, tensorNumPerLayer, localTensors);
  checkEnd(transfer, 'remote', remoteRange, tensorNumPerLayer, transfer.layout?.numTensors ?? MAX_TENSORS);
}

function checkEnd(
  transfer: Transfer,
  side: string,
  [first, last]: LayerRange,
  tensorNumPerLayer: number,
  tensors: number,
): void {
  if ((last + 1) * tensorNumPerLayer <= tensors) return;
  throw refuse(
    transfer,
    'layer-range',
    `the ${side} layers [${first}, ${last}] of ${tensorNumPerLayer} tensors each go beyond ${tensors} tensors`,
  );
}

/** Block numbers, of which the library checks the ends of runs only, and adds one to them in int64. */
export function guardBlocks(transfer: Transfer, localBlocks: BigUint64Array, remoteBlocks: BigUint64Array): void {
  const rows = transfer.local?.size.rows;
  for (const block of localBlocks) {
    checkBlock(transfer, block);
    if (rows !== undefined && block >= rows) {
      throw refuse(transfer, 'local-block', `block ${block} of a local cache with ${rows} rows`);
    }
  }
  for (const block of remoteBlocks) checkBlock(transfer, block);
}

function checkBlock(transfer: Transfer, block: bigint): void {
  if (block > MAX_BLOCK) throw refuse(transfer, 'block-number', `block ${block}`);
}

/** One row against the peer's cache: rows, row size and tensors. `bytes` is what is copied of the row. */
export function guardRowAgainstLayout(transfer: Transfer, bytes: bigint): void {
  const { layout, remote, local } = transfer;
  if (layout === undefined || local === undefined) return;
  guardTensorsAgainstLayout(transfer, layout, local);
  if (remote.batchIndex >= layout.rows) {
    throw refuse(transfer, 'peer-layout', `row ${remote.batchIndex} of a remote cache with ${layout.rows} rows`);
  }
  if (bytes > layout.rowBytes) {
    throw refuse(transfer, 'peer-layout', `${bytes} bytes do not fit a remote row of ${layout.rowBytes} bytes`);
  }
  // A pull steps through the peer's tensor with the local row size; a push uses the peer's.
  const pulls = transfer.operation === 'pullCache';
  if (pulls && remote.batchIndex > 0 && local.size.rowBytes !== layout.rowBytes) {
    throw refuse(
      transfer,
      'peer-layout',
      `row ${remote.batchIndex} would be read in steps of the local row of ${local.size.rowBytes} bytes, the remote row ` +
        `has ${layout.rowBytes}`,
    );
  }
}

/** Blocks against the peer's cache: the library addresses both sides with the local block size. */
export function guardBlocksAgainstLayout(transfer: Transfer, remoteBlocks: BigUint64Array): void {
  const { layout, local } = transfer;
  if (layout === undefined || local === undefined) return;
  guardTensorsAgainstLayout(transfer, layout, local);
  if (local.size.rowBytes !== layout.rowBytes) {
    throw refuse(
      transfer,
      'peer-layout',
      `local blocks have ${local.size.rowBytes} bytes, remote ones ${layout.rowBytes}`,
    );
  }
  for (const block of remoteBlocks) {
    if (block >= layout.rows) {
      throw refuse(transfer, 'peer-layout', `block ${block} of a remote cache with ${layout.rows} rows`);
    }
  }
}

function guardTensorsAgainstLayout(transfer: Transfer, layout: CacheLayout, local: Registration): void {
  const { numTensors } = local.desc;
  if (!isDefault(transfer.localRange) || numTensors === layout.numTensors) return;
  throw refuse(
    transfer,
    'peer-layout',
    `all layers are meant, but the local cache has ${numTensors} tensors and the remote one ${layout.numTensors}`,
  );
}

function isDefault([first, last]: LayerRange): boolean {
  return first === -1 && last === -1;
}

function refuse(transfer: Transfer, rule: Parameters<typeof refusal>[0], problem: string): Error {
  const { clusterId, cacheId } = transfer.remote;
  return refusal(rule, transfer.operation, problem, { clusterId, cacheId });
}
