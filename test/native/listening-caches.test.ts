import { once } from 'node:events';
import { connect } from 'node:net';
import { LLMRole } from '../../lib';
import { DESC } from '../fixtures/cluster';
import { linkedPair, PROMPT_ID, cluster, prompt } from './fixtures/pair';
import { portServer } from './fixtures/port-server';
import { instance, received, standIn } from './fixtures/stand-in';

// An instance that listens gives memory back when the library and its sockets prove that no peer is linked. The stand-in ends
// in a hazard where memory of a link is unregistered.

const unregistered = () => received('UnregisterKvCache').length;

test('a cache is unregistered and freed at once where nobody has linked', async () => {
  const { kvCacheManager: caches } = await prompt();
  for (let i = 0; i < 20; i++) await caches.deallocateCache(await caches.allocateCache(DESC));
  expect(unregistered()).toBe(20);
  expect(received('aclrtFree')).toHaveLength(20 * DESC.numTensors);
});

test('a cache of a linked instance waits, and is unregistered with the next one without a link', async () => {
  const { prompt: dist, decoder, promptCache } = await linkedPair();
  const { kvCacheManager: caches } = dist;
  const other = await caches.allocateCache(DESC);
  await caches.deallocateCache(promptCache);
  expect(unregistered()).toBe(0);
  // The library was asked once, and nothing else was done.
  expect(received('SetRole').map(({ returned }) => returned)).toEqual([0x5010_b018]);
  await decoder.unlinkClusters([cluster(PROMPT_ID)]);
  await caches.deallocateCache(other);
  expect(unregistered()).toBe(2);
  await decoder.linkClusters([cluster(PROMPT_ID)]);
});

test('a peer that links while caches are unregistered comes before or after', async () => {
  const { prompt: dist, decoder, promptCache } = await linkedPair();
  const { kvCacheManager: caches } = dist;
  await decoder.unlinkClusters([cluster(PROMPT_ID)]);
  for (let i = 0; i < 20; i++) {
    const cache = await caches.allocateCache(DESC);
    await Promise.all([
      caches.deallocateCache(cache),
      decoder.linkClusters([cluster(PROMPT_ID)]).then(() => decoder.unlinkClusters([cluster(PROMPT_ID)])),
    ]);
  }
  await caches.deallocateCache(promptCache);
  // The stand-in has seen no hazard; the test fails otherwise.
  expect(unregistered()).toBe(21);
});

describe('the sockets of the listener', () => {
  async function listening() {
    const { server, port } = await portServer();
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
    return { server, port, dist };
  }

  test('hold a cache while a connection is open, and let others in afterwards', async () => {
    const { server, port, dist } = await listening();
    const { kvCacheManager: caches } = dist;
    const client = connect(port, '127.0.0.1');
    const [accepted] = (await once(server, 'connection')) as [import('node:net').Socket];
    await caches.deallocateCache(await caches.allocateCache(DESC));
    expect(unregistered()).toBe(0);
    accepted.destroy();
    client.destroy();
    await once(accepted, 'close');
    await caches.deallocateCache(await caches.allocateCache(DESC));
    expect(unregistered()).toBe(2);
    // What was refused for a moment gets in again.
    const later = connect(port, '127.0.0.1');
    const [second] = (await once(server, 'connection')) as [import('node:net').Socket];
    second.destroy();
    later.destroy();
    await once(second, 'close');
  });
});

test('a library that fails to unregister is reported, and the rest goes on', async () => {
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  const { kvCacheManager: caches } = await prompt();
  const cache = await caches.allocateCache(DESC);
  standIn.set('UnregisterKvCache', { status: 0xffff_ffff, times: 1 });
  await caches.deallocateCache(cache);
  expect(String(warn.mock.calls[0]?.[0])).toMatch(/cache 1 of cluster 1 could not be unregistered .*LLM_FAILED/);
  warn.mockRestore();
  await caches.deallocateCache(await caches.allocateCache(DESC));
  expect(unregistered()).toBe(2);
});
