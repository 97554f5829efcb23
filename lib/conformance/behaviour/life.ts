import { DEFAULT_CACHE_DESC, DEFAULT_EXT_PARAM } from '../../backend/backend';
import type { Backend, BackendOptions, Cache, CacheIndex } from '../../backend/backend';
import { LLMRole } from '../../role';
import { answerOf } from './answer';
import type { Behaviour, BehaviourGroup } from './behaviour';
import type { StageNode } from './stage-node';
import { DESC } from './cache-desc';
import { HOST } from './stage-node';

const NOWHERE: Cache = { cacheId: 1n, tensorAddrs: BigUint64Array.of(4096n), desc: { ...DESC, numTensors: 1 } };
const ELSEWHERE: CacheIndex = { clusterId: 9n, cacheId: 1n, batchIndex: 0 };
const NO_BLOCKS = new BigUint64Array(0);
const ONE_BLOCK = BigUint64Array.of(0n);

const NEEDS_INITIALIZE: Readonly<Record<string, (backend: Backend) => Promise<unknown>>> = {
  setRole: (backend) => backend.setRole(LLMRole.PROMPT, {}),
  linkLlmClusters: (backend) =>
    backend.linkLlmClusters(
      [
        {
          remoteClusterId: 9n,
          remoteRoleType: LLMRole.PROMPT,
          remoteIpInfos: [{ ip: HOST, port: 26_999 }],
          localIpInfos: [{ ip: HOST, port: 26_999 }],
        },
      ],
      1000,
    ),
  unlinkLlmClusters: (backend) =>
    backend.unlinkLlmClusters(
      [{ remoteClusterId: 9n, remoteRoleType: LLMRole.PROMPT, remoteIpInfos: [], localIpInfos: [] }],
      1000,
      false,
    ),
  registerKvCache: (backend) => backend.registerKvCache(NOWHERE.desc, NOWHERE.tensorAddrs),
  unregisterKvCache: (backend) => backend.unregisterKvCache(1n),
  pullKvCache: (backend) => backend.pullKvCache(ELSEWHERE, NOWHERE, 0, -1n, DEFAULT_EXT_PARAM),
  pullKvBlocks: (backend) => backend.pullKvBlocks(ELSEWHERE, NOWHERE, ONE_BLOCK, ONE_BLOCK, DEFAULT_EXT_PARAM),
  pushKvCache: (backend) => backend.pushKvCache(NOWHERE, ELSEWHERE, 0, -1n, DEFAULT_EXT_PARAM),
  pushKvBlocks: (backend) => backend.pushKvBlocks(NOWHERE, ELSEWHERE, ONE_BLOCK, ONE_BLOCK, DEFAULT_EXT_PARAM),
};

const NOT_IMPLEMENTED: Readonly<Record<string, (backend: Backend) => Promise<unknown>>> = {
  allocateCache: (backend) => backend.allocateCache(DEFAULT_CACHE_DESC),
  deallocateCache: (backend) => backend.deallocateCache(1n),
  copyKvCache: (backend) => backend.copyKvCache(NOWHERE, NOWHERE, 0, 0, 0n, -1n),
  copyKvBlocks: (backend) => backend.copyKvBlocks(NOWHERE, NOWHERE, NO_BLOCKS, []),
};

async function answers(
  { backend }: StageNode,
  calls: Readonly<Record<string, (backend: Backend) => Promise<unknown>>>,
): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [name, call] of Object.entries(calls)) found[name] = await answerOf(() => call(backend));
  return found;
}

function all(calls: object, answer: string): Record<string, string> {
  return Object.fromEntries(Object.keys(calls).map((name) => [name, answer]));
}

