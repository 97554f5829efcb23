import { LLMDataDist, LLMRole } from '../lib';
import type { Backend, KvCache } from '../lib';
import { MockBackend } from '../lib/testing';
import {
  bytesOf,
  DECODER_CLUSTER,
  DESC,
  linkedPair,
  node,
  pair,
  PROMPT_CLUSTER,
  rejection,
  track,
} from './fixtures/cluster';
import { hold } from './fixtures/held-calls';

// What a call is given is what it works with, whatever the caller does with its buffers, lists and objects as soon as the call
// has returned.

const MIB = 1024 * 1024;

/** A backend that reads the data of a write as late as it may, as one of a user's own does. */
class LateBackend extends MockBackend {
  override async write(address: bigint, data: Uint8Array): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    await super.write(address, data);
  }
  override async writeRanges(addresses: BigUint64Array, byteLength: number, data: Uint8Array): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    await super.writeRanges(addresses, byteLength, data);
  }
}

async function instanceOf(backend: Backend): Promise<LLMDataDist> {
  const dist = track(new LLMDataDist(LLMRole.MIX, 9n, { backend }));
  await dist.init({ deviceId: 0 });
  return dist;
}

const backends: [string, () => Backend][] = [
  ['the mock', () => new MockBackend(9n, LLMRole.MIX)],
  ['a backend that reads late', () => new LateBackend(9n, LLMRole.MIX)],
];

/** What the types of this TypeScript do not know yet. */
interface Resizable extends ArrayBuffer {
  resize(byteLength: number): void;
}
const resizable = (n: number) =>
  new Uint8Array(Reflect.construct(ArrayBuffer, [n, { maxByteLength: n }]) as ArrayBuffer);

type Buffers = [string, (byteLength: number) => Uint8Array, (bytes: Uint8Array) => void];

const buffers: Buffers[] = [
  ['written over', (n) => new Uint8Array(n), (bytes) => void bytes.fill(2)],
  ['shared and written over', (n) => new Uint8Array(new SharedArrayBuffer(n)), (bytes) => void bytes.fill(2)],
  [
    'given away',
    (n) => new Uint8Array(n),
    (bytes) => void structuredClone(bytes, { transfer: [bytes.buffer as ArrayBuffer] }),
  ],
  [
    'shrunk',
    resizable,
    (bytes) => {
      (bytes.buffer as Resizable).resize(1);
    },
  ],
];

describe.each(backends)('over %s', (_, backend) => {
  describe.each(buffers)('a buffer that is %s right after the call', (_how, make, change) => {
    test.each([16, 9 * MIB])('is written as it was: %s bytes', async (length) => {
      const dist = await instanceOf(backend());
      const region = await dist.allocateMemory(length);
      const bytes = make(length).fill(1);
      const written = region.write(bytes);
      change(bytes);
      await written;
      expect((await region.read()).every((byte) => byte === 1)).toBe(true);
      await region.free();
    });

    test('is written as it was, in blocks of a cache', async () => {
      const dist = await instanceOf(backend());
      const cache = await dist.kvCacheManager.allocateCache(DESC);
      const bytes = make(2 * 4 * 64).fill(1);
      const blocks = BigUint64Array.of(0n, 3n);
      const written = cache.writeBlocks(blocks, bytes);
      blocks.fill(1n);
      change(bytes);
      await written;
      expect((await cache.readBlocks([0, 3])).every((byte) => byte === 1)).toBe(true);
      expect((await cache.readBlocks([1, 2])).every((byte) => byte === 0)).toBe(true);
      await dist.kvCacheManager.deallocateCache(cache);
    });
  });

  test('what was read is not changed by what is written later', async () => {
    const dist = await instanceOf(backend());
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    const [region] = cache.regions!;
    const [read, blocks] = [await region!.read(), await cache.readBlocks([0, 1])];
    await region!.write(new Uint8Array(256).fill(9));
    expect(read.every((byte) => byte === 0)).toBe(true);
    expect(blocks.every((byte) => byte === 0)).toBe(true);
    read.fill(7);
    expect((await region!.read()).every((byte) => byte === 9)).toBe(true);
    await dist.kvCacheManager.deallocateCache(cache);
  });
});

test('a write whose copy there is no memory for is refused with a status, and writes nothing', async () => {
  const dist = await instanceOf(new MockBackend(9n, LLMRole.MIX));
  const region = await dist.allocateMemory(64);
  const bytes = new Uint8Array(64).fill(1);
  const original = Uint8Array;
  const refused = jest.spyOn(globalThis, 'Uint8Array').mockImplementation(((...args: unknown[]) => {
    if (typeof args[0] === 'number') throw new RangeError('Array buffer allocation failed');
    return Reflect.construct(original, args) as Uint8Array;
  }) as never);
  const error = await rejection(region.write(bytes)).finally(() => {
    refused.mockRestore();
  });
  expect(error).toMatchObject({ code: 'LLM_OUT_OF_MEMORY', operation: 'write' });
  expect((await region.read()).every((byte) => byte === 0)).toBe(true);
  await region.free();
});

test('addresses and a description are registered as they were at the call', async () => {
  const { dist, backend } = node(LLMRole.MIX, 9n, {});
  await dist.init({ deviceId: 0 });
  const region = await dist.allocateMemory(1024);
  const held = hold(backend, 'registerKvCache');
  const first = dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [region.address + 512n]);
  await held.hasEntered(1);
  const addrs = BigUint64Array.of(region.address);
  const shape = [4, 16];
  const desc = { ...DESC, numTensors: 1, shape };
  const second = dist.kvCacheManager.registerCache(desc, addrs);
  addrs[0] = region.address + 512n;
  shape[0] = 1;
  desc.numTensors = 9;
  held.open();
  await first;
  const cache = await second;
  expect(cache.tensorAddrs).toEqual(BigUint64Array.of(region.address));
  expect(cache.desc).toMatchObject({ numTensors: 1, shape: [4n, 16n] });
  await dist.kvCacheManager.unregisterCache(cache);
});

