import { DataType, LLMRole } from '../../lib';
import type { CallOptions, LLMException, MemoryRegion } from '../../lib';
import { createNativeBackend } from '../../lib/backend/native';
import { DESC, rejection } from '../fixtures/cluster';
import { runChild } from './fixtures/child';
import { isEmulated, isSanitized } from './fixtures/host';
import { cluster, decoder, linkedPair, prompt } from './fixtures/pair';
import { instance, received, standIn } from './fixtures/stand-in';

const TEST_LIMIT_MS = 600_000;
/** What is copied in one go. */
const CHUNK = 4 * 1024 * 1024;
/** Less than the addon allocates for a call, and than the promise of one. */
const BYTES_PER_CALL = 128;

interface Rejected extends Error {
  readonly released: Promise<void>;
}

/** What an abort did: whether the call was withdrawn shows in `released`. */
async function aborted(call: Promise<unknown>): Promise<Rejected> {
  const error = (await rejection(call)) as Rejected;
  expect(error).toMatchObject({ name: 'AbortError', code: 'ABORT_ERR' });
  return error;
}

/** The first destination block of each call of a method, in the order in which the calls came in. */
function blocksOf(method: 'PullKvBlocks' | 'PushKvBlocks'): number[] {
  return received(method).map(({ args }) => Number((args.dst_blocks as string[])[0]));
}

describe.each(['pullBlocks', 'pushBlocks'] as const)('a %s that waits in its lane', (name) => {
  const method = name === 'pullBlocks' ? 'PullKvBlocks' : 'PushKvBlocks';

  /** The first one is inside the library. */
  async function queue() {
    const pair = await linkedPair();
    const caches = pair.decoder.kvCacheManager;
    const transfer = (block: number, call: CallOptions = {}) =>
      caches[name](pair.promptCache.key(), pair.decoderCache, [block], [block], call);
    standIn.set(method, { block: true, times: 1 });
    const first = transfer(0);
    await standIn.waitEntered(method);
    return { ...pair, transfer, first };
  }

  test('is withdrawn: the library sees the others only, in their order', async () => {
    const { transfer, first, decoderCache } = await queue();
    const controllers = [1, 2, 3].map(() => new AbortController());
    const [one, two, three] = controllers.map(({ signal }, i) => transfer(i + 1, { signal }));
    controllers[1]!.abort('not needed');
    const error = await aborted(two!);
    expect(error.cause).toBe('not needed');
    await error.released;
    // Its row is free, although the first one is still inside.
    expect(received(method)).toHaveLength(1);
    await decoderCache.writeBlocks([2], new Uint8Array(64 * DESC.numTensors));
    standIn.release(method);
    await Promise.all([first, one, three]);
    expect(blocksOf(method)).toEqual([0, 1, 3]);
    controllers[0]!.abort();
    controllers[2]!.abort();
  });

  test('is withdrawn at the head, in the middle and at the end of its lane, and others come behind it', async () => {
    const { transfer, first } = await queue();
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = [1, 2, 3].map((block) => [block, block === 2 ? {} : { signal }] as const);
    const calls = waiting.map(([block, call]) => transfer(block, call));
    controller.abort();
    for (const call of [calls[0]!, calls[2]!]) await (await aborted(call)).released;
    const last = transfer(1);
    standIn.release(method);
    await Promise.all([first, calls[1], last]);
    expect(blocksOf(method)).toEqual([0, 2, 1]);
  });

  test('leaves its lane as if it had never come when it is the only one', async () => {
    const { transfer, first } = await queue();
    const controller = new AbortController();
    const only = transfer(1, { signal: controller.signal });
    controller.abort();
    await (
      await aborted(only)
    ).released;
    standIn.release(method);
    await first;
    await transfer(3);
    expect(blocksOf(method)).toEqual([0, 3]);
  });

  test('is withdrawn at its deadline', async () => {
    const { transfer, first } = await queue();
    const error = (await rejection(transfer(1, { timeout: 1 }))) as LLMException;
    expect(error).toMatchObject({ code: 'LLM_TIMEOUT', deadline: 'caller' });
    await error.released;
    standIn.release(method);
    await first;
    expect(blocksOf(method)).toEqual([0]);
  });

  test('is not withdrawn once it is inside', async () => {
    const { decoder: dist, promptCache, decoderCache } = await linkedPair();
    standIn.set(method, { block: true, times: 1 });
    const controller = new AbortController();
    const call = dist.kvCacheManager[name](promptCache.key(), decoderCache, [1], [1], { signal: controller.signal });
    await standIn.waitEntered(method);
    controller.abort();
    const { released } = await aborted(call);
    expect(await rejection(decoderCache.writeBlocks([1], new Uint8Array(64 * DESC.numTensors)))).toMatchObject({
      code: 'LLM_PARAM_INVALID',
    });
    standIn.release(method);
    await released;
    expect(blocksOf(method)).toEqual([1]);
  });
});

