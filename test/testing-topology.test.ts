import { LLMRole } from '../lib';
import { createFabric } from '../lib/testing';
import { bytesOf, DESC, fill, rejection, rowOf } from './fixtures/cluster';
import { clusterOf, linked, make, newFabric, pass, sleepers, start, stateOf } from './fixtures/fabric';
import type { Linked } from './fixtures/fabric';
import { warningsDuring } from './fixtures/warnings';

const pull = ({ decoder, promptCache, decoderCache }: Linked) =>
  decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]);

const linkOf = ({ fabric }: Linked, node: bigint) =>
  fabric.topology().nodes.find((each) => each.node === node)?.links[0];

describe('a node that was killed', () => {
  test('rejects its own calls, and says why, those in flight too', async () => {
    const all = await linked();
    const { fabric, decoder, decoderCache } = all;
    fabric.inject({ op: 'pullBlocks', delayMs: 1000 });
    const inFlight = pull(all);
    fabric.kill(decoder);
    for (const call of [
      inFlight,
      decoder.linkClusters([clusterOf(1n)]),
      decoder.unlinkClusters([clusterOf(1n)], { force: true }),
      decoder.switchRole(LLMRole.DECODER),
      decoder.allocateMemory(8),
      decoderCache.regions![0]!.read(),
    ]) {
      const error = await rejection(call);
      expect(error).toMatchObject({ code: 'LLM_FAILED' });
      expect(String(error)).toContain('cluster 2 was killed');
    }
    // Its memory went with it: nothing was left behind by anybody.
    expect(await warningsDuring(() => decoder.finalize())).toEqual([]);
    expect(decoder.isInitialized).toBe(false);
  });

  test('writes nothing any more when a delay has passed', async () => {
    const all = await linked();
    const before = await bytesOf(all.promptCache);
    all.fabric.inject({ op: 'pushCache', delayMs: 10 });
    const pushed = rejection(all.decoder.kvCacheManager.pushCache(all.promptCache.key(), all.decoderCache));
    await sleepers(all.fabric, 1);
    all.fabric.kill(2n);
    await pass(all.fabric, 10);
    expect(await pushed).toMatchObject({ code: 'LLM_FAILED' });
    expect(await bytesOf(all.promptCache)).toEqual(before);
  });

  test('is a dead process to its peers, and one to relink to when it was restarted', async () => {
    const all = await linked();
    const { fabric, prompt, decoder, decoderCache } = all;
    await pull(all);
    fabric.kill(prompt);
    expect(await rejection(pull(all))).toMatchObject({ code: 'LLM_FAILED', recovery: 'relink', clusterId: 1n });
    expect(await rejection(decoder.unlinkClusters([clusterOf(1n)]))).toMatchObject({ code: 'LLM_UNLINK_FAILED' });
    expect(linkOf(all, 2n)).toMatchObject({ peer: 1n, isUp: false });
    expect(await rejection(decoder.linkClusters([clusterOf(1n)]))).toMatchObject({ code: 'LLM_LINK_FAILED' });
    fabric.restart(prompt);
    const again = await start(fabric, 1n);
    const cache = await again.kvCacheManager.allocateCache(DESC);
    await fill(cache, 55);
    expect(await rejection(pull(all))).toMatchObject({ code: 'LLM_FAILED' });
    expect(await rejection(decoder.linkClusters([clusterOf(1n)]))).toMatchObject({ code: 'LLM_ALREADY_LINK' });
    await decoder.unlinkClusters([clusterOf(1n)], { force: true });
    await decoder.linkClusters([clusterOf(1n)]);
    await decoder.kvCacheManager.pullBlocks(cache.key(), decoderCache, [0], [0]);
    expect(await rowOf(decoderCache, 0, 0)).toEqual(await rowOf(cache, 0, 0));
  });

  test('cannot be initialised anew before it is restarted, and as the same instance never', async () => {
    const { fabric, prompt } = await linked();
    fabric.kill(1n);
    const early = make(fabric, 1n);
    expect(await rejection(early.init({ deviceId: 0 }))).toMatchObject({
      code: 'LLM_FAILED',
      recovery: 'fix-environment',
    });
    fabric.restart(1n);
    await early.init({ deviceId: 0 });
    await warningsDuring(() => prompt.finalize());
    expect(await rejection(prompt.init({ deviceId: 0 }))).toMatchObject({ code: 'LLM_FAILED' });
  });

  test('fails a transfer that is under way to it at once, and no other', async () => {
    const all = await linked();
    const { fabric, decoder, decoderCache } = all;
    const other = await start(fabric, 3n);
    const otherCache = await other.kvCacheManager.allocateCache(DESC);
    await decoder.linkClusters([clusterOf(3n)]);
    fabric.inject({ op: 'pullBlocks', delayMs: 100 });
    const lost = rejection(pull(all));
    const kept = decoder.kvCacheManager.pullBlocks(otherCache.key(), decoderCache, [0], [0]);
    fabric.kill(1n);
    expect(String(await lost)).toContain('cluster 1 was killed while the transfer was under way');
    expect(await stateOf(kept)).toBe('pending');
    await pass(fabric, 100);
    await kept;
  });

  test('must be known to be killed, and down to be restarted', async () => {
    const { fabric } = await linked();
    expect(() => {
      fabric.kill(9n);
    }).toThrow('a node of this fabric: cluster 1, cluster 2. Received 9n');
    expect(() => {
      fabric.restart(1n);
    }).toThrow('a node that was killed, of which there is none. Received 1n');
    expect(() => {
      fabric.kill('prompt' as never);
    }).toThrow(TypeError);
  });
});

