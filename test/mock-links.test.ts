import { LLMException, LLMRole } from '../lib';
import { Fabric, ManualClock, VirtualClock } from '../lib/testing';
import {
  bytesOf,
  DECODER_CLUSTER,
  DESC,
  fill,
  linkedPair,
  node,
  pair,
  PROMPT_CLUSTER,
  PROMPT_PORT,
  rejection,
} from './fixtures/cluster';

const HOST = '127.0.0.1';

function results(error: unknown): string[] {
  expect(error).toBeInstanceOf(LLMException);
  return (error as LLMException).results?.map(({ code }) => code) ?? [];
}

describe('a peer that does not answer', () => {
  test.each(['silent', 'unreachable'] as const)('%s: a link times out when its time is over', async (disturbance) => {
    const clock = new VirtualClock();
    const { fabric, decoder } = await pair({}, { clock });
    fabric.disturb(HOST, PROMPT_PORT, disturbance);
    const error = await rejection(decoder.dist.linkClusters([PROMPT_CLUSTER], { timeout: 60_000 }));
    expect(error).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'retry' });
    expect(results(error)).toEqual(['LLM_TIMEOUT']);
    expect(String(error)).toContain(`${HOST}:${PROMPT_PORT}`);
    expect(clock.now()).toBe(60_000);
  });

  test('an unlink times out and keeps the link, a forced one does not ask', async () => {
    const { fabric, decoder, decoderCache, promptCache } = await linkedPair();
    fabric.disturb(HOST, PROMPT_PORT, 'unreachable');
    expect(results(await rejection(decoder.dist.unlinkClusters([PROMPT_CLUSTER])))).toEqual(['LLM_TIMEOUT']);
    fabric.disturb(HOST, PROMPT_PORT, undefined);
    await decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]);
    fabric.disturb(HOST, PROMPT_PORT, 'unreachable');
    await decoder.dist.unlinkClusters([PROMPT_CLUSTER], { force: true });
    const error = await rejection(decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]));
    expect(error).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
  });

  test('a transfer times out after llm.SyncKvCacheWaitTime, and works again when the peer does', async () => {
    const fabric = new Fabric();
    const clock = new VirtualClock();
    const prompt = node(LLMRole.PROMPT, 1n, { fabric, clock });
    const decoder = node(LLMRole.DECODER, 2n, { fabric, clock });
    await prompt.dist.init({ deviceId: 0, listenIpInfo: `${HOST}:${PROMPT_PORT}` });
    await decoder.dist.init({ deviceId: 1, syncKvTimeout: 250 });
    const remote = await prompt.dist.kvCacheManager.allocateCache(DESC);
    const local = await decoder.dist.kvCacheManager.allocateCache(DESC);
    await fill(remote, 3);
    await decoder.dist.linkClusters([{ ...PROMPT_CLUSTER, localIpInfos: [{ ip: HOST }] }]);
    const pull = () => decoder.dist.kvCacheManager.pullCache(remote.key(), local);
    fabric.disturb(HOST, PROMPT_PORT, 'silent');
    // Once while the peer's table is still to be copied, once when only the bytes are.
    for (let round = 1; round <= 2; round++) {
      const before = clock.now();
      expect(await rejection(pull())).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'relink', clusterId: 1n });
      expect(clock.now() - before).toBe(250);
      fabric.disturb(HOST, PROMPT_PORT, undefined);
      await pull();
      fabric.disturb(HOST, PROMPT_PORT, 'silent');
    }
    expect(await rejection(decoder.dist.kvCacheManager.pushBlocks(remote.key(), local, [0], [1]))).toMatchObject({
      code: 'LLM_TIMEOUT',
    });
  });

  test('with hixl a link times out as well', async () => {
    const { fabric, decoder } = await hixlPair();
    fabric.disturb(HOST, PROMPT_PORT, 'silent');
    expect(results(await rejection(decoder.dist.linkClusters([PROMPT_CLUSTER])))).toEqual(['LLM_TIMEOUT']);
  });

  test('transfers over one link wait for each other, those over another link do not', async () => {
    const clock = new ManualClock();
    const { fabric, decoder, decoderCache, promptCache } = await linkedPair({}, { clock });
    const other = node(LLMRole.PROMPT, 3n, { fabric, clock });
    await other.dist.init({ deviceId: 2, listenIpInfo: `${HOST}:26002` });
    const otherCache = await other.dist.kvCacheManager.allocateCache(DESC);
    await decoder.dist.linkClusters([{ remoteClusterId: 3n, remoteIpInfos: [{ ip: HOST, port: 26_002 }] }]);
    const { kvCacheManager } = decoder.dist;
    fabric.disturb(HOST, PROMPT_PORT, 'silent');
    const order: string[] = [];
    const note = (name: string) => () => order.push(name);
    const first = kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]).catch(note('first'));
    fabric.disturb(HOST, PROMPT_PORT, undefined);
    const second = kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [1], [1]).then(note('second'));
    await kvCacheManager.pullBlocks(otherCache.key(), decoderCache, [2], [2]).then(note('other link'));
    await clock.advance(1000);
    await Promise.all([first, second]);
    expect(order).toEqual(['other link', 'first', 'second']);
  });

  test('an unlink waits for the transfer that runs, and the ones behind it find no link', async () => {
    const clock = new ManualClock();
    const { fabric, decoder, decoderCache, promptCache } = await linkedPair({}, { clock });
    const { kvCacheManager } = decoder.dist;
    fabric.disturb(HOST, PROMPT_PORT, 'silent');
    const outcomes = [
      kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]),
      decoder.dist.unlinkClusters([PROMPT_CLUSTER], { force: true }),
      kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [1], [1]),
    ].map(async (call) =>
      call.then(
        () => 'LLM_SUCCESS',
        (error: unknown) => (error as LLMException).code,
      ),
    );
    fabric.disturb(HOST, PROMPT_PORT, undefined);
    await clock.advance(1000);
    expect(await Promise.all(outcomes)).toEqual(['LLM_TIMEOUT', 'LLM_SUCCESS', 'LLM_NOT_YET_LINK']);
  });

  test('pushes of an instance wait for each other, over all its links', async () => {
    const clock = new ManualClock();
    const { fabric, decoder, decoderCache, promptCache } = await linkedPair({}, { clock });
    const other = node(LLMRole.PROMPT, 3n, { fabric, clock });
    await other.dist.init({ deviceId: 2, listenIpInfo: `${HOST}:26002` });
    const otherCache = await other.dist.kvCacheManager.allocateCache(DESC);
    await decoder.dist.linkClusters([{ remoteClusterId: 3n, remoteIpInfos: [{ ip: HOST, port: 26_002 }] }]);
    fabric.disturb(HOST, PROMPT_PORT, 'silent');
    const order: string[] = [];
    const { kvCacheManager } = decoder.dist;
    const first = kvCacheManager.pushCache(promptCache.key(), decoderCache).catch(() => order.push('first'));
    const second = kvCacheManager.pushCache(otherCache.key(), decoderCache).then(() => order.push('second'));
    expect(clock.sleeping).toBe(1);
    await clock.advance(1000);
    await Promise.all([first, second]);
    expect(order).toEqual(['first', 'second']);
  });

  test('a push that waits behind a pull goes on with all its layers', async () => {
    const clock = new ManualClock();
    const { fabric, decoder, decoderCache, promptCache } = await linkedPair({}, { clock });
    fabric.disturb(HOST, PROMPT_PORT, 'silent');
    const { kvCacheManager } = decoder.dist;
    const waiting = rejection(kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]));
    fabric.disturb(HOST, PROMPT_PORT, undefined);
    const push = kvCacheManager.pushCache(promptCache.key(2), decoderCache, 1);
    await clock.advance(1000);
    await waiting;
    await push;
    const source = await bytesOf(decoderCache);
    const pushed = await bytesOf(promptCache);
    for (let t = 0; t < 4; t++) {
      expect(pushed.subarray(t * 256 + 128, t * 256 + 192)).toEqual(source.subarray(t * 256 + 64, t * 256 + 128));
    }
  });
});

