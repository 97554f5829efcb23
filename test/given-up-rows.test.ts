import { LLMDataDist, LLMException, LLMRole, LLMStatusCode } from '../lib';
import type { AbortError, Backend, CallOptions, KvCache } from '../lib';
import { Fabric, ManualClock, MockBackend } from '../lib/testing';
import { expectQuietProcess } from './bad-input/quiet-process';
import { turn } from './bad-input/states';
import { bytesOf, DESC, fill, PROMPT_CLUSTER, rejection, rowOf, track } from './fixtures/cluster';
import { clusterOf, stateOf } from './fixtures/fabric';
import { watch } from './fixtures/hangs';
import { hold } from './fixtures/held-calls';
import { star } from './fixtures/star';
import type { Star } from './fixtures/star';
import { warningsDuring } from './fixtures/warnings';

/** The library's limit of a transfer where nothing is said, and the preset of `hangTimeout`. */
const LIMIT_MS = 1000 + 60_000;
const ROW_BYTES = 64;
/** The row of this side that each transfer here moves. */
const ROW = 1;

const REFUSED = { code: 'LLM_PARAM_INVALID', remedy: expect.stringContaining('Rule rows-in-flight') as string };
const GIVEN_UP = { code: 'LLM_TIMEOUT', recovery: 'retry', deadline: 'package' };

type Operation = 'pullCache' | 'pullBlocks' | 'pushCache' | 'pushBlocks';

interface Hung extends Star {
  /** What the transfer that hangs was rejected with. */
  readonly error: LLMException & { released: Promise<void> };
  /** Lets it come back. */
  readonly comeBack: () => Promise<void>;
}

expectQuietProcess();

function call(net: Star, op: Operation, options?: CallOptions): Promise<void> {
  const { decoder, promptCache, decoderCache } = net;
  const { kvCacheManager: caches } = decoder;
  return op === 'pullCache' || op === 'pushCache'
    ? caches[op](promptCache.key(2), decoderCache, ROW, options)
    : caches[op](
        promptCache.key(),
        decoderCache,
        op === 'pullBlocks' ? [2] : [ROW],
        op === 'pullBlocks' ? [ROW] : [2],
        options,
      );
}

/** Node 2, one of whose transfers with node 1 was given up. */
async function hung(op: Operation, guards = true): Promise<Hung> {
  const net = await star({}, { guards });
  const { fabric } = net;
  const injected = fabric.inject({ op, peer: 1n, times: 1, hang: true });
  const watched = watch(call(net, op));
  await fabric.clock.advance(LIMIT_MS);
  await turn();
  const comeBack = async () => {
    injected.remove();
    await turn();
  };
  return { ...net, error: watched.outcome as Hung['error'], comeBack };
}

function regionOf(cache: KvCache) {
  const [region] = cache.regions ?? [];
  if (region === undefined) throw new Error('the cache has no regions');
  return region;
}

type Use = (net: Star, row: number) => Promise<unknown>;

const READERS: readonly (readonly [string, Use])[] = [
  [
    'pushBlocks',
    ({ decoder, otherCache, decoderCache }, row) =>
      decoder.kvCacheManager.pushBlocks(otherCache.key(), decoderCache, [row], [0]),
  ],
  ['readBlocks', ({ decoderCache }, row) => decoderCache.readBlocks([row])],
  ['read', ({ decoderCache }, row) => regionOf(decoderCache).read(row * ROW_BYTES, 1)],
  [
    'copyBlocks from it',
    ({ decoder, decoderCache }, row) => decoder.kvCacheManager.copyBlocks(decoderCache, new Map([[row, [3]]])),
  ],
];
const WRITERS: typeof READERS = [
  [
    'pullBlocks',
    ({ decoder, otherCache, decoderCache }, row) =>
      decoder.kvCacheManager.pullBlocks(otherCache.key(), decoderCache, [0], [row]),
  ],
  [
    'pullCache',
    ({ decoder, otherCache, decoderCache }, row) =>
      decoder.kvCacheManager.pullCache(otherCache.key(), decoderCache, row),
  ],
  [
    'writeBlocks',
    ({ decoderCache }, row) => decoderCache.writeBlocks([row], new Uint8Array(ROW_BYTES * DESC.numTensors)),
  ],
  ['write', ({ decoderCache }, row) => regionOf(decoderCache).write(new Uint8Array(1), row * ROW_BYTES)],
  [
    'copyCache to it',
    ({ decoder, decoderCache }, row) =>
      decoder.kvCacheManager.copyCache(decoderCache, decoderCache, { srcBatchIndex: 3, dstBatchIndex: row }),
  ],
];

