import { readFileSync } from 'node:fs';
import { LLMDataDist, LLMException, LLMRole } from '../lib';
import type { CacheKeyByIdAndIndex, KvCache, LLMClusterInfo } from '../lib';
import { createFabric } from '../lib/testing';
import type { ManualClock, TestFabric } from '../lib/testing';
import { turn } from './bad-input/states';

/** Many requests of one process follow the table of recoveries and the remedies to the letter. */
const REQUESTS = 32;
const DESC = { numTensors: 2, dataType: 2, shape: [REQUESTS, 32] };
const ADDRESS = { remoteClusterId: 1n, remoteIpInfos: [{ ip: '10.0.0.1', port: 26000 }] };

let fabric: TestFabric<ManualClock>;
beforeEach(() => {
  fabric = createFabric();
});
afterEach(() => {
  fabric.close();
});

async function startPrompt() {
  const dist = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
  await dist.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26000' });
  const cache = await dist.kvCacheManager.allocateCache(DESC);
  return { dist, cache };
}

/** What 32 requests share: one instance, its link, and what the peer reports. */
class Requests {
  decoder!: LLMDataDist;
  target!: KvCache;
  prompt!: Awaited<ReturnType<typeof startPrompt>>;
  /** The life that a call of this process has linked with. */
  linkLife: string | undefined;
  #relinking: Promise<void> | undefined;
  #unlinking: Promise<unknown> | undefined;
  readonly seen = new Set<string>();
  /** How long a request that is to repeat its call waits for `released` at most. */
  pause: Promise<void> = Promise.resolve();

  async start(): Promise<void> {
    this.prompt = await startPrompt();
    this.decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend: fabric.backend });
    await this.decoder.init({ deviceId: 1, listenIpInfo: '10.0.0.2:26000' });
    this.target = await this.decoder.kvCacheManager.allocateCache(DESC);
  }

  /** The peer, with the life that it reports now. */
  get peer(): LLMClusterInfo & { life: string } {
    return { ...ADDRESS, life: this.prompt.dist.life };
  }

  get key(): CacheKeyByIdAndIndex {
    return this.prompt.cache.key();
  }

  note(error: unknown): LLMException {
    if (!(error instanceof LLMException)) throw error;
    this.seen.add(`${error.code} ${error.recovery}`);
    return error;
  }

  async link(): Promise<void> {
    const { peer } = this;
    await this.decoder.linkClusters([peer]);
    this.linkLife = peer.life;
  }

  /** `unlink-first`: use the link that another call has just made with the life that the peer reports, else one unlink. */
  async linkAsAdvised(): Promise<void> {
    for (;;) {
      try {
        await this.link();
        return;
      } catch (caught) {
        const error = this.note(caught);
        expect(error.remedy).toMatch(
          /^If another call of this process has just linked that cluster with the life that .* use that/,
        );
        if (this.linkLife === this.peer.life) return;
        await (this.#unlinking ??= this.decoder.unlinkClusters([this.peer], { force: true }).finally(() => {
          this.#unlinking = undefined;
        }));
      }
    }
  }

  /** One for all calls. */
  async relink(): Promise<void> {
    await (this.#relinking ??= (async () => {
      await this.decoder.unlinkClusters([this.peer], { force: true });
      await this.link();
    })().finally(() => {
      this.#relinking = undefined;
    }));
  }

  async pull(block: number, timeout?: number): Promise<void> {
    const caches = this.decoder.kvCacheManager;
    for (let attempt = 1; attempt <= 8; attempt++) {
      await this.#relinking;
      const { linkLife } = this;
      try {
        await caches.pullBlocks(this.key, this.target, [block], [block], attempt === 1 && timeout ? { timeout } : {});
        return;
      } catch (caught) {
        const error = this.note(caught);
        if (error.recovery === 'relink') await this.relink();
        else if (error.recovery === 'stale-key') {
          expect(error.remedy).toMatch(
            /Where the link is for another life, .* replace it once for all calls of the cluster: /,
          );
          if (this.peer.life !== linkLife && linkLife === this.linkLife) await this.relink();
        } else if (error.recovery === 'retry') {
          // Not for that alone.
          await Promise.race([this.pause, ...(error.released === undefined ? [] : [error.released])]);
        } else throw error;
      }
    }
    throw new Error(`block ${block} was not served`);
  }

  calls(op: string): readonly (string | undefined)[] {
    return fabric.history.filter((call) => call.node === 2n && call.op === op).map(({ code }) => code);
  }
}

