import { LLMDataDist, LLMException, LLMRole } from '../lib';
import { namePeers } from '../lib/backend/native/link-failure';
import { createFabric, Fabric } from '../lib/testing';
import { linkedPair, node, PROMPT_CLUSTER, rejection } from './fixtures/cluster';

test('a link that exists is reported once, and its remedy asks for one relink', async () => {
  const { decoder } = await linkedPair();
  const error = (await rejection(decoder.dist.linkClusters([PROMPT_CLUSTER]))) as LLMException;
  expect(error).toMatchObject({ code: 'LLM_ALREADY_LINK', recovery: 'unlink-first' });
  expect(error.message.match(/cluster 1\b/g)).toHaveLength(1);
  expect(error.remedy).toMatch(/If another call of this process has just made the link, use that one/);
});

describe('a switch of the role that is not enabled', () => {
  test('speaks of the listen address with hixl', async () => {
    const { dist } = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() });
    await dist.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000', transferBackend: 'hixl' });
    const error = await rejection(dist.switchRole(LLMRole.DECODER, { listenIpInfo: '10.0.0.1:26001' }));
    expect(error).toMatchObject({
      code: 'LLM_FEATURE_NOT_ENABLED',
      remedy: expect.stringMatching(/^With the hixl backend the listen address cannot change/) as string,
    });
  });

  test('speaks of enableSwitchRole and not of hixl with the older engine', () => {
    const { remedy } = new LLMException(0x5010_b019, { operation: 'switchRole' });
    expect(remedy).toContain('enableSwitchRole: true');
    expect(remedy).not.toContain('hixl');
  });
});

test.each([
  ['linkClusters', 'linked'],
  ['unlinkClusters', 'unlinked'],
])('a failure of %s in which no cluster failed says so', (operation, state) => {
  const results = [{ remoteClusterId: 1n, statusCode: 0, code: 'LLM_SUCCESS' }];
  const error = namePeers(new LLMException(0xffff_ffff, { operation, results }), [], 12.3) as LLMException;
  expect(error).toMatchObject({ code: 'LLM_FAILED', recovery: 'none', results });
  expect(error.message).toContain('the library reports LLM_FAILED for the call, and success for each of its clusters');
  expect(error.remedy).toContain(`Take the clusters as ${state}`);
});

test('a key of a cache that there is not asks for a new key, and for no unlink', async () => {
  const { decoder, decoderCache } = await linkedPair();
  const key = { clusterId: 1n, cacheId: 99n };
  const error = (await rejection(decoder.dist.kvCacheManager.pullBlocks(key, decoderCache, [0], [0]))) as LLMException;
  expect(error).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST', recovery: 'stale-key' });
  expect(error.remedy).toMatch(/ask the peer for a new key; do not unlink/);
});

test('an instance that a fabric has killed is not initialised', async () => {
  using fabric = createFabric();
  const dist = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
  await dist.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000' });
  expect(dist.isInitialized).toBe(true);
  fabric.kill(dist);
  expect(dist.isInitialized).toBe(false);
});