describe.each(['pullBlocks', 'pullCache'] as const)('the row of a %s that was given up', (op) => {
  test.each([...READERS, ...WRITERS])('is refused to %s until it has come back', async (_, use) => {
    const net = await hung(op);
    expect(net.error).toMatchObject({ ...GIVEN_UP, operation: op });
    expect(await stateOf(net.error.released)).toBe('pending');
    const refused = await rejection(use(net, ROW));
    expect(refused).toMatchObject(REFUSED);
    expect(String(refused)).toContain(
      `what ${op} with cluster 1, in the library for 61000 ms and given up, still writes`,
    );
    await use(net, 2);
    await net.comeBack();
    await net.error.released;
    await use(net, ROW);
  });

  test('is written when it comes back after all, and not after that', async () => {
    const net = await hung(op);
    const before = await rowOf(net.promptCache, 0, 2);
    expect(await rejection(regionOf(net.decoderCache).read(ROW * ROW_BYTES, 1))).toMatchObject(REFUSED);
    await net.comeBack();
    await net.error.released;
    expect(await rowOf(net.decoderCache, 0, ROW)).toEqual(before);
  });
});

describe.each(['pushBlocks', 'pushCache'] as const)('the row of a %s that was given up', (op) => {
  test.each(READERS.filter(([name]) => name !== 'pushBlocks'))('is given to %s', async (_, use) => {
    const net = await hung(op);
    await use(net, ROW);
    await net.comeBack();
  });

  test.each(WRITERS)('is refused to %s until it has come back', async (_, use) => {
    const net = await hung(op);
    // How many layers it has written shows when it has come back.
    expect(net.error).not.toHaveProperty('layersCompleted');
    expect(await rejection(use(net, ROW))).toMatchObject(REFUSED);
    await use(net, 2);
    await net.comeBack();
    await net.error.released;
    await use(net, ROW);
  });
});

test('without guards no row is refused, and the error carries the same promise', async () => {
  const net = await hung('pullBlocks', false);
  await net.decoderCache.readBlocks([ROW]);
  expect(await stateOf(net.error.released)).toBe('pending');
  await net.comeBack();
  await net.error.released;
});

test.each([{ timeout: 5 }, { signal: true }])(
  'one that its caller had stopped before keeps its row until it has come back: %j',
  async ({ timeout, signal }) => {
    const net = await star();
    const { fabric, decoderCache } = net;
    const injected = fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, hang: true });
    const controller = new AbortController();
    const options = signal === true ? { signal: controller.signal } : { timeout: timeout ?? 1 };
    const stopped = watch(call(net, 'pullBlocks', options));
    await fabric.clock.advance(5);
    controller.abort();
    await turn();
    const { released } = stopped.outcome as AbortError;
    const watched = watch(released);
    await fabric.clock.advance(LIMIT_MS);
    await turn();
    expect(await rejection(net.decoder.unlinkClusters([clusterOf(1n)]))).toMatchObject(GIVEN_UP);
    expect(watched.outcome).toBe('pending');
    expect(await rejection(decoderCache.readBlocks([ROW]))).toMatchObject(REFUSED);
    injected.remove();
    await released;
    await decoderCache.readBlocks([ROW]);
  },
);

test('one with options that is given up before they end it carries the same promise', async () => {
  const net = await star();
  const injected = net.fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, hang: true });
  const controller = new AbortController();
  const watched = watch(call(net, 'pullBlocks', { signal: controller.signal }));
  await net.fabric.clock.advance(LIMIT_MS);
  await turn();
  const { released } = watched.outcome as Hung['error'];
  expect(watched.outcome).toMatchObject(GIVEN_UP);
  controller.abort();
  expect(await stateOf(released)).toBe('pending');
  expect(await rejection(net.decoderCache.readBlocks([ROW]))).toMatchObject(REFUSED);
  injected.remove();
  await released;
  await net.decoderCache.readBlocks([ROW]);
});

test('the promise rejects with the loss of the instance, and need not be handled', async () => {
  const net = await hung('pullBlocks');
  const finalized = watch(net.decoder.finalize());
  await net.fabric.clock.advance(LIMIT_MS);
  await turn();
  expect(net.decoder.isLost).toBe(true);
  expect(await rejection(net.error.released)).toBe(finalized.outcome);
  expect(await rejection((finalized.outcome as Hung['error']).released)).toBe(finalized.outcome);
  await net.comeBack();
});