test('a call that waits for a thread is withdrawn, and its lane is used again', async () => {
  const dist = instance(LLMRole.DECODER, 2n, {
    backend: (clusterId, role) => createNativeBackend(clusterId, role, { allowMultipleInstances: true, threads: 1 }),
  });
  await dist.init({ deviceId: 1 });
  const local = await dist.kvCacheManager.allocateCache(DESC);
  const peers = [101n, 102n, 103n];
  for (const id of peers) await (await prompt(id)).kvCacheManager.allocateCache(DESC);
  await dist.linkClusters(peers.map(cluster));
  const pull = (clusterId: bigint, block: number, call: CallOptions = {}) =>
    dist.kvCacheManager.pullBlocks({ clusterId, cacheId: 1n }, local, [block], [block], call);
  standIn.set('PullKvBlocks', { block: true, times: 1 });
  const first = pull(101n, 0);
  await standIn.waitEntered('PullKvBlocks');
  const controller = new AbortController();
  const { signal } = controller;
  const ready = [pull(102n, 1, { signal }), pull(103n, 2), pull(102n, 3, { signal })];
  controller.abort();
  for (const call of [ready[0]!, ready[2]!]) await (await aborted(call)).released;
  standIn.release('PullKvBlocks');
  await Promise.all([first, ready[1]]);
  await pull(102n, 1);
  expect(blocksOf('PullKvBlocks')).toEqual([0, 2, 1]);
});

