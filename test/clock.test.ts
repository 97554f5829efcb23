import { ManualClock } from '../lib/testing';
import { Lane } from '../lib/backend/mock/lane';
import { Refusal } from '../lib/backend/mock/refusal';
import { settle } from '../lib/backend/mock/settle';

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
    await clock.advance(1);
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
