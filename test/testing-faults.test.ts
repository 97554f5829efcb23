import fc from 'fast-check';
import { LLMException } from '../lib';
import type { KvCache, LLMDataDist } from '../lib';
import { createFabric } from '../lib/testing';
import type { Fault } from '../lib/testing';
import { bytesOf, DESC, rejection } from './fixtures/cluster';
import { clusterOf, linked, make, newFabric, pass, sleepers, start, stateOf } from './fixtures/fabric';
import type { Linked } from './fixtures/fabric';

const pull = ({ decoder, promptCache, decoderCache }: Linked, block = 0) =>
  decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [block], [block]);
const push = ({ decoder, promptCache, decoderCache }: Linked) =>
  decoder.kvCacheManager.pushBlocks(promptCache.key(), decoderCache, [0, 1, 2, 3], [0, 1, 2, 3]);

/** Every operation that a fault can hit, as a user makes it. */
const CALLS: Readonly<Record<string, (net: Linked, spare: LLMDataDist) => Promise<unknown>>> = {
  init: (_, spare) => spare.init({ deviceId: 9 }),
  finalize: ({ decoder }) => decoder.finalize(),
  switchRole: ({ decoder }) => decoder.switchRole(1),
  linkClusters: ({ decoder }) => decoder.linkClusters([clusterOf(1n)]),
  unlinkClusters: ({ decoder }) => decoder.unlinkClusters([clusterOf(1n)]),
  registerCache: ({ decoder }) => decoder.kvCacheManager.registerCache(DESC, [1n, 2n, 3n, 4n]),
  unregisterCache: ({ decoder, decoderCache }) => decoder.kvCacheManager.unregisterCache(decoderCache),
  pullCache: ({ decoder, promptCache, decoderCache }) =>
    decoder.kvCacheManager.pullCache(promptCache.key(), decoderCache),
  pullBlocks: (net) => pull(net),
  pushCache: ({ decoder, promptCache, decoderCache }) =>
    decoder.kvCacheManager.pushCache(promptCache.key(), decoderCache),
  pushBlocks: (net) => push(net),
  allocateMemory: ({ decoder }) => decoder.allocateMemory(64),
  free: async ({ decoder }) => (await decoder.allocateMemory(64)).free(),
  write: ({ decoderCache }) => decoderCache.regions![0]!.write(new Uint8Array(4)),
  read: ({ decoderCache }) => decoderCache.regions![0]!.read(),
  copyCache: ({ decoder, decoderCache }) =>
    decoder.kvCacheManager.copyCache(decoderCache, decoderCache, { dstBatchIndex: 1 }),
};

/** A net on which every call of {@link CALLS} reaches the backend at once. */
async function net(): Promise<Linked & { spare: LLMDataDist }> {
  const all = await linked({ strict: false }, { guards: false });
  return { ...all, spare: make(all.fabric, 3n) };
}

describe.each(Object.keys(CALLS))('a fault of %s', (op) => {
  const call = (on: Linked & { spare: LLMDataDist }) => CALLS[op]!(on, on.spare);
  const fault = (more: Partial<Fault>): Fault => ({ op: op as 'init', ...more });

  test('rejects with a status, by name or number, that may be unknown', async () => {
    const all = await net();
    const named = all.fabric.inject(fault({ status: 'LLM_LINK_BUSY', times: 1 }));
    expect(await rejection(call(all))).toMatchObject({ code: 'LLM_LINK_BUSY', operation: op });
    expect(named.hits).toBe(1);
    all.fabric.inject(fault({ status: 0x1234_5678 }));
    const again = op === 'finalize' ? CALLS.finalize!({ ...all, decoder: all.prompt }, all.spare) : call(all);
    expect(await rejection(again)).toMatchObject({ statusCode: 0x1234_5678, code: 'LLM_UNKNOWN_STATUS' });
  });

  test('rejects with the very error of the test', async () => {
    const all = await net();
    const error = new Error('a bug of the backend');
    all.fabric.inject(fault({ throwError: error }));
    expect(await rejection(call(all))).toBe(error);
  });

  test('delays it on the clock of the fabric', async () => {
    const all = await net();
    all.fabric.inject(fault({ delayMs: 50, times: 1 }));
    const outcome = call(all).then(
      () => 'over',
      () => 'over',
    );
    await sleepers(all.fabric, 1);
    await pass(all.fabric, 49);
    expect(await stateOf(outcome)).toBe('pending');
    await pass(all.fabric, 1);
    expect(await outcome).toBe('over');
    expect(all.fabric.history.find(({ faults }) => faults.length > 0)).toMatchObject({ op, durationMs: 50 });
  });

  test('hangs until its process is killed', async () => {
    const all = await net();
    all.fabric.inject(fault({ hang: true }));
    const outcome = call(all);
    expect(await stateOf(outcome)).toBe('pending');
    all.fabric.kill(op === 'init' ? 3n : 2n);
    expect(await rejection(outcome)).toMatchObject({ code: 'LLM_FAILED' });
  });

  test('leaves calls of other nodes alone', async () => {
    const all = await net();
    const other = all.fabric.inject(fault({ status: 'LLM_LINK_BUSY', node: 1n }));
    await call(all).catch((error: unknown) => {
      expect(error).not.toMatchObject({ code: 'LLM_LINK_BUSY' });
    });
    expect(other.hits).toBe(0);
  });
});

