import { getEventListeners } from 'node:events';
import { LLMException, LLMRole, LLMStatusCode, Placement } from '../lib';
import type { CallOptions, KvCache } from '../lib';
import { DESC, linkedPair, PROMPT_CLUSTER } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import { rejection } from './fixtures/cluster';
import { warningTextsDuring } from './fixtures/warnings';

type Pair = Awaited<ReturnType<typeof linkedPair>>;
type Method = Parameters<typeof hold>[1];

const MAP = new Map([[0, [1]]]);
const VALUE = new Uint8Array(4);

/** Every asynchronous method: the one of the backend that it runs in, and the call. */
const METHODS: readonly (readonly [string, Method, (nodes: Pair, call: CallOptions) => Promise<unknown>])[] = [
  ['init', 'initialize', ({ decoder }, call) => decoder.dist.init({ deviceId: 0 }, call)],
  ['finalize', 'finalize', ({ decoder }, call) => decoder.dist.finalize(call)],
  ['switchRole', 'setRole', ({ decoder }, call) => decoder.dist.switchRole(LLMRole.PROMPT, {}, call)],
  ['allocateMemory', 'malloc', ({ decoder }, call) => decoder.dist.allocateMemory(64, call)],
  [
    'registerCache',
    'registerKvCache',
    ({ decoder }, call) => decoder.dist.kvCacheManager.registerCache(DESC, [4096n, 8192n, 12288n, 16384n], call),
  ],
  [
    'unregisterCache',
    'unregisterUnlinked',
    ({ prompt, promptCache }, call) => prompt.dist.kvCacheManager.unregisterCache(promptCache, call),
  ],
  ['allocateCache', 'malloc', ({ decoder }, call) => decoder.dist.kvCacheManager.allocateCache(DESC, call)],
  [
    'deallocateCache',
    'deallocateCache',
    ({ decoder, decoderCache }, call) => decoder.dist.kvCacheManager.deallocateCache(decoderCache, call),
  ],
  ...(['pullCache', 'pushCache'] as const).map(
    (name) =>
      [
        name,
        name === 'pullCache' ? 'pullKvCache' : 'pushKvCache',
        ({ decoder, promptCache, decoderCache }: Pair, call: CallOptions) =>
          decoder.dist.kvCacheManager[name](promptCache.key(), decoderCache, 0, call),
      ] as const,
  ),
  ...(['pullBlocks', 'pushBlocks'] as const).map(
    (name) =>
      [
        name,
        name === 'pullBlocks' ? 'pullKvBlocks' : 'pushKvBlocks',
        ({ decoder, promptCache, decoderCache }: Pair, call: CallOptions) =>
          decoder.dist.kvCacheManager[name](promptCache.key(), decoderCache, [0], [1], call),
      ] as const,
  ),
  [
    'copyCache',
    'copyKvCache',
    ({ decoder, decoderCache }, call) =>
      decoder.dist.kvCacheManager.copyCache(decoderCache, decoderCache, { dstBatchIndex: 1, ...call }),
  ],
  [
    'copyBlocks',
    'copyKvBlocks',
    ({ decoder, decoderCache }, call) => decoder.dist.kvCacheManager.copyBlocks(decoderCache, MAP, call),
  ],
  ['readBlocks', 'readRanges', ({ decoderCache }, call) => decoderCache.readBlocks([0], call)],
  ['writeBlocks', 'writeRanges', ({ decoderCache }, call) => decoderCache.writeBlocks([0], new Uint8Array(256), call)],
  ['read', 'read', ({ decoderCache }, call) => regionOf(decoderCache).read(0, 4, call)],
  ['write', 'write', ({ decoderCache }, call) => regionOf(decoderCache).write(VALUE, 0, call)],
];
const LINKING: typeof METHODS = [
  ['linkClusters', 'linkLlmClusters', ({ decoder }, call) => decoder.dist.linkClusters([PROMPT_CLUSTER], call)],
  ['unlinkClusters', 'unlinkLlmClusters', ({ decoder }, call) => decoder.dist.unlinkClusters([PROMPT_CLUSTER], call)],
];

function regionOf(cache: KvCache) {
  const [region] = cache.regions ?? [];
  if (region === undefined) throw new Error('the cache has no regions');
  return region;
}

