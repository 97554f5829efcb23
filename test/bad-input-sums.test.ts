import { DataType, LLMBackendError, LLMConfig, LLMException, LLMRole } from '../lib';
import type { KvCache, LLMDataDist, LLMClusterInfo, LLMInitOptions } from '../lib';
import { checkClusters } from '../lib/cluster';
import { checkWireOptions } from '../lib/testing/wire/wire-options';
import { node, rejection } from './fixtures/cluster';

// Lists of the largest lengths take seconds on a loaded host.
jest.setTimeout(120_000);

const DESC = { numTensors: 2, dataType: DataType.DT_INT8, shape: [8, 64] };

/** Of what would be copied, nothing may be read before the sum is found to be too much. */
function unread<T>(list: readonly T[]): readonly T[] {
  return new Proxy(list, {
    get(target, key): unknown {
      if (typeof key === 'string' && /^\d+$/.test(key)) throw new Error('an element was read');
      return Reflect.get(target, key);
    },
  });
}

function expectTooMuch(error: unknown, name: string, most: string): void {
  expect(error).toBeInstanceOf(RangeError);
  expect(error).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  expect((error as Error).message).toContain(`"${name}" holds too much: at most ${most} in all`);
}

function thrown(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return error;
  }
}

async function withDist(work: (dist: LLMDataDist) => Promise<void>): Promise<void> {
  const { dist } = node(LLMRole.MIX, 1n, {});
  await dist.init({ deviceId: 0 });
  try {
    await work(dist);
  } finally {
    await dist.finalize();
  }
}

async function withCache(work: (dist: LLMDataDist, cache: KvCache) => Promise<void>): Promise<void> {
  await withDist(async (dist) => {
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    await work(dist, cache);
    await dist.kvCacheManager.deallocateCache(cache);
  });
}

describe('the addresses of all clusters of a call', () => {
  const list = (length: number) => Array<{ ip: string; port: number }>(length).fill({ ip: '127.0.0.1', port: 1 });
  const shared = (count: number, cluster: Omit<LLMClusterInfo, 'remoteClusterId'>): LLMClusterInfo[] =>
    Array<LLMClusterInfo>(count).fill({ remoteClusterId: 5n, ...cluster });

  test.each(['linkClusters', 'unlinkClusters'] as const)('%s refuses too many, and reads none', async (name) => {
    await withDist(async (dist) => {
      const remote = shared(65_536, { remoteIpInfos: unread(list(1024)), localIpInfos: unread(list(1024)) });
      expectTooMuch(await rejection(dist[name](remote)), 'clusters', '262144 addresses');
      const local = shared(257, { remoteIpInfos: [], localIpInfos: unread(list(1024)) });
      expectTooMuch(await rejection(dist[name](local)), 'clusters', '262144 addresses');
    });
  });

  test('that are too long together are refused', () => {
    const ip = '1'.repeat(2 ** 20);
    const clusters = (count: number) => shared(count, { remoteIpInfos: [{ ip, port: 1 }] });
    expectTooMuch(
      thrown(() => checkClusters(clusters(5), 'clusters')),
      'clusters',
      '4194304 characters in addresses',
    );
    expect(checkClusters(clusters(4), 'clusters')).toHaveLength(4);
  });

  test('may be as many as each cluster of the longest call needs, twice', () => {
    const clusters = shared(65_536, { remoteIpInfos: list(2), localIpInfos: list(2) });
    expect(checkClusters(clusters, 'clusters')).toHaveLength(65_536);
  });
});

