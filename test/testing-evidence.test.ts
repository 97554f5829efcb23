import { inspect } from 'node:util';
import { LLMRole } from '../lib';
import { createFabric, ManualClock, RealClock, VirtualClock } from '../lib/testing';
import type { FabricOptions } from '../lib/testing';
import { DESC, rejection } from './fixtures/cluster';
import { clusterOf, linked, make, newFabric, pass, start } from './fixtures/fabric';
import type { Linked } from './fixtures/fabric';
import { warningTextsDuring } from './fixtures/warnings';

const pull = ({ decoder, promptCache, decoderCache }: Linked, src = [0, 1], dst = [2, 3]) =>
  decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, src, dst);

describe('the history', () => {
  test('has every call with its arguments, result, bytes and time', async () => {
    const all = await linked();
    await pass(all.fabric, 25);
    await pull(all);
    expect(all.fabric.history.at(-1)).toEqual({
      number: all.fabric.history.length,
      node: 2n,
      op: 'pullBlocks',
      args: {
        localCacheId: 1n,
        srcBlocks: [0, 1],
        dstBlocks: [2, 3],
        srcLayerRange: [-1, -1],
        dstLayerRange: [-1, -1],
        tensorNumPerLayer: 2,
      },
      peer: 1n,
      cacheId: 1n,
      state: 'succeeded',
      status: 0,
      code: 'LLM_SUCCESS',
      message: undefined,
      results: undefined,
      bytes: 2 * 4 * 64,
      startMs: 25,
      durationMs: 0,
      faults: [],
    });
    expect(all.fabric.history.map(({ number }) => number)).toEqual(all.fabric.history.map((_, i) => i + 1));
  });

  test('has the other transfers and control calls in plain form', async () => {
    const { fabric, decoder, promptCache, decoderCache } = await linked({ recordMemory: true });
    const range = { srcLayerRange: [0, 1], dstLayerRange: [0, 1] } as const;
    await decoder.kvCacheManager.pullCache(promptCache.key(1), decoderCache, 2, { ...range, size: 16 });
    await decoder.kvCacheManager.pushBlocks(
      promptCache.key(),
      decoderCache,
      new BigUint64Array(20),
      Array<number>(20).fill(1),
    );
    const [cache, blocks] = fabric.history.slice(-2);
    expect(cache).toMatchObject({
      args: { ...range, srcBatchIndex: 1, dstBatchIndex: 2, size: 16n, tensorNumPerLayer: 2, localCacheId: 1n },
      bytes: 64,
    });
    expect(blocks?.args).toMatchObject({ srcBlocks: Array(20).fill(0), dstBlocks: Array(20).fill(1) });
    const byOp = new Map(fabric.history.map((record) => [record.op, record]));
    expect(byOp.get('init')?.args).toMatchObject({ options: { 'llm.ListenIpInfo': '10.0.0.2:27000' } });
    expect(byOp.get('registerCache')).toMatchObject({ cacheId: 1n, args: { desc: { numTensors: 4 } } });
    expect(byOp.get('allocateMemory')?.args).toEqual({ byteLength: 256n, placement: 1 });
    expect(byOp.get('write')).toMatchObject({ bytes: 256, args: { byteLength: 256 } });
    expect(byOp.get('linkClusters')).toMatchObject({
      peer: 1n,
      args: { clusters: [{ remoteClusterId: 1n }], timeoutMs: 3000 },
    });
  });

  test('has failures, what they said, and the faults that hit', async () => {
    const { fabric, prompt, decoder, promptCache, decoderCache } = await linked();
    fabric.inject({ op: 'pullCache', peer: prompt, status: 77, times: 1 });
    await rejection(decoder.kvCacheManager.pullCache(promptCache.key(), decoderCache));
    expect(fabric.history.at(-1)).toMatchObject({
      state: 'failed',
      status: 77,
      code: 'LLM_UNKNOWN_STATUS',
      bytes: 0,
      faults: [{ op: ['pullCache'], peer: 1n, status: 77, times: 1 }],
    });
    fabric.inject({ op: 'pullCache', throwError: new Error('a bug') });
    await rejection(decoder.kvCacheManager.pullCache(promptCache.key(), decoderCache));
    expect(fabric.history.at(-1)).toMatchObject({ state: 'failed', status: undefined, message: 'a bug' });
    await rejection(decoder.linkClusters([clusterOf(1n), clusterOf(5n)]));
    expect(fabric.history.at(-1)).toMatchObject({
      peer: undefined,
      results: [{ code: 'LLM_ALREADY_LINK' }, { code: 'LLM_LINK_FAILED' }],
    });
  });

  test('has calls in flight, in their place', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pullBlocks', hang: true, hold: 'call', times: 1 });
    void pull(all).catch(() => undefined);
    await pull(all);
    expect(all.fabric.history.slice(-2)).toMatchObject([
      { op: 'pullBlocks', state: 'in flight', durationMs: undefined, status: undefined, args: { srcBlocks: [0, 1] } },
      { op: 'pullBlocks', state: 'succeeded' },
    ]);
  });

  test.each([0, 1, 10, 3000])('keeps the last %d calls', async (history) => {
    const all = await linked({ history });
    for (let i = 0; i < 2500; i++) await pull(all, [i % 4], [0]);
    const records = all.fabric.history;
    const made = 2500 + 13;
    expect(records).toHaveLength(Math.min(history, made));
    if (history > 0) expect(records.at(-1)).toMatchObject({ number: made, args: { srcBlocks: [2499 % 4] } });
  });

  test('keeps fewer calls of very long lists', async () => {
    const all = await linked({}, {}, { ...DESC, numTensors: 1, shape: [100_000, 1] });
    const list = Array.from({ length: 100_000 }, (_, i) => i);
    for (let i = 0; i < 1100; i++) await pull(all, i < 40 ? list : [1], i < 40 ? list : [2]);
    const { history } = all.fabric;
    expect(history[0]?.number).toBe(1025);
    expect(history.at(-1)?.args).toMatchObject({ srcBlocks: [1], dstBlocks: [2] });
  });
});

