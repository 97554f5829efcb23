import { DataType, LLMDataDist, LLMException, LLMRole } from '../lib';
import type { CacheKeyByIdAndIndex } from '../lib';
import { createTcpFabric } from '../lib/testing';
import { track } from './fixtures/cluster';
import { seeded } from './fixtures/seeded';
import { clusterAt, freePort, TcpNode } from './fixtures/tcp-node';

/** How many peers die: a few in every run, hundreds where there is time for them. */
const DEATHS = Number(process.env.DATADIST_TEST_DEATHS ?? 6);
const SEED = Number(process.env.DATADIST_TEST_SEED ?? Date.now() % 1_000_000);

jest.setTimeout(60_000 + DEATHS * 20_000);

const BLOCKS = 8;
const BLOCK_BYTES = 256 * 1024;
const DESC = { numTensors: 2, dataType: DataType.DT_INT8, shape: [BLOCKS, BLOCK_BYTES] };
const ALL = Array.from({ length: BLOCKS }, (_, i) => i);

/** The bytes of tensor `t` in `tcp-node-program.js`. */
function tensorBytes(base: number, t: number): Buffer {
  const bytes = Buffer.allocUnsafe(BLOCKS * BLOCK_BYTES);
  for (let k = 0; k < bytes.length; k++) bytes[k] = (base + 131 * t + k) % 251;
  return bytes;
}

test(`a peer that is killed at any moment fails pulls and corrupts none (${DEATHS} deaths, DATADIST_TEST_SEED=${SEED})`, async () => {
  const next = seeded(SEED);
  const port = await freePort();
  const cluster = clusterAt(1n, port);
  const decoder = track(new LLMDataDist(LLMRole.DECODER, 2n, { backend: createTcpFabric().backend }));
  await decoder.init({ deviceId: 1, syncKvTimeout: 30_000 });
  const manager = decoder.kvCacheManager;
  const cache = await manager.allocateCache(DESC);
  const clear = Buffer.alloc(BLOCKS * BLOCK_BYTES, 0xff);

  /** Pulls until one fails, and checks what was received. */
  const pullUntilDeath = async (source: CacheKeyByIdAndIndex, expected: readonly Buffer[]): Promise<void> => {
    for (;;) {
      for (const region of cache.regions ?? []) await region.write(clear);
      try {
        await manager.pullBlocks(source, cache, ALL, ALL.toReversed());
      } catch (error) {
        expect(error).toBeInstanceOf(LLMException);
        expect((error as LLMException).code).toBe('LLM_FAILED');
        return;
      }
      for (const [t, region] of (cache.regions ?? []).entries()) {
        const bytes = await region.read();
        for (const block of ALL) {
          const from = expected[t]?.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
          const to = bytes.subarray((BLOCKS - 1 - block) * BLOCK_BYTES, (BLOCKS - block) * BLOCK_BYTES);
          if (from?.equals(to) !== true) throw new Error(`block ${block} of tensor ${t} differs from its source`);
        }
      }
    }
  };

  for (let death = 0; death < DEATHS; death++) {
    const peer = TcpNode.inProcess();
    const base = Math.floor(next() * 251);
    await peer.call('start', LLMRole.PROMPT, 1n, { deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
    const source = await peer.call('cache', DESC, base);
    await decoder.linkClusters([cluster], { timeout: 30_000 });
    const pulls = pullUntilDeath(source, [tensorBytes(base, 0), tensorBytes(base, 1)]);
    // A moment, not a wait: whatever has happened by then is right.
    const killed = new Promise<void>((resolve) => {
      setTimeout(() => {
        void peer.kill().then(resolve);
      }, next() * 60);
    });
    await pulls;
    await killed;
    await expect(decoder.unlinkClusters([cluster], { timeout: 30_000 })).rejects.toMatchObject({
      code: 'LLM_UNLINK_FAILED',
    });
    await decoder.unlinkClusters([cluster], { force: true });
  }
});
