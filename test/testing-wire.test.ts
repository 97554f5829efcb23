import type { CacheDesc, KvCache } from '../lib';
import { DataType, LLMRole, Placement } from '../lib';
import { Fabric, ManualClock, RealClock, VirtualClock, WireModel } from '../lib/testing';
import type { WireOptions, WirePreset } from '../lib/testing';
import { bytesOf, fill, linkedPair, node, PROMPT_CLUSTER, PROMPT_PORT, rejection, rowOf } from './fixtures/cluster';
import type { Node } from './fixtures/cluster';
import { watch } from './fixtures/hangs';

/** 4 tensors of 4 blocks of 1000 bytes: a whole cache is 16,000 bytes. */
const DESC: CacheDesc = { numTensors: 4, dataType: DataType.DT_INT8, shape: [4, 1000] };

/** A prompt and a decoder on a wire, linked, on a clock that stands still. */
async function wired(wire: WireOptions | WirePreset, { syncKvTimeout = '100000', promptDesc = DESC } = {}) {
  const clock = new ManualClock();
  const fabric = new Fabric({ wire: new WireModel(wire, { clock }) });
  const prompt = node(LLMRole.PROMPT, 1n, { clock, fabric });
  const decoder = node(LLMRole.DECODER, 2n, { clock, fabric });
  await prompt.dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${PROMPT_PORT}`, syncKvTimeout });
  await decoder.dist.init({ deviceId: 1, listenIpInfo: '127.0.0.1:26001', syncKvTimeout });
  const promptCache = await prompt.dist.kvCacheManager.allocateCache(promptDesc);
  const decoderCache = await decoder.dist.kvCacheManager.allocateCache(DESC);
  await fill(promptCache, 7);
  await fill(decoderCache, 90);
  await decoder.dist.linkClusters([PROMPT_CLUSTER]);
  const { kvCacheManager: caches } = decoder.dist;
  const pull = (...blocks: number[]) => caches.pullBlocks(promptCache.key(), decoderCache, blocks, blocks);
  return { fabric, clock, prompt, decoder, promptCache, decoderCache, caches, pull };
}

/** Milliseconds until calls that begin now have ended, each. */
async function durations(clock: ManualClock, calls: Promise<unknown>[]): Promise<number[]> {
  const start = clock.now();
  const ends = calls.map((call) => call.then(() => clock.now() - start));
  await clock.runAll();
  return Promise.all(ends);
}

const times = (...milliseconds: number[]) => milliseconds.map((ms) => expect.closeTo(ms, 6) as number);

describe('a transfer on a wire', () => {
  test('takes its latency, and the time of its bytes', async () => {
    const { pull, promptCache, decoderCache, clock } = await wired({ latencyMs: 2, bandwidth: 1_000_000 });
    expect(await durations(clock, [pull(0, 1)])).toEqual([expect.closeTo(2 + 8, 6)]);
    expect(await rowOf(decoderCache, 3, 1, 1000)).toEqual(await rowOf(promptCache, 3, 1, 1000));
  });

  test('copies nothing before it is over', async () => {
    const { pull, promptCache, decoderCache, clock } = await wired({ bandwidth: 1_000_000 });
    const before = await bytesOf(decoderCache);
    const pulled = watch(pull(0));
    await clock.advance(3.9);
    expect(pulled.outcome).toBe('pending');
    expect(await bytesOf(decoderCache)).toEqual(before);
    await clock.advance(0.1);
    expect(pulled.outcome).toBe('resolved');
    expect(await rowOf(decoderCache, 0, 0, 1000)).toEqual(await rowOf(promptCache, 0, 0, 1000));
  });

  test('goes layer by layer when it is a push: each has a latency, and is written when it has arrived', async () => {
    const { caches, promptCache, decoderCache, clock } = await wired({ latencyMs: 1, bandwidth: 1_000_000 });
    const pushed = watch(caches.pushBlocks(promptCache.key(), decoderCache, [0], [3]));
    const written = async () => {
      const rows = [0, 1, 2, 3].map(async (tensor) =>
        (await rowOf(promptCache, tensor, 3, 1000)).equals(await rowOf(decoderCache, tensor, 0, 1000)),
      );
      return Promise.all(rows);
    };
    // Two layers of two tensors.
    await clock.advance(3);
    expect([pushed.outcome, await written()]).toEqual(['pending', [true, true, false, false]]);
    await clock.advance(3);
    expect([pushed.outcome, await written()]).toEqual(['resolved', [true, true, true, true]]);
  });

  test('waits for the one before it on the same side of a link; the other direction does not slow it down', async () => {
    const { pull, prompt, promptCache, decoderCache, clock } = await wired({ bandwidth: 1_000_000 });
    const back = prompt.dist.kvCacheManager.pullBlocks(decoderCache.key(), promptCache, [3], [3]);
    expect(await durations(clock, [pull(0), pull(1), back])).toEqual(times(4, 8, 4));
  });

  test('shares the way between its ends with a transfer that the other end asked for', async () => {
    const { pull, prompt, promptCache, decoderCache, clock } = await wired({ bandwidth: 1_000_000, port: 9_000_000 });
    const pushed = prompt.dist.kvCacheManager.pushBlocks(decoderCache.key(), promptCache, [3], [3]);
    expect(await durations(clock, [pull(0), pushed])).toEqual(times(8, 8));
  });

  test('takes as long as its blocks: neighbours are one, and smaller ones are slower', async () => {
    const { pull, clock } = await wired({
      bandwidth: [
        [1000, 1_000_000],
        [2000, 4_000_000],
      ],
    });
    expect(await durations(clock, [pull(0, 2)])).toEqual(times(8));
    expect(await durations(clock, [pull(0, 1)])).toEqual(times(2));
  });

  test('without anything that takes time is over at once', async () => {
    const { pull, clock } = await wired({});
    await pull(0);
    expect([clock.now(), clock.sleeping]).toEqual([0, 0]);
  });
});

describe('transfers that share', () => {
  /** A prompt that serves several decoders. */
  async function serving(decoders: number, wire: WireOptions) {
    const clock = new ManualClock();
    const fabric = new Fabric({ wire: new WireModel(wire, { clock }) });
    const prompt = node(LLMRole.PROMPT, 1n, { clock, fabric });
    await prompt.dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${PROMPT_PORT}` });
    const cache = await prompt.dist.kvCacheManager.allocateCache(DESC);
    const pulls: ((blocks: number[]) => Promise<void>)[] = [];
    for (let i = 0; i < decoders; i++) {
      const { dist } = node(LLMRole.DECODER, BigInt(2 + i), { clock, fabric });
      await dist.init({ deviceId: 1 + i, listenIpInfo: `127.0.0.1:${PROMPT_PORT + 1 + i}` });
      const own = await dist.kvCacheManager.allocateCache(DESC);
      await dist.linkClusters([PROMPT_CLUSTER]);
      pulls.push((blocks) => dist.kvCacheManager.pullBlocks(cache.key(), own, blocks, blocks));
    }
    return { clock, pulls };
  }

  test('a prompt that serves four decoders shares its port among them, and they end together', async () => {
    const { clock, pulls } = await serving(4, { bandwidth: 1_000_000 });
    const ended = await durations(
      clock,
      pulls.map((pull) => pull([0])),
    );
    expect(ended).toEqual(times(16, 16, 16, 16));
    expect(new Set(ended).size).toBe(1);
  });

  test('with a wider port each has the way to itself', async () => {
    const { clock, pulls } = await serving(4, { bandwidth: 1_000_000, port: 4_000_000 });
    const ended = await durations(
      clock,
      pulls.map((pull) => pull([0])),
    );
    expect(ended).toEqual(times(4, 4, 4, 4));
  });

  test('one that ends leaves its part to the others, and one that begins takes it from them', async () => {
    const { clock, pulls } = await serving(2, { bandwidth: 1_000_000 });
    const ended: Record<string, number> = {};
    const note = (name: string, pull: Promise<void>) => pull.then(() => (ended[name] = clock.now()));
    const first = note('long', pulls[0]!([0, 1, 2, 3]));
    await clock.advance(4);
    const second = note('short', pulls[1]!([0]));
    await clock.runAll();
    await Promise.all([first, second]);
    // 4 ms alone, 8 ms at half the speed, the rest alone.
    expect(ended).toEqual({ long: expect.closeTo(20, 6) as number, short: expect.closeTo(12, 6) as number });
  });

  test('a slow way between two leaves the rest of the port to the others', async () => {
    const wire: WireOptions = {
      bandwidth: 1_000_000,
      between: [{ nodes: [3, { clusterId: 1n }], bandwidth: 250_000 }],
    };
    const { clock, pulls } = await serving(2, wire);
    const ended = await durations(clock, [pulls[0]!([0, 1, 2]), pulls[1]!([0])]);
    expect(ended).toEqual(times(16, 16));
  });
});

