import { spawnSync } from 'node:child_process';
import { stat, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { mock as nodeMock } from 'node:test';
import { inspect } from 'node:util';
import { KvCacheManager, LLMDataDist, LLMRole, Placement } from '../lib';
import type { KvCache, MemoryRegion } from '../lib';
import { turns } from '../lib/backend/mock/turns';
import { RegisteredCache } from '../lib/cache';
import { AllocatedRegion } from '../lib/memory';
import { createTcpFabric } from '../lib/testing';
import { DESC, linkedPair, node, PROMPT_CLUSTER, rejection, track } from './fixtures/cluster';
import { compileLib } from './fixtures/compiled-lib';
import { linked, newFabric, pass, sleepers, start } from './fixtures/fabric';

/** Where the calls of a loop are made. */
interface Place {
  /** Linked to the prompt. */
  readonly decoder: LLMDataDist;
  readonly caches: KvCacheManager;
  readonly promptCache: KvCache;
  readonly cache: KvCache;
  readonly host: KvCache;
  readonly region: MemoryRegion;
  readonly freed: MemoryRegion;
  /** Never initialised. */
  readonly spare: LLMDataDist;
  /** Of another instance. */
  readonly foreign: KvCache;
}

async function onMemory(guards: boolean): Promise<Place> {
  const { fabric, decoder, promptCache, decoderCache } = await linkedPair({ guards });
  return place(decoder.dist, promptCache, decoderCache, node(LLMRole.MIX, 9n, { fabric }, { guards }).dist);
}

async function onKit(guards: boolean): Promise<Place> {
  const { fabric, decoder, promptCache, decoderCache } = await linked({ strict: false }, { guards });
  const spare = track(new LLMDataDist(LLMRole.MIX, 9n, { guards, backend: fabric.backend }));
  return place(decoder, promptCache, decoderCache, spare);
}

async function place(decoder: LLMDataDist, promptCache: KvCache, cache: KvCache, spare: LLMDataDist): Promise<Place> {
  const caches = decoder.kvCacheManager;
  const host = await caches.allocateCache({ ...DESC, placement: Placement.HOST });
  const freed = await decoder.allocateMemory(64);
  await freed.free();
  const region = await decoder.allocateMemory(64);
  return { decoder, caches, promptCache, cache, host, region, freed, spare, foreign: promptCache };
}

type Call = (place: Place) => Promise<unknown>;

/** A step or several, each of which is awaited as a program would. */
const CALLS: Readonly<Record<string, Call>> = {
  'init again': ({ decoder }) => decoder.init({ deviceId: 0 }),
  'init and finalize': async ({ spare }) => {
    await spare.init({ deviceId: 3 });
    await spare.finalize();
  },
  'init that is refused by the library': ({ spare }) => spare.init({ deviceId: 1_000_000 }),
  'init of a wrong type': ({ spare }) => spare.init(undefined as never),
  'finalize of what is not initialised': ({ spare }) => spare.finalize(),
  'disposal of what is not initialised': async ({ spare }) => spare[Symbol.asyncDispose](),
  'a call of what is not initialised': ({ spare }) => spare.allocateMemory(8),
  switchRole: ({ decoder }) => decoder.switchRole(LLMRole.DECODER),
  'link and unlink': async ({ decoder }) => {
    await decoder.unlinkClusters([PROMPT_CLUSTER], { force: true });
    await decoder.linkClusters([PROMPT_CLUSTER]);
  },
  'a link to nobody': ({ decoder }) =>
    decoder.linkClusters([{ remoteClusterId: 7n, remoteIpInfos: [{ ip: '127.0.0.1', port: 1 }] }]),
  'a link without clusters': ({ decoder }) => decoder.linkClusters([]),
  'an unlink of nobody': ({ decoder }) => decoder.unlinkClusters([{ remoteClusterId: 7n }] as never, { force: true }),
  'registration and the end of it': async ({ caches, region }) => {
    const desc = { numTensors: 1, dataType: 2, shape: [4, 16] };
    await caches.unregisterCache(await caches.registerCache(desc, [region.address]));
  },
  'unregistration of nothing': ({ caches }) => caches.unregisterCache(999n),
  'allocation of a cache and the end of it': async ({ caches }) => {
    await caches.deallocateCache(await caches.allocateCache(DESC));
  },
  'allocation of nothing': ({ caches }) => caches.allocateCache({ ...DESC, numTensors: 0 }),
  'allocation of memory and the end of it': async ({ decoder }) => (await decoder.allocateMemory(64)).free(),
  'allocation of no memory': ({ decoder }) => decoder.allocateMemory(0),
  read: ({ region }) => region.read(),
  write: ({ region }) => region.write(new Uint8Array(8)),
  'reading what was freed': ({ freed }) => freed.read(),
  'freeing what was freed': ({ freed }) => freed.free(),
  'disposing of what was freed': async ({ freed }) => freed[Symbol.asyncDispose](),
  pullBlocks: ({ caches, promptCache, cache }) => caches.pullBlocks(promptCache.key(), cache, [0], [1]),
  pullCache: ({ caches, promptCache, cache }) => caches.pullCache(promptCache.key(), cache),
  pushBlocks: ({ caches, promptCache, cache }) => caches.pushBlocks(promptCache.key(), cache, [0], [1]),
  pushCache: ({ caches, promptCache, cache }) => caches.pushCache(promptCache.key(), cache),
  copyCache: ({ caches, cache }) => caches.copyCache(cache, cache, { dstBatchIndex: 1 }),
  copyBlocks: ({ caches, cache }) => caches.copyBlocks(cache, new Map([[0, [1, 3]]])),
  'copyBlocks of none': ({ caches, cache }) => caches.copyBlocks(cache, new Map()),
  swapBlocks: ({ caches, cache, host }) => caches.swapBlocks(cache, host, new Map([[0, 1]])),
  readBlocks: ({ cache }) => cache.readBlocks([0, 2]),
  'readBlocks of none': ({ cache }) => cache.readBlocks([]),
  writeBlocks: ({ cache }) => cache.writeBlocks([0], new Uint8Array(4 * 64)),
  'writeBlocks of too little': ({ cache }) => cache.writeBlocks([0], new Uint8Array(4)),
  'swapBlocks of none': ({ caches, cache, host }) => caches.swapBlocks(cache, host, new Map()),
  'a pull of what is not linked': ({ caches, cache }) =>
    caches.pullBlocks({ clusterId: 7n, cacheId: 1n }, cache, [0], [0]),
  'a pull of a cache that there is not': ({ caches, cache }) =>
    caches.pullCache({ clusterId: 1n, cacheId: 99n }, cache),
  'a pull of blocks that there are not': ({ caches, promptCache, cache }) =>
    caches.pullBlocks(promptCache.key(), cache, [4000], [4000]),
  'a pull into the cache of another one': ({ caches, promptCache, foreign }) =>
    caches.pullBlocks(promptCache.key(), foreign, [0], [0]),
  'a copy of the cache of another one': ({ caches, foreign }) => caches.copyBlocks(foreign, new Map([[0, [1]]])),
  'a pull of wrong types': ({ caches }) => caches.pullBlocks(null as never, null as never, null as never, []),
};

/** Calls in turn, whatever they do. */
function mixed(): Call {
  let next = 0;
  const calls = Object.values(CALLS);
  return (on) => calls[next++ % calls.length]!(on);
}

const isOver = (): void => undefined;

/** What else gets to run while calls are awaited one after the other; in vain it waits for so many seconds. */
async function whatRunsDuring(call: () => Promise<unknown>, seconds: number): Promise<string[]> {
  const ran = new Set<string>();
  const timer = setTimeout(() => ran.add('timer'), 1);
  const signal = AbortSignal.timeout(1);
  stat(__filename, () => ran.add('i/o'));
  setImmediate(() => ran.add('immediate'));
  const end = performance.now() + seconds * 1000;
  while (ran.size < 4 && performance.now() < end) {
    // What comes of it is a matter of other tests.
    await call().then(isOver, isOver);
    if (signal.aborted) ran.add('abort');
  }
  clearTimeout(timer);
  return [...ran].sort();
}

const ALL = ['abort', 'i/o', 'immediate', 'timer'];

describe.each([
  ['on the mock', onMemory, true],
  ['on the mock, without guards', onMemory, false],
  ['on a test fabric', onKit, true],
] as const)('a loop of calls %s lets timers, aborts and I/O run', (_, make, guards) => {
  test.each([...Object.entries(CALLS), ['calls of all kinds', mixed()] as const])(
    '%s',
    async (_name, call) => {
      const on = await make(guards);
      expect(await whatRunsDuring(() => call(on), 20)).toEqual(ALL);
    },
    60_000,
  );
});

test('a loop of calls of a lost instance lets them run', async () => {
  const fabric = newFabric();
  const dist = await start(fabric, 1n, { hangTimeout: 1 });
  fabric.inject({ op: 'switchRole', hang: true });
  const lost = rejection(dist.switchRole(LLMRole.MIX));
  await sleepers(fabric, 0);
  await pass(fabric, 10);
  expect(await lost).toMatchObject({ code: 'LLM_TIMEOUT' });
  expect(await whatRunsDuring(() => dist.allocateMemory(8), 20)).toEqual(ALL);
  expect(await whatRunsDuring(async () => dist[Symbol.asyncDispose](), 20)).toEqual(ALL);
}, 60_000);

test('a loop of calls over TCP lets them run, also where no other process is asked', async () => {
  const dist = track(new LLMDataDist(LLMRole.MIX, 1n, { backend: createTcpFabric().backend }));
  await dist.init({ deviceId: 0 });
  const cache = await dist.kvCacheManager.allocateCache(DESC);
  const pull = () => dist.kvCacheManager.pullCache({ clusterId: 7n, cacheId: 1n }, cache);
  const [region] = cache.regions!;
  for (const call of [
    pull,
    () => region!.read(),
    () => region!.write(new Uint8Array(4)),
    () => dist.init({ deviceId: 0 }),
  ]) {
    expect(await whatRunsDuring(call, 20)).toEqual(ALL);
  }
}, 60_000);

describe('no method of the public classes', () => {
  const SYNC = new Set<string | symbol>([
    'constructor',
    'key',
    'release',
    'releaseHeld',
    'giveBack',
    'toJSON',
    inspect.custom,
  ]);
  const methods = (prototype: object) =>
    Reflect.ownKeys(prototype)
      .filter((key) => !SYNC.has(key))
      .filter((key) => typeof Object.getOwnPropertyDescriptor(prototype, key)?.value === 'function');

  test.each([
    ['LLMDataDist', LLMDataDist.prototype, (on: Place) => on.spare],
    ['KvCacheManager', KvCacheManager.prototype, (on: Place) => on.caches],
    ['MemoryRegion', AllocatedRegion.prototype, (on: Place) => on.freed],
    ['KvCache', RegisteredCache.prototype, (on: Place) => on.cache],
  ] as const)('of %s settles in the turn in which it is called', async (_, prototype, objectOf) => {
    const on = await onMemory(true);
    const names = methods(prototype);
    expect(names.length).toBeGreaterThanOrEqual(2);
    for (const name of names) {
      const object = objectOf(on);
      const method = Reflect.get(object, name) as () => Promise<unknown>;
      let settled = false;
      const end = () => (settled = true);
      const outcome = Reflect.apply(method, object, []).then(end, end);
      for (let i = 0; i < 100; i++) await Promise.resolve();
      expect([name, settled]).toEqual([name, false]);
      await outcome;
    }
  });

  test('keeps its promise when it is called on something else', async () => {
    const pullBlocks = Reflect.get(KvCacheManager.prototype, 'pullBlocks') as (...args: unknown[]) => Promise<unknown>;
    expect(await rejection(Reflect.apply(pullBlocks, undefined, []))).toBeInstanceOf(TypeError);
    expect([pullBlocks.name, pullBlocks.length]).toEqual(['pullBlocks', 5]);
    expect(Object.keys(KvCacheManager.prototype)).toEqual([]);
  });
});

test('calls that are over in one turn settle together, in the order in which they ended', async () => {
  const { decoder, promptCache, decoderCache } = await linkedPair();
  const caches = decoder.dist.kvCacheManager;
  const ended: string[] = [];
  const note = (name: string) => () => ended.push(name);
  const before = turns.count;
  const all = Array.from({ length: 64 }, (_, i) =>
    i % 8 === 7
      ? caches.pullCache({ clusterId: 1n, cacheId: 99n }, decoderCache).catch(note(`refused ${i}`))
      : caches.pullBlocks(promptCache.key(), decoderCache, [0], [1]).then(note(`done ${i}`)),
  );
  await Promise.all(all);
  expect(turns.count).toBe(before + 1);
  expect(ended).toEqual(Array.from({ length: 64 }, (_, i) => (i % 8 === 7 ? `refused ${i}` : `done ${i}`)));
});

test('the work of a call is done when it is called: only the answer comes later', async () => {
  const { fabric, decoder, promptCache, decoderCache } = await linked({ recordMemory: true });
  const [region] = promptCache.regions!;
  const first = decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]);
  const written = region!.write(new Uint8Array(64).fill(255));
  const second = decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [1]);
  expect(fabric.history.slice(-3).map(({ op, state }) => `${op} ${state}`)).toEqual([
    'pullBlocks succeeded',
    'write succeeded',
    'pullBlocks succeeded',
  ]);
  await Promise.all([first, written, second]);
  const [target] = decoderCache.regions!;
  expect((await target!.read(0, 4)).every((byte) => byte !== 255)).toBe(true);
  expect(await target!.read(64, 4)).toEqual(new Uint8Array(4).fill(255));
});

