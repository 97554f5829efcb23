import { LLMException, LLMStatusCode } from '../lib';
import type { KvCache } from '../lib';
import { ManualClock } from '../lib/testing';
import { DESC, linkedPair, PROMPT_CLUSTER, rejection } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import type { HeldCalls } from './fixtures/held-calls';

type Pair = Awaited<ReturnType<typeof linkedPair>>;

const REFUSED = { code: 'LLM_PARAM_INVALID', remedy: expect.stringContaining('Rule rows-in-flight') as string };
const ROW_BYTES = 64;

interface Early extends Pair {
  readonly caches: Pair['decoder']['dist']['kvCacheManager'];
  readonly held: HeldCalls;
  readonly error: Error & { released: Promise<void> };
  /** Lets the call go on in the library. */
  readonly end: () => Promise<void>;
}

/** A pull into row 1, or a push of it, that was aborted and runs on. */
async function aborted(operation: 'pullBlocks' | 'pushBlocks', guards = true): Promise<Early> {
  const nodes = await linkedPair({ guards });
  const { decoder, promptCache, decoderCache } = nodes;
  const caches = decoder.dist.kvCacheManager;
  const held = hold(decoder.backend, operation === 'pullBlocks' ? 'pullKvBlocks' : 'pushKvBlocks');
  const controller = new AbortController();
  const answer = rejection(caches[operation](promptCache.key(), decoderCache, [1], [1], { signal: controller.signal }));
  await held.hasEntered(1);
  controller.abort();
  const error = (await answer) as Early['error'];
  const end = async () => {
    held.open();
    await error.released;
  };
  return { ...nodes, caches, held, error, end };
}

function firstRegion(cache: KvCache) {
  const [region] = cache.regions ?? [];
  if (region === undefined) throw new Error('the cache has no regions');
  return region;
}

const bytes = (count: number) => new Uint8Array(count);

const READERS: readonly (readonly [string, (early: Early, row: number) => Promise<unknown>])[] = [
  [
    'pushBlocks',
    ({ caches, promptCache, decoderCache }, row) => caches.pushBlocks(promptCache.key(), decoderCache, [row], [3]),
  ],
  [
    'pushCache',
    ({ caches, promptCache, decoderCache }, row) => caches.pushCache(promptCache.key(3), decoderCache, row),
  ],
  [
    'copyCache from it',
    ({ caches, decoderCache }, row) =>
      caches.copyCache(decoderCache, decoderCache, { srcBatchIndex: row, dstBatchIndex: 3 }),
  ],
  ['copyBlocks from it', ({ caches, decoderCache }, row) => caches.copyBlocks(decoderCache, new Map([[row, [3]]]))],
  ['readBlocks', ({ decoderCache }, row) => decoderCache.readBlocks([row])],
  ['read', ({ decoderCache }, row) => firstRegion(decoderCache).read(row * ROW_BYTES + 8, 8)],
];
const WRITERS: typeof READERS = [
  [
    'pullBlocks',
    ({ caches, promptCache, decoderCache }, row) => caches.pullBlocks(promptCache.key(), decoderCache, [0], [row]),
  ],
  ['pullCache', ({ caches, promptCache, decoderCache }, row) => caches.pullCache(promptCache.key(), decoderCache, row)],
  [
    'copyCache to it',
    ({ caches, decoderCache }, row) =>
      caches.copyCache(decoderCache, decoderCache, { srcBatchIndex: 3, dstBatchIndex: row }),
  ],
  ['copyBlocks to it', ({ caches, decoderCache }, row) => caches.copyBlocks(decoderCache, new Map([[3, [row]]]))],
  ['writeBlocks', ({ decoderCache }, row) => decoderCache.writeBlocks([row], bytes(ROW_BYTES * DESC.numTensors))],
  ['write', ({ decoderCache }, row) => firstRegion(decoderCache).write(bytes(8), row * ROW_BYTES + 8)],
];

describe('a row that an aborted pull may still write', () => {
  // A pullBlocks is held here itself; see below.
  const others = [...READERS, ...WRITERS].filter(([name]) => name !== 'pullBlocks');

  test.each(others)('is refused to %s, which takes other rows, until it is released', async (_, call) => {
    const early = await aborted('pullBlocks');
    const refused = await rejection(call(early, 1));
    expect(refused).toMatchObject({ ...REFUSED, recovery: 'retry' });
    expect((refused as LLMException).remedy).toContain(
      'wait until `released` of the error of that call has settled, then repeat',
    );
    expect(String(refused)).toMatch(
      /what pullBlocks with cluster 1, called \d+ ms ago and rejected early, still writes/,
    );
    await call(early, 2);
    await early.end();
    await call(early, 1);
  });

  test('is refused to another pull', async () => {
    const early = await aborted('pullBlocks');
    const { caches, promptCache, decoderCache } = early;
    expect(await rejection(caches.pullBlocks(promptCache.key(), decoderCache, [0, 0], [2, 1]))).toMatchObject(REFUSED);
    expect(early.held.entered).toBe(1);
    await early.end();
  });

  test('is refused to nothing without guards', async () => {
    const early = await aborted('pullBlocks', false);
    await early.decoderCache.readBlocks([1]);
    await early.end();
  });

  test('keeps its cache registered', async () => {
    const early = await aborted('pullBlocks');
    const gone = early.caches.deallocateCache(early.decoderCache);
    const free = hold(early.decoder.backend, 'free');
    free.open();
    await new Promise((resolve) => setImmediate(resolve));
    expect(free.entered).toBe(0);
    await early.end();
    await gone;
  });
});