describe('a transfer that meets trouble on the wire', () => {
  const SLOW = { bandwidth: 1000 };

  test('fails with LLM_TIMEOUT when it takes longer than syncKvTimeout, and has copied nothing', async () => {
    const { pull, decoderCache, clock } = await wired({ bandwidth: 1_000_000 }, { syncKvTimeout: '15' });
    const before = await bytesOf(decoderCache);
    const late = rejection(pull(0, 1, 2, 3));
    await clock.runAll();
    expect(await late).toMatchObject({
      code: 'LLM_TIMEOUT',
      message: expect.stringContaining('after 15 ms (llm.SyncKvCacheWaitTime)') as string,
      remedy: expect.stringContaining('raise llm.SyncKvCacheWaitTime') as string,
    });
    expect(clock.now()).toBe(15);
    expect(await bytesOf(decoderCache)).toEqual(before);
    expect(await durations(clock, [pull(0, 1, 2)])).toEqual(times(12));
  });

  test('fails at once when the peer dies', async () => {
    const { pull, decoderCache, clock, prompt } = await wired(SLOW);
    const before = await bytesOf(decoderCache);
    const pulled = watch(pull(0));
    await clock.advance(1000);
    await prompt.backend.finalize();
    await clock.advance(0);
    expect(pulled.outcome).toMatchObject({ code: 'LLM_FAILED', message: expect.stringContaining('is gone') as string });
    expect([clock.now(), clock.sleeping]).toEqual([1000, 0]);
    expect(await bytesOf(decoderCache)).toEqual(before);
  });

  test('fails at once when this side dies', async () => {
    const { pull, clock, decoder } = await wired(SLOW);
    const pulled = watch(pull(0));
    await clock.advance(1);
    await decoder.backend.finalize();
    await clock.advance(0);
    const message = expect.stringContaining('this instance was finalized') as string;
    expect(pulled.outcome).toMatchObject({ code: 'LLM_FAILED', message });
  });

  test('waits for the rest of its time when the peer falls silent', async () => {
    const { pull, clock, fabric } = await wired(SLOW);
    const pulled = watch(pull(0, 1, 2, 3));
    await clock.advance(1000);
    fabric.disturb('127.0.0.1', PROMPT_PORT, 'unreachable');
    fabric.wire?.drop(2n, 1n);
    await clock.advance(98_999);
    expect(pulled.outcome).toBe('pending');
    await clock.advance(1);
    expect(pulled.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
  });

  test('fails at once when its connection is cut, and only then', async () => {
    const { pull, clock, fabric } = await wired(SLOW);
    const pulled = watch(pull(0));
    await clock.advance(10);
    fabric.wire?.drop(1n, 3n);
    await clock.advance(10);
    expect(pulled.outcome).toBe('pending');
    fabric.wire?.drop(1n, 2n);
    await clock.advance(0);
    expect(pulled.outcome).toMatchObject({ code: 'LLM_FAILED', message: expect.stringContaining('broke') as string });
  });

  test.each([
    ['freed', 'was freed', async ({ backend }: Node, _: bigint, address: bigint) => backend.free(address)],
    ['unregistered', 'unregistered', async ({ backend }: Node, id: bigint) => backend.unregisterKvCache(id)],
  ])('finds memory that was %s meanwhile', async (_, problem, take) => {
    const { caches, decoderCache, clock, prompt, decoder } = await wired(SLOW);
    const address = await prompt.backend.malloc(16_000n, Placement.DEVICE);
    const addresses = [0n, 1n, 2n, 3n].map((tensor) => address + 4000n * tensor);
    const source = await prompt.dist.kvCacheManager.registerCache(DESC, addresses);
    await decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
    await decoder.dist.linkClusters([PROMPT_CLUSTER]);
    const pulled = watch(caches.pullBlocks(source.key(), decoderCache, [0], [0]));
    await clock.advance(1);
    await take(prompt, source.cacheId, address);
    await clock.runAll();
    expect(pulled.outcome).toMatchObject({ code: 'LLM_FAILED', message: expect.stringContaining(problem) as string });
  });

  test('is refused in a direction that the wire has no way for', async () => {
    const { pull, clock } = await wired('A3_HCCS', { promptDesc: { ...DESC, placement: Placement.HOST } });
    expect(await rejection(pull(0))).toMatchObject({
      code: 'LLM_FAILED',
      message: expect.stringContaining('cluster 1 and cluster 2 has no way for rH2D') as string,
      remedy: expect.stringContaining('D2rD, rD2D, H2rD, rD2H') as string,
    });
    expect(clock.now()).toBe(0);
  });
});

describe('time on the wire', () => {
  async function pulledOn(clock: VirtualClock | RealClock) {
    const fabric = new Fabric({ wire: new WireModel({ latencyMs: 5, bandwidth: 1_000_000_000 }, { clock }) });
    const nodes = await linkedPair({}, { clock, fabric }, DESC, DESC);
    const pull = nodes.decoder.dist.kvCacheManager.pullBlocks(nodes.promptCache.key(), nodes.decoderCache, [0], [0]);
    return { ...nodes, pull };
  }

  const isPulled = async (from: KvCache, to: KvCache) =>
    (await rowOf(to, 0, 0, 1000)).equals(await rowOf(from, 0, 0, 1000));

  test('passes by itself on a virtual clock', async () => {
    const clock = new VirtualClock();
    const { pull, promptCache, decoderCache } = await pulledOn(clock);
    await pull;
    expect(clock.now()).toBeCloseTo(5.004, 6);
    expect(await isPulled(promptCache, decoderCache)).toBe(true);
  });

  test('is real time on the real clock', async () => {
    const { pull, promptCache, decoderCache } = await pulledOn(new RealClock());
    await pull;
    expect(await isPulled(promptCache, decoderCache)).toBe(true);
  });

  test('differs by the jitter, and is the same for the same seed', async () => {
    const run = async (seed: number | undefined) => {
      const clock = new ManualClock();
      const wire = new WireModel({ jitterMs: 10 }, { clock, ...(seed === undefined ? {} : { seed }) });
      const seen: number[] = [];
      for (const [source, destination] of [
        [1n, 2n],
        [1n, 2n],
        [2n, 1n],
        [2n ** 63n, 1n],
      ] as const) {
        const load = { source, destination, direction: 'rD2D', copies: [1], tensors: 1, limitMs: 100 } as const;
        seen.push(...(await durations(clock, [wire.carry(load)!])));
      }
      return seen;
    };
    const first = await run(7);
    expect(await run(7)).toEqual(first);
    expect(await run(8)).not.toEqual(first);
    expect(await run(undefined)).toEqual(await run(1));
    expect(new Set(first).size).toBe(4);
    for (const time of first) expect(time >= 0 && time < 10).toBe(true);
  });
});
