import { LLMDataDist, LLMException, LLMRole } from '../lib';
import { namePeers } from '../lib/backend/native/link-failure';
import { Links } from '../lib/links';
import { knownStatusCodes, operations, remedyOf } from '../lib/status';
import { createFabric, Fabric } from '../lib/testing';
import { givenUp, refused as refusedFor } from '../lib/unresponsive';
import { DESC, linkedPair, node, PROMPT_CLUSTER, rejection } from './fixtures/cluster';

test('a link that exists is reported once, and its remedy asks for one relink', async () => {
  const { decoder } = await linkedPair();
  const error = (await rejection(decoder.dist.linkClusters([PROMPT_CLUSTER]))) as LLMException;
  expect(error).toMatchObject({ code: 'LLM_ALREADY_LINK', recovery: 'unlink-first' });
  expect(error.message.match(/cluster 1\b/g)).toHaveLength(1);
  expect(error.remedy).toMatch(
    /If another call of this process has just linked that cluster with the life that the cluster reports now, use that/,
  );
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

/** What no advice may say to many requests that read it at once, or say with nothing in it. */
function expectSafe(advice: string): void {
  if (
    /unlink|relink|link (again|anew|that cluster)/i.test(advice) &&
    !/do not unlink|leave all links|wait until the unlink/.test(advice)
  ) {
    expect(advice).toMatch(/\bonce\b|is gone/);
  }
  for (const sentence of advice.split(/(?<=\.) /))
    if (/(?<!un)\blink again\b/.test(sentence)) expect(sentence).toMatch(/\bonce\b/);
  if (/\bunlink (that|each|those|with|cluster)/i.test(advice)) expect(advice).toMatch(/\bonce\b/);
  expect(advice).not.toMatch(/: *$|: *[.;,]|, *[,.;]|cluster undefined|\[object/);
  expect(advice).not.toMatch(/\b(nobody|somebody|whoever|told|tells)\b/i);
  expect(advice.trim()).not.toBe('');
}

test.each(operations)('every remedy of %s can be followed by many requests at once', (operation) => {
  for (const code of [...knownStatusCodes, 507_899]) expectSafe(remedyOf(code, operation));
});

describe('what has to be done so that memory is given back', () => {
  const linkTo = (...ids: number[]) => {
    const links = new Links();
    const clusters = ids.map((id) => ({
      ...PROMPT_CLUSTER,
      remoteClusterId: BigInt(id),
      remoteRoleType: 1,
      localIpInfos: [],
      remoteIpInfos: [],
    }));
    if (clusters.length > 0)
      links.link(
        clusters,
        clusters.map(() => 0),
      );
    return links;
  };

  test.each([
    ['a client with one link', {}, [1]],
    ['a client with many links', {}, Array.from({ length: 300 }, (_, i) => i)],
    ['a client whose last link has just gone', {}, []],
    ['a listener with a link', { 'llm.ListenIpInfo': '10.0.0.1:26000' }, [1]],
    ['a listener without one', { 'llm.ListenIpInfo': '10.0.0.1:26000' }, []],
    ['a listener with hixl', { 'llm.ListenIpInfo': '10.0.0.1:26000', 'llm.TransferBackend': 'hixl' }, [1]],
  ])('is said once for all calls, and names no empty list: %s', (_, options, ids) => {
    const links = linkTo(...ids);
    links.start(options);
    for (const canTell of [true, false]) {
      const advice = links.remedy(0, canTell);
      expectSafe(advice);
      if (links.mayExist) expect(advice).toMatch(/^once for all calls, when the transfers have ended, /);
    }
  });
});

describe('advice of calls that are refused', () => {
  const refused: Record<string, () => Promise<unknown>> = {
    'before init': async () =>
      rejection(node(LLMRole.PROMPT, 1n, { fabric: new Fabric() }).dist.linkClusters([PROMPT_CLUSTER])),
    'after finalize': async () => {
      const { decoder } = await linkedPair();
      await decoder.dist.finalize();
      return rejection(decoder.dist.kvCacheManager.allocateCache(DESC));
    },
    'during finalize': async () => {
      const { decoder } = await linkedPair();
      const finalized = decoder.dist.finalize();
      const error = await rejection(decoder.dist.kvCacheManager.allocateCache(DESC));
      await finalized;
      return error;
    },
    'with a link that exists': async () => {
      const { decoder } = await linkedPair();
      return rejection(decoder.dist.linkClusters([PROMPT_CLUSTER]));
    },
    'without the link': async () => {
      const { decoder, promptCache, decoderCache } = await linkedPair();
      await decoder.dist.unlinkClusters([PROMPT_CLUSTER]);
      return rejection(decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache));
    },
    'with a link where none may be': async () => {
      const { prompt } = await linkedPair();
      return rejection(prompt.dist.switchRole(LLMRole.MIX));
    },
    'in memory that waits for links': async () => {
      const { decoder, decoderCache } = await linkedPair();
      const { kvCacheManager } = decoder.dist;
      const addrs = decoderCache.tensorAddrs;
      await kvCacheManager.unregisterCache(decoderCache.cacheId);
      return rejection(kvCacheManager.registerCache(DESC, addrs));
    },
    'with a peer that is unresponsive': () =>
      Promise.resolve(
        refusedFor('pullBlocks', 1n, { kind: 'pull', clusterId: 1n, elapsedMs: 1000 }, 5, Promise.resolve()),
      ),
    'that hang': () =>
      Promise.resolve(
        givenUp('pullBlocks', 1n, { kind: 'pull', clusterId: 1n, elapsedMs: 1000 }, 5, Promise.resolve()),
      ),
    'while a push hangs': () =>
      Promise.resolve(
        refusedFor('pushBlocks', 2n, { kind: 'push', clusterId: 1n, elapsedMs: 1000 }, 5, Promise.resolve()),
      ),
    'behind a push that hangs': () =>
      Promise.resolve(
        givenUp('pushBlocks', 2n, { kind: 'push', clusterId: 1n, elapsedMs: 1000 }, 5, Promise.resolve()),
      ),
  };

  test.each(Object.entries(refused))('can be followed by many requests at once: %s', async (_, call) => {
    const error = await call();
    expect(error).toBeInstanceOf(LLMException);
    const { remedy, message } = error as LLMException;
    expectSafe(remedy);
    expectSafe(message);
  });

  test('of a local cache that was unregistered asks for no key of the peer', async () => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    await decoder.dist.kvCacheManager.unregisterCache(decoderCache.cacheId);
    const error = await rejection(decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache));
    expect(error).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST', recovery: 'fix-input' });
    expect((error as LLMException).remedy).not.toMatch(/peer|link/);
  });
});
