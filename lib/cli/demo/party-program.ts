import { createTcpFabric } from '../../backend/mock/tcp/tcp-fabric';
import { LLMException } from '../../exception';
import { Cluster } from './cluster';
import { VerificationError } from './contents';
import type { CacheContents } from './contents';
import { BLOCK_BYTES, tensorName } from './geometry';
import type { PartyCalls, PartyMessage, PartyRequest } from './party-calls';
import { Pattern } from './pattern';

/** What a process of a party runs. */
export const PARTY_PROGRAM = __filename;

/** One party in a separate process, on the network of all processes of this machine. */
class Party {
  readonly #pattern = new Pattern();
  #cluster: Cluster | undefined;
  #contents: CacheContents | undefined;

  /** @param pulled gets how many pulls of a stream have ended well */
  calls(pulled: (count: number) => void): PartyCalls {
    return {
      start: async (plan) => {
        this.#cluster = new Cluster(plan, createTcpFabric().backend);
        await this.#cluster.start();
        return this.#cluster.life;
      },
      allocate: async (blocks) => {
        this.#contents = await this.#started.allocate(blocks);
        return this.#allocated.cache.key();
      },
      fill: (run) => this.#fill(run),
      link: (info, life) => this.#started.link({ info, life }),
      unlink: (peer, options) => this.#started.unlink({ info: peer }, options),
      pull: (key, [src, dst]) => this.#started.manager.pullBlocks(key, this.#allocated.cache, [src], [dst]),
      stream: async (key) => {
        const { blocks, cache } = this.#allocated;
        for (let count = 1; ; count++) {
          const block = (count - 1) % blocks;
          await this.#started.manager.pullBlocks(key, cache, [block], [block]);
          pulled(count);
        }
      },
      verify: async (run, pairs) => {
        for (const [src, dst] of pairs) await this.#verify(run, src, dst);
      },
      stop: () => this.#started.stop(),
    };
  }

  get #started(): Cluster {
    if (this.#cluster === undefined) throw new Error('this party was not started');
    return this.#cluster;
  }

  get #allocated(): CacheContents {
    if (this.#contents === undefined) throw new Error('this party has no cache');
    return this.#contents;
  }

  async #fill(run: number): Promise<void> {
    const { blocks, cache } = this.#allocated;
    for (const [tensor, region] of (cache.regions ?? []).entries()) {
      for (let block = 0; block < blocks; block++) {
        await region.write(this.#pattern.block(run, tensor, block), block * BLOCK_BYTES);
      }
    }
  }

  async #verify(run: number, src: number, dst: number): Promise<void> {
    const { cache, owner } = this.#allocated;
    for (const [tensor, region] of (cache.regions ?? []).entries()) {
      const bytes = await region.read(dst * BLOCK_BYTES, BLOCK_BYTES);
      if (Buffer.compare(bytes, this.#pattern.block(run, tensor, src)) === 0) continue;
      throw new VerificationError(
        `${owner.name} does not hold block ${src} of the prompt in block ${dst} of ${tensorName(tensor)}`,
      );
    }
  }
}

/** Answers the requests of the process that started this one, until that goes. */
function serve(send: (message: PartyMessage) => void): void {
  const party = new Party();
  process.on('message', ({ id, call, args }: PartyRequest) => {
    const calls = party.calls((count) => {
      send({ id, kind: 'pulled', count });
    });
    const work = calls[call] as (...args: readonly unknown[]) => Promise<unknown>;
    void Promise.resolve()
      .then(() => work(...args))
      .then(
        (result) => {
          send({ id, kind: 'done', result });
        },
        (error: unknown) => {
          send(failure(id, error));
        },
      );
  });
  // Whoever started it may have been killed.
  process.on('disconnect', () => {
    process.exit();
  });
}

function failure(id: number, error: unknown): PartyMessage {
  if (error instanceof LLMException) return { id, kind: 'exception', exception: error };
  if (error instanceof VerificationError) return { id, kind: 'wrong content', message: error.message };
  return { id, kind: 'error', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

if (require.main === module) {
  if (process.send === undefined) {
    console.error('This program is a part of the demo, which starts it: npm run demo -- --processes');
    process.exitCode = 2;
  } else {
    serve((message) => {
      // Nothing is there any more that listens, and this process is about to end.
      if (process.connected) process.send?.(message);
    });
  }
}
