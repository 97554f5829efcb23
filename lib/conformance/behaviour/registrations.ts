import { DEFAULT_EXT_PARAM } from '../../backend/backend';
import type { BackendCacheDesc } from '../../backend/backend';
import { LLMRole } from '../../role';
import { answerOf } from './answer';
import type { Behaviour, BehaviourGroup } from './behaviour';
import { transferred } from './contents';
import { blocksDesc, DESC, ROW_BYTES } from './cache-desc';

/** The library takes no more addresses per cache on every engine. */
const MOST_ADDRESSES = 240;

const ids = (caches: readonly { readonly id: bigint }[]) => caches.map(({ id }) => String(id));

const BEHAVIOURS: readonly Behaviour[] = [
  {
    name: 'numbers caches from 1, never twice in a life, and from 1 again in the next',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.initialised(LLMRole.PROMPT);
      const first = [await node.register(DESC, 1), await node.register(DESC, 2)];
      await node.backend.unregisterKvCache(2n);
      const caches = [...first, await node.register(DESC, 3)];
      expect(ids(caches)).toEqual(['1', '2', '3']);
      await node.backend.finalize();
      await node.initialize();
      expect(ids([await node.register(DESC, 4), await node.register(DESC, 5)])).toEqual(['1', '2']);
    },
  },
  {
    name: 'numbers caches of each instance on their own',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder } = await stage.pair();
      expect(ids([await prompt.register(DESC, 1), await decoder.register(DESC, 2)])).toEqual(['1', '1']);
    },
  },
  {
    name: 'takes it for done when what is unregistered is not there',
    nodes: 1,
    run: async (stage, expect) => {
      const { backend } = await stage.initialised(LLMRole.PROMPT);
      for (const cacheId of [1n, 0n, -1n, 2n ** 63n - 1n]) {
        expect([String(cacheId), await answerOf(() => backend.unregisterKvCache(cacheId))]).toEqual([
          String(cacheId),
          'LLM_SUCCESS',
        ]);
      }
    },
  },
  {
    name: 'refuses a description that does not fit its addresses, and has registered nothing',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.initialised(LLMRole.PROMPT);
      const { addresses } = await node.allocate(DESC);
      const register = (desc: BackendCacheDesc, addrs: BigUint64Array) =>
        answerOf(() => node.backend.registerKvCache(desc, addrs));
      expect({
        'no address': await register({ ...DESC, numTensors: 0 }, new BigUint64Array(0)),
        'an address too few': await register(DESC, addresses.slice(1)),
        'an address of 0': await register(DESC, addresses.with(2, 0n)),
        'no dimension': await register({ ...DESC, shape: [] }, addresses),
        'a dimension of -1': await register({ ...DESC, shape: [-1n, 4n] }, addresses),
        'a type that is none': await register({ ...DESC, dataType: 28 }, addresses),
      }).toEqual({
        'no address': 'LLM_PARAM_INVALID',
        'an address too few': 'LLM_PARAM_INVALID',
        'an address of 0': 'LLM_PARAM_INVALID',
        'no dimension': 'LLM_PARAM_INVALID',
        'a dimension of -1': 'LLM_PARAM_INVALID',
        'a type that is none': 'LLM_PARAM_INVALID',
      });
      expect(await register(DESC, addresses)).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'does not change the description and the addresses of a registration',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.initialised(LLMRole.PROMPT);
      const { addresses } = await node.allocate(DESC);
      const before = addresses.join();
      const desc = Object.freeze({ ...DESC, shape: Object.freeze([...DESC.shape]) });
      expect(await answerOf(() => node.backend.registerKvCache(desc, addresses))).toEqual('LLM_SUCCESS');
      expect(addresses.join()).toEqual(before);
    },
  },
  {
    name: 'takes addresses in the middle of an allocation',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder } = await stage.pair();
      const roomy = await prompt.allocate(blocksDesc(1024));
      const [start = 0n] = roomy.addresses;
      const bytes = Uint8Array.from({ length: 4 * 256 }, (_, k) => (3 + 5 * k) % 256);
      await prompt.backend.write(start + 1000n, bytes);
      const addrs = BigUint64Array.of(start + 1000n, start + 1256n, start + 1512n, start + 1768n);
      const cacheId = await prompt.backend.registerKvCache(DESC, addrs);
      const target = await decoder.register(DESC, 90);
      await decoder.link(prompt);
      const src = { clusterId: prompt.clusterId, cacheId, batchIndex: 0 };
      await decoder.backend.pullKvCache(src, target.local, 0, -1n, DEFAULT_EXT_PARAM);
      const source = [0, 1, 2, 3].map((t) => bytes.subarray(256 * t, 256 * t + 256));
      const tensors = [0, 1, 2, 3].map((t) => [t, t] as const);
      const expected = transferred(source, target.initial, {
        tensors,
        pieces: [{ from: 0, to: 0, length: ROW_BYTES }],
      });
      expect(await target.differences(expected)).toEqual([]);
    },
  },
  {
    name: `moves all of ${MOST_ADDRESSES} tensors`,
    nodes: 2,
    run: async (stage, expect) => {
      const desc = { ...DESC, numTensors: MOST_ADDRESSES, shape: [2n, 8n] };
      const { decoder, source, target } = await stage.linkedPair(desc);
      await decoder.pull(source, target, undefined, 1, 0);
      const tensors = source.initial.map((_, t) => [t, t] as const);
      const expected = transferred(source.initial, target.initial, {
        tensors,
        pieces: [{ from: 32, to: 0, length: 32 }],
      });
      expect(await target.differences(expected)).toEqual([]);
    },
  },
  {
    name: 'shows a cache that is registered after the first transfer over a link to the peer when it links again',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder, source, target } = await stage.linkedPair();
      await decoder.pull(source, target);
      const late = await prompt.register(DESC, 44);
      const pull = () => answerOf(() => decoder.pull(late, target));
      const push = () => answerOf(() => decoder.push(target, late));
      expect([await pull(), await push()]).toEqual(['LLM_KV_CACHE_NOT_EXIST', 'LLM_KV_CACHE_NOT_EXIST']);
      expect(await late.differences(late.initial)).toEqual([]);
      await decoder.unlink(prompt);
      await decoder.link(prompt);
      expect([await pull(), await push()]).toEqual(['LLM_SUCCESS', 'LLM_SUCCESS']);
    },
  },
  {
    name: 'moves nothing to or from memory that is registered after the link was made, before it links again',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder, source, target } = await stage.linkedPair();
      const lateLocal = await decoder.register(DESC, 50);
      const lateRemote = await prompt.register(DESC, 60);
      const answers = async () => [
        await answerOf(() => decoder.pull(source, lateLocal)),
        await answerOf(() => decoder.push(lateLocal, source)),
        await answerOf(() => prompt.pull(target, lateRemote)),
        await answerOf(() => prompt.push(lateRemote, target)),
      ];
      expect(await answers()).toEqual(['LLM_FAILED', 'LLM_FAILED', 'LLM_FAILED', 'LLM_FAILED']);
      for (const cache of [source, target, lateLocal, lateRemote]) {
        expect(await cache.differences(cache.initial)).toEqual([]);
      }
      await decoder.unlink(prompt);
      await decoder.link(prompt);
      expect(await answers()).toEqual(['LLM_SUCCESS', 'LLM_SUCCESS', 'LLM_SUCCESS', 'LLM_SUCCESS']);
    },
  },
];

export const registrations: BehaviourGroup = { subject: 'registrations', behaviours: BEHAVIOURS };
