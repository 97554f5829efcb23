import { deepStrictEqual } from 'node:assert';
import { execFileSync } from 'node:child_process';
import { inspect } from 'node:util';
import { cacheKeyFromJSON, describeStatus, LLMConfig, LLMDataDist, LLMException, LLMRole, LLMStatusCode } from '../lib';
import { createFabric, createTcpFabric, ManualClock, RealClock, VirtualClock } from '../lib/testing';
import { DESC, linkedPair, PROMPT_CLUSTER, rejection, track } from './fixtures/cluster';
import { compileLib } from './fixtures/compiled-lib';
import { freePort } from './fixtures/tcp-node';
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

describe('JSON of what has its own toJSON', () => {
  const patched = Object.getOwnPropertyDescriptor(BigInt.prototype, 'toJSON')!;
  beforeEach(() => {
    Reflect.deleteProperty(BigInt.prototype, 'toJSON');
  });
  afterEach(() => {
    Object.defineProperty(BigInt.prototype, 'toJSON', patched);
  });

  test('needs nothing of the prototype of bigints', async () => {
    const { fabric, decoder, promptCache, decoderCache } = await linked();
    const fault = fabric.inject({ op: 'pullBlocks', peer: 1n, cacheId: 1n, status: 'LLM_TIMEOUT' });
    await rejection(decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [1]));
    const failure = (await rejection(decoder.linkClusters([clusterOf(9n)]))) as LLMException;
    const unlinked = await decoder.unlinkClusters([clusterOf(1n)]);
    const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
    expect(() => JSON.stringify(1n)).toThrow(TypeError);
    expect(json(unlinked)).toEqual([{ remoteClusterId: '1', statusCode: 0, code: 'LLM_SUCCESS' }]);
    expect(json({ at: failure.results })).toMatchObject({ at: [{ remoteClusterId: '9', code: 'LLM_LINK_FAILED' }] });
    expect(json(failure)).toMatchObject({ results: [{ remoteClusterId: '9' }] });
    expect(json(promptCache.key())).toMatchObject({ clusterId: '1', layout: { rowBytes: '64' } });
    expect(json(decoderCache)).toMatchObject({ cacheId: '1', desc: { shape: ['4', '16'] } });
    expect(json(decoderCache.desc)).toMatchObject({ numTensors: 4, shape: ['4', '16'] });
    expect(json(decoderCache.regions)).toHaveLength(4);
    expect(json(new LLMConfig({ deviceId: 1, linkTotalTime: 5 }))).toEqual({ deviceId: 1, linkTotalTime: 5 });
    expect(json(decoder)).toMatchObject({ clusterId: '2' });
    expect(json(decoder.kvCacheManager)).toMatchObject({ clusterId: '2' });
    expect(json(fault)).toMatchObject({ fault: { peer: '1', cacheId: '1' }, hits: 1 });
    const pulls = fabric.history.filter(({ op }) => op === 'pullBlocks');
    expect(json(pulls)).toEqual([
      expect.objectContaining({ node: '2', peer: '1', faults: [expect.objectContaining({ peer: '1' })] }),
    ]);
    expect(json(pulls[0]?.args)).toMatchObject({ localCacheId: '1', srcBlocks: [0], dstBlocks: [1] });
    const topology = fabric.topology();
    expect(json(topology)).toMatchObject({ nodes: [{ node: '1', caches: [{ cacheId: '1' }] }, { node: '2' }] });
    expect(json(topology.nodes[0]?.memory[0])).toMatchObject({ byteLength: 256, placement: 1 });
  });
});

describe('the toJSON of what is returned', () => {
  test('is not seen by comparisons, copies, clones and printers of differences', async () => {
    const { decoder } = await linked();
    const results = await decoder.unlinkClusters([clusterOf(1n)]);
    const plain = [{ remoteClusterId: 1n, statusCode: 0, code: 'LLM_SUCCESS' }];
    expect(results).toStrictEqual(plain);
    deepStrictEqual(results, plain);
    expect(structuredClone(results)).toEqual(plain);
    deepStrictEqual({ ...results[0] }, plain[0]);
    expect(inspect(results)).toBe(inspect(plain));
    // Printers call it without a key.
    const { toJSON } = results[0] as unknown as { toJSON: () => unknown };
    deepStrictEqual(toJSON.call(results[0]), plain[0]);
    expect(() => {
      expect(results).toEqual([{ ...plain[0], statusCode: 1 }]);
    }).toThrow(/ {4}"remoteClusterId": 1n,\n-.*"statusCode": 1,/);
  });
});

describe('the toJSON of bigints', () => {
  const lib = compileLib('bigint-json');
  afterAll(() => {
    lib.remove();
  });
  const run = (before: string, after: string, flags: string[]) =>
    execFileSync(
      process.execPath,
      [...flags, '-e', `${before}; require(${JSON.stringify(lib.path)}).writeBigintsInJSON(); ${after}`],
      { encoding: 'utf8' },
    ).trim();
  const SHOW = 'try { console.log(JSON.stringify([1n])) } catch (error) { console.log(error.name) }';

  test.each<[string, string, string, string, string[]]>([
    ['writes decimal digits', '', SHOW, '["1"]', []],
    [
      'is like the methods of Node: hidden, and replaceable',
      '',
      'const { enumerable, configurable, writable } = Object.getOwnPropertyDescriptor(BigInt.prototype, "toJSON");' +
        'console.log(enumerable, configurable, writable)',
      'false true true',
      [],
    ],
    ['leaves the one of an application', 'BigInt.prototype.toJSON = () => "mine"', SHOW, '["mine"]', []],
    ['leaves one that bigints inherit', 'Object.prototype.toJSON = function () { return 7 }', SHOW, '7', []],
    ['is replaced by an application later', '', `BigInt.prototype.toJSON = () => "mine"; ${SHOW}`, '["mine"]', []],
    ['is deleted by an application', '', `delete BigInt.prototype.toJSON; ${SHOW}`, 'TypeError', []],
    ['leaves a frozen prototype', 'Object.freeze(BigInt.prototype)', SHOW, 'TypeError', []],
    ['leaves frozen intrinsics', '', SHOW, 'TypeError', ['--frozen-intrinsics', '--no-warnings']],
  ])('%s', (_what, before, after, expected, flags) => {
    expect(run(before, after, flags)).toBe(expected);
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
    const tcp = createTcpFabric();
    expect(inspect(tcp)).toBe('TcpFabric { listening: [], allowRemote: false }');
    const dist = track(new LLMDataDist(LLMRole.PROMPT, 7n, { backend: tcp.backend }));
    await dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${await freePort()}` });
    expect(inspect(tcp)).toMatch(/^TcpFabric \{\s*listening: \[ '127\.0\.0\.1:\d+' \]/);
    await dist.finalize();
    expect(JSON.stringify(tcp)).toBe('{"listening":[],"allowRemote":false}');
    expect(inspect({ a: { decoder } }, { depth: 0 })).toContain('[Object]');
    expect(inspect({ decoder }, { depth: 1 })).toMatch(/LLMDataDist \{\s*clusterId: 2n,\s*role: 'MIX'/);
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
