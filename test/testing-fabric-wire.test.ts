import { createFabric } from '../lib/testing';
import type { Clock, FabricOptions } from '../lib/testing';
import { rowOf } from './fixtures/cluster';
import { linked, pass } from './fixtures/fabric';
import { watch } from './fixtures/hangs';

/** 1 KiB per millisecond: one block of 4 tensors of 64 bytes takes a quarter of it. */
const WIRE = { latencyMs: 10, bandwidth: 1024 * 1000 } as const;
const BLOCK_MS = 10 + 256 / 1024;

/** A pull of one block that is on its way. */
async function pulling(options: FabricOptions & { clock?: 'manual' } = {}) {
  const nodes = await linked({ wire: WIRE, ...options }, {}, undefined, { deviceId: 0, syncKvTimeout: 1000 });
  const { decoder, decoderCache, promptCache } = nodes;
  const pull = () => decoder.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [1], [2]);
  return { ...nodes, pull, pulled: watch(pull()) };
}

test('a transfer takes the time of the wire, on the clock of the fabric and in its history', async () => {
  const { fabric, pulled, promptCache, decoderCache } = await pulling();
  await pass(fabric, BLOCK_MS - 0.01);
  expect(pulled.outcome).toBe('pending');
  await pass(fabric, 0.01);
  expect(pulled.outcome).toBe('resolved');
  expect(await rowOf(decoderCache, 3, 2)).toEqual(await rowOf(promptCache, 3, 1));
  expect(fabric.history.find(({ op }) => op === 'pullBlocks')).toMatchObject({
    bytes: 256,
    durationMs: expect.closeTo(BLOCK_MS, 6) as number,
  });
});

test('a peer that is killed while bytes are on the wire ends the transfer at once', async () => {
  const { fabric, pulled, prompt } = await pulling();
  await pass(fabric, 1);
  fabric.kill(prompt);
  await pass(fabric, 0);
  expect(pulled.outcome).toMatchObject({ code: 'LLM_FAILED', clusterId: 1n });
  expect(fabric.clock.now()).toBe(1);
});

test.each(['partition', 'isolate'] as const)(
  'what is on the wire when it comes to a %s is lost, and the limit passes',
  async (means) => {
    const { fabric, pulled, pull, prompt, decoder } = await pulling();
    await pass(fabric, 1);
    if (means === 'partition') fabric.partition(prompt, decoder);
    else fabric.isolate(prompt);
    await pass(fabric, 998);
    expect(pulled.outcome).toBe('pending');
    await pass(fabric, 1);
    expect(pulled.outcome).toMatchObject({ code: 'LLM_TIMEOUT' });
    fabric.heal();
    const again = watch(pull());
    await pass(fabric, BLOCK_MS);
    expect(again.outcome).toBe('resolved');
  },
);

test('a wire that makes no sense, or a clock that cannot drive one, is refused', () => {
  expect(() => createFabric({ wire: 'A9_Carrier_Pigeon' as 'A3_HCCS' })).toThrow(/"options\.wire"/);
  expect(() => createFabric({ wire: { latencyMs: -1 } })).toThrow(/"options\.wire\.latencyMs"/);
  const clock: Clock = { now: () => 0, sleep: () => Promise.resolve() };
  expect(() => createFabric({ wire: WIRE, clock })).toThrow(TypeError);
});