type Cut = [method: 'partition' | 'isolate' | 'heal', a?: bigint, b?: bigint];

describe('a partition', () => {
  test('lets transfers and unlinks end with LLM_TIMEOUT after their time on the fabric’s clock, and keeps the link', async () => {
    const all = await linked();
    const start = all.fabric.clock.now();
    all.fabric.partition(all.prompt, all.decoder);
    const pulled = rejection(pull(all));
    const unlinked = rejection(all.decoder.unlinkClusters([clusterOf(1n)], { timeout: 700 }));
    for (const [call, ms] of [[pulled, 1000] as const, [unlinked, 700] as const]) {
      await sleepers(all.fabric, 1);
      await pass(all.fabric, ms);
      expect(await call).toMatchObject({ code: 'LLM_TIMEOUT' });
    }
    expect(all.fabric.clock.now() - start).toBe(1700);
    expect(all.fabric.history.slice(-2)).toMatchObject([
      { op: 'pullBlocks', durationMs: 1000 },
      { op: 'unlinkClusters', durationMs: 700 },
    ]);
    expect(linkOf(all, 2n)).toMatchObject({ isUp: false });
    all.fabric.heal();
    expect(linkOf(all, 2n)).toMatchObject({ isUp: true });
    await pull(all);
  });

  test('lets links end with LLM_TIMEOUT', async () => {
    const fabric = newFabric();
    await start(fabric, 1n);
    const decoder = await start(fabric, 2n);
    fabric.isolate(1n);
    const link = rejection(decoder.linkClusters([clusterOf(1n)], { timeout: 400 }));
    await sleepers(fabric, 1);
    await pass(fabric, 400);
    expect(await link).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'retry' });
    fabric.heal(1n);
    await decoder.linkClusters([clusterOf(1n)]);
  });

  test.each<[string, Cut[], string[]]>([
    ['of two', [['partition', 1n, 2n]], ['1-3', '2-3']],
    ['by isolation', [['isolate', 1n]], ['2-3']],
    [
      'healed between two',
      [
        ['isolate', 1n],
        ['heal', 1n, 3n],
      ],
      ['1-3', '2-3'],
    ],
    [
      'parted again',
      [
        ['isolate', 1n],
        ['heal', 1n, 3n],
        ['partition', 3n, 1n],
      ],
      ['2-3'],
    ],
    [
      'isolated again',
      [
        ['isolate', 1n],
        ['heal', 3n, 1n],
        ['isolate', 1n],
      ],
      ['2-3'],
    ],
    [
      'healed for one',
      [
        ['isolate', 1n],
        ['partition', 2n, 3n],
        ['heal', 1n],
      ],
      ['1-2', '1-3'],
    ],
    [
      'healed for one of two',
      [
        ['isolate', 1n],
        ['isolate', 2n],
        ['heal', 1n],
      ],
      ['1-3'],
    ],
    [
      'parted and healed',
      [
        ['partition', 1n, 2n],
        ['heal', 2n, 1n],
      ],
      ['1-2', '1-3', '2-3'],
    ],
    ['healed', [['isolate', 2n], ['partition', 1n, 3n], ['heal']], ['1-2', '1-3', '2-3']],
  ])('%s cuts what it says and nothing else', async (_, cuts, passing) => {
    const fabric = newFabric();
    const [one, two] = [await start(fabric, 1n), await start(fabric, 2n), await start(fabric, 3n)];
    await one.linkClusters([clusterOf(2n), clusterOf(3n)]);
    await two.linkClusters([clusterOf(3n)]);
    for (const [method, a, b] of cuts) {
      if (method === 'partition') fabric.partition(a!, b!);
      else if (method === 'isolate') fabric.isolate(a!);
      else fabric.heal(a, b);
    }
    const up = fabric
      .topology()
      .nodes.flatMap(({ node, links }) =>
        links.flatMap(({ peer, isUp }) => (isUp && node < peer ? [`${node}-${peer}`] : [])),
      );
    expect(up).toEqual(passing);
  });

  test('needs two nodes', () => {
    const fabric = createFabric();
    expect(() => {
      fabric.partition(1n, 1n);
    }).toThrow(RangeError);
    expect(() => {
      fabric.heal(1n, 1n);
    }).toThrow(RangeError);
    expect(() => {
      fabric.isolate({} as never);
    }).toThrow(TypeError);
  });
});

