import { setImmediate } from 'node:timers/promises';
import { LLMRole } from '../../lib';
import type { LLMDataDist } from '../../lib';
import { warningsDuring } from '../fixtures/warnings';
import { cluster, decoder, DECODER_ID, linkedPair, pair, prompt, PROMPT_ID } from './fixtures/pair';
import type { Pair } from './fixtures/pair';
import { instance, received, standIn } from './fixtures/stand-in';
import type { StandInMethod } from './standin/control';

// The stand-in tells after every test whether the library saw something that it does not survive. So that it would,
// were a rule missing, calls that must not meet are made to last: DELAY decides nothing where the rule holds.
const DELAY_MS = 30;

const CONTROL = ['Initialize', 'Finalize', 'LinkLlmClusters', 'UnlinkLlmClusters'] as const;

type Transfer = (nodes: Pair) => Promise<void>;

const TRANSFERS: readonly (readonly [StandInMethod, Transfer])[] = [
  ['PullKvCache', ({ decoder, key, decoderCache }) => decoder.kvCacheManager.pullCache(key, decoderCache)],
  ['PullKvBlocks', ({ decoder, key, decoderCache }) => decoder.kvCacheManager.pullBlocks(key, decoderCache, [1], [1])],
  ['PushKvCache', ({ decoder, key, decoderCache }) => decoder.kvCacheManager.pushCache(key, decoderCache)],
  ['PushKvBlocks', ({ decoder, key, decoderCache }) => decoder.kvCacheManager.pushBlocks(key, decoderCache, [1], [1])],
];

describe('the lock of the process', () => {
  test('lets one instance at a time initialize, link, unlink and finalize', async () => {
    for (const method of CONTROL) standIn.set(method, { delay: DELAY_MS });
    const live = async (clusterId: bigint) => {
      const dist = await decoder(clusterId);
      for (let i = 0; i < 2; i++) {
        await dist.linkClusters([cluster(PROMPT_ID)]);
        await dist.unlinkClusters([cluster(PROMPT_ID)]);
      }
      await dist.finalize();
    };
    await prompt();
    await Promise.all([live(2n), live(3n), live(4n)]);
    expect(received('LinkLlmClusters')).toHaveLength(6);
  });

  test('does not hold up the transfers of another instance', async () => {
    const nodes = await linkedPair();
    const other = instance(LLMRole.DECODER, 3n);
    standIn.set('Initialize', { block: true });
    const initialized = other.init({ deviceId: 2 });
    await standIn.waitEntered('Initialize');
    await nodes.decoder.kvCacheManager.pullBlocks(nodes.key, nodes.decoderCache, [0], [0]);
    standIn.release('Initialize');
    await initialized;
  });
});

describe.each(TRANSFERS)('while %s runs', (method, transfer) => {
  test('finalize() waits for it, and no new call begins', async () => {
    const nodes = await linkedPair();
    standIn.set(method, { delay: DELAY_MS });
    const running = transfer(nodes);
    await standIn.waitEntered(method);
    const finalized = warningsDuring(() => nodes.decoder.finalize());
    await expect(transfer(nodes)).rejects.toMatchObject({ code: 'LLM_FAILED' });
    await expect(nodes.decoder.linkClusters([cluster(PROMPT_ID)])).rejects.toMatchObject({ code: 'LLM_FAILED' });
    await running;
    await finalized;
    expect(received(method)).toHaveLength(1);
    expect(order(method, 'Finalize')).toEqual([method, 'Finalize']);
  });

  test.each([true, false])('an unlink of its peer waits for it (guards: %s)', async (guards) => {
    const nodes = await linkedPair({ guards });
    standIn.set(method, { delay: DELAY_MS });
    const running = transfer(nodes);
    await standIn.waitEntered(method);
    const unlinked = nodes.decoder.unlinkClusters([cluster(PROMPT_ID)]);
    await Promise.all([running, unlinked]);
    expect(order(method, 'UnlinkLlmClusters')).toEqual([method, 'UnlinkLlmClusters']);
  });

  test('an unlink of another peer does not wait for it', async () => {
    const nodes = await linkedPair();
    await prompt(3n);
    await nodes.decoder.linkClusters([cluster(3n)]);
    standIn.set(method, { block: true });
    const running = transfer(nodes);
    await standIn.waitEntered(method);
    await nodes.decoder.unlinkClusters([cluster(3n)]);
    standIn.release(method);
    await running;
  });

  test('unregistering its cache waits for it, and the memory is not freed before', async () => {
    const linked = await linkedPair();
    const { kvCacheManager } = linked.decoder;
    // No link holds it, so that nothing but the transfer is waited for; the library would not make one with it.
    const decoderCache = await kvCacheManager.allocateCache(linked.decoderCache.desc);
    const nodes = { ...linked, decoderCache };
    standIn.set(method, { delay: DELAY_MS, status: 0 });
    const running = transfer(nodes);
    await standIn.waitEntered(method);
    const deallocated = kvCacheManager.deallocateCache(decoderCache);
    await expect(transfer(nodes)).rejects.toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST' });
    await Promise.all([running, deallocated]);
    expect(order(method, 'UnregisterKvCache', 'aclrtFree')).toEqual([method, 'UnregisterKvCache', 'aclrtFree']);
  });

  test('unregistering another cache does not wait for it', async () => {
    const nodes = await linkedPair();
    const later = await nodes.decoder.kvCacheManager.allocateCache(nodes.decoderCache.desc);
    standIn.set(method, { block: true });
    const running = transfer(nodes);
    await standIn.waitEntered(method);
    await nodes.decoder.kvCacheManager.unregisterCache(later);
    expect(received('UnregisterKvCache')).toHaveLength(1);
    standIn.release(method);
    await running;
  });

  test('or is made while an unlink of its peer runs, it comes after that', async () => {
    const nodes = await linkedPair();
    standIn.set('UnlinkLlmClusters', { delay: DELAY_MS });
    const unlinked = nodes.decoder.unlinkClusters([cluster(PROMPT_ID)]);
    await standIn.waitEntered('UnlinkLlmClusters');
    await expect(transfer(nodes)).rejects.toMatchObject({ code: 'LLM_NOT_YET_LINK' });
    await unlinked;
  });
});