test('the prompt dies in the middle of the third pull', async () => {
  const { fabric, prompt, promptCache, decoder, decoderCache } = await linked();
  fabric.inject({ op: 'pullBlocks', peer: prompt, skip: 2, partialLayers: 1, delayMs: 50 });
  const pullOf = (block: number) =>
    decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [block], [block]);
  await pullOf(0);
  await pullOf(1);
  const third = pullOf(2);
  fabric.kill(prompt);
  await expect(third).rejects.toMatchObject({ code: 'LLM_FAILED', clusterId: 1n });
  await decoder.unlinkClusters([clusterOf(1n)], { force: true });
});

describe('the choice of a fault', () => {
  test('is the first one injected that matches', async () => {
    const all = await linked();
    const first = all.fabric.inject({ op: 'pullBlocks', status: 'LLM_FAILED' });
    const second = all.fabric.inject({ op: ['pullBlocks', 'pullCache'], status: 'LLM_TIMEOUT' });
    expect(await rejection(pull(all))).toMatchObject({ code: 'LLM_FAILED' });
    expect([first.hits, second.hits]).toEqual([1, 0]);
    first.remove();
    expect(await rejection(pull(all))).toMatchObject({ code: 'LLM_TIMEOUT' });
    second.remove();
    await pull(all);
    expect([first.hits, second.hits]).toEqual([1, 1]);
  });

  test('lets so many calls pass, hits so many, and then lets all pass', async () => {
    const all = await linked();
    const fault = all.fabric.inject({ op: 'pullBlocks', skip: 2, times: 2, status: 'LLM_FAILED' });
    const outcomes: string[] = [];
    for (let i = 0; i < 6; i++) {
      outcomes.push(
        await pull(all).then(
          () => 'ok',
          () => 'failed',
        ),
      );
    }
    expect(outcomes).toEqual(['ok', 'ok', 'failed', 'failed', 'ok', 'ok']);
    expect(fault.hits).toBe(2);
  });

  test('goes on to later ones while the first lets calls pass', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pullBlocks', skip: 1, times: 1, status: 'LLM_FAILED' });
    all.fabric.inject({ op: 'pullBlocks', status: 'LLM_TIMEOUT' });
    const codes: unknown[] = [];
    for (let i = 0; i < 3; i++) codes.push(((await rejection(pull(all))) as LLMException).code);
    expect(codes).toEqual(['LLM_TIMEOUT', 'LLM_FAILED', 'LLM_TIMEOUT']);
  });

  test('is by node, by peer and by the remote cache', async () => {
    const all = await linked();
    const { fabric, prompt, decoder } = all;
    const misses = [
      fabric.inject({ op: 'pullBlocks', node: prompt, status: 'LLM_FAILED' }),
      fabric.inject({ op: 'pullBlocks', peer: decoder, status: 'LLM_FAILED' }),
      fabric.inject({ op: 'pullBlocks', cacheId: 2, status: 'LLM_FAILED' }),
    ];
    const hit = fabric.inject({
      op: 'pullBlocks',
      node: 2,
      peer: { clusterId: 1n },
      cacheId: 1n,
      status: 'LLM_FAILED',
    });
    await rejection(pull(all));
    expect([...misses, hit].map(({ hits }) => hits)).toEqual([0, 0, 0, 1]);
  });
});