test('two fabrics do not see each other, under the same ids and addresses', async () => {
  const one = await linked();
  const other = await linked();
  one.fabric.inject({ op: 'pullBlocks', status: 'LLM_FAILED' });
  one.fabric.isolate(1n);
  await rejection(pull(one));
  one.fabric.kill(1n);
  await pull(other);
  const alone = await start(newFabric(), 2n);
  expect(await rejection(alone.linkClusters([clusterOf(1n)]))).toMatchObject({ code: 'LLM_LINK_FAILED' });
  expect(other.fabric.history.every(({ state }) => state === 'succeeded')).toBe(true);
});

describe('the topology', () => {
  test('shows nodes, links, caches and memory', async () => {
    const all = await linked();
    await pull(all);
    const [prompt, decoder] = all.fabric.topology().nodes;
    expect(prompt).toMatchObject({
      node: 1n,
      role: LLMRole.MIX,
      state: 'initialised',
      address: '10.0.0.1:27000',
      calls: 0,
    });
    expect(prompt?.links).toEqual([{ peer: 2n, address: '10.0.0.2:27000', isUp: true, snapshot: 'none' }]);
    expect(decoder?.links).toEqual([{ peer: 1n, address: '10.0.0.1:27000', isUp: true, snapshot: 'current' }]);
    expect(decoder?.caches).toEqual([{ cacheId: 1n, numTensors: 4, rows: 4, tensorBytes: 256 }]);
    expect(decoder?.memory.map(({ byteLength }) => byteLength)).toEqual([256, 256, 256, 256]);
  });

  test('tells when the copied table of a peer is stale', async () => {
    const all = await linked({ strict: false });
    await pull(all);
    expect(linkOf(all, 2n)).toMatchObject({ snapshot: 'current' });
    await all.prompt.kvCacheManager.allocateCache(DESC);
    expect(linkOf(all, 2n)).toMatchObject({ snapshot: 'stale' });
  });

  test('shows what was made, killed and restarted', async () => {
    const fabric = newFabric();
    make(fabric, 1n);
    const states = () => fabric.topology().nodes.map(({ node, state }) => `${node} ${state}`);
    expect(states()).toEqual(['1 made']);
    await start(fabric, 2n);
    fabric.kill(2n);
    expect(states()).toEqual(['1 made', '2 down']);
    fabric.restart(2n);
    await start(fabric, 2n);
    expect(states()).toEqual(['1 made', '2 initialised']);
  });
});

describe('a fabric that is closed', () => {
  test('leaves nothing behind, and nothing to warn of', async () => {
    const all = await linked();
    all.fabric.inject({ op: 'pullBlocks', hang: true });
    const hanging = pull(all);
    expect(await stateOf(hanging)).toBe('pending');
    all.fabric.close();
    expect(await rejection(hanging)).toMatchObject({ code: 'LLM_FAILED' });
    expect(() => {
      all.fabric.assertIdle();
    }).not.toThrow();
    expect(await warningsDuring(() => all.prompt.finalize())).toEqual([]);
    all.fabric.close();
  });

  test('fails every call, of instances that it has and of those that are made later', async () => {
    const all = await linked();
    const { fabric, prompt, decoder } = all;
    const made = make(fabric, 7n);
    fabric.inject({ op: 'pullBlocks', hang: true });
    const hanging = pull(all);
    expect(await stateOf(hanging)).toBe('pending');
    fabric.close();
    const later = make(fabric, 8n);
    fabric.restart(1n);
    const again = make(fabric, 1n);
    for (const call of [
      hanging,
      pull(all),
      prompt.allocateMemory(1),
      decoder.linkClusters([{ remoteClusterId: 1n, remoteIpInfos: [{ ip: '10.0.0.1', port: 26_000 }] }]),
      prompt.switchRole(LLMRole.DECODER),
      ...[made, later, again].map((dist) => dist.init({ deviceId: 0 })),
    ]) {
      expect(await rejection(call)).toMatchObject({
        code: 'LLM_FAILED',
        recovery: 'fatal',
        message: expect.stringContaining('the fabric was closed') as string,
        remedy: expect.stringContaining('createFabric()') as string,
      });
    }
    const ended = [prompt, decoder, made, later, again].map((dist) => dist.finalize());
    expect(await warningsDuring(() => Promise.all(ended))).toEqual([]);
    expect(() => {
      fabric.assertIdle();
    }).not.toThrow();
  });

  test('is so at the end of a block', async () => {
    let prompt;
    {
      using fabric = createFabric();
      prompt = await start(fabric, 1n);
    }
    expect(await rejection(prompt.allocateMemory(1))).toMatchObject({ code: 'LLM_FAILED' });
    await prompt.finalize();
  });
});