const blocks = Array.from({ length: REQUESTS }, (_, block) => block);

async function requests(): Promise<Requests> {
  const all = new Requests();
  await all.start();
  return all;
}

test.each([
  [
    'unlink-first',
    /^if another call of this process has just linked this cluster with the `life` that .*, use that link; /,
  ],
  [
    'stale-key',
    /^ask the peer for its `life`\. If it is not the link's life, relink \*\*once, for all calls\*\* of the peer, /,
  ],
])('find in the README what to do after %s', (recovery, advice) => {
  const row = readFileSync('README.md', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`| \`${recovery}\``));
  expect(row?.split('|')[2]?.trim()).toMatch(advice);
});

test('that link at the start all use the link that one of them has made', async () => {
  const all = await requests();
  await Promise.all(
    blocks.map(async (block) => {
      await all.linkAsAdvised();
      await all.pull(block);
    }),
  );
  expect(all.seen).toEqual(new Set(['LLM_ALREADY_LINK unlink-first']));
  expect(all.calls('unlinkClusters')).toEqual([]);
  expect(all.calls('pullBlocks')).toEqual(blocks.map(() => 'LLM_SUCCESS'));
});

test('that link again after a restart replace the dead link once', async () => {
  const all = await requests();
  await all.link();
  const before = all.prompt.dist;
  fabric.kill(before);
  fabric.restart(before);
  all.prompt = await startPrompt();
  await Promise.all(
    blocks.map(async (block) => {
      await all.linkAsAdvised();
      await all.pull(block);
    }),
  );
  expect(all.calls('unlinkClusters')).toHaveLength(1);
  expect(all.calls('pullBlocks')).toEqual(blocks.map(() => 'LLM_SUCCESS'));
});

test('whose keys are of a life that nothing has said the peer to lead relink once', async () => {
  const all = await requests();
  await all.link();
  await all.pull(0);
  const before = all.prompt.dist;
  fabric.kill(before);
  fabric.restart(before);
  all.prompt = await startPrompt();

  await Promise.all(blocks.map((block) => all.pull(block)));

  expect(all.seen).toEqual(new Set(['LLM_PARAM_INVALID stale-key']));
  expect(all.calls('unlinkClusters')).toHaveLength(1);
  expect(all.calls('linkClusters')).toHaveLength(2);
});

test('that their deadlines have ended before the link failed relink once, and are served', async () => {
  const all = await requests();
  await all.link();
  fabric.inject({ op: 'pullBlocks', times: REQUESTS, delayMs: 20, status: 'LLM_TIMEOUT', hold: 'call' });
  const { clock } = fabric;
  const wakes: (() => void)[] = [];
  const pause = () => {
    all.pause = new Promise((wake) => wakes.push(wake));
  };
  pause();
  const pulls = Promise.allSettled(blocks.map((block) => all.pull(block, 5)));
  await clock.advance(5);
  await turn();
  const [first] = wakes;
  pause();
  first?.();
  await turn();
  await clock.advance(20);
  for (const wake of wakes) wake();
  all.pause = Promise.resolve();

  expect((await pulls).filter(({ status }) => status === 'rejected')).toEqual([]);

  expect(all.seen).toEqual(new Set(['LLM_TIMEOUT retry', 'LLM_PARAM_INVALID retry', 'LLM_PARAM_INVALID relink']));
  expect(all.calls('unlinkClusters')).toHaveLength(1);
});
