import type { CacheKeyByIdAndIndex, KvCache, LLMClusterInfo, LLMDataDist, LLMException } from '../lib';
import type { ManualClock, TestFabric } from '../lib/testing';
import { DESC, fill, rejection, rowOf } from './fixtures/cluster';
import { clusterOf, linked, pass, start, stateOf } from './fixtures/fabric';

// The library may have made a link before its call has ended here, and a transfer may wait in the library since before the call.

interface Restarted {
  readonly fabric: TestFabric<ManualClock>;
  readonly decoder: LLMDataDist;
  readonly decoderCache: KvCache;
  /** Of the life before. */
  readonly old: CacheKeyByIdAndIndex;
  readonly fresh: CacheKeyByIdAndIndex;
  readonly newLife: string;
  readonly newCache: KvCache;
}

/** A decoder whose peer has restarted, and that has unlinked the old life by force. */
async function restarted(options = {}): Promise<Restarted> {
  const { fabric, decoder, decoderCache, promptCache } = await linked({ strict: false }, options);
  const old = promptCache.key();
  await decoder.kvCacheManager.pullBlocks(old, decoderCache, [0], [0]);
  fabric.kill(1n);
  fabric.restart(1n);
  const prompt = await start(fabric, 1n);
  const newCache = await prompt.kvCacheManager.allocateCache(DESC);
  await fill(newCache, 99);
  await decoder.unlinkClusters([clusterOf(1n)], { force: true });
  return { fabric, decoder, decoderCache, old, fresh: newCache.key(), newLife: prompt.life, newCache };
}

const link = ({ decoder }: Restarted, more: Partial<LLMClusterInfo> = {}, options = {}) =>
  decoder.linkClusters([{ ...clusterOf(1n), ...more }], options);
const pull = ({ decoder, decoderCache }: Restarted, key: CacheKeyByIdAndIndex) =>
  decoder.kvCacheManager.pullBlocks(key, decoderCache, [1], [1]);
const push = ({ decoder, decoderCache }: Restarted, key: CacheKeyByIdAndIndex) =>
  decoder.kvCacheManager.pushBlocks(key, decoderCache, [1], [1]);
const codeOf = async (call: Promise<unknown>) => {
  const { code, recovery } = (await rejection(call)) as LLMException;
  return `${code}/${recovery}`;
};
const callsOf = ({ fabric }: Restarted, op: string) => fabric.history.filter((call) => call.op === op).length;

const STALE = 'LLM_PARAM_INVALID/stale-key';
const UNLINKED = 'LLM_NOT_YET_LINK/relink';

describe('while a link is being made', () => {
  test.each([
    ['pull', pull],
    ['push', push],
  ] as const)('a %s with a key of another life than the stated one is refused', async (_, transfer) => {
    const net = await restarted();
    const fault = net.fabric.inject({ op: 'linkClusters', times: 1, hang: true });
    const linking = link(net, { life: net.newLife });
    const { message } = (await rejection(transfer(net, net.old))) as LLMException;
    expect(message).toContain(`the key is of life ${net.old.life} of cluster 1`);
    expect(message).toContain(`a link to cluster 1 is being made for its life ${net.newLife}`);
    expect(await codeOf(transfer(net, net.fresh))).toBe(UNLINKED);
    fault.remove();
    await linking;
    expect(await codeOf(transfer(net, net.old))).toBe(STALE);
    await transfer(net, net.fresh);
  });

  test('without a stated life those are refused that were used over the old link', async () => {
    const net = await restarted();
    const fault = net.fabric.inject({ op: 'linkClusters', times: 1, hang: true });
    const linking = link(net);
    expect(await codeOf(pull(net, net.old))).toBe(STALE);
    expect(await codeOf(pull(net, net.fresh))).toBe(UNLINKED);
    fault.remove();
    await linking;
    await pull(net, net.fresh);
  });

  test('each of several calls refuses, until it has ended', async () => {
    const net = await restarted();
    net.fabric.inject({ op: 'linkClusters', times: 2, status: 'LLM_LINK_FAILED' });
    const first = rejection(link(net, { life: 'ab'.repeat(16) }));
    const second = rejection(link(net, { life: net.old.life! }));
    expect(await codeOf(pull(net, net.old))).toBe(STALE);
    await first;
    await second;
    expect(await codeOf(pull(net, net.old))).toBe(UNLINKED);
  });

  test('a graceful unlink that comes before it does not end it', async () => {
    const net = await restarted();
    await link(net, { life: net.newLife });
    const fault = net.fabric.inject({ op: 'linkClusters', times: 1, hang: true });
    const unlinking = net.decoder.unlinkClusters([clusterOf(1n)]);
    const linking = link(net, { life: net.newLife });
    await unlinking;
    expect(await codeOf(pull(net, net.old))).toBe(STALE);
    fault.remove();
    await linking;
    await pull(net, net.fresh);
  });

  test('nothing is refused with guards off', async () => {
    const net = await restarted({ guards: false });
    const fault = net.fabric.inject({ op: 'linkClusters', times: 1, hang: true });
    const linking = link(net, { life: net.newLife });
    expect(await codeOf(pull(net, net.old))).toBe(UNLINKED);
    fault.remove();
    await linking;
  });
});