/** Whether a promise has settled by the end of this turn. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol('pending');
  const next = new Promise((resolve) => setImmediate(resolve, pending));
  return (await Promise.race([promise.catch(() => undefined), next])) === pending;
}

describe('a call', () => {
  test.each([...METHODS, ...LINKING])(
    '%s with an aborted signal rejects and reaches no library',
    async (name, method, call) => {
      const nodes = await linkedPair();
      const held = { decoder: hold(nodes.decoder.backend, method), prompt: hold(nodes.prompt.backend, method) };
      const reason = new Error('not needed');
      const error = await rejection(call(nodes, { signal: AbortSignal.abort(reason) }));
      expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', operation: name, cause: reason });
      await (error as { released?: Promise<void> }).released;
      expect(held.decoder.entered + held.prompt.entered).toBe(0);
      held.decoder.open();
      held.prompt.open();
    },
  );

  test.each([...METHODS, ...LINKING])('%s that runs is rejected at once by its signal', async (name, method, call) => {
    const nodes = await linkedPair();
    const node = name === 'unregisterCache' ? nodes.prompt : nodes.decoder;
    const held = hold(node.backend, method);
    const controller = new AbortController();
    const answer = rejection(call(nodes, { signal: controller.signal }));
    await held.hasEntered(1);
    controller.abort('enough');
    const error = (await answer) as Error & { released: Promise<void> };
    expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR', operation: name, cause: 'enough' });
    expect(error.stack).toContain('deadlines.test.ts');
    expect(Object.keys(error)).not.toContain('released');
    expect(await isPending(error.released)).toBe(true);
    held.open();
    await error.released;
    expect(getEventListeners(controller.signal, 'abort')).toHaveLength(0);
  });

  test.each(METHODS)('%s that runs is rejected at its timeout', async (name, method, call) => {
    const nodes = await linkedPair();
    const node = name === 'unregisterCache' ? nodes.prompt : nodes.decoder;
    const held = hold(node.backend, method);
    const error = await rejection(call(nodes, { timeout: 1 }));
    expect(error).toBeInstanceOf(LLMException);
    expect(error).toMatchObject({ code: 'LLM_TIMEOUT', operation: name, deadline: 'caller', recovery: 'retry' });
    const { remedy, released } = error as LLMException;
    expect(remedy).not.toMatch(/unlink/i);
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ deadline: 'caller' });
    expect(JSON.stringify(error)).not.toContain('"released"');
    expect(held.entered === 0 || (await isPending(released ?? Promise.resolve()))).toBe(true);
    held.open();
    await released;
  });

  test.each(METHODS)('%s refuses limits that are none, and changes nothing', async (_, method, call) => {
    const nodes = await linkedPair();
    const held = [hold(nodes.decoder.backend, method), hold(nodes.prompt.backend, method)];
    const refused = async (options: object) => rejection(call(nodes, options));
    expect(await refused({ timeout: 0 })).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    expect(await refused({ timeout: 2 ** 31 })).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    expect(await refused({ timeout: '5' })).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(await refused({ signal: {} })).toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
    expect(await refused({ timeuot: 5 })).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    for (const calls of held) {
      expect(calls.entered).toBe(0);
      calls.open();
    }
  });

  test('that ended in time keeps no timer and no listener', async () => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const { signal } = new AbortController();
    await decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [1], { signal, timeout: 1e6 });
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
});

test('ten thousand calls share one listener of their signal, and each gets an error made for it', async () => {
  const { decoder, promptCache, decoderCache } = await linkedPair();
  const { kvCacheManager: caches } = decoder.dist;
  const held = hold(decoder.backend, 'pullKvBlocks');
  const controller = new AbortController();
  const { signal } = controller;
  const warnings = await warningTextsDuring(async () => {
    const calls = Array.from({ length: 10_000 }, () =>
      rejection(caches.pullBlocks(promptCache.key(), decoderCache, [0], [1], { signal })),
    );
    expect(getEventListeners(signal, 'abort')).toHaveLength(1);
    controller.abort();
    expect(new Set(await Promise.all(calls)).size).toBe(10_000);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });
  expect(warnings).toEqual([]);
  held.open();
}, 60_000);

test('a transfer that waits for an unlink is withdrawn', async () => {
  const { decoder, promptCache, decoderCache } = await linkedPair();
  const unlinking = hold(decoder.backend, 'unlinkLlmClusters');
  const pulls = hold(decoder.backend, 'pullKvBlocks');
  const unlinked = decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
  await unlinking.hasEntered(1);
  const pull = decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [1], { timeout: 1 });
  const error = (await rejection(pull)) as LLMException;
  expect(error).toMatchObject({ deadline: 'caller' });
  await error.released;
  unlinking.open();
  await unlinked;
  expect(pulls.entered).toBe(0);
});

describe('a repetition of one that ran on', () => {
  interface Case {
    readonly name: string;
    readonly call: (cache: KvCache, nodes: Pair, call?: CallOptions) => Promise<void>;
  }
  const DEALLOCATION: Case = {
    name: 'deallocateCache',
    call: (cache, { decoder }, call) => decoder.dist.kvCacheManager.deallocateCache(cache, call),
  };
  const CASES: readonly Case[] = [
    DEALLOCATION,
    {
      name: 'unregisterCache',
      call: (cache, { decoder }, call) => decoder.dist.kvCacheManager.unregisterCache(cache, call),
    },
    { name: 'free', call: (cache, _, call) => regionOf(cache).free(call) },
  ];

  async function ranOn(
    { name, call }: Case,
    guards: boolean,
    method: Method = name === 'free' ? 'free' : 'unregisterKvCache',
  ) {
    const nodes = await linkedPair({ guards });
    await nodes.decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
    if (name === 'free') await nodes.decoder.dist.kvCacheManager.unregisterCache(nodes.decoderCache);
    const held = hold(nodes.decoder.backend, method);
    const controller = new AbortController();
    const answer = rejection(call(nodes.decoderCache, nodes, { signal: controller.signal }));
    await held.hasEntered(1);
    controller.abort();
    expect(((await answer) as Error).message).toMatch(
      / was aborted; it goes on in the library until `released` of this error/,
    );
    return { nodes, held };
  }

  test.each(CASES.flatMap((each) => [true, false].map((guards) => ({ ...each, guards }))))(
    '$name succeeds with it, before and after (guards: $guards)',
    async ({ guards, ...each }) => {
      const { nodes, held } = await ranOn(each, guards);
      const { call } = each;
      const repeated = [call(nodes.decoderCache, nodes), call(nodes.decoderCache, nodes, { timeout: 60_000 })];
      held.open();
      await Promise.all(repeated);
      await call(nodes.decoderCache, nodes);
    },
  );

  test('can be ended by its own options, and reaches no library', async () => {
    const { call } = DEALLOCATION;
    const { nodes, held } = await ranOn(DEALLOCATION, true);
    const error = (await rejection(call(nodes.decoderCache, nodes, { timeout: 1 }))) as LLMException;
    expect(error).toMatchObject({ code: 'LLM_TIMEOUT', deadline: 'caller' });
    expect(error.remedy).toMatch(/^The call never got to the library/);
    await error.released;
    expect(held.entered).toBe(1);
    held.open();
    await call(nodes.decoderCache, nodes);
  });

  test('deallocates where the one that ran on has failed', async () => {
    const { name, call } = DEALLOCATION;
    const { nodes, held } = await ranOn(DEALLOCATION, true, 'deallocateCache');
    held.fail(new LLMException(LLMStatusCode.LLM_FAILED, { operation: name }));
    held.open();
    await call(nodes.decoderCache, nodes);
    expect(held.entered).toBe(2);
  });
});

test('what was aborted and succeeds later is undone', async () => {
  const { decoder } = await linkedPair();
  const { kvCacheManager: caches } = decoder.dist;
  const controller = new AbortController();
  const region = await decoder.dist.allocateMemory(4096, { placement: Placement.DEVICE });
  const registering = hold(decoder.backend, 'registerKvCache');
  const one = { ...DESC, numTensors: 1 };
  const register = rejection(caches.registerCache(one, [region.address], { signal: controller.signal }));
  await registering.hasEntered(1);
  controller.abort();
  const error = (await register) as { released?: Promise<void> };
  registering.open();
  await error.released;
  expect(caches.toJSON().caches).toBe(1);
  await region.free();

  const allocating = hold(decoder.backend, 'malloc');
  const late = new AbortController();
  const allocate = rejection(decoder.dist.allocateMemory(4096, { signal: late.signal }));
  await allocating.hasEntered(1);
  late.abort();
  const freeing = hold(decoder.backend, 'free');
  const { released } = (await allocate) as { released?: Promise<void> };
  allocating.open();
  freeing.open();
  await released;
  expect(freeing.entered).toBe(1);
});