describe('a link that only one side holds', () => {
  test('to a peer that was finalized fails as the transport does, and says to link again', async () => {
    const { prompt, decoder, promptCache, decoderCache } = await linkedPair();
    const pull = () => decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache);
    await pull();
    await prompt.backend.finalize();
    expect(await rejection(pull())).toMatchObject({ code: 'LLM_FAILED', recovery: 'relink' });
  });

  test('that was never used cannot copy the table of a peer that is gone', async () => {
    const { prompt, decoder, promptCache, decoderCache } = await linkedPair();
    await prompt.dist.kvCacheManager.deallocateCache(promptCache);
    await prompt.dist.finalize();
    const error = await rejection(decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache));
    expect(error).toMatchObject({ code: 'LLM_FAILED', clusterId: 1n, cacheId: 1n });
    expect(String(error)).toContain('gone');
  });
});

describe('memory and links', () => {
  test('a cache registered after the first transfer is unknown, and the message says so', async () => {
    const { prompt, decoder, decoderCache, promptCache } = await linkedPair();
    await decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache);
    const late = await prompt.dist.kvCacheManager.allocateCache(DESC);
    const error = await rejection(decoder.dist.kvCacheManager.pullCache(late.key(), decoderCache));
    expect(error).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST', recovery: 'relink' });
    expect(String(error)).toContain('after this link had copied its table');
  });

  test.each(['local', 'remote'] as const)('%s memory that was freed while registered fails', async (side) => {
    // Guards would not let it be freed.
    const { decoder, decoderCache, promptCache } = await linkedPair({ guards: false });
    const freed = side === 'local' ? decoderCache : promptCache;
    await freed.regions?.[1]?.free();
    const before = await bytesOf({ ...decoderCache, regions: decoderCache.regions!.slice(0, 1) });
    const error = await rejection(decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache));
    expect(error).toMatchObject({ code: 'LLM_FAILED' });
    expect(String(error)).toContain(`the ${side} memory was freed`);
    expect(await bytesOf({ ...decoderCache, regions: decoderCache.regions!.slice(0, 1) })).toEqual(before);
  });

  test('memory of the peer that was unregistered fails, though the peer is still known to have it', async () => {
    // With guards the peer's library would keep it as long as there are links.
    const { prompt, decoder, decoderCache, promptCache } = await linkedPair({ guards: false });
    await decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache);
    await prompt.dist.kvCacheManager.unregisterCache(promptCache);
    const error = await rejection(decoder.dist.kvCacheManager.pullCache(promptCache.key(), decoderCache));
    expect(error).toMatchObject({ code: 'LLM_FAILED' });
    expect(String(error)).toContain('unregistered since');
  });

  test('the cache that registered memory first takes its handle along, and those that share it fail', async () => {
    const { prompt, decoder } = await pair({ guards: false });
    const region = await prompt.dist.allocateMemory(256);
    const desc = { ...DESC, numTensors: 1 };
    const first = await prompt.dist.kvCacheManager.registerCache(desc, [region.address]);
    const second = await prompt.dist.kvCacheManager.registerCache(desc, [region.address]);
    const local = await decoder.dist.kvCacheManager.allocateCache(desc);
    await decoder.dist.linkClusters([PROMPT_CLUSTER]);
    await decoder.dist.kvCacheManager.pullCache(second.key(), local);
    await prompt.dist.kvCacheManager.unregisterCache(first);
    expect(await rejection(decoder.dist.kvCacheManager.pullCache(second.key(), local))).toMatchObject({
      code: 'LLM_FAILED',
    });
  });

  test.each([
    ['an address that nobody allocated', 4096n],
    ['the address behind the last one', undefined],
  ])('registering %s is refused as the transport refuses it, and takes an id', async (_, address) => {
    const { prompt } = await pair({ guards: false });
    const region = await prompt.dist.allocateMemory(256);
    const desc = { ...DESC, numTensors: 1 };
    const error = await rejection(prompt.dist.kvCacheManager.registerCache(desc, [address ?? region.address + 1n]));
    expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'registerCache' });
    const cache = await prompt.dist.kvCacheManager.registerCache(desc, [region.address]);
    expect(cache.cacheId).toBe(2n);
  });

  test('memory of another instance is foreign', async () => {
    const { prompt, decoder } = await pair();
    const region = await prompt.dist.allocateMemory(256);
    const error = await rejection(
      decoder.dist.kvCacheManager.registerCache({ ...DESC, numTensors: 1 }, [region.address]),
    );
    expect(error).toMatchObject({ code: 'LLM_FAILED' });
  });
});