test.each([undefined, { timeout: 5 }])(
  'one that comes back failed keeps its row until the peer is unlinked, and the refusal says so: %j',
  async (options) => {
    const net = await star();
    const { fabric, decoder, decoderCache } = net;
    const injected = fabric.inject({ op: 'pullBlocks', peer: 1n, times: 1, hang: true, partialLayers: 1 });
    const stopped = watch(call(net, 'pullBlocks', options));
    await fabric.clock.advance(5);
    await fabric.clock.advance(LIMIT_MS);
    await turn();
    const { released } = stopped.outcome as Hung['error'];
    expect(await rejection(decoderCache.readBlocks([ROW]))).toMatchObject({ ...REFUSED, recovery: 'retry' });
    injected.remove();
    await turn();
    expect(await stateOf(released)).toBe('pending');
    await net.calls['pull of the other']?.();
    expect(await rejection(call(net, 'pullBlocks'))).toMatchObject({ ...REFUSED, recovery: 'relink', clusterId: 1n });
    await decoder.unlinkClusters([clusterOf(1n)], { force: true });
    await released;
    await decoder.linkClusters([{ ...clusterOf(1n), life: net.prompt.life }]);
    await call(net, 'pullBlocks');
  },
);

test.each(['deallocateCache', 'unregisterCache'] as const)(
  'the cache of one that hangs is as before when %s cannot wait for it, which succeeds when it has come back',
  async (method) => {
    const net = await hung('pullBlocks');
    const { decoder, decoderCache, fabric } = net;
    const caches = decoder.kvCacheManager;
    const { regions } = decoderCache;
    expect(await rejection(caches[method](decoderCache))).toMatchObject(GIVEN_UP);
    await decoderCache.readBlocks([2]);
    await caches.pullBlocks(net.otherCache.key(), decoderCache, [0], [3]);
    await net.comeBack();
    await net.error.released;
    await caches[method](decoderCache);
    for (const id of [1n, 3n]) await decoder.unlinkClusters([clusterOf(id)]);
    if (method === 'unregisterCache') for (const region of regions ?? []) await region.free();
    const node = fabric.topology().nodes.find((each) => each.node === 2n);
    expect(node).toMatchObject({ caches: [], memory: [] });
  },
);

test('a call that is refused because a transfer hangs uses nothing', async () => {
  const net = await hung('pullBlocks');
  const { decoder, decoderCache, promptCache } = net;
  const behind = await rejection(decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [2]));
  expect(behind).toMatchObject({ ...GIVEN_UP, remedy: expect.stringContaining('uses no memory') as unknown });
  await decoderCache.readBlocks([2]);
  await net.comeBack();
});

const LOCAL_PROMPT = { ...PROMPT_CLUSTER, localIpInfos: [{ ip: '127.0.0.1' }] };