describe('a call for memory that waits behind another one', () => {
  async function busy() {
    const dist = await decoder();
    const region = await dist.allocateMemory(64);
    const spare = await dist.allocateMemory(64);
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    standIn.set('aclrtMemcpy', { block: true, times: 1 });
    const read = region.read();
    await standIn.waitEntered('aclrtMemcpy');
    return { dist, region, spare, cache, read };
  }
  type Busy = Awaited<ReturnType<typeof busy>>;

  const CALLS: readonly (readonly [string, (busy: Busy, call: CallOptions) => Promise<unknown>])[] = [
    ['read', ({ spare }, call) => spare.read(0, 8, call)],
    ['write', ({ spare }, call) => spare.write(new Uint8Array(8), 0, call)],
    ['free', ({ spare }, call) => spare.free(call)],
    ['allocateMemory', ({ dist }, call) => dist.allocateMemory(64, call)],
    ['allocateCache', ({ dist }, call) => dist.kvCacheManager.allocateCache(DESC, call)],
    ['readBlocks', ({ cache }, call) => cache.readBlocks([0], call)],
    ['writeBlocks', ({ cache }, call) => cache.writeBlocks([0], new Uint8Array(64 * DESC.numTensors), call)],
    ['copyBlocks', ({ dist, cache }, call) => dist.kvCacheManager.copyBlocks(cache, new Map([[0, [1, 3]]]), call)],
    [
      'copyCache',
      ({ dist, cache }, call) => dist.kvCacheManager.copyCache(cache, cache, { dstBatchIndex: 1, ...call }),
    ],
  ];

  test.each(CALLS)('is withdrawn (%s)', async (name, make) => {
    const nodes = await busy();
    const before = standIn.journal().length;
    const controller = new AbortController();
    const call = make(nodes, { signal: controller.signal });
    // What asks the library first waits for memory when the library has answered: before a second such call gets there.
    const asked = { allocateCache: 'AllocateCache', copyBlocks: 'CopyKvBlocks', copyCache: 'CopyKvCache' }[name];
    if (asked !== undefined) {
      const other = nodes.dist.kvCacheManager.copyCache(nodes.cache, nodes.cache, { dstBatchIndex: 2 });
      other.catch(() => undefined);
      while (received(asked as 'CopyKvCache').length === 0) await new Promise((resolve) => setImmediate(resolve));
      for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    controller.abort();
    await (
      await aborted(call)
    ).released;
    const runtime = standIn
      .journal()
      .slice(before)
      .filter(({ method }) => method.startsWith('acl'));
    expect(runtime).toEqual([]);
    standIn.release('aclrtMemcpy');
    await nodes.read;
    // As it was before.
    await nodes.spare.write(new Uint8Array(8));
    await nodes.spare.free();
  });
});

describe('a call in several parts', () => {
  const CALLS: readonly (readonly [string, (region: MemoryRegion, call: CallOptions) => Promise<unknown>])[] = [
    ['write', (region, call) => region.write(new Uint8Array(3 * CHUNK), 0, call)],
    ['read', (region, call) => region.read(0, 3 * CHUNK, call)],
  ];

  test.each(CALLS)('that is aborted while a part of it runs ends with that part (%s)', async (_, make) => {
    const dist = await decoder();
    await using region = await dist.allocateMemory(3 * CHUNK);
    standIn.set('aclrtMemcpy', { block: true, skip: 1, times: 1 });
    const controller = new AbortController();
    const call = make(region, { signal: controller.signal });
    await standIn.waitEntered('aclrtMemcpy', 2);
    controller.abort();
    const { released } = await aborted(call);
    standIn.release('aclrtMemcpy');
    await released;
    await region.read(0, 8);
    expect(received('aclrtMemcpy')).toHaveLength(3);
  });

  test.each(CALLS)('that is aborted while its first part waits is withdrawn (%s)', async (_, make) => {
    const dist = await decoder();
    await using region = await dist.allocateMemory(3 * CHUNK);
    await using other = await dist.allocateMemory(64);
    standIn.set('aclrtMemcpy', { block: true, times: 1 });
    const first = other.read();
    await standIn.waitEntered('aclrtMemcpy');
    const controller = new AbortController();
    const call = make(region, { signal: controller.signal });
    controller.abort();
    await (
      await aborted(call)
    ).released;
    standIn.release('aclrtMemcpy');
    await first;
    expect(received('aclrtMemcpy')).toHaveLength(1);
  });

  test('writeBlocks of more than a part is aborted in the same way', async () => {
    const dist = await decoder();
    const rows = { numTensors: 2, dataType: DataType.DT_INT8, shape: [3, CHUNK / 2] };
    const cache = await dist.kvCacheManager.allocateCache(rows);
    standIn.set('aclrtMemcpy', { block: true, times: 1 });
    const controller = new AbortController();
    const call = cache.writeBlocks([0, 1, 2], new Uint8Array(3 * CHUNK), { signal: controller.signal });
    await standIn.waitEntered('aclrtMemcpy');
    controller.abort();
    const { released } = await aborted(call);
    standIn.release('aclrtMemcpy');
    await released;
    // Two rows of half a part each are one part.
    expect(received('aclrtMemcpy')).toHaveLength(2);
  });
});

describe('in a process', () => {
  const flags = ['--expose-gc', '--max-semi-space-size=1'];

  test(
    'ten thousand withdrawn calls behind a pull that is inside leave no memory behind',
    async () => {
      const isSlow = isEmulated || isSanitized;
      const end = await runChild('withdrawn.js', ['growth', isSlow ? '5' : '10'], { flags, journal: false });
      expect(end).toMatchObject({ code: 0, signal: null, stderr: '' });
      const { moments, callsBetween } = JSON.parse(end.stdout) as {
        moments: { heap: number; rest: number }[];
        callsBetween: number;
      };
      const [before, middle, after] = moments;
      for (const kind of ['heap', 'rest'] as const) {
        const bytesPerCall = Math.min(middle![kind] - before![kind], after![kind] - middle![kind]) / callsBetween;
        if (!isSlow) expect(bytesPerCall).toBeLessThan(BYTES_PER_CALL);
      }
    },
    TEST_LIMIT_MS,
  );

  test.each(['end', 'worker'])(
    'withdrawn calls keep nothing from ending (%s)',
    async (mode) => {
      const end = await runChild('withdrawn.js', [mode], { flags });
      expect(end).toMatchObject({ code: 0, signal: null, stdout: 'released\n', violations: [] });
      expect(end.stderr.replaceAll(/^.*MemoryWarning.*\n|^\(Use `node --trace-warnings.*\n/gm, '')).toBe('');
      const pulls = end.calls.filter(({ method }) => method === 'PullKvBlocks');
      const blocks = pulls.map(({ args }) => (args.dst_blocks as string[])[0]);
      expect(blocks).toContain('0');
      expect(blocks).not.toContain('1');
    },
    TEST_LIMIT_MS,
  );
});
