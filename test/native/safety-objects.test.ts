import { LLMRole } from '../../lib';
import { bytesOf, DESC } from '../fixtures/cluster';
import { warningsDuring } from '../fixtures/warnings';
import { cluster, decoder, linkedPair, PROMPT_ID } from './fixtures/pair';
import { instance, libraryCalls, received, standIn } from './fixtures/stand-in';

const FAILED = 0xffff_ffff;

/** The objects that calls of a method were made on. */
function objectsOf(method: Parameters<typeof received>[0]): (number | undefined)[] {
  return received(method).map(({ object }) => object);
}

test('every life of an instance has an object of its own, and the old ones stay', async () => {
  const before = standIn.counters().liveObjects;
  const dist = instance(LLMRole.DECODER, 2n);
  for (let life = 0; life < 3; life++) {
    await dist.init({ deviceId: 0 });
    await dist.finalize();
  }
  expect(new Set(objectsOf('LlmDataDist')).size).toBe(3);
  expect(objectsOf('Initialize')).toEqual(objectsOf('LlmDataDist'));
  expect(objectsOf('Finalize')).toEqual(objectsOf('LlmDataDist'));
  expect(standIn.counters().liveObjects).toBe(before + 3);
});

test('an object whose init failed is not initialised again, nor finalized, and stays', async () => {
  const before = standIn.counters().liveObjects;
  const dist = instance(LLMRole.DECODER, 2n);
  standIn.set('Initialize', { status: FAILED, times: 2 });
  await expect(dist.init({ deviceId: 0 })).rejects.toMatchObject({ code: 'LLM_FAILED' });
  await expect(dist.init({ deviceId: 0 })).rejects.toMatchObject({ code: 'LLM_FAILED' });
  await dist.init({ deviceId: 0 });
  const [, , last] = objectsOf('LlmDataDist');
  expect(new Set(objectsOf('Initialize')).size).toBe(3);
  await dist.finalize();
  expect(objectsOf('Finalize')).toEqual([last]);
  expect(standIn.counters().liveObjects).toBe(before + 3);
});

test('an object whose init threw is not initialised again', async () => {
  const dist = instance(LLMRole.DECODER, 2n);
  standIn.set('Initialize', { throw: 'no thread', times: 1 });
  await expect(dist.init({ deviceId: 0 })).rejects.toMatchObject({ code: 'LLM_FAILED' });
  await dist.init({ deviceId: 0 });
  expect(new Set(objectsOf('Initialize')).size).toBe(2);
});

test('a second init of a live instance succeeds without the library', async () => {
  const dist = await decoder();
  const calls = libraryCalls().length;
  await dist.init({ deviceId: 1 });
  expect(libraryCalls()).toHaveLength(calls);
});

test('the runtime is initialised before the library is', async () => {
  await decoder();
  const methods = standIn.journal().map(({ method }) => method);
  expect(methods.indexOf('aclInit')).toBeGreaterThanOrEqual(0);
  expect(methods.indexOf('aclInit')).toBeLessThan(methods.indexOf('Initialize'));
});

test('where the runtime cannot be initialised the library is not asked', async () => {
  const dist = instance(LLMRole.DECODER, 2n);
  standIn.set('aclInit', { status: 500_000, error: 'no driver', times: 1 });
  await expect(dist.init({ deviceId: 0 })).rejects.toMatchObject({
    statusCode: 500_000,
    operation: 'init',
    detail: expect.stringContaining('no driver') as unknown,
  });
  expect(received('Initialize')).toEqual([]);
});

test('the listener is closed before an instance is finalized that listens and has no link', async () => {
  const { prompt, decoder: other } = await linkedPair();
  await other.unlinkClusters([cluster(PROMPT_ID)]);
  await warningsDuring(() => prompt.finalize());
  const [close, finalize] = libraryCalls().slice(-2);
  expect(close).toMatchObject({ method: 'SetRole', args: { role: LLMRole.PROMPT, options: {} }, returned: 0 });
  expect(finalize).toMatchObject({ method: 'Finalize', object: close!.object });
});

test('where a link keeps the listener an instance is finalized all the same', async () => {
  const { prompt } = await linkedPair();
  await warningsDuring(() => prompt.finalize());
  const [setRole] = received('SetRole');
  expect(setRole!.returned).not.toBe(0);
  expect(received('Finalize')).toHaveLength(1);
});

test('an instance that does not listen is finalized without more ado', async () => {
  const dist = await decoder();
  await dist.finalize();
  expect(received('SetRole')).toEqual([]);
});

test('an instance goes on working after the library threw in it', async () => {
  const { decoder: dist, decoderCache, promptCache, key } = await linkedPair();
  standIn.set('PullKvCache', { throw: 'no memory', times: 1 });
  const { kvCacheManager } = dist;
  await expect(kvCacheManager.pullCache(key, decoderCache)).rejects.toMatchObject({
    code: 'LLM_FAILED',
    message: expect.stringContaining('no memory') as unknown,
  });
  await kvCacheManager.pullCache(key, decoderCache);
  const rowBytes = (await bytesOf(promptCache)).length / DESC.numTensors / 4;
  expect((await bytesOf(decoderCache)).subarray(0, rowBytes)).toEqual(
    (await bytesOf(promptCache)).subarray(0, rowBytes),
  );
});
