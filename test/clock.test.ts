import { ManualClock, RealClock, VirtualClock } from '../lib/testing';
import { Lane } from '../lib/backend/mock/lane';
import { Refusal } from '../lib/backend/mock/refusal';
import { settle } from '../lib/backend/mock/settle';

describe('the virtual clock', () => {
  test('passes by waiting only, and wakes nobody before he is due', async () => {
    const clock = new VirtualClock();
    expect(clock.now()).toBe(0);
    await clock.sleep(60_000);
    expect(clock.now()).toBe(60_000);
    await Promise.all([clock.sleep(5), clock.sleep(3)]);
    expect(clock.now()).toBe(60_005);
  });
});

describe('the manual clock', () => {
  test('wakes those that are due, in order, and counts those that are not', async () => {
    const clock = new ManualClock();
    const woken: number[] = [];
    const sleeps = [30, 10, 20].map((ms) => clock.sleep(ms).then(() => woken.push(ms)));
    expect(clock.sleeping).toBe(3);
    clock.advance(9);
    expect(clock.sleeping).toBe(3);
    clock.advance(11);
    await Promise.all(sleeps.slice(1));
    expect(woken).toEqual([10, 20]);
    expect(clock.sleeping).toBe(1);
    clock.advance(10);
    await sleeps[0];
    expect(clock.now()).toBe(30);
  });
});

describe('the real clock', () => {
  afterEach(() => {
    jest.useRealTimers();
  });

  test('is the one of the process', async () => {
    jest.useFakeTimers();
    const clock = new RealClock();
    const before = clock.now();
    const sleep = clock.sleep(250);
    jest.advanceTimersByTime(250);
    await sleep;
    expect(clock.now() - before).toBe(250);
  });
});

describe('a lane', () => {
  test('runs work that does not wait at once', () => {
    const lane = new Lane();
    const done: string[] = [];
    expect(lane.run(() => void done.push('a'))).toBeUndefined();
    expect(done).toEqual(['a']);
  });

  test('runs work behind work that waits, whatever becomes of that, and then at once again', async () => {
    const lane = new Lane();
    const clock = new ManualClock();
    const done: string[] = [];
    const failing = Promise.resolve(
      lane.run(async () => {
        await clock.sleep(1);
        throw new Error('lost');
      }),
    ).catch((error: unknown) => done.push((error as Error).message));
    const next = lane.run(() => void done.push('next'));
    expect(done).toEqual([]);
    clock.advance(1);
    await Promise.all([failing, next]);
    expect(done.sort()).toEqual(['lost', 'next']);
    await new Promise((resolve) => setImmediate(resolve));
    expect(lane.run(() => undefined)).toBeUndefined();
  });
});

describe('the outcome of one cluster', () => {
  test('is its refusal, or nothing', async () => {
    const refusal = new Refusal(1, 'no');
    expect(await settle(() => Promise.reject(refusal))).toBe(refusal);
    expect(await settle(() => Promise.resolve())).toBeUndefined();
  });

  test('is no bug of the mock: that passes', async () => {
    await expect(settle(() => Promise.reject(new TypeError('bug')))).rejects.toThrow('bug');
  });
});