describe('a link call that its caller has stopped', () => {
  test('refuses until it has come back', async () => {
    const net = await restarted();
    const fault = net.fabric.inject({ op: 'linkClusters', times: 1, hang: true });
    const controller = new AbortController();
    const linking = rejection(link(net, { life: net.newLife }, { signal: controller.signal }));
    controller.abort();
    const { released } = (await linking) as Error & { released: Promise<void> };
    expect(await codeOf(pull(net, net.old))).toBe(STALE);
    net.fabric.inject({ op: 'linkClusters', times: 1, status: 'LLM_LINK_FAILED' });
    fault.remove();
    await released;
    expect(await codeOf(pull(net, net.old))).toBe(STALE);
    await pull(net, net.fresh);
  });

  test('before it got to the library refuses no more', async () => {
    const net = await restarted();
    const fault = net.fabric.inject({ op: 'unlinkClusters', times: 1, hang: true });
    const unlinking = net.decoder.unlinkClusters([clusterOf(7n)], { force: true });
    const controller = new AbortController();
    const linking = rejection(link(net, { life: net.newLife }, { signal: controller.signal }));
    expect(await codeOf(pull(net, net.old))).toBe(STALE);
    controller.abort();
    await linking;
    expect(await codeOf(pull(net, net.old))).toBe(UNLINKED);
    fault.remove();
    await unlinking;
  });
});

describe('a link call waits for a transfer that was called before it', () => {
  test.each([
    ['pull', 'pullBlocks', pull],
    ['push', 'pushBlocks', push],
  ] as const)('without a known link: a %s does not run over the new one', async (_, op, transfer) => {
    const net = await restarted();
    const fault = net.fabric.inject({ op, times: 1, hang: true, hold: 'call' });
    const before = [await rowOf(net.decoderCache, 1, 0), await rowOf(net.newCache, 1, 0)];
    const waiting = codeOf(transfer(net, net.old));
    const links = callsOf(net, 'linkClusters');
    const linking = link(net, { life: net.newLife });
    // Those that are called later are not waited for.
    const later = transfer(net, { clusterId: 1n, cacheId: 1n });
    expect(await codeOf(later)).toBe(UNLINKED);
    await pass(net.fabric, 0);
    expect(callsOf(net, 'linkClusters')).toBe(links);
    fault.remove();
    expect(await waiting).toBe(UNLINKED);
    await linking;
    expect([await rowOf(net.decoderCache, 1, 0), await rowOf(net.newCache, 1, 0)]).toEqual(before);
  });

  test('but not over a link that is known', async () => {
    const net = await restarted();
    await link(net, { life: net.newLife });
    const fault = net.fabric.inject({ op: 'pullBlocks', times: 1, hang: true });
    const pulling = pull(net, net.fresh);
    expect(await codeOf(link(net, { life: net.newLife }))).toMatch(/^LLM_ALREADY_LINK/);
    expect(await stateOf(pulling)).toBe('pending');
    fault.remove();
    await pulling;
  });

  test('and is withdrawn from there by its signal', async () => {
    const net = await restarted();
    const fault = net.fabric.inject({ op: 'pullBlocks', times: 1, hang: true, hold: 'call' });
    const pulling = codeOf(pull(net, net.old));
    const controller = new AbortController();
    const linking = rejection(link(net, { life: net.newLife }, { signal: controller.signal }));
    await pass(net.fabric, 0);
    controller.abort();
    const { released } = (await linking) as Error & { released: Promise<void> };
    expect(await stateOf(released)).toBe('resolved');
    expect(await codeOf(push(net, net.old))).toBe(UNLINKED);
    fault.remove();
    expect(await pulling).toBe(UNLINKED);
  });

  test('that itself waits for an unlink', async () => {
    const net = await restarted();
    await link(net, { life: net.newLife });
    const fault = net.fabric.inject({ op: 'unlinkClusters', times: 1, hang: true });
    const unlinking = net.decoder.unlinkClusters([clusterOf(1n)], { force: true });
    const waiting = codeOf(pull(net, net.fresh));
    const linking = link(net, { life: 'ab'.repeat(16) });
    const later = codeOf(pull(net, net.fresh));
    fault.remove();
    await unlinking;
    expect(await waiting).toBe(STALE);
    expect(await later).toBe(STALE);
    await linking;
  });
});