describe('assertNoPendingFaults', () => {
  test('names faults that have not hit, or not often enough', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pullBlocks', peer: 1n, skip: 3, times: 2, status: 'LLM_TIMEOUT' });
    all.fabric.inject({ op: ['pushCache', 'pushBlocks'], node: 2n, cacheId: 4, delayMs: 5, status: 0x77 });
    all.fabric.inject({ op: 'read', corrupt: 4 });
    all.fabric.inject({ op: 'init', hang: true, times: 1 });
    all.fabric.inject({ op: 'pullCache', partialLayers: 2, throwError: new TypeError() });
    const done = all.fabric.inject({ op: 'pullBlocks', delayMs: 0 });
    await pull(all);
    expect(done.hits).toBe(1);
    expect(() => {
      all.fabric.assertNoPendingFaults();
    }).toThrow(
      new Error(
        [
          'faults of the fabric that have not hit as often as they should:',
          '  pullBlocks with cluster 1 after 3 calls 2 times -> LLM_TIMEOUT: 0 of 2 hits, 2 calls still to let pass',
          '  pushCache/pushBlocks of cluster 2 on cache 4 -> 5 ms, 0x77: 0 hits',
          '  read -> 4 bytes corrupt: 0 hits',
          '  init 1 time -> hangs: 0 of 1 hits',
          '  pullCache -> 2 layers, throws TypeError: 0 hits',
        ].join('\n'),
      ),
    );
  });

  test('is content when all have hit or were removed', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pullBlocks', times: 1, status: 'LLM_TIMEOUT' });
    const unused = all.fabric.inject({ op: 'init', status: 'LLM_TIMEOUT' });
    await rejection(pull(all));
    unused.remove();
    all.fabric.assertNoPendingFaults();
  });
});

describe('assertIdle', () => {
  test('names what is left, node by node', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pullBlocks', hang: true });
    void pull(all).catch(() => undefined);
    all.fabric.kill(1n);
    const { message } = (await rejection(
      Promise.resolve().then(() => {
        all.fabric.assertIdle();
      }),
    )) as Error;
    expect(message.replaceAll(/0x[0-9a-f]+/g, 'ADDRESS')).toBe(
      [
        'the fabric is not idle:',
        '  cluster 2 (initialised, 10.0.0.2:27000)',
        '    in flight: call 14 pullBlocks with cluster 1 on cache 1 since 0 ms (hit by a fault)',
        '    linked: to cluster 1 (which is gone or out of reach)',
        '    registered: cache 1 (4 tensors)',
        '    allocated (1024 bytes): ADDRESS (256 bytes), ADDRESS (256 bytes), ADDRESS (256 bytes), ADDRESS (256 bytes)',
      ].join('\n'),
    );
  });

  test('is content when all is ended', async () => {
    const { fabric, prompt, promptCache, decoder, decoderCache } = await linked();
    await decoder.unlinkClusters([clusterOf(1n)]);
    await prompt.kvCacheManager.deallocateCache(promptCache);
    await decoder.kvCacheManager.deallocateCache(decoderCache);
    await prompt.finalize();
    await decoder.finalize();
    fabric.assertIdle();
  });
});

