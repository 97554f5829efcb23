import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { LLMException, LLMRole, LLMStatusCode } from '../../lib';
import type { LLMClusterInfo, LLMDataDist } from '../../lib';
import { rejection } from '../fixtures/cluster';
import { result } from '../fixtures/exceptions';
import { built } from './fixtures/built';
import { runChild } from './fixtures/child';
import { compileLibrary, temporaryFolder } from './fixtures/compiler';
import { instance, standIn } from './fixtures/stand-in';

const IDS = [0n, 2n ** 53n + 1n, 2n ** 64n - 1n];
const CLUSTERS: LLMClusterInfo[] = IDS.map((remoteClusterId, i) => ({
  remoteClusterId,
  remoteIpInfos: [{ ip: '127.0.0.1', port: 26_500 + i }],
  localIpInfos: [{ ip: '127.0.0.1' }],
}));

const { LLM_SUCCESS, LLM_ALREADY_LINK, LLM_LINK_FAILED, LLM_TIMEOUT, LLM_PARAM_INVALID } = LLMStatusCode;

describe.each([
  ['linkClusters', 'link', 'LinkLlmClusters'],
  ['unlinkClusters', 'unlink', 'UnlinkLlmClusters'],
] as const)('%s', (operation, call, method) => {
  async function initialised(): Promise<LLMDataDist> {
    const dist = instance(LLMRole.DECODER, 9n);
    await dist.init({ deviceId: 0 });
    return dist;
  }

  test('that succeeds gives a result for each cluster, in the order of the call', async () => {
    const dist = await initialised();
    for (const id of IDS) standIn.result(call, id, LLM_SUCCESS);
    expect(await dist[operation](CLUSTERS)).toEqual(IDS.map((id) => result(id, LLM_SUCCESS)));
    expect(await dist[operation](CLUSTERS.toReversed())).toEqual(IDS.toReversed().map((id) => result(id, LLM_SUCCESS)));
  });

  test('that fails tells clusters apart, with numbers that nobody has named too', async () => {
    const dist = await initialised();
    const statuses = [LLM_LINK_FAILED, LLM_SUCCESS, 0xdead_beef];
    for (const [i, id] of IDS.entries()) standIn.result(call, id, statuses[i]);
    const error = await rejection(dist[operation](CLUSTERS));
    expect(error).toBeInstanceOf(LLMException);
    // The library's own rule: the last failure is that of the call.
    expect(error).toMatchObject({ statusCode: 0xdead_beef, operation });
    expect((error as LLMException).results).toEqual(IDS.map((id, i) => result(id, statuses[i]!)));
    expect(error).not.toHaveProperty('clusterId');
  });

  test('that fails says for which peers, where they were looked for, and how long that took', async () => {
    const dist = await initialised();
    standIn.result(call, IDS[0]!, LLM_SUCCESS);
    standIn.result(call, IDS[1]!, LLM_LINK_FAILED);
    const several = CLUSTERS.slice(0, 2);
    expect(String(await rejection(dist[operation](several)))).toMatch(
      /: cluster 9007199254740993 at 127\.0\.0\.1:26501: [^;]+; after \d+ ms; 1 of 2 clusters failed/,
    );
    standIn.result(call, IDS[0]!, LLM_TIMEOUT);
    expect(String(await rejection(dist[operation](several)))).toMatch(
      /: cluster 0 at 127\.0\.0\.1:26500: [^;]+ \(LLM_TIMEOUT\); cluster 9007199254740993 at 127\.0\.0\.1:26501: [^;]+ \(LLM_LINK_FAILED\); after \d+ ms; 2 of 2 clusters failed/,
    );
    const nowhere = { ...CLUSTERS[0]!, remoteIpInfos: [] };
    expect(String(await rejection(dist[operation]([nowhere])))).toMatch(
      /: cluster 0 at no address: [^;]+; after \d+ ms\./,
    );
  });

  test('that fails for one cluster has one result', async () => {
    const dist = await initialised();
    standIn.result(call, IDS[1]!, LLM_ALREADY_LINK);
    const error = await rejection(dist[operation]([CLUSTERS[1]!]));
    expect(error).toMatchObject({ statusCode: LLM_ALREADY_LINK, operation });
    expect((error as LLMException).results).toEqual([result(IDS[1]!, LLM_ALREADY_LINK)]);
  });

  test('that is refused as a whole has no results', async () => {
    const dist = await initialised();
    expect(await rejection(dist[operation]([]))).toMatchObject({ statusCode: LLM_PARAM_INVALID, results: [] });
    standIn.set(method, { status: LLM_TIMEOUT });
    expect(await rejection(dist[operation](CLUSTERS))).toMatchObject({ statusCode: LLM_TIMEOUT, results: [] });
  });

  test('that throws has no results', async () => {
    const dist = await initialised();
    standIn.set(method, { throw: 'in the middle of it' });
    expect(await rejection(dist[operation](CLUSTERS))).toMatchObject({ code: 'LLM_FAILED', results: [] });
  });
});

describe('a library that gives what it is asked for', () => {
  interface Answers {
    readonly link: readonly unknown[];
    readonly unlink: readonly unknown[];
    readonly allocated: readonly { readonly value: { readonly cacheId: string; readonly tensorAddrs: string[] } }[];
    readonly registered: readonly { readonly value: string }[];
    readonly transfers: readonly unknown[];
  }
  let answers: Answers;

  beforeAll(async () => {
    const folder = temporaryFolder();
    const library = join(folder, 'libllm_datadist.so');
    compileLibrary(
      library,
      ['libraries/obliging.cc', 'standin/library/ascend_string.cc'],
      ['-D_GLIBCXX_USE_CXX11_ABI=0'],
    );
    copyFileSync(built().runtime, join(folder, 'libascendcl.so'));
    const child = await runChild('obliged.js', [], { env: { LLM_DATADIST_LIBRARY: library } });
    expect(child).toMatchObject({ code: 0, signal: null, stderr: '' });
    answers = JSON.parse(child.stdout) as Answers;
  });

  const failed = (...statuses: number[]) => ({
    statusCode: 9,
    results: statuses.map((status, i) => ({ ...result(0n, status), remoteClusterId: String(11 + i) })),
  });

  test.each(['link', 'unlink'] as const)('%s: fewer results than clusters, as many, and more', (call) => {
    expect(answers[call]).toEqual([
      { value: [] },
      { value: [1] },
      { value: [1, 2] },
      // What belongs to no cluster is left out.
      { value: [1, 2] },
      failed(),
      failed(1),
      failed(1, 2),
      failed(1, 2),
    ]);
  });

  const INT64S = [-(2n ** 63n), -1n, 0n, 2n ** 53n + 1n, 2n ** 63n - 1n];

  test('cache ids and addresses come back whole, however many addresses there are', () => {
    const tensorAddrs = INT64S.map((number) => String(BigInt.asUintN(64, number)));
    expect(answers.allocated).toMatchObject(
      INT64S.map((cacheId) => ({ value: { cacheId: String(cacheId), tensorAddrs } })),
    );
    expect(answers.registered).toEqual(INT64S.map((cacheId) => ({ value: String(cacheId) })));
  });

  test('nothing is in the bytes of the structs that are reserved', () => {
    expect(answers.transfers).toEqual(Array(6).fill({}));
  });
});
