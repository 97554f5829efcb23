import { inspect } from 'node:util';
import { cacheKeyFromJSON, describeStatus, LLMException, LLMStatusCode } from '../lib';
import { createFabric, ManualClock, RealClock, VirtualClock } from '../lib/testing';
import { DESC, linkedPair, PROMPT_CLUSTER, rejection } from './fixtures/cluster';
import { clusterOf, linked, newFabric, start } from './fixtures/fabric';

const invalid = (value: unknown) => value as never;

describe('JSON', () => {
  test('has decimal strings for the bigints of everything that is returned', async () => {
    const { fabric, decoder, promptCache, decoderCache } = await linked();
    const error = (await rejection(decoder.linkClusters([clusterOf(9n)]))) as LLMException;
    const key = promptCache.key();
    const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
    expect(json(error.results)).toEqual([expect.objectContaining({ remoteClusterId: '9' })]);
    expect(json(Object.fromEntries(Object.entries(error)))).toMatchObject({ code: error.code });
    expect(json({ ...key, requestId: 'r' })).toMatchObject({ clusterId: '1', cacheId: '1', requestId: 'r' });
    expect(json(structuredClone(key))).toMatchObject({ clusterId: '1', layout: { rowBytes: '64' } });
    expect(cacheKeyFromJSON(JSON.stringify({ ...key }))).toEqual(key);
    expect(json(decoderCache)).toMatchObject({ cacheId: '1', desc: { shape: ['4', '16'] } });
    expect(json(decoderCache.regions)).toHaveLength(4);
    expect(json(fabric.history)).toHaveLength(fabric.history.length);
    expect(json(fabric.topology())).toMatchObject({ nodes: [{ node: '1' }, { node: '2' }] });
    expect(json(decoder)).toMatchObject({ clusterId: '2', backend: 'mock', state: 'initialised' });
    expect(json(decoder.kvCacheManager)).toEqual({ clusterId: '2', caches: 1 });
  });
});

