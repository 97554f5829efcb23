import { LLMException, LLMStatusCode } from '../lib';
import type { CacheKeyByIdAndIndex, KvCache, LLMClusterInfo, LLMDataDist } from '../lib';
import { cacheKeyFromJSON } from '../lib';
import type { ManualClock, TestFabric } from '../lib/testing';
import { Random } from '../lib/random';
import { DESC, fill, rejection, rowOf } from './fixtures/cluster';
import { clusterOf, linked, newFabric, start } from './fixtures/fabric';

const PEER = clusterOf(1n);

/** A prompt, and a decoder that pulls block 0 of it. */
interface Net {
  readonly fabric: TestFabric<ManualClock>;
  prompt: LLMDataDist;
  promptCache: KvCache;
  readonly decoder: LLMDataDist;
  readonly decoderCache: KvCache;
}

const network = async (options = {}): Promise<Net> => ({ ...(await linked({ strict: false }, options)) });

/** The next life of the prompt: another process, with other bytes under the same cache id. */
async function restart(net: Net): Promise<void> {
  net.fabric.kill(1n);
  net.fabric.restart(1n);
  net.prompt = await start(net.fabric, 1n);
  net.promptCache = await net.prompt.kvCacheManager.allocateCache(DESC);
  await fill(net.promptCache, 99);
}

const pull = ({ decoder, decoderCache }: Net, key: CacheKeyByIdAndIndex) =>
  decoder.kvCacheManager.pullBlocks(key, decoderCache, [0], [0]);
const link = ({ decoder }: Net, more: Partial<LLMClusterInfo> = {}) => decoder.linkClusters([{ ...PEER, ...more }]);
const unlink = ({ decoder }: Net, options = {}) => decoder.unlinkClusters([PEER], options);
const received = async ({ decoderCache }: Net) => (await rowOf(decoderCache, 0, 0))[0];

/** The prompt has restarted, which a pull with the key of its old life has shown. */
async function afterRestart(): Promise<{ net: Net; key: CacheKeyByIdAndIndex }> {
  const net = await network();
  const key = net.promptCache.key();
  await pull(net, key);
  await restart(net);
  expect(await rejection(pull(net, key))).toMatchObject({ recovery: 'relink' });
  return { net, key };
}

async function expectStale(net: Net, key: CacheKeyByIdAndIndex): Promise<LLMException> {
  const before = { bytes: await received(net), calls: net.fabric.history.length };
  const error = await rejection(pull(net, key));
  expect(error).toBeInstanceOf(LLMException);
  expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', recovery: 'stale-key', clusterId: 1n });
  const { message, remedy } = error as LLMException;
  expect(remedy).toContain(
    "Rule stale-key: ask cluster 1 which life it has now, and link with that. If it is another one than this key's, " +
      'ask for a new key. Never take the life from the key. ',
  );
  expect(remedy).toContain(
    'replace it once for all calls of the cluster: let its running transfers end, unlink with force',
  );
  expect(message).toContain(`the key is of life ${key.life}`);
  expect({ bytes: await received(net), calls: net.fabric.history.length }).toEqual(before);
  return error as LLMException;
}

