import { LLMDataDist, LLMException, LLMRole } from '../lib';
import type { KvCache, MemoryRegion } from '../lib';
import { Fabric, MockBackend } from '../lib/testing';
import { DESC, linkedPair, node, PROMPT_CLUSTER, PROMPT_ID, PROMPT_PORT, track } from './fixtures/cluster';
import { byAwait, byCatch, expectCaller, UNAWAITED_WAYS, WAYS } from './fixtures/stack-callers';

interface All {
  readonly dist: LLMDataDist;
  readonly cache: KvCache;
  readonly other: KvCache;
  readonly remote: KvCache;
  readonly region: MemoryRegion;
  readonly fabric: Fabric;
}

async function all(): Promise<All> {
  const { decoder, prompt, decoderCache: cache, promptCache: remote, fabric } = await linkedPair();
  await prompt.dist.linkClusters([{ ...PROMPT_CLUSTER, remoteClusterId: 2n }]).catch(() => undefined);
  const { dist } = decoder;
  const other = await dist.kvCacheManager.allocateCache(DESC);
  return { dist, cache, other, remote, region: await dist.allocateMemory(64), fabric };
}

const NOWHERE = { clusterId: 9n, cacheId: 1n };
const NOBODY = { remoteClusterId: 7n, remoteIpInfos: [{ ip: '127.0.0.1', port: 9 }] };
const invalid = (value: unknown) => value as never;

/** A call that fails, and the code of its error. */
type Failure = readonly [what: string, code: string, call: (all: All) => Promise<unknown>];

const FAILURES: readonly Failure[] = [
  ['init, of a value', 'ERR_INVALID_ARG_TYPE', ({ dist }) => dist.init(invalid(5))],
  [
    'init, in the library',
    'LLM_FAILED',
    ({ fabric }) =>
      node(LLMRole.PROMPT, 8n, { fabric }).dist.init({ deviceId: 2, listenIpInfo: `127.0.0.1:${PROMPT_PORT}` }),
  ],
  ['switchRole, of a value', 'ERR_INVALID_ARG_TYPE', ({ dist }) => dist.switchRole(invalid('x'))],
  ['switchRole, in the library', 'LLM_EXIST_LINK', ({ dist }) => dist.switchRole(LLMRole.MIX)],
  [
    'linkClusters, of a value deep inside',
    'ERR_OUT_OF_RANGE',
    ({ dist }) => dist.linkClusters([{ ...NOBODY, remoteIpInfos: [{ ip: 'x', port: 70_000 }] }]),
  ],
  ['linkClusters, by a guard', 'LLM_PARAM_INVALID', ({ dist }) => dist.linkClusters([NOBODY, NOBODY])],
  ['linkClusters, with results', 'LLM_LINK_FAILED', ({ dist }) => dist.linkClusters([NOBODY])],
  [
    'linkClusters, behind another one',
    'LLM_ALREADY_LINK',
    async ({ dist }) => {
      const first = dist.linkClusters([NOBODY]).catch(() => undefined);
      await Promise.all([first, dist.linkClusters([PROMPT_CLUSTER])]);
    },
  ],
  [
    'unlinkClusters, in the library',
    'LLM_PARAM_INVALID',
    ({ dist }) => dist.unlinkClusters([PROMPT_CLUSTER], { timeout: 0 }),
  ],
  ['allocateMemory, of a value', 'ERR_INVALID_ARG_TYPE', ({ dist }) => dist.allocateMemory(invalid('x'))],
  [
    'registerCache, by a guard',
    'LLM_PARAM_INVALID',
    ({ dist, cache }) => dist.kvCacheManager.registerCache(DESC, cache.tensorAddrs),
  ],
  ['registerCache, in the library', 'LLM_PARAM_INVALID', ({ dist }) => dist.kvCacheManager.registerCache(DESC, [1n])],
  [
    'unregisterCache, of a value',
    'ERR_INVALID_ARG_TYPE',
    ({ dist }) => dist.kvCacheManager.unregisterCache(invalid('x')),
  ],
  [
    'allocateCache, of no size',
    'LLM_PARAM_INVALID',
    ({ dist }) => dist.kvCacheManager.allocateCache({ ...DESC, numTensors: 0 }),
  ],
  [
    'deallocateCache, twice',
    'LLM_PARAM_INVALID',
    async ({ dist, other }) => {
      await dist.kvCacheManager.deallocateCache(other);
      await dist.kvCacheManager.deallocateCache(other);
    },
  ],
  ['pullCache', 'LLM_NOT_YET_LINK', ({ dist, cache }) => dist.kvCacheManager.pullCache(NOWHERE, cache)],
  ['pullBlocks', 'LLM_NOT_YET_LINK', ({ dist, cache }) => dist.kvCacheManager.pullBlocks(NOWHERE, cache, [0], [0])],
  [
    'pullBlocks, by a guard',
    'LLM_PARAM_INVALID',
    ({ dist, cache, remote }) => dist.kvCacheManager.pullBlocks(remote.key(), cache, [0], [99]),
  ],
  [
    'pullBlocks, behind an unlink',
    'LLM_NOT_YET_LINK',
    async ({ dist, cache, remote }) => {
      const unlinked = dist.unlinkClusters([PROMPT_CLUSTER]);
      await Promise.all([unlinked, dist.kvCacheManager.pullBlocks(remote.key(), cache, [0], [0])]);
    },
  ],
  ['pushCache', 'LLM_NOT_YET_LINK', ({ dist, cache }) => dist.kvCacheManager.pushCache(NOWHERE, cache)],
  ['pushBlocks', 'LLM_NOT_YET_LINK', ({ dist, cache }) => dist.kvCacheManager.pushBlocks(NOWHERE, cache, [0], [0])],
  [
    'copyCache',
    'LLM_PARAM_INVALID',
    ({ dist, cache, other }) => dist.kvCacheManager.copyCache(other, cache, { srcBatchIndex: 9 }),
  ],
  ['copyBlocks', 'LLM_PARAM_INVALID', ({ dist, cache }) => dist.kvCacheManager.copyBlocks(cache, new Map([[9, [0]]]))],
  [
    'swapBlocks',
    'LLM_PARAM_INVALID',
    ({ dist, cache, other }) => dist.kvCacheManager.swapBlocks(cache, other, new Map([[0, 0]])),
  ],
  ['write, past the end', 'ERR_OUT_OF_RANGE', ({ region }) => region.write(new Uint8Array(65))],
  ['read, past the end', 'ERR_OUT_OF_RANGE', ({ region }) => region.read(65)],
  [
    'free, twice',
    'LLM_PARAM_INVALID',
    async ({ region }) => {
      await region.free();
      await region.free();
    },
  ],
  [
    'free, by a guard',
    'LLM_PARAM_INVALID',
    ({ cache }) => cache.regions?.[0]?.free() ?? Promise.reject(new Error('no region')),
  ],
  [
    'a call while finalize runs',
    'LLM_FAILED',
    async ({ dist }) => {
      const end = dist.finalize();
      const refused = dist.allocateMemory(8);
      await Promise.allSettled([end, refused]);
      return refused;
    },
  ],
];