test('a call that was done before its process is killed succeeds', async () => {
  const { fabric, decoder, promptCache, decoderCache } = await linked();
  const pull = decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0]);
  fabric.kill(decoder);
  await pull;
  expect(fabric.history.at(-1)).toMatchObject({ op: 'pullBlocks', state: 'succeeded' });
});

describe('fake timers hold nothing up', () => {
  afterEach(() => {
    jest.useRealTimers();
    nodeMock.timers.reset();
  });

  test.each([
    ['of jest, all of them', () => jest.useFakeTimers()],
    [
      'of jest, but immediates',
      () => jest.useFakeTimers({ doNotFake: ['setImmediate', 'clearImmediate', 'nextTick'] }),
    ],
    [
      'of node:test',
      () => {
        nodeMock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] });
      },
    ],
  ])('%s', async (_, install) => {
    const on = await onMemory(true);
    install();
    await CALLS.pullBlocks!(on);
    await CALLS['link and unlink']!(on);
    expect(await rejection(CALLS['a pull of what is not linked']!(on))).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
    expect(await rejection(CALLS['reading what was freed']!(on))).toMatchObject({ code: 'LLM_PARAM_INVALID' });
  });
});

describe('a manual clock', () => {
  test('lets all calls happen that follow from a moment, one after the other', async () => {
    const { fabric, decoderCache } = await linked();
    const [region] = decoderCache.regions!;
    const times: number[] = [];
    const work = async () => {
      for (let round = 0; round < 3; round++) {
        await fabric.clock.sleep(5);
        for (let i = 0; i < 50; i++) await region!.read(0, 4);
        times.push(fabric.clock.now());
      }
    };
    const done = work();
    await pass(fabric, 100);
    await done;
    expect(times).toEqual([5, 10, 15]);
  });

  test('goes on beside a loop that never waits for it', async () => {
    const { fabric, decoderCache } = await linked();
    const [region] = decoderCache.regions!;
    let stopped = false;
    const loop = async () => {
      while (!stopped) await region!.read(0, 4);
    };
    const looping = loop();
    const slept = fabric.clock.sleep(5);
    await pass(fabric, 5);
    await slept;
    expect(fabric.clock.now()).toBe(5);
    stopped = true;
    await looping;
  }, 60_000);
});

