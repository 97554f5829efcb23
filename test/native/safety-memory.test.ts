import { LLMRole } from '../../lib';
import type { MemoryRegion } from '../../lib';
import { DESC, rejection } from '../fixtures/cluster';
import { warningsDuring } from '../fixtures/warnings';
import { cluster, decoder, linkedPair, pair, prompt, PROMPT_ID } from './fixtures/pair';
import { received, standIn } from './fixtures/stand-in';

// The stand-in tells after every test of memory that was freed while it was registered or known to a link, and of caches
// that were unregistered while a link knew them.

/** The number of calls of these methods so far. */
function counts(): { unregistered: number; freed: number } {
  return { unregistered: received('UnregisterKvCache').length, freed: received('aclrtFree').length };
}

const TENSORS = DESC.numTensors;

describe('a cache that is unregistered while it is linked', () => {
  test('is unregistered in the library when it is not linked any more, and its memory is freed then', async () => {
    const { decoder: dist, decoderCache } = await linkedPair();
    await dist.kvCacheManager.unregisterCache(decoderCache);
    for (const region of decoderCache.regions!) await region.free();
    expect(counts()).toEqual({ unregistered: 0, freed: 0 });
    await dist.unlinkClusters([cluster(PROMPT_ID)]);
    expect(counts()).toEqual({ unregistered: 1, freed: TENSORS });
  });

  test('is deallocated when it is not linked any more', async () => {
    const { decoder: dist, decoderCache } = await linkedPair();
    await dist.kvCacheManager.deallocateCache(decoderCache);
    expect(counts()).toEqual({ unregistered: 0, freed: 0 });
    await dist.unlinkClusters([cluster(PROMPT_ID)]);
    expect(counts()).toEqual({ unregistered: 1, freed: TENSORS });
  });

  test('stays until the last of several links is gone', async () => {
    const { decoder: dist, decoderCache } = await linkedPair();
    await prompt(3n);
    await dist.linkClusters([cluster(3n)]);
    await dist.kvCacheManager.deallocateCache(decoderCache);
    await dist.unlinkClusters([cluster(PROMPT_ID)]);
    expect(counts()).toEqual({ unregistered: 0, freed: 0 });
    await dist.unlinkClusters([cluster(3n)]);
    expect(counts()).toEqual({ unregistered: 1, freed: TENSORS });
  });

  test('does not stay for a link that was made before it was registered', async () => {
    const { decoder: dist } = await linkedPair();
    const later = await dist.kvCacheManager.allocateCache(DESC);
    await dist.kvCacheManager.deallocateCache(later);
    expect(counts()).toEqual({ unregistered: 1, freed: TENSORS });
  });

  test('stays while a link cannot be undone, and goes with finalize() at the latest', async () => {
    const { decoder: dist, decoderCache } = await linkedPair();
    await dist.kvCacheManager.deallocateCache(decoderCache);
    standIn.result('unlink', PROMPT_ID, 0x5010_b00a);
    await rejection(dist.unlinkClusters([cluster(PROMPT_ID)]));
    expect(counts()).toEqual({ unregistered: 0, freed: 0 });
    standIn.result('unlink', PROMPT_ID);
    expect(await warningsDuring(() => dist.finalize())).toEqual([]);
    expect(received('Finalize')).toHaveLength(1);
    expect(counts()).toEqual({ unregistered: 0, freed: TENSORS });
  });
});