describe('inspection', () => {
  test('shows what tells an object apart, in short', async () => {
    const { fabric, decoder, decoderCache } = await linked();
    expect(inspect(decoder)).toMatch(
      /LLMDataDist \{\s*clusterId: 2n,\s*role: 'MIX',\s*backend: 'mock',\s*state: 'initialised'/,
    );
    expect(inspect(decoderCache)).toMatch(/^KvCache \{\s*cacheId: 1n,\s*clusterId: 2n,\s*numTensors: 4/);
    expect(inspect(decoderCache.regions?.[0])).toMatch(/^MemoryRegion \{\s*address: '0x/);
    expect(inspect(decoder.kvCacheManager)).toBe('KvCacheManager { clusterId: 2n, caches: 1 }');
    expect(inspect(fabric)).toMatch(/^TestFabric \{\s*nodes: \[/);
    expect(inspect({ a: { decoder } }, { depth: 0 })).toContain('[Object]');
    expect(inspect({ decoder }, { depth: 0 })).toContain('[LLMDataDist]');
  });
});

describe('describeStatus', () => {
  test('takes a name, in C++ or in Python', () => {
    expect(describeStatus('LLM_TIMEOUT')).toEqual(describeStatus(LLMStatusCode.LLM_TIMEOUT));
    expect(describeStatus('LLM_WAIT_PROCESS_TIMEOUT').code).toBe(LLMStatusCode.LLM_WAIT_PROC_TIMEOUT);
  });

  test.each(['LLM_TIMEOTU', 'TIMEOUT', 'llm_timeout'])('names the nearest one of %s', (name) => {
    expect(() => describeStatus(name)).toThrow(
      expect.objectContaining({
        code: 'ERR_OUT_OF_RANGE',
        message: expect.stringContaining('the nearest is LLM_TIMEOUT') as string,
      }) as Error,
    );
  });
});

test.each<[string, (key: unknown) => unknown]>([
  ['parsed', (key) => JSON.parse(JSON.stringify(key)) as unknown],
  ['as text', (key) => JSON.stringify(key)],
])('a key of JSON, %s, is refused with the way to make a key of it', async (_form, make) => {
  const { decoder, promptCache, decoderCache } = await linkedPair();
  const pull = decoder.dist.kvCacheManager.pullBlocks(invalid(make(promptCache.key())), decoderCache, [0], [0]);
  expect(await rejection(pull)).toMatchObject({
    code: 'ERR_INVALID_ARG_TYPE',
    message: expect.stringContaining('cacheKeyFromJSON()') as string,
  });
});

test('memory-overlap names the cache and the tensor that are in the way', async () => {
  const { decoder, decoderCache } = await linkedPair();
  await decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
  const { kvCacheManager } = decoder.dist;
  const addrs = decoderCache.tensorAddrs;
  const other = kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [addrs[2]!]);
  expect(await rejection(other)).toMatchObject({
    cacheId: 1n,
    message: expect.stringMatching(
      /tensor 0 of the call, overlap tensor 2 \(256 bytes from 0x.* to 0x.*\) of cache 1/,
    ) as string,
  });
  const twice = kvCacheManager.registerCache({ ...DESC, numTensors: 2 }, [addrs[1]!, addrs[1]!]);
  expect(String(await rejection(twice))).toMatch(/overlap tensor/);
});

describe('a contradiction', () => {
  test.each<[object, string]>([
    [{ status: 'LLM_TIMEOUT', hang: true }, 'status: LLM_TIMEOUT and hang: true'],
    [{ corrupt: 2, partialLayers: 1 }, 'corrupt: 2 and partialLayers: 1'],
    [{ hang: true, delayMs: 5 }, 'hang: true and delayMs: 5'],
    [{}, 'has no effect: give one of status'],
  ])('of a fault %j names its fields and values', (effects, text) => {
    const fabric = newFabric();
    const inject = () => fabric.inject({ op: 'pullBlocks', ...effects });
    expect(inject).toThrow(text);
    expect(inject).not.toThrow('Received undefined');
  });
});

describe('a clock', () => {
  test.each([new ManualClock(), new VirtualClock(), new RealClock()])(
    'refuses what is no function or no time: %p',
    async (clock) => {
      expect(() => clock.after(5, invalid('x'))).toThrow(
        expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }) as Error,
      );
      expect(() => clock.after(NaN, () => undefined)).toThrow(
        expect.objectContaining({ code: 'ERR_OUT_OF_RANGE' }) as Error,
      );
      expect(await rejection(clock.sleep(NaN))).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    },
  );

  test('of the user is asked for its methods', () => {
    const clock = { now: () => 0, sleep: () => Promise.resolve() };
    for (const wrong of [
      { ...clock, now: 0 },
      { ...clock, sleep: undefined },
      { ...clock, after: 1 },
      { ...clock, deadline: 1 },
    ]) {
      expect(() => createFabric({ clock: invalid(wrong) })).toThrow(/options\.clock\.\w+" argument must be a function/);
    }
  });
});

describe('strict', () => {
  test.each([true, false])('refuses two nodes of one id at one peer: %p', async (strict) => {
    const fabric = newFabric({ strict });
    await start(fabric, 1n);
    const one = await start(fabric, 2n);
    const other = await start(fabric, 2n, {}, { deviceId: 3, listenIpInfo: '10.0.0.3:27000' });
    await one.linkClusters([clusterOf(1n)]);
    const second = await other.linkClusters([clusterOf(1n)]).then(() => 'linked', String);
    expect(second).toContain(strict ? 'Rule unique-cluster-id' : 'linked');
  });

  test.each([true, false])('refuses keys without a layout: %p', async (strict) => {
    const { decoder, decoderCache } = await linked({ strict });
    const caches = decoder.kvCacheManager;
    const bare = { clusterId: 1n, cacheId: 1n };
    for (const call of [
      () => caches.pullBlocks(bare, decoderCache, [0], [0]),
      () => caches.pullCache(bare, decoderCache),
      () => caches.pushBlocks(bare, decoderCache, [0], [0]),
      () => caches.pushCache(bare, decoderCache),
    ]) {
      expect(await call().then(() => 'done', String)).toContain(strict ? 'Rule key-with-layout' : 'done');
    }
  });
});
