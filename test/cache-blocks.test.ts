import fc from 'fast-check';
import { LLMDataDist, LLMException, LLMRole } from '../lib';
import type { KvCache } from '../lib';
import { copyRuns } from '../lib/copy-runs';
import type { BlockPair } from '../lib/copy-runs';
import { Fabric, MockBackend } from '../lib/testing';
import { turn } from './bad-input/states';
import { bytesOf, DESC, fill, rejection, track } from './fixtures/cluster';
import { linked, newFabric, start } from './fixtures/fabric';
import { hold } from './fixtures/held-calls';
import { warningsDuring } from './fixtures/warnings';

const ROW = 64;
const TENSORS = 4;
const ROWS = 4;

const LISTS = ['copyRanges', 'readRanges', 'writeRanges'] as const;
const MISSING: Readonly<Record<string, readonly string[]>> = {
  'that takes lists': [],
  'that takes no lists': LISTS,
  'that reads and writes only': [...LISTS, 'copy'],
};

async function single(missing: readonly string[] = [], guards = true) {
  const backend = new MockBackend(1n, LLMRole.PROMPT, { fabric: new Fabric() });
  for (const name of missing) Object.defineProperty(backend, name, { value: undefined });
  const dist = track(new LLMDataDist(LLMRole.PROMPT, 1n, { backend, guards }));
  await dist.init({ deviceId: 0 });
  const caches = dist.kvCacheManager;
  const cache = await caches.allocateCache(DESC);
  await fill(cache, 7);
  return { dist, backend, caches, cache };
}

/** Notes the calls of some methods of a backend. */
function noted(backend: MockBackend, ...methods: readonly (keyof MockBackend)[]): string[] {
  const calls: string[] = [];
  for (const method of methods) {
    const original = Reflect.get(backend, method) as (...args: unknown[]) => unknown;
    Object.defineProperty(backend, method, {
      value: (...args: unknown[]) => {
        calls.push(method);
        return Reflect.apply(original, backend, args);
      },
    });
  }
  return calls;
}

/** Blocks as `readBlocks` lays them out, made of all bytes of a cache. */
function blocksOf(all: Buffer, blocks: readonly number[]): Buffer {
  const pieces = blocks.flatMap((block) =>
    Array.from({ length: TENSORS }, (_, t) => {
      const start = (t * ROWS + block) * ROW;
      return all.subarray(start, start + ROW);
    }),
  );
  return Buffer.concat(pieces);
}

describe.each(Object.entries(MISSING))('on a backend %s', (_, missing) => {
  test.each([[[0]], [[3, 1]], [[0, 1, 2, 3]], [[2, 2]], [[]]])('blocks %j are read in all tensors', async (blocks) => {
    const { cache } = await single(missing);
    const read = await cache.readBlocks(blocks);
    expect(Buffer.from(read)).toEqual(blocksOf(await bytesOf(cache), blocks));
  });

  test.each([[[0]], [[3, 1]], [[0, 1, 2, 3]], [[]]])(
    'blocks %j are written in all tensors, and no others',
    async (blocks) => {
      const { cache } = await single(missing);
      const before = await bytesOf(cache);
      const data = Uint8Array.from({ length: blocks.length * TENSORS * ROW }, (_each, i) => (i * 7 + 1) % 251);
      await cache.writeBlocks(blocks, data);
      const after = await bytesOf(cache);
      expect(blocksOf(after, blocks)).toEqual(Buffer.from(data));
      const rest = [0, 1, 2, 3].filter((block) => !blocks.includes(block));
      expect(blocksOf(after, rest)).toEqual(blocksOf(before, rest));
    },
  );

  test('a block that is written twice has what came last', async () => {
    const { cache } = await single(missing);
    const data = new Uint8Array(2 * TENSORS * ROW).fill(1);
    data.fill(2, TENSORS * ROW);
    await cache.writeBlocks([1, 1], data);
    expect(new Set(await cache.readBlocks([1]))).toEqual(new Set([2]));
  });

  test('lists and views of any kind do', async () => {
    const { cache } = await single(missing);
    const whole = await cache.readBlocks(BigUint64Array.of(1n, 2n));
    const buffer = new Uint8Array(whole.length + 8);
    buffer.set(whole, 8);
    await cache.writeBlocks(Uint32Array.of(0, 3), new DataView(buffer.buffer, 8));
    expect(await cache.readBlocks([0n, 3n])).toEqual(whole);
  });

  test('what is written is what the buffer held at the call', async () => {
    const { cache } = await single(missing);
    const data = new Uint8Array(2 * TENSORS * ROW).fill(5);
    const list = [0, 1];
    const written = cache.writeBlocks(list, data);
    data.fill(6);
    list.fill(3);
    await written;
    expect(new Set(await cache.readBlocks([0, 1]))).toEqual(new Set([5]));
  });

  test('copies of any blocks within a cache are those of one pair after the other', async () => {
    const { caches, cache } = await single(missing);
    const block = fc.integer({ min: 0, max: ROWS - 1 });
    const map = fc.array(fc.tuple(block, fc.array(block, { maxLength: 4 })), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(map, async (entries) => {
        const srcToDst = new Map(entries);
        const wanted = await bytesOf(cache);
        for (const [src, dst] of [...srcToDst].flatMap(([from, all]) => all.map((to) => [from, to] as const))) {
          for (let t = 0; t < TENSORS; t++) {
            const start = t * ROWS * ROW;
            wanted.copyWithin(start + dst * ROW, start + src * ROW, start + (src + 1) * ROW);
          }
        }
        await caches.copyBlocks(cache, srcToDst);
        expect(await bytesOf(cache)).toEqual(wanted);
        await fill(cache, 7);
      }),
      { numRuns: 100 },
    );
  });
});