describe('who can link to whom', () => {
  test('an instance that links to itself, or to one on its own device, waits in vain', async () => {
    const clock = new VirtualClock();
    const { prompt, fabric } = await pair({}, { clock });
    expect(results(await rejection(prompt.dist.linkClusters([PROMPT_CLUSTER], { timeout: 1500 })))).toEqual([
      'LLM_TIMEOUT',
    ]);
    expect(clock.now()).toBe(2000);
    const twin = node(LLMRole.DECODER, 5n, { fabric, clock });
    await twin.dist.init({ deviceId: 0, listenIpInfo: `${HOST}:26005` });
    const error = await rejection(twin.dist.linkClusters([PROMPT_CLUSTER]));
    expect(results(error)).toEqual(['LLM_TIMEOUT']);
    expect(String(error)).toContain('device 0 of the same host');
  });

  test('instances with the same device on different hosts link', async () => {
    const fabric = new Fabric();
    const prompt = node(LLMRole.PROMPT, 1n, { fabric });
    const decoder = node(LLMRole.DECODER, 2n, { fabric });
    await prompt.dist.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000' });
    await decoder.dist.init({ deviceId: 0, listenIpInfo: '10.0.0.2:26000' });
    await decoder.dist.linkClusters([{ remoteClusterId: 1, remoteIpInfos: [{ ip: '10.0.0.1', port: 26_000 }] }]);
  });

  test('with the communicator engine of hixl the device decides at once', async () => {
    const fabric = new Fabric();
    const [a, b] = [node(LLMRole.MIX, 1n, { fabric }), node(LLMRole.MIX, 2n, { fabric })];
    await a.dist.init({ deviceId: 0, transferBackend: 'hixl', listenIpInfo: `${HOST}:26000` });
    await b.dist.init({ deviceId: 0, transferBackend: 'hixl', listenIpInfo: `${HOST}:26001` });
    expect(results(await rejection(b.dist.linkClusters([PROMPT_CLUSTER])))).toEqual(['LLM_PARAM_INVALID']);
  });

  test('transfer backends and engines do not mix', async () => {
    const { fabric, decoder } = await pair();
    const hixl = node(LLMRole.MIX, 3n, { fabric });
    await hixl.dist.init({ deviceId: 3, transferBackend: 'hixl', listenIpInfo: `${HOST}:26003` });
    const newer = node(LLMRole.MIX, 4n, { fabric });
    await newer.dist.init({
      deviceId: 4,
      transferBackend: 'hixl',
      listenIpInfo: `${HOST}:26004`,
      localCommRes: COMM_RES_1_3,
    });
    const to = (id: bigint, port: number) => [{ remoteClusterId: id, remoteIpInfos: [{ ip: HOST, port }] }];
    for (const [from, target] of [
      [decoder, to(3n, 26_003)],
      [hixl, to(1n, PROMPT_PORT)],
      [hixl, to(4n, 26_004)],
    ] as const) {
      expect(results(await rejection(from.dist.linkClusters(target)))).toEqual(['LLM_FAILED']);
    }
    expect(results(await rejection(decoder.dist.unlinkClusters(to(3n, 26_003))))).toEqual(['LLM_FAILED']);
  });

  test('one cluster named twice in a call is linked twice, and both succeed', async () => {
    const { decoder } = await pair({ guards: false });
    const both = await decoder.dist.linkClusters([PROMPT_CLUSTER, PROMPT_CLUSTER]);
    expect(both.map(({ code }) => code)).toEqual(['LLM_SUCCESS', 'LLM_SUCCESS']);
    expect(results(await rejection(decoder.dist.linkClusters([PROMPT_CLUSTER, PROMPT_CLUSTER])))).toEqual([
      'LLM_ALREADY_LINK',
      'LLM_ALREADY_LINK',
    ]);
  });

  test('a wrong device in the own llm.LocalCommRes leaves the peer waiting', async () => {
    const fabric = new Fabric();
    const clock = new VirtualClock();
    const prompt = node(LLMRole.PROMPT, 1n, { fabric, clock });
    const decoder = node(LLMRole.DECODER, 2n, { fabric, clock });
    await prompt.dist.init({ deviceId: 0, listenIpInfo: `${HOST}:${PROMPT_PORT}` });
    await decoder.dist.init({ deviceId: 1, localCommRes: commRes('3') });
    expect(results(await rejection(decoder.dist.linkClusters([PROMPT_CLUSTER])))).toEqual(['LLM_TIMEOUT']);
    await decoder.dist.finalize();
    await decoder.dist.init({ deviceId: 1, localCommRes: commRes('1') });
    await decoder.dist.linkClusters([PROMPT_CLUSTER]);
  });
});