/** Transfers, and what makes its call after another one. */
const NOT_UNAWAITED = /^(pull|push)|twice|behind|while finalize runs/;

describe('the stack of a control call or a copy that fails names the caller, who does not await it', () => {
  test.each(FAILURES.filter(([what]) => !NOT_UNAWAITED.test(what)))(
    '%s',
    async (_what, code, call) => {
      for (const way of UNAWAITED_WAYS) {
        const things = await all();
        const caught = await way(() => call(things));
        expect(caught.error).toMatchObject({ code });
        expectCaller(caught);
        await things.dist[Symbol.asyncDispose]();
      }
    },
    30_000,
  );
});

describe('the stack of a rejection names the caller', () => {
  test.each(FAILURES)(
    '%s',
    async (_what, code, call) => {
      for (const way of WAYS) {
        const things = await all();
        const caught = await way(() => call(things));
        expect(caught.error).toMatchObject({ code });
        expectCaller(caught);
        await things.dist[Symbol.asyncDispose]();
      }
    },
    30_000,
  );

  test('when the application shows fewer frames than the package has', async () => {
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 2;
    try {
      const things = await all();
      expectCaller(await byAwait(() => things.dist.linkClusters([NOBODY])));
      expect(Error.stackTraceLimit).toBe(2);
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  });
});

describe('the error of a backend of the user', () => {
  const failing = (error: Error) => {
    const backend = { ...foreign(), allocateCache: () => Promise.reject(error) };
    backend.linkLlmClusters = () => Promise.reject(error);
    return backend;
  };
  function foreign() {
    const done = () => Promise.resolve() as Promise<never>;
    return {
      name: 'mine',
      initialize: done,
      finalize: done,
      setRole: done,
      linkLlmClusters: done,
      unlinkLlmClusters: done,
      allocateCache: done,
      deallocateCache: done,
      copyKvCache: done,
      copyKvBlocks: done,
      registerKvCache: done,
      unregisterKvCache: done,
      pullKvCache: done,
      pullKvBlocks: done,
      pushKvCache: done,
      pushKvBlocks: done,
      malloc: done,
      free: done,
      write: done,
      read: done,
    };
  }

  test.each([
    ['an exception', new LLMException(1, { operation: 'linkClusters' })],
    ['an error', new Error('mine')],
  ])('passes as it is: %s', async (_what, error) => {
    const { stack } = error;
    const dist = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: failing(error) }));
    await dist.init({ deviceId: 0 });
    expect((await byCatch(() => dist.linkClusters([NOBODY]))).error).toBe(error);
    expect(error.stack).toBe(stack);
  });

  test('names the caller where it is made on the way of the call', async () => {
    const backend = foreign();
    backend.linkLlmClusters = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      throw new LLMException(1, { operation: 'linkClusters' });
    };
    const dist = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend }));
    await dist.init({ deviceId: 0 });
    const caught = await byAwait(() => dist.linkClusters([NOBODY]));
    expect((caught.error as Error).stack).toMatch(/linkLlmClusters/);
    expectCaller(caught);
  });
});

describe('an error that two calls wait for', () => {
  test('is one for each of them, with the stack of each', async () => {
    const backend = new MockBackend(PROMPT_ID, LLMRole.PROMPT, { fabric: new Fabric() });
    const failure = new LLMException(1, { operation: 'finalize', cause: 'x' });
    const dist = track(new LLMDataDist(LLMRole.PROMPT, PROMPT_ID, { backend }));
    await dist.init({ deviceId: 0 });
    const end = jest.spyOn(backend, 'finalize').mockImplementation(() => Promise.reject(failure));
    const [one, other] = await Promise.all([byAwait(() => dist.finalize()), byCatch(() => dist.finalize())]);
    end.mockRestore();
    expect(one.error).not.toBe(other.error);
    expect(other.error).toMatchObject({ message: failure.message, cause: 'x' });
    expectCaller(one);
    expectCaller(other);
  });
});