describe('the seam is crossed', () => {
  const NAMES = ['copy', 'copyRanges', 'read', 'readRanges', 'write', 'writeRanges'] as const;

  test('once to read blocks, and once to write them', async () => {
    const { backend, cache } = await single();
    const calls = noted(backend, ...NAMES);
    await cache.writeBlocks([0, 2, 3], await cache.readBlocks([3, 1, 0]));
    expect(calls).toEqual(['readRanges', 'writeRanges']);
  });

  test('once per tensor to copy neighbours, which are one copy', async () => {
    const { backend, caches, cache } = await single();
    const calls = noted(backend, ...NAMES);
    await caches.copyBlocks(
      cache,
      new Map([
        [1, [3]],
        [0, [2]],
      ]),
    );
    expect(calls).toEqual(['copy', 'copy', 'copy', 'copy']);
  });

  test('once per tensor to copy blocks that are none', async () => {
    const { backend, caches, cache } = await single();
    const host = await caches.allocateCache({ ...DESC, placement: 0 });
    const calls = noted(backend, ...NAMES);
    await caches.swapBlocks(
      cache,
      host,
      new Map([
        [0, 3],
        [2, 0],
        [1, 2],
      ]),
    );
    expect(calls).toEqual(['copyRanges', 'copyRanges', 'copyRanges', 'copyRanges']);
    expect(Buffer.from(await host.readBlocks([3, 0, 2]))).toEqual(Buffer.from(await cache.readBlocks([0, 2, 1])));
  });
});