describe('listeners', () => {
  test.each([
    ['0.0.0.0:26000', '127.0.0.1:26000'],
    ['127.0.0.1:26000', '0.0.0.0:26000'],
    ['[::]:26000', '127.0.0.1:26000'],
    ['127.0.0.1:26000', '127.0.0.1:26000'],
  ])('%s keeps %s from being taken, and says who has it', async (first, second) => {
    const fabric = new Fabric();
    const [a, b] = [node(LLMRole.PROMPT, 1n, { fabric }), node(LLMRole.PROMPT, 2n, { fabric })];
    await a.dist.init({ deviceId: 0, listenIpInfo: first });
    const error = await rejection(b.dist.init({ deviceId: 1, listenIpInfo: second }));
    expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'init', recovery: 'fix-environment' });
    expect(String(error)).toContain('taken by cluster 1');
    await a.dist.finalize();
    await b.dist.init({ deviceId: 1, listenIpInfo: second });
  });

  test('the any-address leads to this host, but not with the communicator engine', async () => {
    const { decoder } = await pair();
    const anywhere = { remoteClusterId: 1n, remoteIpInfos: [{ ip: '0.0.0.0', port: PROMPT_PORT }] };
    await decoder.dist.linkClusters([anywhere]);
    const { decoder: hixl } = await hixlPair();
    expect(results(await rejection(hixl.dist.linkClusters([anywhere])))).toEqual(['LLM_FAILED']);
  });

  test('different addresses share a port', async () => {
    const fabric = new Fabric();
    for (const [i, ip] of ['127.0.0.1', '127.0.0.2', '10.0.0.1'].entries()) {
      await node(LLMRole.PROMPT, BigInt(i), { fabric }).dist.init({ deviceId: i, listenIpInfo: `${ip}:26000` });
    }
  });

  test('without guards port 0 takes any port, and a large one is cut to 16 bits', async () => {
    const fabric = new Fabric();
    const options = { guards: false };
    for (const id of [1n, 2n]) {
      const { dist } = node(LLMRole.PROMPT, id, { fabric }, options);
      await dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:0' });
    }
    const cut = node(LLMRole.PROMPT, 3n, { fabric }, options);
    await cut.dist.init({ deviceId: 3, listenIpInfo: '127.0.0.1:95000' });
    const decoder = node(LLMRole.DECODER, 4n, { fabric }, options);
    await decoder.dist.init({ deviceId: 4 });
    await decoder.dist.linkClusters([
      { remoteClusterId: 3n, remoteIpInfos: [{ ip: HOST, port: 29_464 }], localIpInfos: [{ ip: HOST }] },
    ]);
  });

  test('with hixl port 0 is no listener', async () => {
    const { dist } = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() }, { guards: false });
    await dist.init({ deviceId: 0, transferBackend: 'hixl', listenIpInfo: '127.0.0.1:0' });
    await dist.finalize();
  });

  test('an init that fails late keeps its port until the next one of the same instance', async () => {
    const fabric = new Fabric();
    const first = node(LLMRole.PROMPT, 1n, { fabric }, { guards: false });
    const second = node(LLMRole.PROMPT, 2n, { fabric });
    const late = { deviceId: 0, listenIpInfo: `${HOST}:${PROMPT_PORT}`, 'llm.SyncKvCacheWaitTime': 'x' };
    expect(await rejection(first.dist.init(late))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    const busy = await rejection(second.dist.init({ deviceId: 1, listenIpInfo: `${HOST}:${PROMPT_PORT}` }));
    expect(String(busy)).toContain('an instance whose Initialize failed');
    await second.dist.init({ deviceId: 1, listenIpInfo: `${HOST}:26001` });
    expect(results(await rejection(second.dist.linkClusters([PROMPT_CLUSTER])))).toEqual(['LLM_FAILED']);
    await first.dist.init({ deviceId: 0 });
    expect(results(await rejection(second.dist.linkClusters([PROMPT_CLUSTER])))).toEqual(['LLM_LINK_FAILED']);
  });

  test.each([
    ['another backend that is none', { transferBackend: 'bad' }, true],
    ['a list of devices', { deviceId: [0, 1] }, true],
    ['a listen address that is none', { listenIpInfo: 'x' }, false],
  ])('the port of an init that failed late is free after one that fails on %s: %s', async (_, options, free) => {
    const fabric = new Fabric();
    const first = node(LLMRole.PROMPT, 1n, { fabric }, { guards: false });
    const address = { deviceId: 0, listenIpInfo: `${HOST}:${PROMPT_PORT}` };
    await rejection(first.dist.init({ ...address, 'llm.SyncKvCacheWaitTime': 'x' }));
    await rejection(first.dist.init({ ...address, ...options }));
    const second = node(LLMRole.PROMPT, 2n, { fabric });
    const outcome = second.dist.init(address).then(
      () => true,
      () => false,
    );
    expect(await outcome).toBe(free);
  });

  test.each([
    ['communicator', {}, 'LLM_PARAM_INVALID'],
    ['newer', { localCommRes: '<1.3>' }, 'LLM_FAILED'],
  ])('with the %s engine of hixl the port is lost, for the instance too', async (_, extra, code) => {
    const { dist } = node(LLMRole.PROMPT, 1n, { fabric: new Fabric() }, { guards: false });
    const options = { deviceId: 0, transferBackend: 'hixl', listenIpInfo: `${HOST}:${PROMPT_PORT}`, ...extra };
    if ('localCommRes' in options) options.localCommRes = COMM_RES_1_3;
    expect(await rejection(dist.init({ ...options, 'llm.SyncKvCacheWaitTime': 'x' }))).toMatchObject({
      code: 'LLM_PARAM_INVALID',
    });
    expect(await rejection(dist.init(options))).toMatchObject({ code });
  });

  test('instances on different fabrics do not see each other', async () => {
    const { decoder } = await pair();
    const stranger = node(LLMRole.DECODER, 9n, { fabric: new Fabric() });
    await stranger.dist.init({ deviceId: 9, listenIpInfo: `${HOST}:${PROMPT_PORT}` });
    await decoder.dist.linkClusters([PROMPT_CLUSTER]);
    expect(results(await rejection(stranger.dist.linkClusters([DECODER_CLUSTER])))).toEqual(['LLM_LINK_FAILED']);
  });
});

