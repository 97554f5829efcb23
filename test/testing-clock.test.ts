import { MessageChannel } from 'node:worker_threads';
import { LLMDataDist, LLMException, LLMRole } from '../lib';
import type { Backend } from '../lib';
import { Fabric, ManualClock, MockBackend, RealClock, VirtualClock } from '../lib/testing';
import type { Clock } from '../lib/testing';
import { linkedPair, PROMPT_CLUSTER, PROMPT_PORT } from './fixtures/cluster';
import { goOn, holdTime } from './fixtures/fake-time';
import { GRACE, watch } from './fixtures/hangs';
import { hold } from './fixtures/held-calls';

describe('the virtual clock', () => {
  test('passes by waiting only, and wakes nobody before he is due', async () => {
    const clock = new VirtualClock();
    expect(clock.now()).toBe(0);
    await clock.sleep(60_000);
    expect(clock.now()).toBe(60_000);
    await Promise.all([clock.sleep(5), clock.sleep(3)]);
    expect(clock.now()).toBe(60_005);
  });

  test('wakes in order of time, also those that come to sleep meanwhile', async () => {
    const clock = new VirtualClock();
    const woken: string[] = [];
    const note = (name: string) => woken.push(`${name} ${clock.now()}`);
    const chain = async () => {
      for (let i = 0; i < 3; i++) {
        await clock.sleep(10);
        note('short');
      }
    };
    await Promise.all([clock.sleep(25).then(() => note('long')), chain()]);
    expect(woken).toEqual(['short 10', 'short 20', 'long 25', 'short 30']);
  });

  test('does not wait for what was called off', async () => {
    const clock = new VirtualClock();
    const wake = jest.fn();
    const callOff = clock.after(500, wake);
    const rest = clock.sleep(20);
    callOff();
    await rest;
    await new Promise((resolve) => setImmediate(resolve));
    expect([clock.now(), wake.mock.calls]).toEqual([20, []]);
  });
});

/** A task after this one, that no fake timer takes the place of. */
function task(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.once('message', () => {
      port1.close();
      resolve();
    });
    port2.postMessage(undefined);
  });
}

