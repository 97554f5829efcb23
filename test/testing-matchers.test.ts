import { expect as expectOfModule } from '@jest/globals';
import { LLMDataDist, LLMException, LLMRole, LLMStatusCode } from '../lib';
import { Fabric, MockBackend } from '../lib/testing';
import { matchers } from '../lib/testing/jest';
import * as jestGlobals from '../lib/testing/jest-globals';
import { bytesOf, DECODER_CLUSTER, DESC, linkedPair, node, pair, PROMPT_CLUSTER, rejection } from './fixtures/cluster';

/** What a matcher says when it fails. */
async function failureOf(assertion: () => unknown): Promise<string> {
  const error = await rejection(Promise.resolve().then(assertion));
  expect(error).toHaveProperty('matcherResult');
  return (error as Error).message;
}

/** What code that is no TypeScript may reject with. */
const notAnError = 'no' as unknown as Error;
const timedOut = () => new LLMException(LLMStatusCode.LLM_TIMEOUT, { operation: 'pullBlocks', message: 'too slow' });

describe('toRejectWithStatus', () => {
  test.each(['LLM_TIMEOUT', LLMStatusCode.LLM_TIMEOUT] as const)('accepts the status as %p', async (status) => {
    await expect(Promise.reject(timedOut())).toRejectWithStatus(status);
    await expect(async () => Promise.reject(timedOut())).toRejectWithStatus(status);
  });

  test('accepts numbers that have no name', async () => {
    await expect(Promise.reject(new LLMException(507_899, { operation: 'init' }))).toRejectWithStatus(507_899);
  });

  test('says which status was there instead, and what it was about', async () => {
    const message = await failureOf(() => expect(Promise.reject(timedOut())).toRejectWithStatus('LLM_NOT_YET_LINK'));
    expect(message).toBe(
      [
        'expect(promise).toRejectWithStatus(status)',
        '',
        `Expected: rejection with LLM_NOT_YET_LINK (0x5010B007, ${LLMStatusCode.LLM_NOT_YET_LINK})`,
        `Received: rejection with LLM_TIMEOUT (0x5010B01A, ${LLMStatusCode.LLM_TIMEOUT})`,
        '',
        timedOut().message,
      ].join('\n'),
    );
  });

  test.each([
    ['resolved', async () => undefined, 'the promise resolved'],
    ['resolved with a value', async () => 5, 'the promise resolved with number'],
    [
      'rejected with another error',
      async () => Promise.reject(new TypeError('no')),
      /no LLMException\n\nTypeError: no/,
    ],
    ['rejected with no error', async () => Promise.reject(notAnError), /no LLMException\n\nno$/],
  ])('says when the promise %s', async (_, promise, expected) => {
    const message = await failureOf(() => expect(promise).toRejectWithStatus('LLM_FAILED'));
    expect(message).toMatch(expected);
    await expect(promise).not.toRejectWithStatus('LLM_FAILED');
  });

  test('with .not fails for that very status', async () => {
    await expect(Promise.reject(timedOut())).not.toRejectWithStatus('LLM_FAILED');
    const message = await failureOf(() => expect(Promise.reject(timedOut())).not.toRejectWithStatus('LLM_TIMEOUT'));
    expect(message).toContain(
      'expect(promise).not.toRejectWithStatus(status)\n\nExpected: no rejection with LLM_TIMEOUT',
    );
  });

  test.each([
    [5, 'LLM_FAILED', 'received'],
    [() => 5, 'LLM_FAILED', 'received'],
    [{ then: 5 }, 'LLM_FAILED', 'received'],
    [Promise.resolve(), 'LLM_NONSENSE', 'status'],
    [Promise.resolve(), 1.5, 'status'],
    [Promise.resolve(), undefined, 'status'],
  ])('takes no %p with the status %p', async (received, status, name) => {
    const error = await rejection(expect(received).not.toRejectWithStatus(status as 'LLM_FAILED'));
    expect(error).toMatchObject({
      code: expect.stringMatching(/^ERR_/) as string,
      message: expect.stringContaining(name) as string,
    });
  });
});