describe('a process', () => {
  const index = compileLib('index');
  afterAll(() => {
    index.remove();
  });

  const run = (source: string) => {
    const program = join(dirname(index.path), 'program.mjs');
    writeFileSync(program, `import lib from './index.js';\nconst { LLMDataDist, LLMRole, DataType } = lib;\n${source}`);
    const { status, stdout, stderr } = spawnSync(process.execPath, [program], { encoding: 'utf8', timeout: 60_000 });
    return { status, stdout, stderr };
  };
  const START = `
    const dist = new LLMDataDist(LLMRole.MIX, 1n, { backend: 'mock' });
    await dist.init({ deviceId: 0 });
    const cache = await dist.kvCacheManager.allocateCache({ numTensors: 2, dataType: DataType.DT_INT8, shape: [4, 8] });
  `;

  test.each([
    ['a call that succeeds', `await cache.regions[0].read(); console.log('done');`],
    [
      'a call that is refused',
      `await dist.kvCacheManager.pullCache({ clusterId: 2n, cacheId: 1n }, cache).catch(({ code }) => console.log(code));
       console.log('done');`,
    ],
    [
      'what the package refuses by itself',
      `await dist.kvCacheManager.pullBlocks({ clusterId: 2n, cacheId: 1n }, cache, [9], [9]).catch(() => undefined);
       console.log('done');`,
    ],
  ])(
    'lives until the answer to %s is there, and no longer',
    (_, source) => {
      const { status, stdout, stderr } = run(START + source);
      expect([status, stdout.trim().split('\n').at(-1), stderr]).toEqual([0, 'done', '']);
    },
    120_000,
  );

  test('is not kept alive by instances of which no call is under way', () => {
    expect(run(`${START} console.log('done');`)).toMatchObject({ status: 0, stdout: 'done\n' });
  }, 120_000);
});
