import { runChild } from './fixtures/child';
import type { ChildEnd } from './fixtures/child';

/** What children print with `children/outcome.js`. */
type Told =
  | 'settled'
  | {
      readonly code: string;
      readonly recovery: string;
      readonly operation: string;
      readonly message: string;
      readonly remedy: string;
    };

const TEST_LIMIT_MS = 600_000;
const RESTART = 'Restart the process: nothing can be done with this instance any more.';
/** Nothing can end that one: it is of no use to say that it is to be finalized first. */
const ANOTHER_IS_LOST =
  'cluster 2 is initialised in this process and lost: a call of it never came back from the library';
const NOT_BACK = / had not returned after \d+ ms/;

/** What the call is about, in the words of its exception. */
const WATCHED: Readonly<Record<string, string>> = {
  init: 'init',
  finalize: 'finalize',
  switchRole: 'switchRole',
  linkClusters: 'linkClusters of cluster 1 (127.0.0.1:26000)',
  unlinkClusters: 'unlinkClusters of cluster 1 (127.0.0.1:26000)',
  registerCache: 'registerCache',
  unregisterCache: 'unregisterCache',
};

/** They run beside the calls of other instances. */
const TAKE_NO_LOCK = ['registerCache', 'unregisterCache'];

/** What the remedy says of what to look at; that of the others is of a client. */
const REMEDIES: Readonly<Record<string, string>> = {
  linkClusters: 'A peer may accept connections and not answer',
  unlinkClusters: 'A peer may accept connections and not answer',
  registerCache: 'keep its tables locked',
  unregisterCache: 'keep its tables locked',
};

/** While they run, other calls do not wait for their turn. */
const REFUSE_AT_ONCE = ['init', 'finalize'];

/** Nothing that hangs may hold the exit up: if it did, the child would take until its limit. */
const env = { LLM_DATADIST_EXIT_TIMEOUT: '2147483647' };

describe.each(Object.keys(WATCHED))('%s', (operation) => {
  const what = WATCHED[operation] ?? '';
  const refused = (of: string) => ({
    code: 'LLM_FAILED',
    recovery: 'fatal',
    operation: of,
    message: expect.stringContaining(`cluster 2 is lost: ${what} had not returned after`) as unknown,
    remedy: RESTART,
  });
  const lost = {
    hanging: {
      code: 'LLM_TIMEOUT',
      recovery: 'fatal',
      operation,
      message: expect.stringContaining(`${what} had not returned after`) as unknown,
      remedy: expect.stringMatching(/^Restart the process: /) as unknown,
    },
    waitingOther: {
      code: 'LLM_FAILED',
      recovery: 'fatal',
      operation: 'linkClusters',
      message: expect.stringContaining(`${operation} of cluster 2 never came back from the library`) as unknown,
      remedy: RESTART,
    } as object,
    isLost: true,
    pull: refused('pullCache'),
    init: refused('init'),
    finalize: refused('finalize'),
    dispose: 'settled',
    rejections: [],
  };
  if (TAKE_NO_LOCK.includes(operation)) lost.waitingOther = { code: 'LLM_LINK_FAILED', operation: 'linkClusters' };

  // With a single thread, another one must take the place of the one that hangs.
  test.concurrent.each([1, 64])(
    'that hangs loses the instance, and nobody waits for it: no later call, no other instance, not the exit (threads: %i)',
    async (threads) => {
      const end = await runChild('lost.js', [operation, 'hang', String(threads)], { env });
      const answer = answerOf(end);
      expect(answer).toMatchObject({ ...lost, other: lost.waitingOther });
      expect(answer.hanging).toMatchObject({
        remedy: expect.stringContaining(REMEDIES[operation] ?? 'A client') as unknown,
      });
      if (!REFUSE_AT_ONCE.includes(operation)) expect(answer.waiting).toMatchObject(refused('linkClusters'));
      expect(answer.hanging).toMatchObject({ message: expect.stringMatching(NOT_BACK) as unknown });
      const isOther = ({ object }: { readonly object?: number }) => TAKE_NO_LOCK.includes(operation) && object !== 2;
      expect(callsAfter(end, operation).filter((call) => !isOther(call))).toEqual([]);
    },
    TEST_LIMIT_MS,
  );

  test.concurrent(
    'that comes back after the instance was lost does no harm, and lets other instances go on',
    async () => {
      const end = await runChild('lost.js', [operation, 'late', '64'], { env });
      expect(answerOf(end)).toMatchObject({
        ...lost,
        other: { code: 'LLM_LINK_FAILED', recovery: 'retry' },
        finalizeOther: 'settled',
        ...(TAKE_NO_LOCK.includes(operation) ? {} : { barred: { code: 'LLM_FAILED', recovery: 'fatal' } }),
      });
      expect(end.calls.filter(({ method, object }) => method === 'Finalize' && object === 1)).toHaveLength(1);
      // Of the lost instance nothing is called any more, Finalize neither.
      expect(callsAfter(end, operation).filter(({ object }) => object === 2)).toEqual([]);
    },
    TEST_LIMIT_MS,
  );
});