describe('toBeLinkedTo', () => {
  test('sees the links of both sides, by instance and by id', async () => {
    const { prompt, decoder } = await linkedPair();
    expect(decoder.dist).toBeLinkedTo(prompt.dist);
    expect(prompt.dist).toBeLinkedTo(2n);
    expect(prompt.dist).toBeLinkedTo(2);
    expect(prompt.dist).not.toBeLinkedTo(3n);
    await decoder.dist.unlinkClusters([PROMPT_CLUSTER], { force: true });
    expect(decoder.dist).not.toBeLinkedTo(prompt.dist);
    expect(prompt.dist).toBeLinkedTo(decoder.dist);
  });

  test('says which links there are', async () => {
    const { prompt, decoder } = await pair();
    expect(
      await failureOf(() => {
        expect(decoder.dist).toBeLinkedTo(prompt.dist);
      }),
    ).toBe('expect(llmDataDist).toBeLinkedTo(peer)\n\nExpected: a link of cluster 2 to cluster 1\nReceived: no links');
    await decoder.dist.linkClusters([PROMPT_CLUSTER]);
    expect(
      await failureOf(() => {
        expect(decoder.dist).toBeLinkedTo(7);
      }),
    ).toMatch(/Received: links to cluster 1$/);
    expect(
      await failureOf(() => {
        expect(decoder.dist).not.toBeLinkedTo(1);
      }),
    ).toMatch(/not\.toBeLinkedTo.*\n\nExpected: no link/);
    await decoder.dist.finalize();
    expect(
      await failureOf(() => {
        expect(decoder.dist).toBeLinkedTo(1);
      }),
    ).toMatch(/no links; it is not initialised$/);
  });

  test('of a backend that is no mock sees the links that its own side has made', async () => {
    const fabric = new Fabric();
    const prompt = node(LLMRole.PROMPT, 1n, { fabric });
    await prompt.dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
    const mock = new MockBackend(2n, LLMRole.DECODER, { fabric });
    // Another object, that does what the mock does.
    const backend = new Proxy(Object.create(null) as MockBackend, {
      get: (_, name) => {
        if (name === 'name') return 'own';
        const value: unknown = Reflect.get(mock, name);
        return typeof value === 'function' ? (value.bind(mock) as unknown) : value;
      },
    });
    await using decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend });
    await decoder.init({ deviceId: 1, listenIpInfo: '127.0.0.1:26001' });
    await prompt.dist.linkClusters([DECODER_CLUSTER]);
    expect(
      await failureOf(() => {
        expect(decoder).toBeLinkedTo(1n);
      }),
    ).toMatch(/not seen with the backend own\)$/);
    await prompt.dist.unlinkClusters([DECODER_CLUSTER]);
    await decoder.linkClusters([PROMPT_CLUSTER]);
    expect(decoder).toBeLinkedTo(1n);
    await decoder.unlinkClusters([PROMPT_CLUSTER]);
    expect(decoder).not.toBeLinkedTo(1n);
  });

  test.each([
    ['received', {}, 1n],
    ['peer', undefined, 'prompt'],
    ['peer', undefined, {}],
    ['peer', undefined, -1n],
    ['peer', undefined, null],
  ])('takes no wrong %s', (name, received, peer) => {
    const dist = new LLMDataDist(LLMRole.MIX, 1n, { backend: 'mock' });
    const expected = expect.objectContaining({ message: expect.stringContaining(`"${name}`) as string }) as Error;
    expect(() => {
      expect(received ?? dist).not.toBeLinkedTo(peer as bigint);
    }).toThrow(expected);
  });
});