describe('a cache of an instance that listens', () => {
  test('stays until a role switch proves that no peer is linked', async () => {
    const { prompt: dist, promptCache, decoder: peer } = await linkedPair();
    await dist.kvCacheManager.deallocateCache(promptCache);
    expect(await rejection(dist.switchRole(LLMRole.MIX))).toMatchObject({ code: 'LLM_EXIST_LINK' });
    expect(counts()).toEqual({ unregistered: 0, freed: 0 });
    await peer.unlinkClusters([cluster(PROMPT_ID)]);
    expect(counts()).toEqual({ unregistered: 0, freed: 0 });
    await dist.switchRole(LLMRole.MIX);
    expect(counts()).toEqual({ unregistered: 1, freed: TENSORS });
  });

  test('stays while a peer is linked that could still write to it', async () => {
    const nodes = await linkedPair();
    const { prompt: dist, promptCache, decoder: peer, key, decoderCache } = nodes;
    await dist.kvCacheManager.deallocateCache(promptCache);
    // The list of caches is copied when the link is used first; one that was copied before names the cache on and on.
    await peer.kvCacheManager.pushCache(key, decoderCache);
    expect(counts()).toEqual({ unregistered: 0, freed: 0 });
  });
});

describe('memory', () => {
  test('of a registered cache is not freed', async () => {
    const { decoder: dist, decoderCache } = await pair();
    const [region] = decoderCache.regions!;
    expect(await rejection(region!.free())).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'free' });
    expect(counts().freed).toBe(0);
    await dist.kvCacheManager.unregisterCache(decoderCache);
    await region!.free();
    expect(counts()).toEqual({ unregistered: 1, freed: 1 });
  });

  test('that a link holds is not registered again', async () => {
    const { decoder: dist, decoderCache } = await linkedPair();
    const { kvCacheManager } = dist;
    await kvCacheManager.unregisterCache(decoderCache);
    const again = () => kvCacheManager.registerCache(DESC, decoderCache.tensorAddrs);
    expect(await rejection(again())).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'registerCache' });
    await dist.unlinkClusters([cluster(PROMPT_ID)]);
    await kvCacheManager.unregisterCache(await again());
  });

  test('of two caches at a time is refused, also in one call', async () => {
    const { decoder: dist, decoderCache } = await pair();
    const region = await dist.allocateMemory(1024);
    const registered = received('RegisterKvCache').length;
    const { kvCacheManager } = dist;
    const overlapping = [0n, 256n, 512n, 520n].map((offset) => region.address + offset);
    for (const addrs of [decoderCache.tensorAddrs, overlapping]) {
      expect(await rejection(kvCacheManager.registerCache(DESC, addrs))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    }
    expect(received('RegisterKvCache')).toHaveLength(registered);
  });

  test('that a failed registration may have left with the transport stays until finalize()', async () => {
    const dist = await decoder();
    const regions: MemoryRegion[] = [];
    for (let i = 0; i < TENSORS; i++) regions.push(await dist.allocateMemory(256));
    const addrs = regions.map(({ address }) => address);
    standIn.set('RegisterKvCache', { status: 0xffff_ffff, times: 1 });
    expect(await rejection(dist.kvCacheManager.registerCache(DESC, addrs))).toMatchObject({ code: 'LLM_FAILED' });
    expect(await rejection(dist.kvCacheManager.registerCache(DESC, addrs))).toMatchObject({
      code: 'LLM_PARAM_INVALID',
    });
    for (const region of regions) await region.free();
    expect(counts().freed).toBe(0);
    expect(await warningsDuring(() => dist.finalize())).toEqual([]);
    expect(counts().freed).toBe(TENSORS);
  });

  test('of a cache that is registered is freed after Finalize, and never before', async () => {
    const { decoder: dist } = await linkedPair();
    expect(await warningsDuring(() => dist.finalize())).toEqual(['LLMDataDistMemoryWarning']);
    const methods = standIn.journal().map(({ method }) => method);
    expect(methods.indexOf('aclrtFree')).toBeGreaterThan(methods.indexOf('Finalize'));
    expect(counts().freed).toBe(TENSORS);
  });

  test('is not freed under a copy', async () => {
    const dist = await decoder();
    const region = await dist.allocateMemory(4096);
    standIn.set('aclrtMemcpy', { delay: 20 });
    const copies = [region.write(new Uint8Array(4096)), region.read()];
    await standIn.waitEntered('aclrtMemcpy');
    await Promise.all([...copies, region.free()]);
    expect(received('aclrtFree')).toHaveLength(1);
  });
});
