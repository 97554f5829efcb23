import type { ClusterInfo, IpInfo } from '../../backend/backend';
import { LLMRole } from '../../role';
import { answerOf } from './answer';
import type { Behaviour, BehaviourGroup } from './behaviour';
import { clustersOf, HOST } from './stage-node';
import { DESC } from './cache-desc';

const SUCCESS = { status: 'LLM_SUCCESS', results: ['LLM_SUCCESS'] };
const refused = (status: string) => ({ status, results: [status] });

const frozenAddresses = (addresses: readonly IpInfo[]) =>
  Object.freeze(addresses.map((each) => Object.freeze({ ...each })));

function frozenCluster(cluster: ClusterInfo): ClusterInfo {
  const { localIpInfos, remoteIpInfos } = cluster;
  return Object.freeze({
    ...cluster,
    localIpInfos: frozenAddresses(localIpInfos),
    remoteIpInfos: frozenAddresses(remoteIpInfos),
  });
}

const BEHAVIOURS: readonly Behaviour[] = [
  {
    name: 'answers for each cluster, in the order of the list, and with the last failure for the call',
    nodes: 3,
    run: async (stage, expect) => {
      const { prompt, decoder } = await stage.pair();
      const other = await stage.initialised(LLMRole.PROMPT);
      const remoteIpInfos = [{ ip: HOST, port: await stage.port() }];
      const closed: ClusterInfo = { ...prompt.cluster, remoteClusterId: 77n, remoteIpInfos };
      expect(await decoder.linkAnswer(prompt.cluster, closed, other.cluster)).toEqual({
        status: 'LLM_LINK_FAILED',
        results: ['LLM_SUCCESS', 'LLM_LINK_FAILED', 'LLM_SUCCESS'],
      });
      expect(await decoder.unlinkAnswer(true, closed, other.cluster, prompt.cluster)).toEqual({
        status: 'LLM_SUCCESS',
        results: ['LLM_SUCCESS', 'LLM_SUCCESS', 'LLM_SUCCESS'],
      });
    },
  },
  {
    name: 'refuses a list as a whole that has nothing in it or what is no address, and a time of 0',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder } = await stage.pair();
      const whole = { status: 'LLM_PARAM_INVALID', results: [] };
      const strange = { ...prompt.cluster, remoteIpInfos: [{ ip: 'nowhere', port: 1 }] };
      expect(await decoder.linkAnswer()).toEqual(whole);
      expect(await decoder.linkAnswer(prompt.cluster, strange)).toEqual(whole);
      expect(await decoder.unlinkAnswer(false)).toEqual(whole);
      expect(await answerOf(() => decoder.backend.linkLlmClusters([prompt.cluster], 0))).toEqual('LLM_PARAM_INVALID');
      expect(await decoder.linkAnswer(prompt.cluster)).toEqual(SUCCESS);
    },
  },
  {
    name: 'does not change the clusters that it is given',
    nodes: 3,
    run: async (stage, expect) => {
      const decoder = await stage.initialised(LLMRole.DECODER);
      const prompts = [await stage.initialised(LLMRole.PROMPT), await stage.initialised(LLMRole.PROMPT)];
      const frozen = Object.freeze(clustersOf(prompts).reverse().map(frozenCluster));
      expect(await answerOf(() => decoder.backend.linkLlmClusters(frozen, 1000))).toEqual('LLM_SUCCESS');
      expect(await answerOf(() => decoder.backend.unlinkLlmClusters(frozen, 1000, false))).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'refuses a second link to the same cluster, and keeps the first',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder, source, target } = await stage.linkedPair();
      expect(await decoder.linkAnswer(prompt.cluster)).toEqual(refused('LLM_ALREADY_LINK'));
      expect(await answerOf(() => decoder.pull(source, target))).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'serves both directions over the link that one side has made',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder, source, target } = await stage.linkedPair();
      expect({
        'the decoder pulls': await answerOf(() => decoder.pull(source, target)),
        'the prompt pushes': await answerOf(() => prompt.push(source, target)),
        'the prompt pulls': await answerOf(() => prompt.pull(target, source)),
        'the decoder pushes': await answerOf(() => decoder.push(target, source)),
      }).toEqual({
        'the decoder pulls': 'LLM_SUCCESS',
        'the prompt pushes': 'LLM_SUCCESS',
        'the prompt pulls': 'LLM_SUCCESS',
        'the decoder pushes': 'LLM_SUCCESS',
      });
    },
  },
  {
    name: 'has no transfers with clusters that it is not linked to, before the link and after it',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder } = await stage.pair();
      const source = await prompt.register(DESC, 7);
      const target = await decoder.register(DESC, 90);
      const answers = async () => [
        await answerOf(() => decoder.pull(source, target)),
        await answerOf(() => decoder.pullBlocks(source, target, [0], [0])),
        await answerOf(() => decoder.push(target, source)),
        await answerOf(() => decoder.pushBlocks(target, source, [0], [0])),
        await answerOf(() => prompt.pull(target, source)),
      ];
      const unlinked = Array.from({ length: 5 }, () => 'LLM_NOT_YET_LINK');
      expect(await answers()).toEqual(unlinked);
      await decoder.link(prompt);
      await decoder.unlink(prompt);
      expect(await answers()).toEqual(unlinked);
      expect(await source.differences(source.initial)).toEqual([]);
      expect(await target.differences(target.initial)).toEqual([]);
    },
  },
  {
    name: 'leaves the peer linked when it unlinks by force, and can link again',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder, source, target } = await stage.linkedPair();
      await decoder.unlink(prompt, { force: true });
      expect({
        decoder: await answerOf(() => decoder.pull(source, target)),
        prompt: await answerOf(() => prompt.push(source, target)),
      }).toEqual({ decoder: 'LLM_NOT_YET_LINK', prompt: 'LLM_SUCCESS' });
      expect(await decoder.linkAnswer(prompt.cluster)).toEqual(SUCCESS);
      expect({
        decoder: await answerOf(() => decoder.pull(source, target)),
        prompt: await answerOf(() => prompt.push(source, target)),
      }).toEqual({ decoder: 'LLM_SUCCESS', prompt: 'LLM_SUCCESS' });
    },
  },
  {
    name: 'refuses a link from the side that is still linked, and takes one from the other',
    nodes: 2,
    run: async (stage, expect) => {
      const prompt = await stage.initialised(LLMRole.PROMPT);
      const decoder = await stage.initialised(LLMRole.DECODER);
      const source = await prompt.register(DESC, 7);
      const target = await decoder.register(DESC, 90);
      await decoder.link(prompt);
      await decoder.unlink(prompt, { force: true });
      expect(await prompt.linkAnswer(decoder.cluster)).toEqual(refused('LLM_ALREADY_LINK'));
      expect(await decoder.linkAnswer(prompt.cluster)).toEqual(SUCCESS);
      expect({
        decoder: await answerOf(() => decoder.pull(source, target)),
        prompt: await answerOf(() => prompt.pull(target, source)),
      }).toEqual({ decoder: 'LLM_SUCCESS', prompt: 'LLM_SUCCESS' });
    },
  },
  {
    name: 'takes the link to a peer that is gone and back for a link, until it is unlinked',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder, source, target } = await stage.linkedPair();
      await decoder.pull(source, target);
      await prompt.backend.finalize();
      await prompt.initialize();
      const again = await prompt.register(DESC, 7);
      expect(await answerOf(() => decoder.pull(again, target))).toEqual('LLM_FAILED');
      expect(await decoder.linkAnswer(prompt.cluster)).toEqual(refused('LLM_ALREADY_LINK'));
      expect(await decoder.unlinkAnswer(false, prompt.cluster)).toEqual(SUCCESS);
      expect(await decoder.linkAnswer(prompt.cluster)).toEqual(SUCCESS);
      expect(await answerOf(() => decoder.pull(again, target))).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'keeps its link to a peer that is gone until it unlinks by force, and links to it when it is back',
    nodes: 2,
    run: async (stage, expect) => {
      const { prompt, decoder, source, target } = await stage.linkedPair();
      await decoder.pull(source, target, undefined, 1, 1);
      await prompt.backend.finalize();
      expect(await answerOf(() => decoder.pull(source, target))).toEqual('LLM_FAILED');
      expect(await decoder.unlinkAnswer(false, prompt.cluster)).toEqual(refused('LLM_UNLINK_FAILED'));
      expect(await answerOf(() => decoder.pull(source, target))).toEqual('LLM_FAILED');
      expect(await decoder.linkAnswer(prompt.cluster)).toEqual(refused('LLM_LINK_FAILED'));
      expect(await decoder.unlinkAnswer(true, prompt.cluster)).toEqual(SUCCESS);
      await prompt.initialize();
      const again = await prompt.register(DESC, 7);
      expect(await decoder.linkAnswer(prompt.cluster)).toEqual(SUCCESS);
      expect(await answerOf(() => decoder.pull(again, target))).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'links several clusters at once, and transfers with each of them',
    nodes: 3,
    run: async (stage, expect) => {
      const decoder = await stage.initialised(LLMRole.DECODER);
      const target = await decoder.register(DESC, 90);
      const prompts = [await stage.initialised(LLMRole.PROMPT), await stage.initialised(LLMRole.PROMPT)];
      const sources = [];
      for (const prompt of prompts) sources.push(await prompt.register(DESC, 7));
      const results = await decoder.backend.linkLlmClusters(clustersOf(prompts), 1000);
      expect(results.length).toEqual(2);
      expect(await Promise.all(sources.map((source) => answerOf(() => decoder.pull(source, target))))).toEqual([
        'LLM_SUCCESS',
        'LLM_SUCCESS',
      ]);
    },
  },
];

export const links: BehaviourGroup = { subject: 'links', behaviours: BEHAVIOURS };