describe('the runs of copies', () => {
  /** What is where when the pairs were copied one after the other. */
  const copied = (pairs: readonly BlockPair[], inOneCache: boolean) => {
    const source = Array.from({ length: 32 }, (_, i) => `s${i}`);
    const target = inOneCache ? source : Array.from({ length: 32 }, (_, i) => `d${i}`);
    for (const { src, dst } of pairs) target[dst] = source[src]!;
    return target;
  };

  test.each([true, false])('copy what the pairs copy (in one cache: %p)', (inOneCache) => {
    const block = fc.integer({ min: 0, max: 15 });
    fc.assert(
      fc.property(fc.array(fc.record({ src: block, dst: block })), (pairs) => {
        const runs = copyRuns(pairs, inOneCache);
        for (const { src, dst, length } of runs) {
          if (inOneCache && length > 1) expect(Math.abs(src - dst)).toBeGreaterThanOrEqual(length);
        }
        const again = runs.flatMap(({ src, dst, length }) =>
          Array.from({ length }, (_, i) => ({ src: src + i, dst: dst + i })),
        );
        expect(again).toHaveLength(pairs.length);
        expect(copied(again, inOneCache)).toEqual(copied(pairs, inOneCache));
      }),
    );
  });

  test.each<[string, BlockPair[], boolean, unknown]>([
    ['neighbours', [0, 1, 2].map((i) => ({ src: i, dst: i + 8 })), true, [{ src: 0, dst: 8, length: 3 }]],
    [
      'neighbours that come backwards',
      [2, 1, 0].map((i) => ({ src: i, dst: i + 8 })),
      true,
      [{ src: 0, dst: 8, length: 3 }],
    ],
    [
      'each to two places',
      [0, 1].flatMap((i) => [
        { src: i, dst: i + 4 },
        { src: i, dst: i + 8 },
      ]),
      true,
      [
        { src: 0, dst: 4, length: 2 },
        { src: 0, dst: 8, length: 2 },
      ],
    ],
    [
      'a chain, in which each is read after it was written',
      [0, 1, 2].map((i) => ({ src: i, dst: i + 1 })),
      true,
      [0, 1, 2].map((i) => ({ src: i, dst: i + 1, length: 1 })),
    ],
    [
      'the same between two caches',
      [0, 1, 2].map((i) => ({ src: i, dst: i + 1 })),
      false,
      [{ src: 0, dst: 1, length: 3 }],
    ],
  ])('of %s', (_, pairs, inOneCache, runs) => {
    expect(copyRuns(pairs, inOneCache)).toEqual(runs);
  });
});

describe('reading and writing blocks refuses', () => {
  const data = new Uint8Array(TENSORS * ROW);
  const both: [string, (cache: KvCache, blocks: number[]) => Promise<unknown>][] = [
    ['readBlocks', (cache, blocks) => cache.readBlocks(blocks)],
    ['writeBlocks', (cache, blocks) => cache.writeBlocks(blocks, data)],
  ];

  describe.each(both)('%s', (operation, call) => {
    test('a block that there is not, and moves nothing', async () => {
      const { backend, cache } = await single();
      const before = await bytesOf(cache);
      const calls = noted(backend, ...LISTS);
      expect(await rejection(call(cache, [4]))).toMatchObject({ code: 'LLM_PARAM_INVALID', operation, cacheId: 1n });
      expect([calls, await bytesOf(cache)]).toEqual([[], before]);
    });

    test('a cache that was unregistered', async () => {
      const { caches, cache } = await single();
      await caches.unregisterCache(cache);
      expect(await rejection(call(cache, [0]))).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST', operation });
    });

    test('a cache of an earlier life, whose number another one may have', async () => {
      const { dist, caches, cache } = await single();
      await warningsDuring(() => dist.finalize());
      expect(await rejection(call(cache, [0]))).toMatchObject({ code: 'LLM_FAILED', operation });
      await dist.init({ deviceId: 0 });
      const next = await caches.allocateCache(DESC);
      expect(next.cacheId).toBe(cache.cacheId);
      expect(await rejection(call(cache, [0]))).toMatchObject({ code: 'LLM_PARAM_INVALID', operation });
      expect(String(await rejection(call(cache, [0])))).toContain('own-cache');
    });

    test('memory that is not the instance’s', async () => {
      const { backend, caches } = await single([], false);
      // The mock registers no other memory either.
      backend.registerKvCache = () => Promise.resolve(9n);
      const foreign = await caches.registerCache(DESC, [4096n, 8192n, 12_288n, 16_384n]);
      expect(await rejection(call(foreign, [0]))).toMatchObject({ code: 'LLM_FAILED' });
    });

    test('memory that was freed under a cache', async () => {
      const { cache } = await single([], false);
      await cache.regions![2]!.free();
      expect(await rejection(call(cache, [0]))).toMatchObject({ code: 'LLM_FAILED' });
    });

    test('what is no list', async () => {
      const { cache } = await single();
      expect(await rejection(call(cache, 3 as never))).toBeInstanceOf(TypeError);
      expect(await rejection(call(cache, [-1]))).toBeInstanceOf(RangeError);
      expect(await rejection(call(cache, [0.5]))).toBeInstanceOf(RangeError);
    });

    test('more blocks than one call can hold', async () => {
      const { caches } = await single();
      const wide = await caches.allocateCache({ numTensors: 64, dataType: 2, shape: [2, 4096] });
      const error = await rejection(call(wide, new Array<number>(40_000).fill(0)));
      expect(error).toBeInstanceOf(RangeError);
      const narrow = await caches.allocateCache({ numTensors: 64, dataType: 2, shape: [2, 1] });
      expect(await rejection(call(narrow, new Array<number>(300_000).fill(0)))).toBeInstanceOf(RangeError);
    });

    test('what is called on something else', async () => {
      const { cache } = await single();
      const method = Reflect.get(cache, operation) as () => Promise<unknown>;
      const outcome = Reflect.apply(method, {}, [[0], data]) as Promise<unknown>;
      expect(await rejection(outcome)).toBeInstanceOf(TypeError);
    });
  });

  test.each([0, 1, TENSORS * ROW - 1, TENSORS * ROW + 1])('%d bytes for one block', async (length) => {
    const { backend, cache } = await single();
    const calls = noted(backend, 'writeRanges');
    const error = await rejection(cache.writeBlocks([0], new Uint8Array(length)));
    expect(error).toBeInstanceOf(RangeError);
    expect(String(error)).toContain(`${TENSORS * ROW}`);
    expect(calls).toEqual([]);
  });

  test('what are no bytes', async () => {
    const { cache } = await single();
    expect(await rejection(cache.writeBlocks([0], 'bytes' as never))).toBeInstanceOf(TypeError);
    const detached = new Uint8Array(TENSORS * ROW);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    expect(await rejection(cache.writeBlocks([0], detached))).toBeInstanceOf(TypeError);
  });
});