describe('a call that is moved in part', () => {
  const layersDone = async (cache: KvCache, before: Buffer) => {
    const after = await bytesOf(cache);
    return [0, 1, 2, 3].filter(
      (t) => !after.subarray(t * 256, (t + 1) * 256).equals(before.subarray(t * 256, (t + 1) * 256)),
    );
  };

  test.each([0, 1, 2, 5])('moves %d layers of a push and fails', async (layers) => {
    const all = await linked();
    const before = await bytesOf(all.promptCache);
    all.fabric.inject({ op: 'pushBlocks', partialLayers: layers });
    expect(await rejection(push(all))).toMatchObject({ code: 'LLM_FAILED', clusterId: 1n, cacheId: 1n });
    const done = [0, 1, 2, 3].slice(0, 2 * layers);
    expect(await layersDone(all.promptCache, before)).toEqual(done);
    expect(all.fabric.history.at(-1)).toMatchObject({
      op: 'pushBlocks',
      bytes: 256 * done.length,
      state: 'failed',
    });
  });

  test.each([1, 2, 3, 4])('counts layers by their number of tensors, %d', async (tensorNumPerLayer) => {
    const all = await linked();
    const before = await bytesOf(all.decoderCache);
    const { decoder, promptCache, decoderCache } = all;
    all.fabric.inject({ op: 'pullCache', partialLayers: 1, status: 'LLM_TIMEOUT' });
    const call = decoder.kvCacheManager.pullCache(promptCache.key(), decoderCache, 0, { tensorNumPerLayer });
    expect(await rejection(call)).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'relink' });
    expect(await layersDone(decoderCache, before)).toEqual([0, 1, 2, 3].slice(0, tensorNumPerLayer));
  });

  test('of a layer range begins with its first layer', async () => {
    const all = await linked();
    const before = await bytesOf(all.promptCache);
    const { decoder, promptCache, decoderCache } = all;
    const error = new Error('out of bandwidth');
    all.fabric.inject({ op: 'pushCache', partialLayers: 1, throwError: error });
    const range = { srcLayerRange: [1, 3], dstLayerRange: [1, 3], tensorNumPerLayer: 1 } as const;
    expect(await rejection(decoder.kvCacheManager.pushCache(promptCache.key(), decoderCache, 0, range))).toBe(error);
    expect(await layersDone(promptCache, before)).toEqual([1]);
  });

  test('fails for what it would fail for anyway', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pushBlocks', partialLayers: 1, status: 'LLM_TIMEOUT' });
    await all.decoder.unlinkClusters([clusterOf(1n)]);
    expect(await rejection(push(all))).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
  });

  test('waits with some layers moved, and can hang there', async () => {
    const all = await linked();
    const before = await bytesOf(all.promptCache);
    all.fabric.inject({ op: 'pushBlocks', times: 1, partialLayers: 1, delayMs: 10 });
    all.fabric.inject({ op: 'pushBlocks', partialLayers: 2, hang: true });
    const slow = rejection(push(all));
    await sleepers(all.fabric, 1);
    expect(await layersDone(all.promptCache, before)).toEqual([0, 1]);
    await pass(all.fabric, 10);
    expect(await slow).toMatchObject({ code: 'LLM_FAILED' });
    const hung = push(all);
    expect(await stateOf(hung)).toBe('pending');
    expect(await layersDone(all.promptCache, before)).toEqual([0, 1, 2, 3]);
    all.fabric.kill(2n);
    expect(await rejection(hung)).toBeInstanceOf(LLMException);
  });
});

