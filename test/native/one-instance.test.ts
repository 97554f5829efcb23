import { LLMRole } from '../../lib';
import type { LLMDataDist, LLMDataDistOptions } from '../../lib';
import { rejection } from '../fixtures/cluster';
import { begun, instance, leaves, libraryCalls, received, standIn } from './fixtures/stand-in';
import { InstanceWorker } from './fixtures/worker';

const OPTIONS = { deviceId: 0 };

/** An instance as a program makes it that does not ask for more than one. */
function alone(clusterId: bigint, options: LLMDataDistOptions = {}): LLMDataDist {
  return instance(LLMRole.PROMPT, clusterId, { allowMultipleInstances: false, ...options });
}

async function expectRefused(dist: LLMDataDist, ...holders: readonly bigint[]): Promise<void> {
  const before = libraryCalls().length;
  const error = await rejection(dist.init(OPTIONS));
  expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'init' });
  const [, holder] = /cluster (\d+) is initialised in this process/.exec((error as Error).message) ?? [];
  expect(holders.map(String)).toContain(holder);
  expect(error).toMatchObject({ recovery: 'fix-input', remedy: expect.not.stringContaining('device') as string });
  for (const part of ['a second instance can crash it', 'finalize that one first', 'allowMultipleInstances']) {
    expect((error as Error).message).toContain(part);
  }
  expect(dist.isInitialized).toBe(false);
  expect(libraryCalls()).toHaveLength(before);
}

test('a second instance is refused, with the reason, and the library is not called', async () => {
  const first = alone(1n);
  await first.init(OPTIONS);
  const second = alone(2n ** 64n - 1n);
  await expectRefused(second, 1n);
  await expectRefused(second, 1n);
  expect(first.isInitialized).toBe(true);
});

test('a second instance of the same cluster id is a second instance', async () => {
  await alone(1n).init(OPTIONS);
  await expectRefused(alone(1n), 1n);
});

test('the instance itself is not refused when it is initialised again', async () => {
  const first = alone(1n);
  await first.init(OPTIONS);
  await first.init(OPTIONS);
  await Promise.all([first.init(OPTIONS), first.init(OPTIONS)]);
  expect(received('LlmDataDist')).toHaveLength(1);
  // The second Initialize of a live object is the library's to answer: it does nothing.
  expect(received('Initialize').length).toBeGreaterThanOrEqual(1);
});

test('of two that are initialised at the same time one is refused', async () => {
  const both = [alone(1n), alone(2n)];
  const outcomes = await Promise.allSettled(both.map((dist) => dist.init(OPTIONS)));
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(received('Initialize')).toHaveLength(1);
});

test('a second one is allowed where it asks for that, whatever the first one asked for', async () => {
  await alone(1n).init(OPTIONS);
  const second = alone(2n, { allowMultipleInstances: true });
  await second.init(OPTIONS);
  const third = alone(3n, { allowMultipleInstances: true });
  await third.init(OPTIONS);
  await expectRefused(alone(4n), 1n, 2n, 3n);
  expect(begun().initialisedObjects).toBe(3);
});

describe('the place is free again', () => {
  test('after finalize, for the same instance and for another', async () => {
    const [first, second] = [alone(1n), alone(2n)];
    for (const dist of [first, second, second, first]) {
      await dist.init(OPTIONS);
      await dist.finalize();
    }
    // Never the same object twice.
    expect(received('LlmDataDist')).toHaveLength(4);
    expect(received('~LlmDataDist')).toHaveLength(0);
  });

  test('after an init that failed', async () => {
    const first = alone(1n);
    for (const fault of [{ status: 0x5010_b01a }, { throw: 'no' }]) {
      standIn.set('Initialize', { ...fault, times: 1 });
      await rejection(first.init(OPTIONS));
      const second = alone(2n);
      await second.init(OPTIONS);
      await expectRefused(first, 2n);
      await second.finalize();
    }
    await first.init(OPTIONS);
  });

  test('after a finalize that failed', async () => {
    const first = alone(1n);
    await first.init(OPTIONS);
    standIn.set('Finalize', { throw: 'no', times: 1 });
    await rejection(first.finalize());
    leaves({ initialisedObjects: 1 });
    await alone(2n).init(OPTIONS);
  });

  test('only when finalize has ended', async () => {
    const [first, second] = [alone(1n), alone(2n)];
    await first.init(OPTIONS);
    standIn.set('Finalize', { block: true, times: 1 });
    const finalized = first.finalize();
    await standIn.waitEntered('Finalize');
    // It waits for its turn, as every call of this kind does.
    const initialised = second.init(OPTIONS);
    standIn.release('Finalize');
    await finalized;
    await initialised;
    expect(
      libraryCalls()
        .map(({ method }) => method)
        .slice(-3),
    ).toEqual(['Finalize', 'LlmDataDist', 'Initialize']);
  });
});

test('an instance of a worker is as much in the way as one of this thread', async () => {
  const worker = new InstanceWorker();
  await worker.call('make', 'it', LLMRole.DECODER, 7n, {});
  const main = alone(1n);
  await main.init(OPTIONS);
  const { error } = await worker.ask('init', 'it', OPTIONS);
  expect(error).toMatchObject({ code: 'LLM_FAILED' });
  expect((error as Error).message).toContain('cluster 1 is initialised in this process');
  await main.finalize();
  await worker.call('init', 'it', OPTIONS);
  await expectRefused(main, 7n);
  await worker.call('finalize', 'it');
  await main.init(OPTIONS);
});
