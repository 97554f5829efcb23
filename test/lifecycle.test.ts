import { LLMException, LLMRole } from '../lib';
import { METHODS } from './bad-input/methods';
import type { Method } from './bad-input/methods';
import { linkedNodes } from './bad-input/nodes';
import type { Nodes } from './bad-input/nodes';
import { expectQuietProcess } from './bad-input/quiet-process';
import { closedGate, expectFailed, fresh, NO_DEVICE, OPTIONS } from './bad-input/states';
import { bytesOf, DECODER_PORT, DESC, PROMPT_CLUSTER, rejection } from './fixtures/cluster';
import { warningsDuring } from './fixtures/warnings';

expectQuietProcess();

/** Memory and caches come from an instance that is initialised, and have no method to call before. */
const OF_MEMORY = ['read', 'write', 'readBlocks', 'writeBlocks'];
const OF_INSTANCE = METHODS.filter(({ name }) => name !== 'init' && !OF_MEMORY.includes(name));

async function call(method: Method, nodes: Nodes): Promise<unknown> {
  const outcome = method.call(nodes, Object.values(method.args(nodes)));
  // Not thrown at the caller, whatever the state.
  expect(outcome).toBeInstanceOf(Promise);
  return rejection(outcome as Promise<unknown>);
}

describe.each(OF_INSTANCE.map((method) => [method.name, method] as const))('%s', (name, method) => {
  test.each([true, false])(
    'rejects before init, and between a failed init and the next (guards: %s)',
    async (guards) => {
      const { dist, backend, calls } = fresh({ guards, requireLayout: true });
      const nodes = { ...(await linkedNodes()), decoder: { dist, backend } };
      expectFailed(await call(method, nodes), name, /not initialised/);
      expect(await rejection(dist.init(NO_DEVICE))).toMatchObject({ code: 'LLM_FAILED', operation: 'init' });
      expectFailed(await call(method, nodes), name, /not initialised/);
      expect(calls).toEqual(['initialize']);
      await dist.init(OPTIONS);
      expect(dist.isInitialized).toBe(true);
    },
  );

  test('rejects while init is under way', async () => {
    const { dist, backend, calls } = fresh();
    const nodes = { ...(await linkedNodes()), decoder: { dist, backend } };
    const initialised = dist.init(OPTIONS);
    const error = call(method, nodes);
    expect(dist.isInitialized).toBe(false);
    expectFailed(await error, name, /not initialised/);
    await initialised;
    expect(calls).toEqual(['initialize']);
  });

  test.each([true, false])('rejects as soon as finalize is called, and after it (guards: %s)', async (guards) => {
    const nodes = await linkedNodes({ guards, requireLayout: true });
    const { dist } = nodes.decoder;
    expect(
      await warningsDuring(async () => {
        const finalized = dist.finalize();
        expectFailed(await call(method, nodes), name, /being finalized/);
        await finalized;
      }),
    ).toEqual(['LLMDataDistMemoryWarning']);
    expect(dist.isInitialized).toBe(false);
    expectFailed(await call(method, nodes), name, /not initialised/);
    expect(nodes.calls.filter((made) => made !== 'decoder.free')).toEqual(['decoder.finalize']);
    expect(dist.role).toBe(LLMRole.DECODER);
  });
});

describe('after finalize and another init', () => {
  async function relived() {
    const nodes = await linkedNodes();
    const { dist } = nodes.decoder;
    await warningsDuring(() => dist.finalize());
    await dist.init(OPTIONS);
    const present = await dist.kvCacheManager.allocateCache(DESC);
    // Ids start again, so that a handle of the earlier life names this one.
    expect(present.cacheId).toBe(nodes.cache.cacheId);
    await dist.linkClusters([PROMPT_CLUSTER]);
    return { ...nodes, present };
  }

  test('handles of the earlier life are refused wherever they are used', async () => {
    const { decoder, promptCache, cache: old, hostCache, present, calls } = await relived();
    const { kvCacheManager: caches } = decoder.dist;
    const key = promptCache.key();
    const before = await bytesOf(present);
    calls.length = 0;
    const uses: [string, () => Promise<unknown>][] = [
      ['unregisterCache', () => caches.unregisterCache(old)],
      ['deallocateCache', () => caches.deallocateCache(old)],
      ['pullCache', () => caches.pullCache(key, old)],
      ['pullBlocks', () => caches.pullBlocks(key, old, [0], [0])],
      ['pushCache', () => caches.pushCache(key, old)],
      ['pushBlocks', () => caches.pushBlocks(key, old, [0], [0])],
      ['copyCache', () => caches.copyCache(old, present)],
      ['copyCache', () => caches.copyCache(present, old)],
      ['copyBlocks', () => caches.copyBlocks(old, new Map([[0, [1]]]))],
      ['swapBlocks', () => caches.swapBlocks(hostCache, present, new Map([[0, 0]]))],
      ['swapBlocks', () => caches.swapBlocks(present, hostCache, new Map([[0, 0]]))],
      ['readBlocks', () => old.readBlocks([0])],
      ['writeBlocks', () => old.writeBlocks([], new Uint8Array(0))],
    ];
    for (const [operation, use] of uses) {
      const error = await rejection(use());
      expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation });
      expect((error as LLMException).remedy).toContain('own-cache');
    }
    expect(calls).toEqual([]);
    expect(await bytesOf(present)).toEqual(before);
  });

  test('memory of the earlier life stays freed', async () => {
    const { region, cache, calls } = await relived();
    calls.length = 0;
    for (const each of [region, ...(cache.regions ?? [])]) {
      for (const [operation, use] of [
        ['read', () => each.read()],
        ['write', () => each.write(new Uint8Array(8))],
        ['free', () => each.free()],
      ] as const) {
        const error = await rejection(use());
        expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation });
        expect((error as LLMException).message).toContain('was freed');
      }
      // Leaving the block in which it was made is no mistake.
      await each[Symbol.asyncDispose]();
    }
    expect(calls).toEqual([]);
  });

  test('what a handle says of itself still stands', async () => {
    const { cache } = await relived();
    expect(cache.key(1)).toMatchObject({ clusterId: 2n, cacheId: 1n, batchIndex: 1 });
    expect(cache.tensorAddrs).toHaveLength(4);
  });
});

