import { DataType, LLMException, LLMRole, LLMStatusCode } from '../../lib';
import type { CacheDesc } from '../../lib';
import { rejection } from '../fixtures/cluster';
import { result } from '../fixtures/exceptions';
import { begun, instance, libraryCalls, received, standIn } from './fixtures/stand-in';
import { InstanceWorker } from './fixtures/worker';

const { PROMPT, DECODER } = LLMRole;

/** A worker with an instance that is initialised. */
async function holder(role: LLMRole, clusterId: bigint, options: object, initOptions: object): Promise<InstanceWorker> {
  const worker = new InstanceWorker();
  await worker.call('make', 'it', role, clusterId, options);
  await worker.call('init', 'it', initOptions);
  return worker;
}

const several = { allowMultipleInstances: true };

describe('workers', () => {
  test('load the addon each for itself, and one of them at a time has the instance', async () => {
    const first = await holder(PROMPT, 1n, {}, { deviceId: 0 });
    const others = [new InstanceWorker(), new InstanceWorker()];
    for (const other of others) await other.call('make', 'it', PROMPT, 2n, {});
    for (const other of others) {
      const { error, here } = await other.ask('init', 'it', { deviceId: 0 });
      expect(here).toEqual({ isException: true, isError: true });
      expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'init' });
      expect((error as Error).message).toContain('cluster 1 is initialised in this process');
    }
    const main = instance(PROMPT, 3n, { allowMultipleInstances: false });
    expect(await rejection(main.init({ deviceId: 0 }))).toMatchObject({ code: 'LLM_FAILED', operation: 'init' });
    expect(received('Initialize')).toHaveLength(1);

    await first.call('finalize', 'it');
    await others[1]!.call('init', 'it', { deviceId: 0 });
    expect(await others[0]!.ask('init', 'it', { deviceId: 0 })).toMatchObject({ error: { code: 'LLM_FAILED' } });
    await others[1]!.call('finalize', 'it');
    expect(received('Initialize')).toHaveLength(2);
  });

  test('two at a time link to each other and move a cache, where that is allowed', async () => {
    const desc: CacheDesc = { numTensors: 2, dataType: DataType.DT_INT8, shape: [2, 64] };
    const prompt = await holder(PROMPT, 1n, several, { deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
    const decoder = await holder(DECODER, 2n, several, { deviceId: 1 });
    const key = await prompt.call('cache', 'it', desc, 0xa5);
    await decoder.call('cache', 'it', desc, 0);
    const address = { ip: '127.0.0.1', port: 26_000 };
    const clusters = [{ remoteClusterId: 1n, remoteIpInfos: [address], localIpInfos: [{ ip: '127.0.0.1' }] }];
    expect(await decoder.call('link', 'it', clusters)).toEqual([result(1n, LLMStatusCode.LLM_SUCCESS)]);
    const tensors = (await decoder.call('pull', 'it', key)) as Uint8Array[];
    expect(tensors.map((tensor) => Buffer.from(tensor))).toEqual(Array(2).fill(Buffer.alloc(128, 0xa5)));
    expect(received('PullKvBlocks')).toHaveLength(1);
  });

  test('and the main thread each have exceptions of their own, from calls that fail at the same time', async () => {
    const worker = new InstanceWorker();
    await worker.call('make', 'it', PROMPT, 1n, several);
    const main = instance(PROMPT, 2n);
    standIn.set('Initialize', { block: true, status: LLMStatusCode.LLM_TIMEOUT, error: 'too slow' });
    const there = worker.ask('init', 'it', { deviceId: 0 });
    const here = rejection(main.init({ deviceId: 1 }));
    await standIn.waitEntered('Initialize');
    standIn.release('Initialize');
    expect(await there).toMatchObject({ here: { isException: true, isError: true }, error: { code: 'LLM_TIMEOUT' } });
    const error = await here;
    expect(error).toBeInstanceOf(LLMException);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ code: 'LLM_TIMEOUT', detail: 'too slow' });
  });
});