describe('toHaveReceivedBlocks', () => {
  /** A decoder that has pulled blocks 1 and 2 of a prompt. */
  async function received() {
    const { promptCache, decoderCache, decoder, prompt } = await linkedPair();
    await decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [1, 2], [1, 2]);
    const source = await bytesOf(promptCache);
    const block = (tensor: number, number: number) => source.subarray(256 * tensor + 64 * number).subarray(0, 64);
    const all = Buffer.concat([0, 1, 2, 3].flatMap((tensor) => [1, 2].map((number) => block(tensor, number))));
    return { decoder: decoder.dist, prompt: prompt.dist, cache: decoderCache, promptCache, block, all };
  }

  test('compares the bytes of all tensors, given as a whole or by block', async () => {
    const { decoder, cache, block, all } = await received();
    await expect(decoder).toHaveReceivedBlocks(cache, [1, 2], all);
    await expect(decoder).toHaveReceivedBlocks(cache, BigUint64Array.of(2n, 1n), block);
    await expect(decoder).not.toHaveReceivedBlocks(cache, [0], block);
  });

  test('says where the first difference is, and how many there are', async () => {
    const { decoder, cache, all } = await received();
    all[64 * 3 + 17] = 0xff;
    all[64 * 7] = 0xff;
    const message = await failureOf(() => expect(decoder).toHaveReceivedBlocks(cache, [1, 2], all));
    expect(message).toMatch(/^expect\(llmDataDist\)\.toHaveReceivedBlocks\(cache, blocks, expectedBytes\)\n\n/);
    expect(message).toContain('Expected: these bytes in blocks 1, 2 of cache 1 of cluster 2');
    expect(message).toContain('Received: other bytes in 2 of 8 blocks (of all tensors)');
    expect(message).toContain('First difference: tensor 1, block 2, byte 17 of 64, from there on');
    expect(message).toMatch(/ {2}expected ff( [\da-f]{2}){15}\n {2}received (?!ff)[\da-f]{2}( [\da-f]{2}){15}$/);
  });

  test('says when a block was never written', async () => {
    const { prompt } = await received();
    const fresh = await prompt.kvCacheManager.allocateCache(DESC);
    const message = await failureOf(() =>
      expect(prompt).toHaveReceivedBlocks(fresh, [0], () => new Uint8Array(64).fill(1)),
    );
    expect(message).toMatch(/received 00( 00){15} \(all bytes of the block are 00\)$/);
  });

  test('with .not fails when they are there', async () => {
    const { decoder, cache, block } = await received();
    const message = await failureOf(() => expect(decoder).not.toHaveReceivedBlocks(cache, [1], block));
    expect(message).toMatch(
      /not\.toHaveReceivedBlocks.*\n\nExpected: other bytes in blocks 1 of cache 1 of cluster 2\nReceived: these bytes$/,
    );
  });

  test.each<[string, (nodes: Awaited<ReturnType<typeof received>>) => Promise<void>, string]>([
    [
      'a cache of another instance',
      ({ decoder, promptCache, block }) => expect(decoder).toHaveReceivedBlocks(promptCache, [1], block),
      '"cache"',
    ],
    [
      'what is no cache',
      ({ decoder, block }) => expect(decoder).toHaveReceivedBlocks({ cacheId: 1n } as never, [1], block),
      '"cache"',
    ],
    [
      'no blocks',
      ({ decoder, cache, block }) => expect(decoder).toHaveReceivedBlocks(cache, [], block),
      '"blocks.length"',
    ],
    [
      'blocks that are not there',
      ({ decoder, cache, block }) => expect(decoder).toHaveReceivedBlocks(cache, [3, 4], block),
      '"blocks[1]"',
    ],
    [
      'too few bytes',
      ({ decoder, cache }) => expect(decoder).toHaveReceivedBlocks(cache, [1], new Uint8Array(255)),
      '256: 4 tensors of 1 blocks of 64 bytes',
    ],
    [
      'too few bytes of a block',
      ({ decoder, cache }) => expect(decoder).toHaveReceivedBlocks(cache, [1], () => new Uint8Array(63)),
      '"expectedBytes(0, 1).length"',
    ],
    [
      'no bytes',
      ({ decoder, cache }) => expect(decoder).toHaveReceivedBlocks(cache, [1], 'bytes' as never),
      '"expectedBytes"',
    ],
  ])('takes not %s', async (_, assertion, message) => {
    const error = await rejection(assertion(await received()));
    expect(error).toMatchObject({
      code: expect.stringMatching(/^ERR_/) as string,
      message: expect.stringContaining(message) as string,
    });
    expect(error).not.toHaveProperty('matcherResult');
  });

  test('takes no cache of an earlier life of the instance', async () => {
    const { decoder, cache, block } = await received();
    await decoder.kvCacheManager.deallocateCache(cache);
    await decoder.finalize();
    expect(await rejection(expect(decoder).toHaveReceivedBlocks(cache, [1], block))).toMatchObject({
      code: 'ERR_INVALID_ARG_TYPE',
    });
  });
});

test('the matchers are there for expect.extend, and typed for @jest/globals', async () => {
  expect(jestGlobals.matchers).toBe(matchers);
  expect(Object.keys(matchers)).toEqual(['toRejectWithStatus', 'toBeLinkedTo', 'toHaveReceivedBlocks']);
  expectOfModule.extend(matchers);
  await expectOfModule(Promise.reject(timedOut())).toRejectWithStatus('LLM_TIMEOUT');
  await expectOfModule(Promise.reject(timedOut())).not.toRejectWithStatus('LLM_FAILED');
  // @ts-expect-error no status has this name
  await expectOfModule(rejection(expect(Promise.resolve()).toRejectWithStatus('LLM_NONSENSE'))).resolves.toBeInstanceOf(
    RangeError,
  );
});

test('importing them does nothing where there is no global expect', () => {
  const own = expect;
  try {
    Reflect.deleteProperty(globalThis, 'expect');
    jest.isolateModules(() => {
      const alone = jest.requireActual<typeof import('../lib/testing/jest')>('../lib/testing/jest');
      own(Object.keys(alone.matchers)).toHaveLength(3);
    });
  } finally {
    Object.assign(globalThis, { expect: own });
  }
});
