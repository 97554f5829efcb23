import { LLMException } from '../lib';
import type { KvCache, KvCacheManager, LLMDataDist } from '../lib';
import { Peers } from '../lib/peers';
import { turn } from './bad-input/states';
import { expectQuietProcess } from './bad-input/quiet-process';
import { client, TO_OTHER_PROMPT, TO_PROMPT } from './fixtures/client';
import { DESC, rejection } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import { warningsDuring } from './fixtures/warnings';

expectQuietProcess();

/** What is still allocated is nobody's business here. */
const quietly = (dist: LLMDataDist) => warningsDuring(() => dist.finalize());

/** A client that is linked to both prompts, and a note of how its calls end. */
async function linkedClient(options: { guards?: boolean } = {}) {
  const nodes = await client(options);
  const cache = await nodes.caches.allocateCache(DESC);
  await nodes.decoder.dist.linkClusters([TO_PROMPT, TO_OTHER_PROMPT]);
  nodes.calls.length = 0;
  const ended: string[] = [];
  const note = (name: string, call: Promise<unknown>): Promise<unknown> =>
    call.then(
      () => ended.push(name),
      (error: unknown) => ended.push(`${name}: ${error instanceof LLMException ? error.code : String(error)}`),
    );
  const pull = (name: string) => note(name, nodes.caches.pullBlocks(nodes.remote.key(), cache, [0], [0]));
  const unlink = (name: string, clusters = [TO_PROMPT]) => note(name, nodes.decoder.dist.unlinkClusters(clusters));
  const link = (name: string, clusters = [TO_PROMPT]) => note(name, nodes.decoder.dist.linkClusters(clusters));
  return { ...nodes, dist: nodes.decoder.dist, cache, ended, note, pull, unlink, link };
}

const TRANSFERS: [string, (caches: KvCacheManager, remote: KvCache, local: KvCache) => Promise<void>][] = [
  ['pullKvCache', (caches, remote, local) => caches.pullCache(remote.key(), local)],
  ['pullKvBlocks', (caches, remote, local) => caches.pullBlocks(remote.key(), local, [0], [0])],
  ['pushKvCache', (caches, remote, local) => caches.pushCache(remote.key(), local)],
  ['pushKvBlocks', (caches, remote, local) => caches.pushBlocks(remote.key(), local, [0], [0])],
];

describe.each(TRANSFERS)('%s', (method, transfer) => {
  test.each([true, false])('in flight is waited for by an unlink of its peer (guards: %s)', async (guards) => {
    const { caches, backend, remote, cache, of, ended, note, unlink } = await linkedClient({ guards });
    const held = hold(backend, method as 'pullKvCache');
    const transferred = note('transfer', transfer(caches, remote, cache));
    await held.hasEntered(1);
    const unlinked = unlink('unlink');
    await turn();
    expect(of('unlinkLlmClusters')).toEqual([]);
    held.letGo();
    await Promise.all([transferred, unlinked]);
    expect(ended).toEqual(['transfer', 'unlink']);
    expect(of('unlinkLlmClusters')).toEqual(['unlinkLlmClusters']);
  });

  test('that is called while an unlink of its peer runs comes after it, and gets the answer of the library', async () => {
    const { caches, backend, remote, cache, of, note, unlink } = await linkedClient();
    const held = hold(backend, 'unlinkLlmClusters');
    const unlinked = unlink('unlink');
    const error = rejection(transfer(caches, remote, cache));
    await held.hasEntered(1);
    await turn();
    expect(of(method)).toEqual([]);
    held.letGo();
    expect(await error).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
    await note('unlink', unlinked);
    expect(of(method)).toEqual([method]);
  });
});