describe('the blocks of a copy', () => {
  test('are counted in all lists before one is read', async () => {
    await withCache(async (dist, cache) => {
      const big = unread(Array<number>(2 ** 20).fill(0));
      const srcToDst = new Map([
        [0, big],
        [1, big],
      ]);
      const error = await rejection(dist.kvCacheManager.copyBlocks(cache, srcToDst));
      expectTooMuch(error, 'srcToDst', '1048576 destinations');
    });
  });

  test('may be as many as one list can have', async () => {
    await withCache(async (dist, cache) => {
      await dist.kvCacheManager.copyBlocks(cache, new Map([[0, Array<number>(2 ** 20).fill(1)]]));
    });
  });

  test.each(['copyBlocks', 'swapBlocks'] as const)('%s takes no more sources than a list can have', async (name) => {
    await withCache(async (dist, cache) => {
      const host = await dist.kvCacheManager.allocateCache({ ...DESC, placement: 0 });
      const none: number[] = [];
      const count = 2 ** 20 + 1;
      const error = await rejection(
        name === 'copyBlocks'
          ? dist.kvCacheManager.copyBlocks(cache, new Map(Array.from({ length: count }, (_, i) => [i, none])))
          : dist.kvCacheManager.swapBlocks(cache, host, new Map(Array.from({ length: count }, (_, i) => [i, 0]))),
      );
      expectTooMuch(error, 'srcToDst', '1048576 entries');
      await dist.kvCacheManager.deallocateCache(host);
    });
  });
});

describe('the texts of options', () => {
  const long = 'x'.repeat(2 ** 20);
  const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`llm.${i}`, long]));

  test.each<[string, string, () => LLMInitOptions]>([
    ['raw options', 'options', () => many(4)],
    ['options of an object', 'geOptions', () => ({ deviceId: 0, geOptions: many(4) })],
  ])('are counted together: %s', async (_, name, options) => {
    const { dist } = node(LLMRole.MIX, 1n, {});
    expectTooMuch(await rejection(dist.init(options())), name, '4194304 characters');
    await dist.init({ deviceId: 0 });
    expectTooMuch(await rejection(dist.switchRole(LLMRole.PROMPT, options())), name, '4194304 characters');
    await dist.finalize();
  });

  test('are counted in an LLMConfig', () => {
    const config = new LLMConfig({ deviceId: 0 });
    expectTooMuch(
      thrown(() => (config.geOptions = many(4))),
      'geOptions',
      '4194304 characters',
    );
    expect(config.geOptions).toEqual({});
  });

  test('are limited one by one too', () => {
    const config = new LLMConfig();
    const error = thrown(() => (config.localCommRes = `${long}x`));
    expect(error).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    expect((error as Error).message).toContain('"localCommRes.length" is out of range. It must be <= 1048576');
    config.localCommRes = long;
    expect(config.localCommRes).toHaveLength(2 ** 20);
  });
});

describe('what an error is made of', () => {
  test.each([
    ['attempts', 'attempts', () => new LLMBackendError(Array(3).fill({ path: 'a', error: 'x'.repeat(2 ** 19) }))],
    ['notes', 'info', () => new LLMBackendError([], { notes: Array<string>(3).fill('x'.repeat(2 ** 19)) })],
  ])('%s are counted together', (_, name, make) => {
    expectTooMuch(thrown(make), name, '1048576 characters');
  });

  test.each([
    ['attempts.length', () => new LLMBackendError(Array(1025).fill({ path: 'a', error: 'b' }))],
    ['info.signs.length', () => new LLMBackendError([], { signs: Array<string>(1025).fill('') })],
    [
      'info.results.length',
      () =>
        new LLMException(1, {
          operation: 'linkClusters',
          results: Array(65_537).fill({ remoteClusterId: 1n, statusCode: 1, code: '' }),
        }),
    ],
  ])('%s is limited', (name, make) => {
    const error = thrown(make);
    expect(error).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    expect((error as Error).message).toContain(`"${name}"`);
  });
});

test('the ways of a wire are limited, and their ends are counted before one is read', () => {
  const wire = (between: unknown[]) => () => checkWireOptions({ between }, 'wire');
  const ways = thrown(wire(Array(1025).fill({ nodes: [1, 2] })));
  expect((ways as Error).message).toContain('"wire.between.length" is out of range. It must be >= 0 and <= 1024');
  const ends = thrown(wire([{ nodes: unread(Array<number>(2 ** 20).fill(1)) }]));
  expect((ends as Error).message).toContain('names 1048576 nodes: a way has two ends');
});