describe('corruption', () => {
  const differing = (a: Buffer, b: Buffer) => a.reduce((sum, byte, i) => sum + Number(byte !== b[i]), 0);

  test.each([
    ['pullBlocks', true, 1],
    ['pullBlocks', 5, 5],
    ['pullCache', 7, 7],
    ['pullBlocks', 100_000, 4 * 64],
  ] as const)('of %s, %p, changes %d bytes of what was moved and nothing else', async (op, corrupt, count) => {
    const all = await linked();
    const whole = await linked();
    await CALLS[op]!(whole, whole.decoder);
    const sound = await bytesOf(whole.decoderCache);
    all.fabric.inject({ op, corrupt });
    await CALLS[op]!(all, all.decoder);
    const received = await bytesOf(all.decoderCache);
    expect(differing(received, sound)).toBe(count);
    expect(differing(await bytesOf(all.promptCache), await bytesOf(whole.promptCache))).toBe(0);
    for (const tensor of [0, 1, 2, 3]) {
      expect(received.subarray(tensor * 256 + 64, (tensor + 1) * 256)).toEqual(
        sound.subarray(tensor * 256 + 64, (tensor + 1) * 256),
      );
    }
  });

  test('of a push changes the peer’s bytes, of any of its layers', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pushBlocks', corrupt: 300 });
    await push(all);
    const [sent, received] = [await bytesOf(all.decoderCache), await bytesOf(all.promptCache)];
    expect(differing(sent, received)).toBe(300);
    for (const t of [0, 1, 2, 3]) {
      expect(
        differing(sent.subarray(t * 256, t * 256 + 256), received.subarray(t * 256, t * 256 + 256)),
      ).toBeGreaterThan(0);
    }
  });

  test('of a write and of a read', async () => {
    const { fabric, decoderCache } = await linked();
    const region = decoderCache.regions![0]!;
    const bytes = new Uint8Array(16).fill(9);
    const onRead = fabric.inject({ op: 'read', corrupt: 3, times: 1 });
    await region.write(bytes, 32);
    expect(differing(Buffer.from(await region.read(32, 16)), Buffer.from(bytes))).toBe(3);
    expect(await region.read(32, 16)).toEqual(bytes);
    expect(onRead.hits).toBe(1);
    fabric.inject({ op: 'write', corrupt: 4 });
    await region.write(bytes, 32);
    expect(differing(Buffer.from(await region.read(32, 16)), Buffer.from(bytes))).toBe(4);
    expect(bytes).toEqual(new Uint8Array(16).fill(9));
  });

  test('is the same for the same seed, and another one for another', async () => {
    const run = async (seed: number) => {
      const all = await linked({ seed });
      all.fabric.inject({ op: 'pullBlocks', corrupt: 4 });
      await pull(all);
      return bytesOf(all.decoderCache);
    };
    expect(await run(7)).toEqual(await run(7));
    expect(await run(7)).not.toEqual(await run(8));
  });
});

describe('a fault of one cluster of a link call', () => {
  async function three() {
    const fabric = newFabric();
    const decoder = await start(fabric, 9n);
    for (const id of [1n, 2n, 3n]) await start(fabric, id);
    return { fabric, decoder, clusters: [clusterOf(1n), clusterOf(2n), clusterOf(3n)] };
  }
  const linksOf = (fabric: Linked['fabric']) =>
    fabric
      .topology()
      .nodes.find(({ node }) => node === 9n)
      ?.links.map(({ peer }) => peer);

  test('holds for it alone, and the others are linked for real', async () => {
    const { fabric, decoder, clusters } = await three();
    fabric.inject({ op: 'linkClusters', peer: 2n, status: 'LLM_LINK_BUSY' });
    const error = await rejection(decoder.linkClusters(clusters));
    expect(error).toMatchObject({
      code: 'LLM_LINK_BUSY',
      results: [
        { remoteClusterId: 1n, statusCode: 0 },
        { remoteClusterId: 2n, code: 'LLM_LINK_BUSY' },
        { remoteClusterId: 3n, statusCode: 0 },
      ],
    });
    expect(linksOf(fabric)).toEqual([1n, 3n]);
  });

  test('the last failure in input order is the status of the call', async () => {
    const { fabric, decoder, clusters } = await three();
    fabric.inject({ op: 'linkClusters', peer: 3n, status: 'LLM_LINK_BUSY' });
    fabric.inject({ op: 'linkClusters', peer: 1n, delayMs: 20 });
    fabric.kill(1n);
    const call = rejection(decoder.linkClusters(clusters));
    await sleepers(fabric, 1);
    await pass(fabric, 20);
    expect(await call).toMatchObject({
      code: 'LLM_LINK_BUSY',
      results: [{ code: 'LLM_LINK_FAILED' }, { statusCode: 0 }, { code: 'LLM_LINK_BUSY' }],
    });
  });

  test('without a peer it holds for all of them, and counts once', async () => {
    const { fabric, decoder, clusters } = await three();
    const fault = fabric.inject({ op: 'linkClusters', status: 'LLM_TIMEOUT' });
    expect(await rejection(decoder.linkClusters(clusters))).toMatchObject({
      results: [{ code: 'LLM_TIMEOUT' }, { code: 'LLM_TIMEOUT' }, { code: 'LLM_TIMEOUT' }],
    });
    expect(fault.hits).toBe(1);
    expect(linksOf(fabric)).toEqual([]);
  });

  test('an error of the test comes when the others are linked', async () => {
    const { fabric, decoder, clusters } = await three();
    const error = new Error('a bug');
    fabric.inject({ op: 'linkClusters', peer: 1n, throwError: error });
    expect(await rejection(decoder.linkClusters(clusters))).toBe(error);
    expect(linksOf(fabric)).toEqual([2n, 3n]);
  });

  test('of an unlink leaves its link', async () => {
    const { fabric, decoder, clusters } = await three();
    await decoder.linkClusters(clusters);
    fabric.inject({ op: 'unlinkClusters', peer: 2n, status: 'LLM_UNLINK_FAILED' });
    expect(await rejection(decoder.unlinkClusters(clusters))).toMatchObject({ code: 'LLM_UNLINK_FAILED' });
    expect(linksOf(fabric)).toEqual([2n]);
  });
});