describe('init', () => {
  test('a second time succeeds and changes nothing, whatever its options', async () => {
    const { dist, fabric } = fresh();
    await dist.init(OPTIONS);
    await dist.init({ deviceId: 5, listenIpInfo: '127.0.0.1:31000' });
    await dist.init({ 'llm.DeviceId': 'none', 'llm.SyncKvCacheWaitTime': '0' });
    expect(fabric.connect('127.0.0.1', DECODER_PORT).kind).toBe('accepted');
    expect(fabric.connect('127.0.0.1', 31_000).kind).toBe('refused');
  });

  test('twice at the same time succeeds twice, and one finalize ends it', async () => {
    const { dist, calls } = fresh();
    await Promise.all([dist.init(OPTIONS), dist.init(OPTIONS)]);
    await dist.finalize();
    expect(dist.isInitialized).toBe(false);
    expect(calls).toEqual(['initialize', 'initialize', 'finalize']);
  });

  test('that fails does not stop the next one, which was called at the same time', async () => {
    const { dist } = fresh();
    const outcomes = await Promise.allSettled([dist.init(NO_DEVICE), dist.init(OPTIONS)]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
    expect(dist.isInitialized).toBe(true);
  });

  test('that the library refuses can be tried any number of times', async () => {
    const { dist, fabric } = fresh();
    for (let i = 0; i < 3; i++) {
      const error = await rejection(dist.init({ ...OPTIONS, transferBackend: 'none' }));
      expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'init' });
      expect(dist.isInitialized).toBe(false);
      expect(fabric.connect('127.0.0.1', DECODER_PORT).kind).toBe('refused');
    }
    await dist.init(OPTIONS);
  });

  test('while finalize is under way comes after it', async () => {
    const { dist, calls } = fresh();
    await dist.init(OPTIONS);
    await Promise.all([dist.finalize(), dist.init(OPTIONS)]);
    expect(dist.isInitialized).toBe(true);
    expect(calls).toEqual(['initialize', 'finalize', 'initialize']);
  });

  test('while finalize is under way has its options guarded as ever', async () => {
    const { dist, calls, fabric } = fresh();
    await dist.init(OPTIONS);
    const finalized = dist.finalize();
    const error = await rejection(dist.init({ ...OPTIONS, 'llm.SyncKvCacheWaitTime': '99999999999' }));
    await finalized;
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'init' });
    expect((error as LLMException).remedy).toContain('wait-time');
    expect(calls).toEqual(['initialize', 'finalize']);
    // The library would keep the port.
    expect(fabric.connect('127.0.0.1', DECODER_PORT).kind).toBe('refused');
  });

  test('behind an init that fails has its options guarded as ever', async () => {
    const { dist, calls } = fresh();
    const failed = rejection(dist.init(NO_DEVICE));
    const error = await rejection(dist.init({ ...OPTIONS, listenIpInfo: '127.0.0.1:65536' }));
    expect(await failed).toMatchObject({ code: 'LLM_FAILED' });
    expect((error as LLMException).remedy).toContain('listen-port');
    expect(calls).toEqual(['initialize']);
  });
});