describe('a link has one life', () => {
  test('the stated one', async () => {
    const net = await network();
    await unlink(net);
    const other = 'ab'.repeat(16);
    await link(net, { life: other });
    const { message } = await expectStale(net, net.promptCache.key());
    expect(message).toContain(`the link to cluster 1 is for its life ${other}`);
    expect(message).toContain(net.prompt.life);
  });

  test('else that of the first key that is used over it', async () => {
    const net = await network();
    const other = { ...net.promptCache.key(), life: 'cd'.repeat(16) };
    await pull(net, net.promptCache.key());
    const { message } = await expectStale(net, other);
    expect(message).toContain(`is for its life ${net.prompt.life}`);
    await pull(net, net.promptCache.key());
  });

  test('a key that a guard or the library refuses before anything moves is not used', async () => {
    const net = await network();
    const other = { ...net.promptCache.key(), life: 'cd'.repeat(16) };
    const { kvCacheManager } = net.decoder;
    await rejection(kvCacheManager.pullBlocks(other, net.decoderCache, [77], [0]));
    await rejection(kvCacheManager.pullBlocks({ ...other, batchIndex: 1 }, net.decoderCache, [0], [0]));
    await pull(net, net.promptCache.key());
  });

  test('a push counts as a pull does, and rows as blocks do', async () => {
    const net = await network();
    const { kvCacheManager } = net.decoder;
    const key = net.promptCache.key();
    await kvCacheManager.pushBlocks(key, net.decoderCache, [0], [0]);
    const other = { ...key, life: 'cd'.repeat(16) };
    for (const call of [
      () => kvCacheManager.pushBlocks(other, net.decoderCache, [0], [0]),
      () => kvCacheManager.pushCache(other, net.decoderCache),
      () => kvCacheManager.pullCache(other, net.decoderCache),
    ]) {
      expect(await rejection(call())).toMatchObject({ recovery: 'stale-key' });
    }
  });

  test('keys in JSON are of it too, and keys without a life pass', async () => {
    const net = await network();
    const key = cacheKeyFromJSON(JSON.stringify(net.promptCache.key()));
    await pull(net, key);
    await pull(net, { clusterId: 1n, cacheId: 1n });
    await unlink(net);
    await link(net, { life: 'ab'.repeat(16) });
    await expectStale(net, key);
    await pull(net, { clusterId: 1n, cacheId: 1n });
  });

  test('links of several peers in one call have each their own', async () => {
    const fabric = newFabric({});
    const decoder = await start(fabric, 9n);
    const cache = await decoder.kvCacheManager.allocateCache(DESC);
    const peers = await Promise.all([1n, 2n].map((id) => start(fabric, id)));
    const keys = await Promise.all(peers.map(async (peer) => (await peer.kvCacheManager.allocateCache(DESC)).key()));
    const [first, second] = keys as [CacheKeyByIdAndIndex, CacheKeyByIdAndIndex];
    await decoder.linkClusters([
      { ...clusterOf(1n), life: peers[0]!.life },
      { ...clusterOf(2n), life: peers[0]!.life },
    ]);
    await decoder.kvCacheManager.pullBlocks(first, cache, [0], [0]);
    expect(await rejection(decoder.kvCacheManager.pullBlocks(second, cache, [0], [0]))).toMatchObject({
      recovery: 'stale-key',
      clusterId: 2n,
    });
  });

  test('with guards off nothing is refused', async () => {
    const net = await network({ guards: false });
    await unlink(net);
    await link(net, { life: 'ab'.repeat(16) });
    await pull(net, net.promptCache.key());
  });
});

describe('after a restart of the peer an old key is refused, and nothing is written', () => {
  test('also after a graceful unlink that ended no link', async () => {
    const { net, key } = await afterRestart();
    await unlink(net, { force: true });
    await unlink(net);
    await unlink(net);
    await link(net);
    await expectStale(net, key);
  });

  test('also in the next life of this instance', async () => {
    const { net, key } = await afterRestart();
    await net.decoder.finalize();
    await net.decoder.init({ deviceId: 0, listenIpInfo: '10.0.0.9:26000' });
    const decoderCache = await net.decoder.kvCacheManager.allocateCache(DESC);
    await link(net);
    await expectStale({ ...net, decoderCache }, key);
  });

  test('also after keys that name thousands of clusters which nobody linked', async () => {
    const { net, key } = await afterRestart();
    await unlink(net, { force: true });
    const strangers = Array.from({ length: 4200 }, (_, i) => BigInt(1000 + i));
    for (const clusterId of strangers) {
      const error = await rejection(pull(net, { clusterId, cacheId: 1n, life: 'ab'.repeat(16) }));
      expect(error).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
    }
    await link(net);
    await expectStale(net, key);
  });

  test('when the link failed, was unlinked by force and made again', async () => {
    const { net, key } = await afterRestart();
    await unlink(net, { force: true });
    await link(net);
    const { message } = await expectStale(net, key);
    expect(message).toContain('that life was used over a link to cluster 1 which failed or was ended by force');
    await pull(net, net.promptCache.key());
    expect(await received(net)).toBe(99);
    await expectStale(net, key);
  });

  test('when only a failing key was used over the old link', async () => {
    const net = await network();
    const key = net.promptCache.key();
    await restart(net);
    expect(await rejection(pull(net, key))).toMatchObject({ recovery: 'relink' });
    await unlink(net, { force: true });
    await link(net);
    await expectStale(net, key);
  });

  test('when the unlink after the failure was a graceful one', async () => {
    const net = await network();
    const key = net.promptCache.key();
    net.fabric.inject({ op: 'pullBlocks', times: 1, status: 'LLM_TIMEOUT' });
    expect(await rejection(pull(net, key))).toMatchObject({ recovery: 'relink' });
    await unlink(net);
    await link(net);
    await expectStale(net, key);
  });

  test('when the link is stated to be for the life that the peer reports', async () => {
    const net = await network();
    const key = net.promptCache.key();
    await restart(net);
    await unlink(net, { force: true });
    await link(net, { life: net.prompt.life });
    await expectStale(net, key);
    await pull(net, net.promptCache.key());
    expect(await received(net)).toBe(99);
  });

  test('when a link call finds a link, and states another life', async () => {
    const net = await network();
    const key = net.promptCache.key();
    await pull(net, key);
    net.fabric.inject({ op: 'linkClusters', times: 1, status: 'LLM_ALREADY_LINK' });
    expect(await rejection(link(net, { life: 'ab'.repeat(16) }))).toMatchObject({ code: 'LLM_ALREADY_LINK' });
    await expectStale(net, key);
  });
});