describe('a call that hangs', () => {
  test('is given up by the instance, which is lost then, and its other calls with it', async () => {
    const fabric = newFabric();
    const dist = await start(fabric, 1n, { hangTimeout: 1 });
    fabric.inject({ op: ['linkClusters', 'allocateMemory'], hang: true });
    const memory = dist.allocateMemory(64);
    expect(await stateOf(memory)).toBe('pending');
    const given = rejection(dist.linkClusters([clusterOf(2n)], { timeout: 1 }));
    await pass(fabric, 10);
    expect(await given).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'fatal' });
    expect(dist.isLost).toBe(true);
    expect(await rejection(memory)).toMatchObject({ code: 'LLM_FAILED' });
    expect(fabric.history.filter(({ state }) => state === 'in flight')).toEqual([]);
  });
});

describe('a fault that makes no sense', () => {
  const fabric = createFabric();

  test.each<[string, unknown, string]>([
    ['no object', 'pullBlocks', 'ERR_INVALID_ARG_TYPE'],
    ['no operation', { status: 1 }, 'ERR_INVALID_ARG_TYPE'],
    ['an operation that there is not', { op: 'pull', status: 1 }, 'ERR_OUT_OF_RANGE'],
    ['an operation that reaches no backend', { op: 'swapBlocks', status: 1 }, 'ERR_OUT_OF_RANGE'],
    ['a number as operation', { op: ['init', 3], status: 1 }, 'ERR_INVALID_ARG_TYPE'],
    ['a method that makes calls of other names', { op: 'deallocateCache', status: 1 }, 'ERR_OUT_OF_RANGE'],
    ['an empty list', { op: [], status: 1 }, 'ERR_OUT_OF_RANGE'],
    ['an unknown property', { op: 'init', status: 1, delay: 4 }, 'ERR_OUT_OF_RANGE'],
    ['no effect', { op: 'init', times: 1 }, 'ERR_OUT_OF_RANGE'],
    ['success', { op: 'init', status: 0 }, 'ERR_OUT_OF_RANGE'],
    ['success by name', { op: 'init', status: 'LLM_SUCCESS' }, 'ERR_OUT_OF_RANGE'],
    ['no status', { op: 'init', status: 'LLM_OOPS' }, 'ERR_OUT_OF_RANGE'],
    ['a status of 33 bits', { op: 'init', status: 2 ** 32 }, 'ERR_OUT_OF_RANGE'],
    ['a status that is none', { op: 'init', status: true }, 'ERR_INVALID_ARG_TYPE'],
    ['a negative delay', { op: 'init', delayMs: -1 }, 'ERR_OUT_OF_RANGE'],
    ['a delay that is no number', { op: 'init', delayMs: '1' }, 'ERR_INVALID_ARG_TYPE'],
    ['no times', { op: 'init', status: 1, times: 0 }, 'ERR_OUT_OF_RANGE'],
    ['a negative skip', { op: 'init', status: 1, skip: -1 }, 'ERR_OUT_OF_RANGE'],
    ['a status and a hang', { op: 'init', status: 1, hang: true }, 'ERR_OUT_OF_RANGE'],
    ['a delay and a hang', { op: 'init', delayMs: 1, hang: true }, 'ERR_OUT_OF_RANGE'],
    ['a status and an error', { op: 'init', status: 1, throwError: new Error() }, 'ERR_OUT_OF_RANGE'],
    ['corruption and a failure', { op: 'pullCache', status: 1, corrupt: true }, 'ERR_OUT_OF_RANGE'],
    ['corruption in part', { op: 'pullCache', partialLayers: 1, corrupt: 2 }, 'ERR_OUT_OF_RANGE'],
    ['corruption of nothing', { op: 'pullCache', corrupt: 0 }, 'ERR_OUT_OF_RANGE'],
    ['corruption of what moves nothing', { op: 'init', corrupt: true }, 'ERR_OUT_OF_RANGE'],
    ['layers of what has none', { op: ['pullCache', 'read'], partialLayers: 1 }, 'ERR_OUT_OF_RANGE'],
    ['a peer of what has none', { op: 'init', status: 1, peer: 1n }, 'ERR_OUT_OF_RANGE'],
    ['a cache of what has none', { op: 'read', status: 1, cacheId: 1n }, 'ERR_OUT_OF_RANGE'],
    ['a node that is none', { op: 'init', status: 1, node: 'prompt' }, 'ERR_INVALID_ARG_TYPE'],
    ['a node without an id', { op: 'init', status: 1, node: {} }, 'ERR_INVALID_ARG_TYPE'],
    ['a node below 0', { op: 'init', status: 1, node: -1 }, 'ERR_OUT_OF_RANGE'],
    ['an error that is none', { op: 'init', throwError: 'oops' }, 'ERR_INVALID_ARG_TYPE'],
    ['a hang that is none', { op: 'init', hang: 1 }, 'ERR_INVALID_ARG_TYPE'],
  ])('is refused: %s', (_, fault, code) => {
    expect(() => fabric.inject(fault as Fault)).toThrow(expect.objectContaining({ code }) as Error);
    fabric.assertNoPendingFaults();
  });
});