describe('the manual clock', () => {
  test('wakes those that are due, in order, and counts those that are not', async () => {
    const clock = new ManualClock();
    const woken: number[] = [];
    for (const ms of [30, 10, 20]) void clock.sleep(ms).then(() => woken.push(ms));
    expect([clock.sleeping, clock.nextDueMs]).toEqual([3, 10]);
    await clock.advance(9);
    expect([clock.sleeping, clock.now()]).toEqual([3, 9]);
    await clock.advance(11);
    expect(woken).toEqual([10, 20]);
    expect([clock.sleeping, clock.nextDueMs]).toEqual([1, 30]);
    await clock.advance(10);
    expect(woken).toEqual([10, 20, 30]);
    expect([clock.sleeping, clock.nextDueMs, clock.now()]).toEqual([0, undefined, 30]);
  });

  test.each([
    ['promises', async () => undefined],
    ['tasks', task],
    ['immediates', () => new Promise<void>((resolve) => setImmediate(resolve))],
  ])('lets a chain of waits with %s between them happen, each at its time', async (_, between) => {
    const clock = new ManualClock();
    const seen: number[] = [];
    const chain = async () => {
      for (;;) {
        await clock.sleep(10);
        await between();
        seen.push(clock.now());
      }
    };
    void chain();
    const other = clock.sleep(35).then(() => seen.push(-clock.now()));
    await clock.advance(45);
    await other;
    expect(seen).toEqual([10, 20, 30, -35, 40]);
    expect(clock.now()).toBe(45);
  });

  test('wakes those of the same moment in the order in which they came, and deadlines behind them', async () => {
    const clock = new ManualClock();
    const woken: string[] = [];
    clock.deadline(10, () => woken.push('deadline'));
    for (const name of ['a', 'b']) clock.after(10, () => woken.push(name));
    clock.deadline(10, () => woken.push('second deadline'));
    expect([clock.sleeping, clock.nextDueMs]).toEqual([2, 10]);
    await clock.advance(10);
    expect(woken).toEqual(['a', 'b', 'deadline', 'second deadline']);
  });

  test('wakes nobody who was called off', async () => {
    const clock = new ManualClock();
    const wake = jest.fn();
    const callOff = [clock.after(10, wake), clock.deadline(10, wake)];
    for (const each of [...callOff, ...callOff]) each();
    expect(clock.sleeping).toBe(0);
    await clock.advance(100);
    expect(wake).not.toHaveBeenCalled();
  });

  test('begins with what was begun before, and each call when the one before has ended', async () => {
    const clock = new ManualClock();
    const begun = (async () => {
      await task();
      await clock.sleep(10);
      return clock.now();
    })();
    const advances = [clock.advance(4), clock.advance(4), clock.advance(4)];
    await Promise.all(advances);
    expect(await begun).toBe(10);
    expect(clock.now()).toBe(12);
  });

  test('runs until nobody sleeps, deadlines on the way included', async () => {
    const clock = new ManualClock();
    const expired: number[] = [];
    for (const ms of [15, 200]) clock.deadline(ms, () => expired.push(ms));
    const chain = (async () => {
      for (let i = 0; i < 3; i++) await clock.sleep(10);
    })();
    await clock.runAll();
    await chain;
    expect([clock.now(), expired]).toEqual([30, [15]]);
  });

  test('tells when there is no end to it, and goes on afterwards', async () => {
    const clock = new ManualClock();
    const again = (): void => void clock.after(10, again);
    again();
    await expect(clock.runAll(20)).rejects.toThrow('1 still sleep after 20 were woken');
    expect(clock.now()).toBe(200);
    await clock.advance(10);
    expect(clock.now()).toBe(210);
    await expect(clock.runAll(0)).rejects.toThrow(RangeError);
  });

  test.each([['10'], [undefined], [Number.NaN], [-1], [Infinity]])('does not advance by %p', async (ms) => {
    const clock = new ManualClock();
    await expect(clock.advance(ms as number)).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_/) as string });
    expect(clock.now()).toBe(0);
    await clock.advance(1);
    expect(clock.now()).toBe(1);
  });

  test('goes on while everything is faked that jest can fake', async () => {
    jest.useFakeTimers();
    try {
      const clock = new ManualClock();
      const chain = (async () => {
        await clock.sleep(5);
        await clock.sleep(5);
        return clock.now();
      })();
      await clock.advance(10);
      expect(await chain).toBe(10);
    } finally {
      jest.useRealTimers();
    }
  });
});

describe('the real clock', () => {
  beforeEach(() => {
    jest.useFakeTimers();
  });

  afterEach(() => {
    jest.useRealTimers();
  });

  test('is the one of the process, and follows the fake one of jest', async () => {
    const clock = new RealClock();
    const before = clock.now();
    const sleep = clock.sleep(250);
    jest.advanceTimersByTime(250);
    await sleep;
    expect(clock.now() - before).toBe(250);
  });

  test('sleeps longer than a timer of Node can, and not at all when it is called off', () => {
    const clock = new RealClock();
    const [wake, never] = [jest.fn(), jest.fn()];
    clock.after(2 ** 32, wake);
    clock.after(10, never)();
    jest.advanceTimersByTime(2 ** 32 - 1);
    expect(wake).not.toHaveBeenCalled();
    jest.advanceTimersByTime(1);
    expect(wake).toHaveBeenCalledTimes(1);
    expect(never).not.toHaveBeenCalled();
  });
});