describe('nothing is refused', () => {
  test('after a graceful unlink', async () => {
    const net = await network();
    await pull(net, net.promptCache.key());
    const late = await net.prompt.kvCacheManager.allocateCache(DESC);
    await unlink(net);
    await link(net);
    await pull(net, net.promptCache.key());
    await pull(net, late.key());
  });

  test('of a life that was only refused', async () => {
    const net = await network();
    const never = { ...net.promptCache.key(), life: 'cd'.repeat(16) };
    await pull(net, net.promptCache.key());
    await expectStale(net, never);
    await unlink(net, { force: true });
    await link(net);
    // It is the first one to be used over this link.
    await pull(net, never);
  });

  test('by an instance that was finalized with a healthy link and initialised again', async () => {
    const net = await network();
    await pull(net, net.promptCache.key());
    await net.decoder.finalize();
    await net.decoder.init({ deviceId: 2, listenIpInfo: '10.0.0.2:27000' });
    const cache = await net.decoder.kvCacheManager.allocateCache(DESC);
    await link(net);
    await net.decoder.kvCacheManager.pullBlocks(net.promptCache.key(), cache, [0], [0]);
  });

  test('where there is no link: the library says so', async () => {
    const net = await network();
    await pull(net, net.promptCache.key());
    await unlink(net, { force: true });
    expect(await rejection(pull(net, net.promptCache.key()))).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
  });
});

test('a fresh key passes over a link that the next life of the peer has made itself, once the old link has failed', async () => {
  const net = await network();
  const key = net.promptCache.key();
  await pull(net, key);
  await restart(net);
  expect(await rejection(pull(net, key))).toMatchObject({ recovery: 'relink' });
  await net.prompt.linkClusters([clusterOf(2n)]);
  await pull(net, net.promptCache.key());
  expect(await received(net)).toBe(99);
  await expectStale(net, key);
});

describe('what the rule refuses wrongly, until the life is stated', () => {
  test('a key of a peer that has not restarted', async () => {
    const net = await network();
    await pull(net, net.promptCache.key());
    await unlink(net, { force: true });
    await link(net);
    await expectStale(net, net.promptCache.key());
    await unlink(net);
    await link(net, { life: net.prompt.life });
    await pull(net, net.promptCache.key());
  });

  test('a fresh key that failed on a dead link', async () => {
    const net = await network();
    await pull(net, net.promptCache.key());
    await unlink(net);
    await link(net);
    net.fabric.inject({ op: 'pullBlocks', times: 1, status: 'LLM_TIMEOUT' });
    const fresh = net.promptCache.key();
    expect(await rejection(pull(net, fresh))).toMatchObject({ code: 'LLM_TIMEOUT' });
    await unlink(net, { force: true });
    await link(net);
    await expectStale(net, fresh);
    await unlink(net, { force: true });
    await link(net, { life: net.prompt.life });
    await pull(net, fresh);
  });
});