describe('an unlink', () => {
  test('lets transfers with other peers go on', async () => {
    const { caches, backend, otherRemote, cache, ended, note, pull, unlink } = await linkedClient();
    const held = hold(backend, 'pullKvBlocks');
    const waiting = [pull('pull'), unlink('unlink'), pull('later pull')];
    await held.hasEntered(1);
    const other = note('other pull', caches.pullBlocks(otherRemote.key(), cache, [0], [1]));
    await held.hasEntered(2);
    held.open();
    await Promise.all([...waiting, other]);
    expect(ended.slice(0, 2).sort()).toEqual(['other pull', 'pull']);
    expect(ended.slice(2)).toEqual(['unlink', 'later pull: LLM_NOT_YET_LINK']);
  });

  test('of several peers holds all of them, from the moment that it is called', async () => {
    const { caches, backend, remote, otherRemote, cache, of, ended, note, unlink } = await linkedClient();
    const held = hold(backend, 'pullKvBlocks');
    const first = note('pull', caches.pullBlocks(remote.key(), cache, [0], [0]));
    const unlinked = unlink('unlink', [TO_PROMPT, TO_OTHER_PROMPT, TO_PROMPT]);
    const second = note('other pull', caches.pullBlocks(otherRemote.key(), cache, [0], [1]));
    await held.hasEntered(1);
    await turn();
    expect(held.entered).toBe(1);
    held.open();
    await Promise.all([first, unlinked, second]);
    expect(ended).toEqual(['pull', 'unlink', 'other pull: LLM_NOT_YET_LINK']);
    expect(of('unlinkLlmClusters')).toEqual(['unlinkLlmClusters']);
  });

  test('and transfers take turns in the order of the calls', async () => {
    const { backend, calls, pull, unlink, link } = await linkedClient();
    const held = hold(backend, 'pullKvBlocks');
    const all = [pull('1'), unlink('2'), link('3'), pull('4'), unlink('5'), pull('6'), link('7')];
    await held.hasEntered(1);
    held.open();
    await Promise.all(all);
    const made = calls.filter((call) => call !== 'linkLlmClusters');
    expect(made).toEqual(['pullKvBlocks', 'unlinkLlmClusters', 'pullKvBlocks', 'unlinkLlmClusters', 'pullKvBlocks']);
  });

  test('is not kept waiting by transfers that never end to come', async () => {
    const { caches, remote, cache, unlink } = await linkedClient();
    let going = true;
    const callers = Array.from({ length: 64 }, async () => {
      while (going) {
        await turn();
        await caches.pullBlocks(remote.key(), cache, [0], [0]).catch((error: unknown) => {
          expect(error).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
        });
      }
    });
    await turn();
    await unlink('unlink');
    going = false;
    await Promise.all(callers);
  });

  test('that fails lets those go on that have waited for it', async () => {
    const { pull, unlink, ended, calls } = await linkedClient();
    const nobody = [{ ip: '127.0.0.1', port: 1 }];
    await Promise.all([unlink('unlink', [{ ...TO_PROMPT, remoteIpInfos: nobody }]), pull('pull')]);
    expect(calls).toEqual(['unlinkLlmClusters', 'pullKvBlocks']);
    expect(ended.sort()).toEqual(['pull', 'unlink: LLM_UNLINK_FAILED']);
  });

  test('is waited for by a finalize that is called later, and so are the transfers that wait for it', async () => {
    const { dist, backend, ended, note, pull, unlink, calls } = await linkedClient();
    const held = hold(backend, 'pullKvBlocks');
    const all = [pull('pull'), unlink('unlink'), pull('later pull'), note('finalize', quietly(dist))];
    await held.hasEntered(1);
    await turn();
    expect(ended).toEqual([]);
    held.open();
    await Promise.all(all);
    expect(ended).toEqual(['pull', 'unlink', 'later pull: LLM_NOT_YET_LINK', 'finalize']);
    expect(calls.filter((call) => call !== 'free').at(-1)).toBe('finalize');
  });

  test('that is refused holds nobody', async () => {
    const { dist, pull, note, ended } = await linkedClient();
    const finalized = note('finalize', quietly(dist));
    await note('unlink', dist.unlinkClusters([TO_PROMPT]));
    await finalized;
    await dist.init({ deviceId: 0 });
    await pull('pull');
    expect(ended).toEqual(['unlink: LLM_FAILED', 'finalize', 'pull: LLM_PARAM_INVALID']);
  });
});

test('a transfer that waits for an unlink uses the lists of the caller as they were when he called', async () => {
  const { caches, backend, remote, cache, unlink, link } = await linkedClient();
  const seen: bigint[][] = [];
  const pull = backend.pullKvBlocks.bind(backend);
  backend.pullKvBlocks = (src, dst, srcBlocks, dstBlocks, ext) => {
    seen.push([...srcBlocks, ...dstBlocks]);
    return pull(src, dst, srcBlocks, dstBlocks, ext);
  };
  const held = hold(backend, 'unlinkLlmClusters');
  const waiting = [unlink('unlink'), link('link')];
  const lists: [BigUint64Array, Uint32Array, number[]] = [BigUint64Array.of(1n), Uint32Array.of(2), [3]];
  const pulls = lists.map((list) => rejection(caches.pullBlocks(remote.key(), cache, list, list)));
  lists[0].fill(0n);
  lists[1].fill(0);
  lists[2].fill(0);
  held.open();
  await Promise.all([...waiting, ...pulls]);
  expect(seen).toEqual([
    [1n, 1n],
    [2n, 2n],
    [3n, 3n],
  ]);
});

describe('peers', () => {
  test('that nobody uses are forgotten when there are many, and no others', () => {
    const peers = new Peers();
    const used = peers.of(1n);
    used.count += 1;
    const idle = peers.of(2n);
    const { open } = peers.close([3n]);
    const closed = peers.of(3n);
    for (let id = 100n; id < 3000n; id++) peers.of(id);
    expect(peers.of(1n)).toBe(used);
    expect(peers.of(2n)).not.toBe(idle);
    expect(peers.of(3n)).toBe(closed);
    expect(closed.opens).toBeInstanceOf(Promise);
    open();
  });
});

test.each([1, 2])('%i withdrawn unlinks let no transfer pass one that runs', async (count) => {
  const { dist, backend, calls, ended, note, pull, unlink } = await linkedClient();
  const held = hold(backend, 'unlinkLlmClusters');
  const unlinked = unlink('unlink');
  await held.hasEntered(1);
  const controllers = Array.from({ length: count }, () => new AbortController());
  const withdrawn = controllers.map(({ signal }) => note('withdrawn', dist.unlinkClusters([TO_PROMPT], { signal })));
  const before = pull('before');
  for (const controller of controllers) controller.abort();
  await Promise.all(withdrawn);
  const after = pull('after');
  await turn();
  expect(calls).toEqual([]);
  held.open();
  await Promise.all([unlinked, before, after]);
  expect(calls).toEqual(['unlinkLlmClusters', 'pullKvBlocks', 'pullKvBlocks']);
  expect(ended.slice(count)).toEqual(['unlink', 'before: LLM_NOT_YET_LINK', 'after: LLM_NOT_YET_LINK']);
  // The peer is open again: the next one goes on the caller's turn.
  calls.length = 0;
  const next = pull('next');
  expect(calls).toEqual(['pullKvBlocks']);
  await next;
});