/** The mock as a backend that a user has written, with other fields. */
function foreign(mock: MockBackend, more: Partial<Backend>): Backend {
  return new Proxy(mock, {
    get: (target, name) => {
      if (name in more) return Reflect.get(more, name) as unknown;
      const value = Reflect.get(target, name) as unknown;
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
    getPrototypeOf: () => Object.prototype,
  });
}

describe('over a backend of the user', () => {
  async function alone(more: Partial<Backend> = {}) {
    const clock = new ManualClock();
    const fabric = new Fabric();
    const prompt = track(
      new LLMDataDist(LLMRole.PROMPT, 1n, { backend: new MockBackend(1n, LLMRole.PROMPT, { fabric }) }),
    );
    await prompt.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
    const promptCache = await prompt.kvCacheManager.allocateCache(DESC);
    const mock = new MockBackend(2n, LLMRole.DECODER, { fabric, clock });
    const dist = track(
      new LLMDataDist(LLMRole.DECODER, 2n, { backend: foreign(mock, { transfersEnd: false, ...more }) }),
    );
    await dist.init({ deviceId: 1 });
    const cache = await dist.kvCacheManager.allocateCache(DESC);
    await fill(promptCache, 7);
    await dist.linkClusters([LOCAL_PROMPT]);
    const pull = (options?: CallOptions) =>
      dist.kvCacheManager.pullBlocks(promptCache.key(), cache, [2], [ROW], options);
    return { clock, mock, dist, cache, promptCache, pull };
  }

  test.each([{ timeout: 5 }, { signal: true }, {}])(
    'a call that was stopped and fails later leaves no rejection unhandled, and gives its row back: %j',
    async ({ timeout, signal }) => {
      const { clock, mock, cache, pull } = await alone();
      const held = hold(mock, 'pullKvBlocks');
      const controller = new AbortController();
      const options = { ...(timeout !== undefined && { timeout }), ...(signal && { signal: controller.signal }) };
      const stopped = watch(pull(timeout === undefined && signal === undefined ? undefined : options));
      await held.hasEntered(1);
      await clock.advance(LIMIT_MS);
      controller.abort();
      await turn();
      const { released } = stopped.outcome as AbortError;
      expect(await stateOf(released)).toBe('pending');
      expect(await rejection(cache.readBlocks([ROW]))).toMatchObject(REFUSED);
      held.fail(new Error('of the user'));
      await released;
      await cache.readBlocks([ROW]);
      held.open();
    },
  );

  describe('a pull that was given up and comes back', () => {
    const failure = (statusCode: LLMStatusCode) =>
      new LLMException(statusCode, { operation: 'pullBlocks', clusterId: 1n });

    async function givenUp() {
      const nodes = await alone();
      const held = hold(nodes.mock, 'pullKvBlocks');
      const pulled = watch(nodes.pull());
      await held.hasEntered(1);
      await nodes.clock.advance(LIMIT_MS);
      await turn();
      return { ...nodes, held, released: (pulled.outcome as Hung['error']).released };
    }

    test.each([
      ['the peer is unlinked', (dist: LLMDataDist) => dist.unlinkClusters([LOCAL_PROMPT], { force: true })],
      ['the instance is finalized', (dist: LLMDataDist) => dist.finalize()],
    ])('with a status that ends its link keeps its row until %s', async (_, end) => {
      const { held, released, cache, dist } = await givenUp();
      held.fail(failure(LLMStatusCode.LLM_TIMEOUT));
      expect(await stateOf(released)).toBe('pending');
      expect(await rejection(cache.readBlocks([ROW]))).toMatchObject(REFUSED);
      await warningsDuring(() => end(dist));
      await released;
      held.open();
    });

    test('with another status gives its row back at once', async () => {
      const { held, released, cache } = await givenUp();
      held.fail(failure(LLMStatusCode.LLM_PARAM_INVALID));
      await released;
      await cache.readBlocks([ROW]);
      held.open();
    });
  });

  test('a signal that is aborted while the backend is called ends the call, whose row stays refused', async () => {
    const controller = new AbortController();
    let fail: (error: Error) => void = () => undefined;
    const { cache, pull } = await alone({
      pullKvBlocks: () => {
        controller.abort();
        return new Promise((_, reject) => {
          fail = reject;
        });
      },
    });
    const error = (await rejection(pull({ signal: controller.signal }))) as AbortError;
    expect(error.code).toBe('ABORT_ERR');
    expect(await rejection(cache.readBlocks([ROW]))).toMatchObject(REFUSED);
    fail(new Error('of the user'));
    await error.released;
    await cache.readBlocks([ROW]);
  });

  test('lists that the backend reads at once may be changed by the caller: then any row is refused', async () => {
    const { clock, mock, dist, cache, promptCache } = await alone({ readsBlocksAtOnce: true });
    const { kvCacheManager: caches } = dist;
    const held = hold(mock, 'pullKvBlocks');
    const [src, dst] = [new BigUint64Array([2n]), new BigUint64Array([1n])];
    const pulled = watch(caches.pullBlocks(promptCache.key(), cache, src, dst));
    await held.hasEntered(1);
    dst[0] = 3n;
    await clock.advance(LIMIT_MS);
    await turn();
    expect(pulled.outcome).toMatchObject(GIVEN_UP);
    for (const row of [0, 1, 3]) expect(await rejection(cache.readBlocks([row]))).toMatchObject(REFUSED);
    expect(await rejection(regionOf(cache).read(0, 1))).toMatchObject(REFUSED);
    await cache.readBlocks([]);
    held.fail(new Error('of the user'));
    await (pulled.outcome as Hung['error']).released;
    await bytesOf(cache);
    held.open();
  });

  test.each([
    ['without', undefined, [0, 3]],
    ['with', new BigUint64Array([1n]), []],
  ])('one that the backend gives up itself keeps its rows, %s the blocks in its error', async (_, blocks, others) => {
    let comeBack: () => void = () => undefined;
    let giveUp: (error: Error) => void = () => undefined;
    const { clock, cache, promptCache, dist } = await alone({
      readsBlocksAtOnce: true,
      pullKvBlocks: () =>
        new Promise((_resolve, reject) => {
          giveUp = reject;
        }),
      giveUpTransfers: (kind) => {
        if (kind === 'push') return undefined;
        const released = new Promise<void>((_resolve, reject) => {
          comeBack = () => {
            reject(new LLMException(LLMStatusCode.LLM_PARAM_INVALID, { operation: 'pullBlocks' }));
          };
        });
        giveUp(Object.assign(new Error('given up'), { released, blocks }));
        return released;
      },
      runningTransfer: () => ({ clusterId: 1n, elapsedMs: LIMIT_MS }),
    });
    const [src, dst] = [new BigUint64Array([2n]), new BigUint64Array([1n])];
    const pulled = watch(dist.kvCacheManager.pullBlocks(promptCache.key(), cache, src, dst));
    await clock.advance(LIMIT_MS);
    await turn();
    expect(pulled.outcome).toMatchObject(GIVEN_UP);
    const { released } = pulled.outcome as Hung['error'];
    expect(await stateOf(released)).toBe('pending');
    expect(await rejection(cache.readBlocks([ROW]))).toMatchObject(REFUSED);
    for (const row of others) expect(await rejection(cache.readBlocks([row]))).toMatchObject(REFUSED);
    if (others.length === 0) await cache.readBlocks([0, 2, 3]);
    comeBack();
    await released;
    await bytesOf(cache);
  });

  test('where the backend takes nothing back, one that waited behind it keeps its row until it has come back', async () => {
    const { clock, mock, dist, cache, promptCache, pull } = await alone({ lastCall: () => 0, withdraw: () => false });
    const held = hold(mock, 'pullKvBlocks');
    const first = watch(pull());
    const behind = watch(dist.kvCacheManager.pullBlocks(promptCache.key(), cache, [0], [3]));
    await held.hasEntered(2);
    await clock.advance(LIMIT_MS);
    await turn();
    expect([first.outcome, behind.outcome]).toMatchObject([GIVEN_UP, GIVEN_UP]);
    held.letGo();
    await (first.outcome as Hung['error']).released;
    await cache.readBlocks([ROW]);
    expect(await rejection(cache.readBlocks([3]))).toMatchObject(REFUSED);
    held.open();
    await (behind.outcome as Hung['error']).released;
    expect(await rowOf(cache, 0, 3)).toEqual(await rowOf(promptCache, 0, 0));
  });

  test('one that waits in the backend is taken back, and gives its row back at once', async () => {
    const inside: ((error?: Error) => void)[] = [];
    const withdrawn: number[] = [];
    let made = 0;
    const { clock, cache, promptCache, dist } = await alone({
      pullKvBlocks: () =>
        new Promise((resolve, reject) => {
          inside[++made] = (error) => {
            if (error === undefined) resolve();
            else reject(error);
          };
        }),
      lastCall: () => made,
      withdraw: (call) => {
        if (call === 1) return false;
        withdrawn.push(call);
        inside[call]?.(new Error('withdrawn'));
        return true;
      },
    });
    const pulled = [1, 2, 3].map((row) => watch(dist.kvCacheManager.pullBlocks(promptCache.key(), cache, [0], [row])));
    await clock.advance(LIMIT_MS);
    await turn();
    expect(pulled.map(({ outcome }) => outcome)).toMatchObject([GIVEN_UP, GIVEN_UP, GIVEN_UP]);
    expect(withdrawn).toEqual([2, 3]);
    const [first, ...behind] = pulled.map(({ outcome }) => (outcome as Hung['error']).released);
    await Promise.all(behind);
    await cache.readBlocks([2, 3]);
    expect(await rejection(cache.readBlocks([1]))).toMatchObject(REFUSED);
    // It is one that still uses the link.
    expect(await rejection(dist.unlinkClusters([LOCAL_PROMPT]))).toMatchObject(GIVEN_UP);
    inside[1]?.();
    await first;
    await cache.readBlocks([1]);
  });

  test('one that the backend takes back gives its row back at once', async () => {
    const rejects: ((error: Error) => void)[] = [];
    const { clock, cache, promptCache, dist } = await alone({
      pullKvBlocks: () => new Promise((_resolve, reject) => rejects.push(reject)),
      giveUpTransfers: (kind) => {
        if (kind === 'push') return undefined;
        for (const reject of rejects.splice(0)) reject(Object.assign(new Error(), { released: Promise.resolve() }));
        return undefined;
      },
      runningTransfer: () => ({ clusterId: 1n, elapsedMs: LIMIT_MS }),
    });
    const pulled = watch(dist.kvCacheManager.pullBlocks(promptCache.key(), cache, [2], [ROW]));
    const deallocated = watch(dist.kvCacheManager.unregisterCache(cache));
    await clock.advance(LIMIT_MS);
    await turn();
    expect(pulled.outcome).toMatchObject({ ...GIVEN_UP, operation: 'pullBlocks', clusterId: 1n });
    await (pulled.outcome as Hung['error']).released;
    // It is not one that may still use the cache.
    expect(deallocated.outcome).toBe('resolved');
  });
});