test('clusters are linked and unlinked as they were at the call', async () => {
  const { prompt, decoder } = await pair();
  const held = hold(decoder.backend, 'linkLlmClusters');
  const address = { ip: '127.0.0.1', port: PROMPT_CLUSTER.remoteIpInfos[0]!.port };
  const cluster = { remoteClusterId: 1n, remoteIpInfos: [address] };
  const clusters = [cluster];
  const change = () => {
    clusters.push({ ...cluster, remoteClusterId: 77n });
    cluster.remoteClusterId = 78n;
    address.port = 1;
  };
  const linked = decoder.dist.linkClusters(clusters);
  change();
  held.open();
  expect((await linked).map(({ remoteClusterId }) => remoteClusterId)).toEqual([1n]);
  const again = [{ ...PROMPT_CLUSTER }];
  const unlinked = decoder.dist.unlinkClusters(again);
  again.pop();
  expect((await unlinked).map(({ remoteClusterId }) => remoteClusterId)).toEqual([1n]);
  await prompt.dist.finalize();
});

/** Pulls and pushes wait while their peer is being unlinked; their lists are the caller's. */
describe('lists of a transfer that waits for an unlink', () => {
  async function waiting(work: (nodes: Awaited<ReturnType<typeof linkedPair>>) => Promise<void>) {
    const nodes = await linkedPair();
    const held = hold(nodes.decoder.backend, 'unlinkLlmClusters');
    const unlinked = nodes.decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
    await held.hasEntered(1);
    const linked = nodes.decoder.dist.linkClusters([PROMPT_CLUSTER]);
    const done = work(nodes);
    held.open();
    await Promise.all([unlinked, linked, done]);
    return nodes;
  }

  test.each(['typed lists', 'shared lists', 'plain lists'])('are those of the call: %s', async (kind) => {
    const list = (n: number) =>
      kind === 'plain lists'
        ? [n]
        : new BigUint64Array(kind === 'shared lists' ? new SharedArrayBuffer(8) : new ArrayBuffer(8)).fill(BigInt(n));
    const seen: string[] = [];
    await waiting(async ({ decoder, promptCache, decoderCache }) => {
      const spy = jest.spyOn(decoder.backend, 'pullKvBlocks').mockImplementation((_src, _dst, src, dst) => {
        seen.push(`${src.join()} to ${dst.join()}`);
        return Promise.resolve();
      });
      // As the native backend, whose lists are not copied unless the call waits.
      Object.defineProperty(decoder.backend, 'readsBlocksAtOnce', { value: true, configurable: true });
      const [src, dst] = [list(1), list(2)];
      const pulled = decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, src, dst);
      for (const each of [src, dst]) (each as Record<number, unknown>)[0] = kind === 'plain lists' ? 3 : 3n;
      await pulled;
      spy.mockRestore();
    });
    expect(seen).toEqual(['1 to 2']);
  });
});

test('maps of copies are read at the call', async () => {
  const { dist, backend } = node(LLMRole.MIX, 9n, {});
  await dist.init({ deviceId: 0 });
  const { kvCacheManager } = dist;
  const cache = await kvCacheManager.allocateCache(DESC);
  const host = await kvCacheManager.allocateCache({ ...DESC, placement: 0 });
  await cache.writeBlocks(
    [0, 1, 2, 3],
    Uint8Array.from({ length: 4 * 256 }, (_, i) => Math.floor(i / 256) + 1),
  );
  const first = async (of: KvCache) => [...(await bytesOf(of))].filter((_, i) => i % 64 === 0 && i < 256);
  const held = hold(backend, 'copyKvBlocks');
  const destinations = [2];
  const map = new Map([[0, destinations]]);
  const copied = kvCacheManager.copyBlocks(cache, map);
  destinations[0] = 3;
  map.set(1, [3]);
  const pairs = new Map([[1, 0]]);
  const swapped = kvCacheManager.swapBlocks(cache, host, pairs);
  pairs.clear();
  pairs.set(3, 3);
  held.open();
  await Promise.all([copied, swapped]);
  expect(await first(cache)).toEqual([1, 2, 1, 4]);
  expect(await first(host)).toEqual([2, 0, 0, 0]);
  for (const each of [cache, host]) await kvCacheManager.deallocateCache(each);
});

test('options of a transfer are read at the call', async () => {
  const { prompt, decoder, promptCache, decoderCache } = await linkedPair();
  const range: [number, number] = [0, 0];
  const options = { srcLayerRange: range, dstLayerRange: range, tensorNumPerLayer: 1 };
  const key = { ...promptCache.key() };
  const held = hold(decoder.backend, 'pullKvCache');
  const pulled = decoder.dist.kvCacheManager.pullCache(key, decoderCache, 0, options);
  range.fill(3);
  Object.assign(options, { tensorNumPerLayer: 4 });
  Object.assign(key, { cacheId: 99n });
  held.open();
  await pulled;
  const theirs = await bytesOf(promptCache);
  expect((await bytesOf(decoderCache)).subarray(0, 64)).toEqual(theirs.subarray(0, 64));
  expect((await decoderCache.regions![3]!.read())[0]).not.toBe(theirs[3 * 256]);
  await prompt.dist.unlinkClusters([DECODER_CLUSTER]);
});