const COMM_RES_1_3 = JSON.stringify({
  version: '1.3',
  net_instance_id: 'superpod0',
  endpoint_list: [{ protocol: 'roce', comm_id: HOST, placement: 'host' }],
});

function commRes(deviceId: string): string {
  return JSON.stringify({ version: '1.0', server_list: [{ server_id: HOST, device: [{ device_id: deviceId }] }] });
}

async function hixlPair() {
  const fabric = new Fabric();
  const prompt = node(LLMRole.PROMPT, 1n, { fabric });
  const decoder = node(LLMRole.DECODER, 2n, { fabric });
  await prompt.dist.init({ deviceId: 0, transferBackend: 'hixl', listenIpInfo: `${HOST}:${PROMPT_PORT}` });
  await decoder.dist.init({ deviceId: 1, transferBackend: 'hixl', listenIpInfo: `${HOST}:26001` });
  return { fabric, prompt, decoder };
}

test.each(['linkClusters', 'unlinkClusters'] as const)(
  '%s that is refused as a whole has no results',
  async (operation) => {
    const { prompt, decoder } = await pair();
    await decoder.dist.finalize();
    const refused = [
      decoder.dist[operation]([PROMPT_CLUSTER]),
      prompt.dist[operation]([]),
      prompt.dist[operation]([DECODER_CLUSTER], { timeout: 0 }),
    ];
    for (const call of refused) expect(await rejection(call)).toMatchObject({ results: [] });
  },
);

test('a thousand clusters that fail are told in a message that one can read, and all in the results', async () => {
  const { decoder } = await pair();
  const clusters = Array.from({ length: 1000 }, (_, i) => ({
    remoteClusterId: i + 100,
    remoteIpInfos: [{ ip: HOST, port: 30_000 + i }],
  }));
  const error = (await rejection(decoder.dist.linkClusters(clusters))) as LLMException;
  expect(error.results?.length).toBe(1000);
  expect(error.message.length).toBeLessThan(4000);
  expect(error.message).toContain('and 984 more');
});

test('an address of a mebibyte is quoted in part', async () => {
  const { decoder } = await pair();
  const clusters = [{ remoteClusterId: 1, remoteIpInfos: [{ ip: 'x'.repeat(2 ** 20), port: 1 }] }];
  const error = (await rejection(decoder.dist.linkClusters(clusters))) as LLMException;
  expect(error.message.length).toBeLessThan(1000);
});
