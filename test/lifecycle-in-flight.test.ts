import { LLMRole } from '../lib';
import type { LLMException } from '../lib';
import { ManualClock } from '../lib/testing';
import { linkedNodes } from './bad-input/nodes';
import { expectQuietProcess } from './bad-input/quiet-process';
import { closedGate, expectFailed, fresh, OPTIONS, turn } from './bad-input/states';
import { DESC, PROMPT_CLUSTER, PROMPT_PORT, rejection, rowOf } from './fixtures/cluster';
import { warningsDuring } from './fixtures/warnings';

expectQuietProcess();

const TENSOR_BYTES = 256n;

/** A pair whose link has gone silent, on a clock that stands still. One cache is in memory that survives finalize. */
async function silentNodes() {
  const clock = new ManualClock();
  const nodes = await linkedNodes({}, { clock });
  const { dist, backend } = nodes.decoder;
  const caches = dist.kvCacheManager;
  for (const cache of [nodes.cache, nodes.other, nodes.hostCache]) await caches.deallocateCache(cache);
  await nodes.region.free();
  const address = await backend.malloc(4n * TENSOR_BYTES, 1);
  const local = await caches.registerCache(
    DESC,
    [0n, 1n, 2n, 3n].map((tensor) => address + tensor * TENSOR_BYTES),
  );
  await dist.unlinkClusters([PROMPT_CLUSTER]);
  await dist.linkClusters([PROMPT_CLUSTER]);
  nodes.calls.length = 0;
  const order: string[] = [];
  const note = (name: string, promise: Promise<unknown>): Promise<unknown> =>
    promise.then(
      () => order.push(name),
      (error: unknown) => order.push(`${name}: ${(error as LLMException).code}`),
    );
  const disturb = (disturbance: 'silent' | undefined) => {
    nodes.fabric.disturb('127.0.0.1', PROMPT_PORT, disturbance);
  };
  const localRow = async (index: number) => Buffer.from(await backend.read(address + 64n * BigInt(index), 64));
  disturb('silent');
  return { ...nodes, dist, caches, key: nodes.promptCache.key(), clock, local, localRow, order, note, disturb };
}