describe('strict mode', () => {
  test.each(['linker', 'linked'])('refuses to register on the %s side of a link', async (side) => {
    const { decoder, prompt } = await linked();
    const node = side === 'linker' ? decoder : prompt;
    const error = await rejection(node.kvCacheManager.allocateCache(DESC));
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', recovery: 'fix-input' });
    expect(String(error)).toContain(
      `links to cluster ${side === 'linker' ? 1 : 2} exist. Rule register-before-link: all caches are registered before`,
    );
  });

  test('refuses more than 240 addresses in all caches together', async () => {
    const dist = await start(newFabric(), 1n);
    await dist.kvCacheManager.allocateCache({ ...DESC, numTensors: 200 });
    await dist.kvCacheManager.allocateCache({ ...DESC, numTensors: 40 });
    const error = await rejection(dist.kvCacheManager.allocateCache({ ...DESC, numTensors: 1 }));
    expect(String(error)).toContain('the instance would have 241 addresses. Rule address-count');
  });

  test('tells of a finalize while a peer transfers, and ends the instance all the same', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pullBlocks', delayMs: 5 });
    const pulled = rejection(pull(all));
    await all.prompt.kvCacheManager.deallocateCache(all.promptCache);
    const error = await rejection(all.prompt.finalize());
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'finalize' });
    expect(String(error)).toContain(
      'cluster 1 is finalized during a pullBlocks of cluster 2. The instance has ended all the same, as a process does: let its ' +
        'peers end their transfers and unlink first. Rule finalize-alone',
    );
    expect(all.prompt.isInitialized).toBe(false);
    await all.prompt.finalize();
    await pass(all.fabric, 5);
    expect(await pulled).toMatchObject({ code: 'LLM_FAILED' });
    expect(all.fabric.topology().nodes[0]).toMatchObject({ state: 'made', address: undefined });
  });

  test('frees the memory of an instance whose finalize is refused, and warns of it', async () => {
    const all = await linked();
    const region = await all.prompt.allocateMemory(64);
    all.fabric.inject({ op: 'pullBlocks', delayMs: 5 });
    const pulled = rejection(pull(all));
    const texts = await warningTextsDuring(async () => {
      expect(await rejection(all.prompt.finalize())).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    });
    expect(texts).toEqual([expect.stringMatching(/finalize\(\) of cluster 1 freed \d+ memory regions/)]);
    expect(inspect(region)).toContain("'freed'");
    await pass(all.fabric, 5);
    expect(await pulled).toMatchObject({ code: 'LLM_FAILED' });
  });

  test('refuses a role switch that the library does not refuse itself', async () => {
    const { fabric, prompt, decoder } = await linked();
    expect(await rejection(decoder.switchRole(LLMRole.PROMPT))).toMatchObject({ code: 'LLM_EXIST_LINK' });
    await decoder.unlinkClusters([clusterOf(1n)], { force: true });
    const error = await rejection(decoder.switchRole(LLMRole.PROMPT));
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', recovery: 'fix-input' });
    expect(String(error)).toContain('links to cluster 1 exist. Rule switch-unlinked');
    await prompt.unlinkClusters([clusterOf(2n)], { force: true });
    await decoder.switchRole(LLMRole.PROMPT);
    expect(fabric.topology().nodes[1]).toMatchObject({ role: LLMRole.PROMPT });
  });

  test('false does as the library does', async () => {
    const all = await linked({ strict: false });
    const late = await all.prompt.kvCacheManager.allocateCache({ ...DESC, numTensors: 241 });
    expect(late.cacheId).toBe(2n);
    all.fabric.inject({ op: 'pullBlocks', delayMs: 5 });
    const pulled = rejection(pull(all));
    await all.prompt.kvCacheManager.deallocateCache(late);
    await all.prompt.kvCacheManager.deallocateCache(all.promptCache);
    await all.prompt.finalize();
    await pass(all.fabric, 5);
    expect(await pulled).toMatchObject({ code: 'LLM_FAILED' });
  });
});

describe('the options of a fabric', () => {
  test('choose the clock', () => {
    expect(createFabric().clock).toBeInstanceOf(ManualClock);
    expect(createFabric({ clock: 'manual' }).clock).toBeInstanceOf(ManualClock);
    expect(createFabric({ clock: 'real' }).clock).toBeInstanceOf(RealClock);
    expect(createFabric({ clock: 'instant' }).clock).toBeInstanceOf(VirtualClock);
    const clock = { now: () => 5, sleep: () => Promise.resolve() };
    expect(createFabric({ clock }).clock).toBe(clock);
  });

  test('an instant clock waits for nothing', async () => {
    const fabric = newFabric({ clock: 'instant' });
    const dist = await start(fabric, 1n);
    fabric.isolate(1n);
    expect(await rejection(dist.linkClusters([clusterOf(2n)], { timeout: 60_000 }))).toMatchObject({
      code: 'LLM_TIMEOUT',
    });
    expect(fabric.clock.now()).toBe(60_000);
  });

  test.each<[unknown, string]>([
    [null, 'ERR_INVALID_ARG_TYPE'],
    [{ clock: 'slow' }, 'ERR_OUT_OF_RANGE'],
    [{ clock: 3 }, 'ERR_INVALID_ARG_TYPE'],
    [{ clock: { now: () => 0 } }, 'ERR_INVALID_ARG_TYPE'],
    [{ strict: 1 }, 'ERR_INVALID_ARG_TYPE'],
    [{ seed: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ seed: 'x' }, 'ERR_INVALID_ARG_TYPE'],
    [{ history: 1.5 }, 'ERR_OUT_OF_RANGE'],
  ])('%p is refused', (options, code) => {
    expect(() => createFabric(options as FabricOptions)).toThrow(expect.objectContaining({ code }) as Error);
  });

  test('a node that is not initialised is no trouble', () => {
    const fabric = newFabric();
    make(fabric, 4n);
    fabric.assertIdle();
    fabric.assertNoPendingFaults();
    expect(fabric.history).toEqual([]);
  });
});