describe('finalize', () => {
  test('before init does nothing, and afterwards once is enough', async () => {
    const { dist, calls } = fresh();
    await dist.finalize();
    await Promise.all([dist.finalize(), dist.finalize()]);
    expect(calls).toEqual([]);
    await dist.init(OPTIONS);
    await Promise.all([dist.finalize(), dist.finalize(), dist[Symbol.asyncDispose]()]);
    await dist.finalize();
    expect(calls).toEqual(['initialize', 'finalize']);
  });

  test('after an init that failed does nothing', async () => {
    const { dist, calls } = fresh();
    await rejection(dist.init(NO_DEVICE));
    await dist.finalize();
    expect(calls).toEqual(['initialize']);
  });

  test('while init is under way comes after it, and refuses what is called meanwhile', async () => {
    const { dist, calls, fabric } = fresh();
    const initialised = dist.init(OPTIONS);
    const finalized = dist.finalize();
    const refused = rejection(dist.allocateMemory(64));
    await initialised;
    expectFailed(await refused, 'allocateMemory', /being finalized/);
    await finalized;
    expect(dist.isInitialized).toBe(false);
    expect(calls).toEqual(['initialize', 'finalize']);
    expect(fabric.connect('127.0.0.1', DECODER_PORT).kind).toBe('refused');
  });

  test('while an init is under way that fails does nothing, and leaves an instance that works', async () => {
    const { dist, calls } = fresh();
    const failed = rejection(dist.init(NO_DEVICE));
    await dist.finalize();
    expect(await failed).toMatchObject({ code: 'LLM_FAILED' });
    expect(calls).toEqual(['initialize']);
    await dist.init(OPTIONS);
    await (await dist.allocateMemory(64)).free();
  });

  test('has the last word when it is called last', async () => {
    const { dist, calls } = fresh();
    await dist.init(OPTIONS);
    const all = [dist.finalize(), dist.init(OPTIONS), dist.finalize()];
    const refused = rejection(dist.allocateMemory(64));
    await Promise.all(all);
    expectFailed(await refused, 'allocateMemory', /being finalized/);
    expect(dist.isInitialized).toBe(false);
    expect(calls).toEqual(['initialize', 'finalize', 'initialize', 'finalize']);
    await dist.init(OPTIONS);
    await (await dist.allocateMemory(64)).free();
  });

  test('that the backend fails is told, and init works again', async () => {
    const { dist, backend } = fresh();
    await dist.init(OPTIONS);
    const problem = new LLMException(507_899, { operation: 'finalize' });
    const failing = jest.spyOn(backend, 'finalize').mockRejectedValueOnce(problem);
    expect(await rejection(dist.finalize())).toBe(problem);
    failing.mockRestore();
    expect(dist.isInitialized).toBe(false);
    await dist.init(OPTIONS);
    expect(dist.isInitialized).toBe(true);
  });
});

describe('switchRole', () => {
  test('several at the same time go one after the other', async () => {
    const { dist, backend, calls } = fresh();
    await dist.init(OPTIONS);
    const gate = closedGate(backend, 'setRole');
    const switches = [LLMRole.PROMPT, LLMRole.MIX].map((role) => dist.switchRole(role));
    expect(dist.role).toBe(LLMRole.DECODER);
    gate.open();
    await switches[0];
    expect(dist.role).toBe(LLMRole.PROMPT);
    await switches[1];
    expect(dist.role).toBe(LLMRole.MIX);
    expect(calls).toEqual(['initialize', 'setRole', 'setRole']);
  });

  test('that fails leaves the role as it was', async () => {
    const { dist } = fresh();
    await dist.init(OPTIONS);
    expect(await rejection(dist.switchRole(9 as LLMRole))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    expect(dist.role).toBe(LLMRole.DECODER);
  });
});

describe('the end of a block', () => {
  test('frees memory and finalizes the instance, in this order', async () => {
    const { dist: outer, calls, fabric } = fresh();
    {
      await using dist = outer;
      await dist.init(OPTIONS);
      await using region = await dist.allocateMemory(64);
      await region.write(Uint8Array.of(1));
    }
    expect(outer.isInitialized).toBe(false);
    expect(calls).toEqual(['initialize', 'malloc', 'write', 'free', 'finalize']);
    expect(fabric.connect('127.0.0.1', DECODER_PORT).kind).toBe('refused');
  });

  test('does nothing to memory that was freed and an instance that was finalized', async () => {
    const { dist: outer, calls } = fresh();
    {
      await using dist = outer;
      await dist.init(OPTIONS);
      await using region = await dist.allocateMemory(64);
      await region.free();
      await dist.finalize();
    }
    expect(calls).toEqual(['initialize', 'malloc', 'free', 'finalize']);
  });
});

test('memory is freed once, however often that is asked at the same time', async () => {
  const { dist, calls } = fresh();
  await dist.init(OPTIONS);
  const region = await dist.allocateMemory(64);
  const outcomes = await Promise.allSettled([region.free(), region.free(), region[Symbol.asyncDispose]()]);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(await rejection(region.free())).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'free' });
  expect(calls).toEqual(['initialize', 'malloc', 'free']);
});