describe('finalize()', () => {
  const CALLS: readonly (readonly [StandInMethod, (nodes: Pair) => Promise<unknown>])[] = [
    ['LinkLlmClusters', ({ decoder }) => decoder.linkClusters([cluster(PROMPT_ID)])],
    ['UnlinkLlmClusters', ({ decoder }) => decoder.unlinkClusters([cluster(PROMPT_ID)])],
    ['SetRole', ({ decoder }) => decoder.switchRole(LLMRole.MIX)],
    ['UnregisterKvCache', ({ decoder, decoderCache }) => decoder.kvCacheManager.unregisterCache(decoderCache)],
    ['RegisterKvCache', ({ decoder, decoderCache }) => decoder.kvCacheManager.allocateCache(decoderCache.desc)],
  ];

  test.each(CALLS)('waits for %s', async (method, call) => {
    const nodes = await pair();
    standIn.set(method, { delay: DELAY_MS });
    const running = call(nodes).catch(() => undefined);
    await standIn.waitEntered(method);
    await Promise.all([running, warningsDuring(() => nodes.decoder.finalize())]);
    expect(order(method, 'Finalize')).toEqual([method, 'Finalize']);
  });
});

test('linking and unregistering of one instance take turns', async () => {
  const { decoder: dist, decoderCache } = await pair();
  const other = await dist.kvCacheManager.allocateCache(decoderCache.desc);
  standIn.set('LinkLlmClusters', { delay: DELAY_MS });
  standIn.set('UnregisterKvCache', { delay: DELAY_MS });
  const linked = dist.linkClusters([cluster(PROMPT_ID)]);
  const first = dist.kvCacheManager.unregisterCache(decoderCache);
  const unlinked = dist.unlinkClusters([cluster(PROMPT_ID)]);
  const second = dist.kvCacheManager.unregisterCache(other);
  await Promise.all([linked, first, unlinked, second]);
  expect(received('UnregisterKvCache')).toHaveLength(2);
});

test('unlinks and transfers of both sides in a storm never meet', async () => {
  const nodes = await linkedPair();
  const { decoder: dist, prompt: peer } = nodes;
  const back = {
    ...nodes,
    decoder: peer,
    decoderCache: nodes.promptCache,
    key: { ...nodes.key, clusterId: DECODER_ID, cacheId: nodes.decoderCache.cacheId },
  };
  const transfers: Promise<unknown>[] = [];
  for (let i = 0; i < 20; i++) {
    for (const [, transfer] of TRANSFERS) {
      for (const side of [nodes, back]) transfers.push(transfer(side).catch(() => undefined));
    }
    await unlinkAndLink(dist);
    await setImmediate();
  }
  await Promise.all(transfers);
});

async function unlinkAndLink(dist: LLMDataDist): Promise<void> {
  await dist.unlinkClusters([cluster(PROMPT_ID)]);
  await dist.linkClusters([cluster(PROMPT_ID)]);
}

/** The first call of each of these methods since they were given something to do, in the order in which they came. */
function order(...methods: readonly StandInMethod[]): StandInMethod[] {
  const calls = standIn.journal().map(({ method }) => method);
  return methods.toSorted((a, b) => calls.lastIndexOf(a) - calls.lastIndexOf(b));
}