describe('deadlines of an instance', () => {
  /** A decoder whose call hangs. */
  async function hanging(
    clock: ManualClock,
    method: 'linkLlmClusters' | 'pullKvCache',
    more: Pick<Backend, 'controlElapsedMs'> = {},
  ) {
    const nodes = await linkedPair({ hangTimeout: 5000 }, { clock });
    const held = hold(Object.assign(nodes.decoder.backend, more), method);
    return { ...nodes, held, dist: nodes.decoder.dist };
  }

  test('run on its manual clock: advance() gives up a call that hangs', async () => {
    const clock = new ManualClock();
    const { dist, held } = await hanging(clock, 'linkLlmClusters');
    const linked = watch(dist.linkClusters([{ ...PROMPT_CLUSTER, remoteClusterId: 9n }], { timeout: 2000 }));
    await clock.advance(6999);
    expect([linked.outcome, dist.isLost, clock.sleeping]).toEqual(['pending', false, 0]);
    await clock.advance(1);
    expect(linked.outcome).toBeInstanceOf(LLMException);
    expect(linked.outcome).toMatchObject({
      code: 'LLM_TIMEOUT',
      recovery: 'fatal',
      message: expect.stringContaining('had not returned after 7000 ms') as string,
    });
    expect(dist.isLost).toBe(true);
    held.open();
  });

  test('so does the timeout of a caller', async () => {
    const clock = new ManualClock();
    const { dist, held, promptCache, decoderCache } = await hanging(clock, 'pullKvCache');
    const pulled = watch(dist.kvCacheManager.pullCache(promptCache.key(), decoderCache, 0, { timeout: 50 }));
    await clock.advance(49);
    expect(pulled.outcome).toBe('pending');
    await clock.advance(1);
    expect(pulled.outcome).toMatchObject({ code: 'LLM_TIMEOUT', deadline: 'caller' });
    held.open();
  });

  test('count for calls that wait for others, too', async () => {
    const clock = new ManualClock();
    const { dist, held, promptCache, decoderCache } = await hanging(clock, 'pullKvCache');
    void watch(dist.kvCacheManager.pullCache(promptCache.key(), decoderCache));
    const finalized = watch(dist.finalize());
    // The library's own limit of a transfer, and hangTimeout.
    await clock.advance(6000);
    expect(finalized.outcome).toMatchObject({ code: 'LLM_TIMEOUT', operation: 'finalize', recovery: 'fatal' });
    held.open();
  });

  test('leave nothing behind when the call comes back', async () => {
    const clock = new ManualClock();
    const { decoder, fabric } = await linkedPair({ hangTimeout: 1 }, { clock });
    fabric.disturb('127.0.0.1', PROMPT_PORT, 'silent');
    const other = { ...PROMPT_CLUSTER, remoteClusterId: 9n };
    const linked = watch(decoder.dist.linkClusters([other], { timeout: 2000 }));
    await clock.advance(1999);
    expect(linked.outcome).toBe('pending');
    await clock.advance(10);
    expect(linked.outcome).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'retry' });
    await clock.advance(100);
    expect(decoder.dist.isLost).toBe(false);
  });

  test('are prolonged by what the backend says of the time inside the library', async () => {
    const clock = new ManualClock();
    let insideMs = 0;
    const { dist, held } = await hanging(clock, 'linkLlmClusters', { controlElapsedMs: () => insideMs });
    const linked = watch(dist.linkClusters([PROMPT_CLUSTER], { timeout: 2000 }));
    await clock.advance(7000);
    insideMs = 6990;
    await clock.advance(7000);
    expect(linked.outcome).toBe('pending');
    insideMs = 7000;
    await clock.advance(10);
    expect(linked.outcome).toMatchObject({ code: 'LLM_TIMEOUT', recovery: 'fatal' });
    held.open();
  });

  test.each<[string, Clock | undefined]>([
    ['no clock', undefined],
    ['a virtual clock', new VirtualClock()],
    ['the real clock', new RealClock()],
    ['a clock of its own that has none', { now: () => 0, sleep: async () => undefined }],
  ])('run in real time with %s', async (_, clock) => {
    holdTime({ doNotFake: ['nextTick', 'setImmediate', 'clearImmediate', 'queueMicrotask'] });
    try {
      const backend = new MockBackend(2n, LLMRole.DECODER, { fabric: new Fabric(), ...(clock && { clock }) });
      expect(backend.clock).toBeUndefined();
      const dist = new LLMDataDist(LLMRole.DECODER, 2n, { backend, hangTimeout: GRACE });
      await dist.init({ deviceId: 0 });
      const held = hold(backend, 'setRole');
      const switched = watch(dist.switchRole(LLMRole.MIX));
      await held.hasEntered(1);
      jest.advanceTimersByTime(GRACE);
      // Two in which an answer could still have come, and one in which the rejection settles.
      for (let i = 0; i < 6; i++) await task();
      expect(switched.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
      held.open();
    } finally {
      goOn();
    }
  });
});
