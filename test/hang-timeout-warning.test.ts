import { LLMConfig, LLMDataDist, LLMRole } from '../lib';
import type { LLMInitOptions } from '../lib';
import { Fabric, MockBackend } from '../lib/testing';
import { rejection, track } from './fixtures/cluster';
import { warningTextsDuring } from './fixtures/warnings';

// With the transfer backend hixl the library keeps all links locked for up to 30 s while it unlinks a dead peer: calls that wait
// for that would be given up by a smaller hangTimeout.

const LISTEN = '10.0.0.2:26000';
const HCCL = { deviceId: 0, listenIpInfo: LISTEN };
const HIXL = { ...HCCL, transferBackend: 'hixl' };

function node(hangTimeout?: number): LLMDataDist {
  const backend = new MockBackend(2n, LLMRole.MIX, { fabric: new Fabric() });
  return track(new LLMDataDist(LLMRole.MIX, 2n, { backend, ...(hangTimeout !== undefined && { hangTimeout }) }));
}

test.each<[string, LLMInitOptions]>([
  ['a property', HIXL],
  ['a property of LLMConfig', new LLMConfig(HIXL)],
  ["the library's own key", { 'llm.DeviceId': '0', 'llm.ListenIpInfo': LISTEN, 'llm.TransferBackend': 'hixl' }],
  ['one of geOptions', { ...HCCL, geOptions: { 'llm.TransferBackend': 'hixl' } }],
])('a hangTimeout below 30 s is warned of with hixl, where that is %s', async (_, options) => {
  const dist = node(29_999);
  const [text, ...more] = await warningTextsDuring(() => dist.init(options));
  expect(more).toEqual([]);
  expect(text).toMatch(
    /^LLMDataDistHangTimeoutWarning: cluster 2 has a hangTimeout of 29999 ms and the transfer backend hixl\./,
  );
  // Why, and what to do.
  expect(text).toMatch(/keeps all links locked for up to 30000 ms/);
  expect(text).toMatch(
    /Pass a hangTimeout of at least 30000 ms to the constructor, or leave it out: it is 60000 ms then\.$/,
  );
});

test.each<[string, number | undefined, LLMInitOptions]>([
  ['at 30 s', 30_000, HIXL],
  ['above it', 30_001, HIXL],
  ['by the preset', undefined, HIXL],
  ['without hixl', 29_999, HCCL],
  ['without hixl, however small', 1, { deviceId: 0 }],
])('nothing is warned of %s', async (_, hangTimeout, options) => {
  const dist = node(hangTimeout);
  expect(await warningTextsDuring(() => dist.init(options))).toEqual([]);
});

test('an instance warns once, whenever it is initialised, and each instance for itself', async () => {
  const dist = node(1000);
  const again = async () => {
    await dist.init(HIXL);
    await dist.init(HIXL);
    await dist.finalize();
    await dist.init(HIXL);
  };
  expect(await warningTextsDuring(again)).toHaveLength(1);
  const other = node(1000);
  expect(await warningTextsDuring(() => other.init(HIXL))).toHaveLength(1);
});

test('it warns when init has succeeded with hixl, not before', async () => {
  const dist = node(1000);
  const before = async () => {
    expect(await rejection(dist.init({ deviceId: 0, transferBackend: 'hixl' }))).toMatchObject({
      code: 'LLM_PARAM_INVALID',
    });
    await dist.init(HCCL);
    await dist.finalize();
  };
  expect(await warningTextsDuring(before)).toEqual([]);
  expect(await warningTextsDuring(() => dist.init(HIXL))).toHaveLength(1);
});
