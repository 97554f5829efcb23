import { DataType, LLMDataDist, LLMException, LLMRole } from '../lib';
import type { MemoryRegion } from '../lib';
import { Regions } from '../lib/regions';
import type { AllocatedRegion } from '../lib/memory';
import { client, TO_PROMPT } from './fixtures/client';
import { DESC, node, rejection, track } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import { MockBackend } from '../lib/testing';

// Which memory a cache may be registered in. The library takes any address.

/** One tensor of 256 bytes. */
const ONE = { ...DESC, numTensors: 1 };

const refusal = {
  code: 'LLM_PARAM_INVALID',
  operation: 'registerCache',
  remedy: expect.stringContaining('Rule tensor-memory') as string,
};

async function withRegion() {
  const { decoder, caches, of, backend } = await client();
  const region = await decoder.dist.allocateMemory(1024);
  const refused = async (address: bigint) => (await rejection(caches.registerCache(ONE, [address]))) as LLMException;
  return { dist: decoder.dist, caches, of, backend, region, refused };
}

test('memory that was freed is refused, and the message says where', async () => {
  const { region, refused, of } = await withRegion();
  await region.free();
  for (const offset of [0n, 512n, 1023n, -255n]) {
    const error = await refused(region.address + offset);
    expect(error).toMatchObject(refusal);
    expect(error.message).toContain(`lies in memory that was freed: 1024 bytes from 0x${region.address.toString(16)}`);
  }
  expect(of('registerKvCache')).toEqual([]);
});

test('memory of a cache that was deallocated, and of a life that has ended, is refused', async () => {
  const { dist, caches, refused } = await withRegion();
  const cache = await caches.allocateCache(DESC);
  await caches.deallocateCache(cache);
  expect(await refused(cache.tensorAddrs[2]!)).toMatchObject(refusal);
  const kept = await dist.allocateMemory(1024);
  jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  await dist.finalize();
  jest.restoreAllMocks();
  await dist.init({ deviceId: 0 });
  expect(await refused(kept.address)).toMatchObject(refusal);
});

test.each([256n, 255n, 1n].map((before) => [before]))(
  'a tensor of 256 bytes that begins %s bytes before a region is refused unless it ends there',
  async (before) => {
    const { region, refused, caches } = await withRegion();
    const address = region.address - before;
    if (before === 256n) {
      // It belongs to no region: the backend answers.
      expect(await rejection(caches.registerCache(ONE, [address]))).toMatchObject({ code: 'LLM_FAILED' });
      return;
    }
    const error = await refused(address);
    expect(error).toMatchObject(refusal);
    expect(error.message).toContain(`begins before the region at 0x${region.address.toString(16)} and reaches into it`);
  },
);

test('any tensor of the list is looked at', async () => {
  const { region, caches } = await withRegion();
  const two = { ...DESC, numTensors: 2 };
  expect(await rejection(caches.registerCache(two, [region.address, region.address + 900n]))).toMatchObject(refusal);
  expect(await rejection(caches.registerCache(two, [region.address, region.address - 1n]))).toMatchObject(refusal);
});

test('memory that is freed while a registration waits for its turn is refused', async () => {
  const { dist, region, refused, backend, of } = await withRegion();
  const held = hold(backend, 'linkLlmClusters');
  const linked = dist.linkClusters([TO_PROMPT]);
  await held.hasEntered(1);
  const answer = refused(region.address - 100n);
  const inside = refused(region.address);
  await region.free();
  held.open();
  await linked;
  expect(await answer).toMatchObject(refusal);
  expect(await inside).toMatchObject(refusal);
  expect(of('registerKvCache')).toEqual([]);
});

test('memory at a freed address that a later region has got is registered', async () => {
  // A runtime gives addresses again and again; the mock does not.
  class Again extends MockBackend {
    readonly taken: bigint[] = [];
    override malloc(byteLength: bigint, placement: number): Promise<bigint> {
      const again = this.taken.pop();
      return again === undefined ? super.malloc(byteLength, placement) : Promise.resolve(again);
    }
    override free(address: bigint): Promise<void> {
      this.taken.push(address);
      return Promise.resolve();
    }
    override registerKvCache(): Promise<bigint> {
      return Promise.resolve(77n);
    }
  }
  const backend = new Again(4n, LLMRole.MIX);
  const dist = track(new LLMDataDist(LLMRole.MIX, 4n, { backend }));
  await dist.init({ deviceId: 0 });
  const first = await dist.allocateMemory(1024);
  await first.free();
  const second = await dist.allocateMemory(512);
  expect(second.address).toBe(first.address);
  const { kvCacheManager } = dist;
  expect(await rejection(kvCacheManager.registerCache(ONE, [second.address + 512n]))).toMatchObject(refusal);
  const cache = await kvCacheManager.registerCache(ONE, [second.address]);
  expect(cache.cacheId).toBe(77n);
});

test('with guards off the backend answers', async () => {
  const { dist } = node(LLMRole.MIX, 5n, {}, { guards: false });
  await dist.init({ deviceId: 0 });
  const region = await dist.allocateMemory(1024);
  const error = rejection(dist.kvCacheManager.registerCache(ONE, [region.address - 1n]));
  expect(await error).toMatchObject({ code: 'LLM_FAILED' });
  await region.free();
});