describe('an exception of a worker', () => {
  const address = { ip: '127.0.0.1', port: 26_000 };
  const clusters = [{ remoteClusterId: 2n ** 64n - 1n, remoteIpInfos: [address], localIpInfos: [{ ip: '127.0.0.1' }] }];

  test('can be sent, and is an exception again here, with all that it says', async () => {
    const worker = await holder(DECODER, 2n, {}, { deviceId: 1 });
    const { error } = await worker.ask('link', 'it', clusters);
    expect(error).not.toBeInstanceOf(Error);
    const exception = LLMException.from(error);
    expect(exception).toBeInstanceOf(LLMException);
    expect(exception).toMatchObject({
      statusCode: LLMStatusCode.LLM_LINK_FAILED,
      code: 'LLM_LINK_FAILED',
      operation: 'linkClusters',
      detail: expect.stringContaining('nobody listens on 127.0.0.1:26000') as string,
      results: [result(2n ** 64n - 1n, LLMStatusCode.LLM_LINK_FAILED)],
    });
    expect(exception.message).toContain('cluster 18446744073709551615');
  });

  test('that nobody catches ends it, and tells its parent what it was', async () => {
    const worker = await holder(DECODER, 2n, { guards: false }, { deviceId: 1 });
    standIn.set('PullKvBlocks', { status: 0xdead_beef, error: 'the end' });
    const failed = worker.failure();
    await worker.call('crash', 'it', { clusterId: 7n, cacheId: 8n });
    const error = await failed;
    expect(error).toMatchObject({ statusCode: 0xdead_beef, operation: 'pullBlocks', clusterId: 7n, cacheId: 8n });
    expect(error).toMatchObject({ detail: 'the end' });
    expect(await worker.ended).toBe(1);
    expect(received('Finalize')).toHaveLength(1);
  });
});

describe('a worker that ends with an instance', () => {
  const ENDINGS: [string, (worker: InstanceWorker) => Promise<unknown>][] = [
    ['is terminated', (worker) => worker.terminate()],
    ['comes to its end', (worker) => worker.call('leave')],
  ];

  test.each(ENDINGS)('and %s leaves nothing behind: not the listener, not memory, not the slot', async (_, end) => {
    const worker = await holder(PROMPT, 1n, {}, { deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
    await worker.call('allocateMemory', 'it', 4096);
    await end(worker);
    await worker.ended;
    const names = libraryCalls().map(({ method }) => method);
    expect(names.slice(names.indexOf('Initialize'))).toEqual(['Initialize', 'SetRole', 'Finalize']);
    expect(begun()).toMatchObject({ initialisedObjects: 0, liveAllocations: 0 });
    const main = instance(PROMPT, 2n, { allowMultipleInstances: false });
    await main.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
  });

  test.each(ENDINGS)('that was never initialised, and %s, does nothing to the library', async (_, end) => {
    const worker = new InstanceWorker();
    await worker.call('make', 'it', PROMPT, 1n, {});
    await end(worker);
    await worker.ended;
    expect(libraryCalls()).toEqual([]);
  });

  test.each(ENDINGS)('that was finalized, and %s, does nothing more to the library', async (_, end) => {
    const worker = await holder(PROMPT, 1n, {}, { deviceId: 0 });
    await worker.call('finalize', 'it');
    const before = libraryCalls().length;
    await end(worker);
    await worker.ended;
    expect(libraryCalls()).toHaveLength(before);
  });

  test('does not disturb those of other threads', async () => {
    const main = instance(DECODER, 2n);
    await main.init({ deviceId: 1 });
    const region = await main.allocateMemory(64);
    const worker = await holder(PROMPT, 1n, several, { deviceId: 0 });
    await worker.terminate();
    await worker.ended;
    await region.write(new Uint8Array(64).fill(9));
    expect(Buffer.from(await region.read())).toEqual(Buffer.alloc(64, 9));
    await region.free();
  });
});