describe('what the rule lets through', () => {
  test('a key that is first used after the relink', async () => {
    const net = await network();
    const key = net.promptCache.key();
    await restart(net);
    await unlink(net, { force: true });
    await link(net);
    await pull(net, key);
    expect(await received(net)).toBe(99);
  });

  test('a restart after a graceful unlink', async () => {
    const net = await network();
    const key = net.promptCache.key();
    await pull(net, key);
    await unlink(net);
    await restart(net);
    await link(net);
    await pull(net, key);
    expect(await received(net)).toBe(99);
  });

  test('a restart before a graceful unlink that the new life answers', async () => {
    const net = await network();
    const key = net.promptCache.key();
    await pull(net, key);
    await restart(net);
    await unlink(net);
    await link(net);
    await pull(net, key);
    expect(await received(net)).toBe(99);
  });

  test('a life that was copied from the stale key', async () => {
    const net = await network();
    const key = net.promptCache.key();
    await pull(net, key);
    await restart(net);
    await unlink(net, { force: true });
    await link(net, { life: key.life! });
    await pull(net, key);
    expect(await received(net)).toBe(99);
  });

  test('keys without a life', async () => {
    const net = await network();
    const { clusterId, cacheId } = net.promptCache.key();
    await pull(net, { clusterId, cacheId });
    await restart(net);
    await unlink(net, { force: true });
    await link(net);
    await pull(net, { clusterId, cacheId });
    expect(await received(net)).toBe(99);
  });

  test('a key over a link that the next life of the peer has made', async () => {
    const net = await network();
    const key = net.promptCache.key();
    await pull(net, key);
    await restart(net);
    await net.prompt.linkClusters([clusterOf(2n)]);
    await pull(net, key);
    expect(await received(net)).toBe(99);
  });
});

describe('a cache that the link does not know', () => {
  test('is registered late where its version is greater than those that succeeded: relink', async () => {
    const net = await network();
    await pull(net, net.promptCache.key());
    const late = await net.prompt.kvCacheManager.allocateCache(DESC);
    expect(await rejection(pull(net, late.key()))).toMatchObject({
      code: 'LLM_KV_CACHE_NOT_EXIST',
      recovery: 'relink',
    });
    await unlink(net);
    await link(net);
    await pull(net, late.key());
  });

  test.each(['a version that is not greater', 'no version', 'no life'])(
    'is unknown with %s: stale-key',
    async (what) => {
      const net = await network();
      await pull(net, net.promptCache.key());
      const late = await net.prompt.kvCacheManager.allocateCache(DESC);
      const key: { -readonly [K in keyof CacheKeyByIdAndIndex]: CacheKeyByIdAndIndex[K] } = { ...late.key() };
      if (what === 'no life') delete key.life;
      else if (what === 'no version') delete key.version;
      else key.version = 1;
      expect(await rejection(pull(net, key))).toMatchObject({
        code: 'LLM_KV_CACHE_NOT_EXIST',
        recovery: 'stale-key',
      });
    },
  );

  test('costs no other key its link', async () => {
    const net = await network();
    await pull(net, net.promptCache.key());
    await rejection(pull(net, { ...net.promptCache.key(), cacheId: 77n }));
    await unlink(net);
    await link(net);
    await pull(net, net.promptCache.key());
  });

  test('is to be corrected here where it is the local one', async () => {
    const net = await network();
    const error = await rejection(net.decoder.kvCacheManager.pullBlocks(net.promptCache.key(), 77n, [0], [0]));
    expect(error).toMatchObject({ code: 'LLM_KV_CACHE_NOT_EXIST', recovery: 'fix-input' });
  });
});

test('a peer of many lives, and many peers, take bounded memory', async () => {
  const net = await network();
  for (let i = 0; i < 200; i++) {
    const life = i.toString(16).padStart(32, '0');
    await rejection(pull(net, { ...net.promptCache.key(), life, cacheId: 77n }));
    await unlink(net, { force: true });
    await link(net);
  }
  // The last ones are remembered.
  await expectStale(net, { ...net.promptCache.key(), life: (199).toString(16).padStart(32, '0') });
  await pull(net, net.promptCache.key());
});

/** The rules, as short as they can be said. A link call makes a link where there is none. */
class Model {
  #link: { stated?: string | undefined; used?: string; ended: boolean } | undefined;
  #refused = new Set<string>();
  #pending: { stated?: string | undefined } | undefined;

  /** A link call has been made, with that life, and has not ended. */
  begin(stated: string | undefined): void {
    this.#pending = { stated };
  }