describe('freed ranges', () => {
  const region = (address: bigint, byteLength: bigint) => ({ address, byteLength }) as unknown as AllocatedRegion;
  const freedIn = (regions: Regions, start: bigint, end: bigint) => regions.freedIn({ start, end });

  test('are freed no more where a later region lies, and still are around it', () => {
    const regions = new Regions();
    const first = region(100n, 100n);
    regions.add(first);
    regions.delete(first);
    const second = region(130n, 20n);
    regions.add(second);
    expect(freedIn(regions, 130n, 150n)).toBeUndefined();
    expect(freedIn(regions, 120n, 131n)).toEqual({ start: 100n, end: 130n });
    expect(freedIn(regions, 150n, 151n)).toEqual({ start: 150n, end: 200n });
    regions.delete(second);
    const whole = region(50n, 500n);
    regions.add(whole);
    expect(freedIn(regions, 0n, 1000n)).toBeUndefined();
  });

  test('are forgotten when there are too many, the oldest first', () => {
    const regions = new Regions();
    for (let i = 0n; i < 20_000n; i++) {
      const each = region(i * 10n, 5n);
      regions.add(each);
      regions.delete(each);
    }
    expect(freedIn(regions, 0n, 36_160n)).toBeUndefined();
    expect(freedIn(regions, 36_160n, 36_161n)).toBeDefined();
    expect(freedIn(regions, 199_990n, 199_991n)).toBeDefined();
  });
});

describe('what cannot be allocated', () => {
  test.each([true, false])('more tensors than the table takes allocate nothing, with guards: %s', async (guards) => {
    const { dist, backend } = node(LLMRole.MIX, 6n, {}, { guards });
    await dist.init({ deviceId: 0 });
    const malloc = jest.spyOn(backend, 'malloc');
    for (const numTensors of [131_062, 2 ** 32 - 1]) {
      const error = await rejection(dist.kvCacheManager.allocateCache({ ...DESC, numTensors, shape: [1, 1] }));
      expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'allocateCache' });
      expect((error as LLMException).remedy).toContain('Rule cache-tensors');
    }
    expect(malloc).not.toHaveBeenCalled();
    await dist.finalize();
  });

  const sizes: [string, bigint][] = [
    ['2^33', 2n ** 33n],
    ['2^41', 2n ** 41n],
    ['2^46', 2n ** 46n],
    ['2^49', 2n ** 49n],
    ['2^64 - 1', 2n ** 64n - 1n],
  ];

  /** Newer versions of Node show more than 4 GiB in one array. */
  const orFreed = async (region: Promise<MemoryRegion>) => {
    const result = await region.catch((error: unknown) => error);
    if (result instanceof LLMException) return result.code;
    await (result as MemoryRegion).free();
    return 'allocated';
  };

  test.each(sizes)('%s bytes are refused with a status', async (_, bytes) => {
    const { dist } = node(LLMRole.MIX, 6n, {});
    await dist.init({ deviceId: 0 });
    const expected = (code: string) => (bytes > 2n ** 40n ? [code] : [code, 'allocated']);
    expect(expected('LLM_DEVICE_OUT_OF_MEMORY')).toContain(await orFreed(dist.allocateMemory(bytes)));
    expect(expected('LLM_OUT_OF_MEMORY')).toContain(await orFreed(dist.allocateMemory(bytes, { placement: 0 })));
    expect((await dist.allocateMemory(64)).byteLength).toBe(64n);
  });

  test('a cache of tensors that are too large leaves nothing allocated', async () => {
    const { dist, backend } = node(LLMRole.MIX, 6n, {});
    await dist.init({ deviceId: 0 });
    const { kvCacheManager } = dist;
    const desc = { numTensors: 3, dataType: DataType.DT_INT8, shape: [2, 2 ** 40] };
    expect(await rejection(kvCacheManager.allocateCache(desc))).toMatchObject({
      code: 'LLM_DEVICE_OUT_OF_MEMORY',
      operation: 'allocateCache',
    });
    expect(backend.space.regions).toEqual([]);
  });

  test('a cache whose tensors together exceed every host is refused before anything is allocated', async () => {
    const { dist, backend } = node(LLMRole.MIX, 6n, {});
    await dist.init({ deviceId: 0 });
    const malloc = jest.spyOn(backend, 'malloc');
    const desc = { numTensors: 131_061, dataType: DataType.DT_INT8, shape: [2, 2 ** 31], placement: 0 };
    const error = await rejection(dist.kvCacheManager.allocateCache(desc));
    expect(error).toMatchObject({ code: 'LLM_OUT_OF_MEMORY', operation: 'allocateCache' });
    expect(malloc).not.toHaveBeenCalled();
  });

  test('a cache that the table has no room for is refused before anything is allocated', async () => {
    const { dist, backend } = node(LLMRole.MIX, 6n, {});
    await dist.init({ deviceId: 0 });
    const { kvCacheManager } = dist;
    const first = await kvCacheManager.allocateCache({ ...DESC, numTensors: 8 });
    const malloc = jest.spyOn(backend, 'malloc');
    for (const [numTensors, rule] of [
      [131_061, 'cache-table'],
      [131_062, 'cache-tensors'],
    ] as const) {
      expect(await rejection(kvCacheManager.allocateCache({ ...DESC, numTensors }))).toMatchObject({
        code: 'LLM_PARAM_INVALID',
        operation: 'allocateCache',
        remedy: expect.stringContaining(rule) as string,
      });
    }
    expect(malloc).not.toHaveBeenCalled();
    await kvCacheManager.deallocateCache(first);
  });

  test('an instance of the mock refuses more than a terabyte in all', async () => {
    const { dist } = node(LLMRole.MIX, 6n, {});
    await dist.init({ deviceId: 0 });
    const error = (await rejection(dist.allocateMemory(2n ** 40n + 1n))) as LLMException;
    expect(error.code).toBe('LLM_DEVICE_OUT_OF_MEMORY');
    expect(error.message).toContain('an instance of the mock has 1099511627776 at most');
  });
});