describe('a row that an aborted push may still read', () => {
  test.each(READERS.filter(([name]) => name !== 'pushBlocks'))('is given to %s', async (_, call) => {
    const early = await aborted('pushBlocks');
    await call(early, 1);
    await early.end();
  });

  test.each(WRITERS)('is refused to %s', async (_, call) => {
    const early = await aborted('pushBlocks');
    expect(await rejection(call(early, 1))).toMatchObject(REFUSED);
    await call(early, 2);
    await early.end();
    await call(early, 1);
  });
});

test('bytes that an aborted write may still write are refused in both views of them', async () => {
  const { decoder, decoderCache } = await linkedPair();
  const region = firstRegion(decoderCache);
  const held = hold(decoder.backend, 'write');
  const controller = new AbortController();
  const answer = rejection(region.write(bytes(4), ROW_BYTES, { signal: controller.signal }));
  await held.hasEntered(1);
  controller.abort();
  const { released } = (await answer) as { released?: Promise<void> };
  expect(await rejection(region.read(ROW_BYTES + 3, 1))).toMatchObject(REFUSED);
  expect(await rejection(decoderCache.readBlocks([1]))).toMatchObject(REFUSED);
  await region.read(ROW_BYTES + 4, 1);
  await decoderCache.readBlocks([0, 2]);
  held.open();
  await released;
  await decoderCache.readBlocks([1]);
});

describe('after a status that ends the link', () => {
  const timedOut = () => new LLMException(LLMStatusCode.LLM_TIMEOUT, { operation: 'pullBlocks', clusterId: 1n });

  test.each([
    ['the peer is unlinked', ({ decoder }: Early) => decoder.dist.unlinkClusters([PROMPT_CLUSTER], { force: true })],
    ['the instance is finalized', ({ decoder }: Early) => decoder.dist.finalize()],
  ])('an aborted pull keeps its rows until %s', async (_, end) => {
    const early = await aborted('pullBlocks');
    let isReleased = false;
    void early.error.released.then(() => (isReleased = true));
    early.held.fail(timedOut());
    await new Promise((resolve) => setImmediate(resolve));
    expect(isReleased).toBe(false);
    const refused = (await rejection(early.decoderCache.readBlocks([1]))) as LLMException;
    expect(refused).toMatchObject({ ...REFUSED, recovery: 'relink', clusterId: 1n });
    expect(refused.message).toMatch(
      /still writes: that call has come back with LLM_TIMEOUT, which has ended the link, and its memory is free when cluster 1 has/,
    );
    expect(refused.remedy).toMatch(
      /relink cluster 1 once, for all its calls together: .* unlink with force: true, link with the/,
    );
    await end(early);
    await early.error.released;
  });

  test('nothing is to be relinked any more when the peer has been unlinked', async () => {
    const early = await aborted('pullBlocks');
    const clock = new ManualClock();
    // As the transport of a device, whose tasks go on for a while.
    Object.assign(early.decoder.backend, { settleAfterUnlinkMs: 100, clock });
    early.held.fail(timedOut());
    await new Promise((resolve) => setImmediate(resolve));
    await early.decoder.dist.unlinkClusters([PROMPT_CLUSTER], { force: true });
    await early.decoder.dist.linkClusters([PROMPT_CLUSTER]);
    expect(await rejection(early.decoderCache.readBlocks([1]))).toMatchObject({ ...REFUSED, recovery: 'retry' });
    await clock.advance(100);
    await early.error.released;
    await early.decoderCache.readBlocks([1]);
  });

  test('an aborted pull that was not linked keeps none', async () => {
    const early = await aborted('pullBlocks');
    early.held.fail(new LLMException(LLMStatusCode.LLM_NOT_YET_LINK, { operation: 'pullBlocks', clusterId: 1n }));
    await early.error.released;
    await early.decoderCache.readBlocks([1]);
  });

  test('a pull that was not rejected early refuses its rows to nothing, and crosses threads as before', async () => {
    const { decoder, promptCache, decoderCache } = await linkedPair();
    const held = hold(decoder.backend, 'pullKvBlocks');
    const pull = rejection(decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [1], [1]));
    await held.hasEntered(1);
    held.fail(timedOut());
    const error = (await pull) as LLMException;
    expect(error).toMatchObject({ deadline: 'library', recovery: 'relink' });
    await decoderCache.readBlocks([1]);
    // A promise in it would keep it from being cloned where it ends a worker.
    expect(Object.getOwnPropertyNames(error)).not.toContain('released');
  });
});