test('the end of a cache waits for blocks that are read', async () => {
  const { backend, caches, cache } = await single();
  const held = hold(backend, 'readRanges');
  const calls = noted(backend, 'unregisterKvCache');
  const read = cache.readBlocks([0]);
  await held.hasEntered(1);
  const ended = caches.deallocateCache(cache);
  await turn();
  expect(calls).toEqual([]);
  held.open();
  expect(await read).toHaveLength(TENSORS * ROW);
  await ended;
  expect(calls).toEqual(['unregisterKvCache']);
});

describe('on a test fabric', () => {
  test('they are reads and writes, which faults can hit and the history has', async () => {
    const { fabric, decoderCache } = await linked({ recordMemory: true });
    const fault = fabric.inject({ op: ['read', 'write'], times: 2, status: 'LLM_TIMEOUT' });
    const data = new Uint8Array(2 * TENSORS * ROW).fill(9);
    expect(await rejection(decoderCache.readBlocks([0]))).toBeInstanceOf(LLMException);
    expect(await rejection(decoderCache.writeBlocks([0, 1], data))).toMatchObject({ code: 'LLM_TIMEOUT' });
    expect(fault.hits).toBe(2);
    await decoderCache.writeBlocks([0, 1], data);
    expect(fabric.history.at(-1)).toMatchObject({ op: 'write', bytes: data.length, state: 'succeeded' });
  });

  test('what is corrupted are bytes that were moved', async () => {
    const fabric = newFabric();
    const dist = await start(fabric, 1n);
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    const data = new Uint8Array(2 * TENSORS * ROW).fill(9);
    const differing = (bytes: Uint8Array) => bytes.reduce((sum, byte) => sum + Number(byte !== 9), 0);
    fabric.inject({ op: 'write', times: 1, corrupt: 5 });
    await cache.writeBlocks([3, 1], data);
    expect(differing(await cache.readBlocks([3, 1]))).toBe(5);
    await cache.writeBlocks([3, 1], data);
    fabric.inject({ op: 'read', times: 1, corrupt: 3 });
    expect(differing(await cache.readBlocks([3, 1]))).toBe(3);
    expect(differing(await cache.readBlocks([3, 1]))).toBe(0);
    expect(data).toEqual(new Uint8Array(2 * TENSORS * ROW).fill(9));
  });

  test('a copy of many blocks is one call of the history for each tensor', async () => {
    const { fabric, decoder, decoderCache } = await linked();
    const calls = fabric.history.length;
    await decoder.kvCacheManager.copyBlocks(decoderCache, new Map([[0, [1, 3]]]));
    const copies = fabric.history.slice(calls).filter(({ op }) => op === 'copyCache');
    expect(copies.map(({ bytes }) => bytes)).toEqual([128, 128, 128, 128]);
  });
});
