import { cacheKeyFromJSON, LLMException } from '../../lib';
import type { CacheKeyByIdAndIndex, KvCache } from '../../lib';
import { rejection, rowOf, fill, DESC } from '../fixtures/cluster';
import { warningsDuring } from '../fixtures/warnings';
import { cluster, linkedPair, prompt, PROMPT_ID } from './fixtures/pair';
import { received, standIn } from './fixtures/stand-in';

/** More refusals than there are while a link is made, unless they hold it up. */
const MANY = 100_000;

/** A decoder whose peer has restarted, and that has unlinked the old life by force. */
async function restarted() {
  const { prompt: first, promptCache, decoder, decoderCache } = await linkedPair();
  const old = cacheKeyFromJSON(JSON.stringify(promptCache.key()));
  await decoder.kvCacheManager.pullBlocks(old, decoderCache, [0], [0]);
  await warningsDuring(() => first.finalize());
  const next = await prompt(PROMPT_ID);
  const newCache = await next.kvCacheManager.allocateCache(DESC);
  await fill(newCache, 99);
  await decoder.unlinkClusters([cluster(PROMPT_ID)], { force: true });
  const transfer = (way: 'pull' | 'push', key: CacheKeyByIdAndIndex | { clusterId: bigint; cacheId: bigint }) =>
    way === 'pull'
      ? decoder.kvCacheManager.pullBlocks(key, decoderCache, [1], [1])
      : decoder.kvCacheManager.pushBlocks(key, decoderCache, [1], [1]);
  const link = () => decoder.linkClusters([{ ...cluster(PROMPT_ID), life: next.life }]);
  return { old, fresh: newCache.key(), decoderCache, newCache, transfer, link };
}

const codeOf = async (call: Promise<unknown>) => {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(LLMException);
  const { code, recovery } = error as LLMException;
  return `${code}/${recovery}`;
};
const rows = async (...caches: readonly KvCache[]) => Promise.all(caches.map((cache) => rowOf(cache, 1, 0)));

describe.each([
  ['pull', 'PullKvBlocks'],
  ['push', 'PushKvBlocks'],
] as const)('a %s with a key of the old life', (way, method) => {
  test('is refused as soon as a link to the next one is asked for, which the library may have made', async () => {
    const { old, fresh, decoderCache, newCache, transfer, link } = await restarted();
    const before = await rows(decoderCache, newCache);
    standIn.set('LinkLlmClusters', { block: true, times: 1 });
    const linking = link();
    await standIn.waitEntered('LinkLlmClusters');
    const calls = received(method).length;
    expect(await codeOf(transfer(way, old))).toBe('LLM_PARAM_INVALID/stale-key');
    standIn.release('LinkLlmClusters');
    // The addon's thread has ended it, and JavaScript has not got its answer.
    expect(await codeOf(transfer(way, old))).toBe('LLM_PARAM_INVALID/stale-key');
    expect(received(method)).toHaveLength(calls);
    await linking;
    expect(await codeOf(transfer(way, old))).toBe('LLM_PARAM_INVALID/stale-key');
    expect(await rows(decoderCache, newCache)).toEqual(before);
    await transfer(way, fresh);
  });

  test('can be repeated without a pause until the link is made, which a loop does not hold up', async () => {
    const { old, fresh, transfer, link } = await restarted();
    const state = { isLinked: false };
    const linking = link().then(() => {
      state.isLinked = true;
    });
    let refusals = 0;
    for (; !state.isLinked && refusals < MANY; refusals++) await rejection(transfer(way, old));
    await linking;
    expect(refusals).toBeLessThan(MANY);
    await transfer(way, fresh);
  });

  test('that waits since before the link call has ended when the library gets that', async () => {
    const { old, fresh, decoderCache, newCache, transfer, link } = await restarted();
    const before = await rows(decoderCache, newCache);
    standIn.set(method, { block: true, times: 1 });
    const links = received('LinkLlmClusters').length;
    const first = codeOf(transfer(way, { clusterId: PROMPT_ID, cacheId: 1n }));
    await standIn.waitEntered(method);
    const waiting = codeOf(transfer(way, old));
    const linking = link();
    // One more way into the library and back, and the link call has not come in.
    await newCache.regions![0]!.read(0, 1);
    expect(received('LinkLlmClusters')).toHaveLength(links);
    standIn.release(method);
    expect(await first).toBe('LLM_NOT_YET_LINK/relink');
    expect(await waiting).toBe('LLM_NOT_YET_LINK/relink');
    await linking;
    expect(await rows(decoderCache, newCache)).toEqual(before);
    await transfer(way, fresh);
  });
});