test('a run is the same for the same seed, whatever happens in it', async () => {
  const step = fc.constantFrom('pull', 'push', 'delayed', 'failing', 'corrupt', 'time');
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0 }), fc.array(step, { maxLength: 12 }), async (seed, steps) => {
      const run = async () => {
        const all = await linked({ seed });
        const pending: Promise<unknown>[] = [];
        const settled = (promise: Promise<unknown>) => pending.push(promise.catch(() => undefined));
        for (const each of steps) {
          if (each === 'time') await pass(all.fabric, 5);
          if (each === 'delayed') all.fabric.inject({ op: 'pullBlocks', delayMs: 5, times: 1 });
          if (each === 'failing') all.fabric.inject({ op: 'pushBlocks', partialLayers: 1, times: 1 });
          if (each === 'corrupt') all.fabric.inject({ op: ['pushBlocks', 'pullBlocks'], corrupt: 2, times: 1 });
          if (each === 'pull') settled(pull(all));
          if (each === 'push') settled(push(all));
        }
        await pass(all.fabric, 100);
        await Promise.all(pending);
        return {
          history: all.fabric.history,
          prompt: await bytesOf(all.promptCache),
          decoder: await bytesOf(all.decoderCache),
        };
      };
      expect(await run()).toEqual(await run());
    }),
    { numRuns: 25 },
  );
});

test('what a kill ends does not wait on the clock any more', async () => {
  const { fabric, prompt, decoder, promptCache, decoderCache } = await linked();
  fabric.inject({ op: 'pullBlocks', delayMs: 1000 });
  const pulling = rejection(decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]));
  expect(fabric.clock.sleeping).toBe(1);
  fabric.kill(prompt);
  expect(await pulling).toMatchObject({ code: 'LLM_FAILED' });
  expect(fabric.clock.sleeping).toBe(0);
});