  link(life: string | undefined): void {
    const { stated, used } = this.#link ?? {};
    this.#pending = undefined;
    // LLM_ALREADY_LINK
    if (this.#link !== undefined && (life === undefined || life === (stated ?? used))) return;
    this.#end();
    if (life !== undefined) this.#refused.delete(life);
    this.#link = { stated: life, ended: false };
  }

  unlink(force: boolean): void {
    if (this.#link === undefined) return;
    if (force || this.#link.ended) this.#end();
    else this.#refused.clear();
    this.#link = undefined;
  }

  /** Whether a pull is refused. */
  refuses(life: string): boolean {
    if (this.#pending !== undefined) {
      const { stated } = this.#pending;
      if (stated === undefined ? this.#refused.has(life) : stated !== life) return true;
    }
    if (this.#link === undefined) return false;
    const { stated, used, ended } = this.#link;
    if ((stated ?? used) === life) return false;
    return (!ended && (stated ?? used) !== undefined) || this.#refused.has(life);
  }

  use(life: string, ended: boolean): void {
    if (this.#link === undefined) return;
    if (this.#link.ended && (this.#link.stated ?? this.#link.used) !== life) {
      // The next life of the peer has made a link itself.
      this.#end();
      this.#link = { ended: false };
    }
    this.#link.used ??= life;
    this.#link.ended ||= ended;
  }

  #end(): void {
    if (this.#link?.used !== undefined) this.#refused.add(this.#link.used);
  }
}

const recoveryOf = (call: Promise<void>) =>
  call.then(
    () => LLMStatusCode.LLM_SUCCESS,
    (error: unknown) => (error as LLMException).recovery,
  );

/** A pull that waits in the library without a link, as in a lane. */
function heldPull(net: Net, life: string) {
  const fault = net.fabric.inject({ op: 'pullBlocks', times: 1, hang: true, hold: 'call' });
  return { life, fault, answer: recoveryOf(pull(net, { ...net.promptCache.key(), life })) };
}

test.each(Array.from({ length: 40 }, (_, seed) => seed))('follows the rules in random order, seed %i', async (seed) => {
  const random = new Random(seed);
  const net = await network();
  const model = new Model();
  model.link(undefined);
  const lives = ['a', 'b', 'c', net.prompt.life].map((life) => life.padEnd(32, '0'));
  const someLife = () => lives[random.below(lives.length)]!;
  let isLinked = true;
  for (let step = 0; step < 60; step++) {
    const what = random.below(5);
    if (what === 0 || (what === 1 && !isLinked)) {
      const life = random.below(2) === 0 ? someLife() : undefined;
      // One that is called before the link call must not run over the link, and one is called while that runs.
      const before = isLinked ? undefined : heldPull(net, someLife());
      const linking = link(net, life === undefined ? {} : { life });
      model.begin(life);
      const during = { ...net.promptCache.key(), life: someLife() };
      const isRefused = model.refuses(during.life);
      const answer = before === undefined ? undefined : await recoveryOf(pull(net, during));
      if (before !== undefined) {
        // A key of another life that waits counts as used until it has failed.
        const isOther = before.life !== during.life;
        expect({ seed, step, answer }).toEqual({ seed, step, answer: isRefused || isOther ? 'stale-key' : 'relink' });
        before.fault.remove();
        expect(await before.answer).toBe('relink');
      }
      if (isLinked) expect(await rejection(linking)).toMatchObject({ code: 'LLM_ALREADY_LINK' });
      else await linking;
      model.link(life);
      isLinked = true;
    } else if (what === 1) {
      const force = random.below(2) === 0;
      await unlink(net, { force });
      model.unlink(force);
      isLinked = false;
    } else {
      const life = someLife();
      const fails = isLinked && random.below(4) === 0;
      const fault = fails ? net.fabric.inject({ op: 'pullBlocks', times: 1, status: 'LLM_TIMEOUT' }) : undefined;
      const answer = await recoveryOf(pull(net, { ...net.promptCache.key(), life }));
      fault?.remove();
      const isRefused = model.refuses(life);
      const expected = isRefused ? 'stale-key' : !isLinked || fails ? 'relink' : LLMStatusCode.LLM_SUCCESS;
      expect({ seed, step, answer }).toEqual({ seed, step, answer: expected });
      if (!isRefused) model.use(life, fails);
    }
  }
});