describe('finalize', () => {
  test('waits for a pull that waits for its peer, and for one that waits behind it', async () => {
    const { dist, caches, key, local, localRow, promptCache, clock, calls, order, note, disturb } = await silentNodes();
    const first = note('first pull', caches.pullCache(key, local));
    const second = note('second pull', caches.pullBlocks(key, local, [2], [3]));
    await turn();
    expect(clock.sleeping).toBe(1);
    const finalized = [note('finalize', dist.finalize()), note('finalize', dist.finalize())];
    expectFailed(await rejection(caches.pullCache(key, local)), 'pullCache', /being finalized/);
    await turn();
    // The library would not survive a Finalize now.
    expect(calls).toEqual(['decoder.pullKvCache', 'decoder.pullKvBlocks']);
    expect(order).toEqual([]);
    expect(dist.isInitialized).toBe(true);
    disturb(undefined);
    await clock.advance(1000);
    await Promise.all([first, second, ...finalized]);
    expect(order).toEqual(['first pull: LLM_TIMEOUT', 'second pull', 'finalize', 'finalize']);
    expect(calls.filter((call) => call !== 'decoder.free')).toEqual([
      'decoder.pullKvCache',
      'decoder.pullKvBlocks',
      'decoder.finalize',
    ]);
    expect(await localRow(3)).toEqual(await rowOf(promptCache, 0, 2));
  });

  test('waits for a link that waits for its peer, and for an unlink that waits behind it', async () => {
    const { dist, clock, order, note } = await silentNodes();
    const linked = note('link', dist.linkClusters([{ ...PROMPT_CLUSTER, remoteClusterId: 9n }], { timeout: 500 }));
    const unlinked = note('unlink', dist.unlinkClusters([PROMPT_CLUSTER], { timeout: 700 }));
    await turn();
    const finalized = note('finalize', dist.finalize());
    await clock.advance(500);
    await linked;
    await turn();
    expect(order).toEqual(['link: LLM_TIMEOUT']);
    await clock.advance(700);
    await Promise.all([unlinked, finalized]);
    expect(order).toEqual(['link: LLM_TIMEOUT', 'unlink: LLM_TIMEOUT', 'finalize']);
  });

  test('that waits lets an init come after it, and not before', async () => {
    const { dist, caches, key, local, clock, order, note } = await silentNodes();
    const pulled = note('pull', caches.pullCache(key, local));
    await turn();
    const finalized = note('finalize', dist.finalize());
    const initialised = note('init', dist.init(OPTIONS));
    await turn();
    expect(order).toEqual([]);
    await clock.advance(1000);
    await Promise.all([pulled, finalized, initialised]);
    expect(order).toEqual(['pull: LLM_TIMEOUT', 'finalize', 'init']);
    expect(dist.isInitialized).toBe(true);
  });

  test('does not wait for the calls of other instances', async () => {
    const { prompt, promptCache, local, dist, fabric, clock, order, note, disturb } = await silentNodes();
    disturb(undefined);
    fabric.disturb('127.0.0.1', 26_001, 'silent');
    const pushed = note('push of the peer', prompt.dist.kvCacheManager.pushCache(local.key(), promptCache));
    await turn();
    expect(clock.sleeping).toBe(1);
    await dist.finalize();
    expect(order).toEqual([]);
    await clock.advance(1000);
    await pushed;
    expect(order).toEqual(['push of the peer: LLM_TIMEOUT']);
  });

  test('makes what a waiting registration gives a handle of the life that ends', async () => {
    const { dist, backend } = fresh();
    await dist.init(OPTIONS);
    const address = await backend.malloc(TENSOR_BYTES, 1);
    const gate = closedGate(backend, 'registerKvCache');
    const registered = dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [address]);
    const finalized = dist.finalize();
    gate.open();
    const handle = await registered;
    await finalized;
    await dist.init(OPTIONS);
    const error = await rejection(dist.kvCacheManager.unregisterCache(handle));
    expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'unregisterCache' });
  });

  test('frees the memory that a waiting allocation gets', async () => {
    const { dist, backend, calls } = fresh();
    await dist.init(OPTIONS);
    const gate = closedGate(backend, 'malloc');
    const allocated = dist.allocateMemory(64);
    const finalized = warningsDuring(() => dist.finalize());
    gate.open();
    const region = await allocated;
    expect(await finalized).toEqual(['LLMDataDistMemoryWarning']);
    expect(calls).toEqual(['initialize', 'malloc', 'finalize', 'free']);
    expect(await rejection(region.read())).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'read' });
  });

  test('comes after a role switch that was called before it, and refuses one that is called after it', async () => {
    const { dist, backend, calls } = fresh();
    await dist.init(OPTIONS);
    const gate = closedGate(backend, 'setRole');
    const switched = dist.switchRole(LLMRole.MIX);
    const finalized = dist.finalize();
    const late = rejection(dist.switchRole(LLMRole.PROMPT));
    await turn();
    expect(calls).toEqual(['initialize']);
    gate.open();
    await switched;
    await finalized;
    expectFailed(await late, 'switchRole', /being finalized/);
    expect(dist.role).toBe(LLMRole.MIX);
    expect(calls).toEqual(['initialize', 'setRole', 'finalize']);
  });
});

test('calls that wait use the lists of the caller as they were when he called', async () => {
  const { caches, key, local, localRow, promptCache, clock, disturb } = await silentNodes();
  const first = rejection(caches.pullCache(key, local));
  const wide = BigUint64Array.of(1n);
  const narrow = Uint32Array.of(2);
  const plain = [3];
  const pulls = [wide, narrow, plain].map((list) => caches.pullBlocks(key, local, list, list));
  wide.fill(0n);
  narrow.fill(0);
  plain.fill(0);
  disturb(undefined);
  await clock.advance(1000);
  expect(await first).toMatchObject({ code: 'LLM_TIMEOUT' });
  await Promise.all(pulls);
  for (const index of [1, 2, 3]) expect(await localRow(index)).toEqual(await rowOf(promptCache, 0, index));
  expect(await localRow(0)).toEqual(Buffer.alloc(64));
});