const BEHAVIOURS: readonly Behaviour[] = [
  {
    name: 'has a name',
    nodes: 1,
    run: async (stage, expect) => {
      const { backend } = await stage.node(LLMRole.PROMPT);
      expect(typeof backend.name).toEqual('string');
      expect(backend.name === '').toEqual(false);
    },
  },
  {
    name: 'answers LLM_FAILED to every call that needs an instance, before initialize and after finalize',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.node(LLMRole.MIX);
      expect(await answers(node, NEEDS_INITIALIZE)).toEqual(all(NEEDS_INITIALIZE, 'LLM_FAILED'));
      await node.initialize();
      await node.backend.finalize();
      expect(await answers(node, NEEDS_INITIALIZE)).toEqual(all(NEEDS_INITIALIZE, 'LLM_FAILED'));
    },
  },
  {
    name: "answers LLM_FEATURE_NOT_ENABLED to what today's library does not do",
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.initialised(LLMRole.MIX);
      expect(await answers(node, NOT_IMPLEMENTED)).toEqual(all(NOT_IMPLEMENTED, 'LLM_FEATURE_NOT_ENABLED'));
    },
  },
  {
    name: 'refuses an initialize without a device and one with a malformed address, and can then be initialised',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.node(LLMRole.PROMPT);
      const { 'llm.DeviceId': device = '' } = node.options;
      const initialize = (options: BackendOptions) => answerOf(() => node.backend.initialize(options));
      expect(await initialize({})).toEqual('LLM_PARAM_INVALID');
      expect(await initialize({ 'llm.DeviceId': device, 'llm.ListenIpInfo': 'nowhere' })).toEqual('LLM_PARAM_INVALID');
      expect(await initialize(node.options)).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'ignores options that nobody knows, and does not change those that it is given',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.node(LLMRole.PROMPT);
      const options = { ...node.options, 'llm.NobodyKnowsThis': 'x', 'nor this': '', '': '1' };
      expect(await answerOf(() => node.backend.initialize(Object.freeze({ ...options })))).toEqual('LLM_SUCCESS');
      const passed = { ...options };
      await node.backend.finalize();
      await node.backend.initialize(passed);
      expect(passed).toEqual(options);
    },
  },
  {
    name: 'takes a second initialize for done, whatever its options',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.initialised(LLMRole.PROMPT);
      const cache = await node.register(DESC, 1);
      expect(await answerOf(() => node.backend.initialize({ 'llm.DeviceId': 'none' }))).toEqual('LLM_SUCCESS');
      expect(String((await node.register(DESC, 2)).id)).toEqual(String(cache.id + 1n));
    },
  },
  {
    name: 'can be finalized at any time, any number of times, without a failure',
    nodes: 3,
    run: async (stage, expect) => {
      const node = await stage.node(LLMRole.PROMPT);
      const finalize = () => answerOf(() => node.backend.finalize());
      expect([await finalize(), await finalize()]).toEqual(['LLM_SUCCESS', 'LLM_SUCCESS']);
      await node.initialize();
      await node.register(DESC, 1);
      expect([await finalize(), await finalize()]).toEqual(['LLM_SUCCESS', 'LLM_SUCCESS']);
      const { decoder } = await stage.linkedPair();
      expect(await answerOf(() => decoder.backend.finalize())).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'gives its port back when it is finalized',
    nodes: 2,
    run: async (stage, expect) => {
      const first = await stage.initialised(LLMRole.PROMPT);
      const second = await stage.node(LLMRole.PROMPT);
      const initialize = () =>
        answerOf(() => second.initialize({ 'llm.ListenIpInfo': first.options['llm.ListenIpInfo'] ?? '' }));
      expect(await initialize()).toEqual('LLM_FAILED');
      await first.backend.finalize();
      expect(await initialize()).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'takes each of the three roles, and no other',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.initialised(LLMRole.PROMPT);
      const found: Record<number, string> = {};
      for (const role of [1, 2, 3, 0, 4, -1, 2 ** 31 - 1]) {
        found[role] = await answerOf(() => node.backend.setRole(role, node.options));
      }
      const no = 'LLM_PARAM_INVALID';
      const yes = 'LLM_SUCCESS';
      expect(found).toEqual({ 1: yes, 2: yes, 3: yes, 0: no, 4: no, [-1]: no, [2 ** 31 - 1]: no });
    },
  },
  {
    name: 'keeps its role while it is linked',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder } = await stage.linkedPair();
      const switched = () => answerOf(() => decoder.backend.setRole(LLMRole.PROMPT, {}));
      expect(await switched()).toEqual('LLM_EXIST_LINK');
      await decoder.unlink(prompt);
      expect(await switched()).toEqual('LLM_SUCCESS');
    },
  },
];

export const life: BehaviourGroup = { subject: 'instances', behaviours: BEHAVIOURS };