test.concurrent(
  'a transfer that hangs is given up, and the instance is lost when finalize() waits for it',
  async () => {
    const end = await runChild('lost-transfer.js', [], { env });
    const given = (operation: string) => ({ code: 'LLM_FAILED', recovery: 'fatal', operation, remedy: RESTART });
    expect(answerOf(end)).toMatchObject({
      finalize: { code: 'LLM_TIMEOUT', recovery: 'fatal', operation: 'finalize' },
      hanging: { code: 'LLM_TIMEOUT', recovery: 'retry', operation: 'pullBlocks' },
      behind: { code: 'LLM_TIMEOUT', recovery: 'retry', operation: 'pullBlocks' },
      slow: { code: 'LLM_TIMEOUT', recovery: 'retry', operation: 'pushBlocks' },
      isLost: true,
      later: given('pullBlocks'),
      second: { ...given('init'), message: expect.stringContaining(ANOTHER_IS_LOST) as unknown },
    });
    expect(end.calls.filter(({ method }) => method === 'Finalize').map(({ object }) => object)).toEqual([1]);
  },
  TEST_LIMIT_MS,
);

test.concurrent.each(['unlinks', 'links'])(
  'a pull that hangs stops every peer when its own one comes back (which %s), and all calls end',
  async (request) => {
    const end = await runChild('lost-table.js', [request], { env });
    const given = (operation: string) => ({ code: 'LLM_TIMEOUT', recovery: 'retry', operation });
    const lost = (operation: string) => ({ code: 'LLM_FAILED', recovery: 'fatal', operation, remedy: RESTART });
    expect(answerOf(end)).toMatchObject({
      pull: given('pullBlocks'),
      behind: given('pullBlocks'),
      pullOfOther: given('pullBlocks'),
      pushToOther: given('pushBlocks'),
      link: { code: 'LLM_TIMEOUT', recovery: 'fatal', operation: 'linkClusters' },
      unlink: given('unlinkClusters'),
      finalize: lost('finalize'),
      isLost: true,
      later: lost('pullBlocks'),
      released: { pull: 'fatal', behind: 'released', pullOfOther: 'fatal', pushToOther: 'fatal', unlink: 'fatal' },
    });
  },
  TEST_LIMIT_MS,
);

test.concurrent.each(['one', 'two'])(
  'a worker that is terminated while a call of it hangs leaves nobody waiting for the lock that the call has (%s instances)',
  async (instances) => {
    const end = await runChild('worker-hangs.js', [instances], { env: { LLM_DATADIST_EXIT_TIMEOUT: '300' } });
    expect(answerOf(end)).toMatchObject({
      init: {
        code: 'LLM_FAILED',
        recovery: 'fatal',
        operation: 'init',
        message: expect.stringContaining('linkClusters of cluster 2 never came back from the library') as unknown,
        remedy: RESTART,
      },
    });
  },
  TEST_LIMIT_MS,
);

test.concurrent(
  'a worker that is terminated while a pull of it hangs leaves an instance that nothing can end, and another one is refused',
  async () => {
    const end = await runChild('worker-hangs.js', ['pull'], { env: { LLM_DATADIST_EXIT_TIMEOUT: '300' } });
    expect(answerOf(end)).toMatchObject({
      init: {
        code: 'LLM_FAILED',
        recovery: 'fatal',
        operation: 'init',
        message: expect.stringContaining(ANOTHER_IS_LOST) as unknown,
        remedy: RESTART,
      },
    });
  },
  TEST_LIMIT_MS,
);

test.concurrent(
  'an instance that is garbage-collected and cannot be finalized does not keep the process from ending',
  async () => {
    const { code, signal, stderr } = await runChild('collected-hang.js', [], { env, flags: ['--expose-gc'] });
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(stderr).toMatch(/LLMDataDistLeakWarning: an LLMDataDist of cluster 2 was garbage-collected/);
    expect(stderr).toMatch(
      /LLMDataDistLeakWarning: finalizing the abandoned instance of cluster 2 failed: .*LLM_TIMEOUT/,
    );
  },
  TEST_LIMIT_MS,
);

function answerOf({ code, signal, stdout, stderr, violations }: ChildEnd): Record<string, Told> {
  expect({ code, signal, violations }).toEqual({ code: 0, signal: null, violations: [] });
  expect(stderr).toMatch(/^(?:\(node:\d+\) LLMDataDistMemoryWarning: .*\n|\(Use `node --trace-warnings .*\n)*$/);
  return JSON.parse(stdout) as Record<string, Told>;
}

/** The calls of the library after the one that did not come back in time. */
function callsAfter({ calls }: ChildEnd, operation: string): ChildEnd['calls'] {
  const method = METHODS[operation];
  const made = calls.filter((call) => call.method === method && call.object === 2);
  // Its cache was registered before.
  const index = calls.indexOf(made[operation === 'registerCache' ? 1 : 0]!);
  return calls.slice(index + 1).filter(({ object }) => object !== undefined);
}

const METHODS: Readonly<Record<string, string>> = {
  init: 'Initialize',
  finalize: 'Finalize',
  switchRole: 'SetRole',
  linkClusters: 'LinkLlmClusters',
  unlinkClusters: 'UnlinkLlmClusters',
  registerCache: 'RegisterKvCache',
  unregisterCache: 'UnregisterKvCache',
};
