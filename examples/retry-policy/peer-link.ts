/**
 * The link to one peer, as an orchestrator shares it between its requests.
 *
 * A relink ends the transfers that run over the link, so there is one for all requests: those that fail together wait for the
 * same one, and a request that failed over an older link does not start another. A relink waits for the transfers of the
 * peer that run, and is made with the life that the peer reports now; each attempt asks for a key of that life.
 */
import type { CacheKeyByIdAndIndex, KvCacheManager, LLMClusterInfo, LLMDataDist } from 'llm-datadist';
import { LLMException } from 'llm-datadist';

/** What the peer says of itself, over the orchestrator's own channel: where it listens, and which life it leads now. */
export type ReportPeer = () => Promise<LLMClusterInfo>;

/** A new key of a cache, asked of the peer for each attempt: after a restart of the peer an old one names other memory. */
export type AskForKey = () => Promise<CacheKeyByIdAndIndex>;

const ATTEMPTS = 3;

export class PeerLink {
  readonly #dist: LLMDataDist;
  readonly #report: ReportPeer;
  /** Grows with each relink: an attempt that failed over an older link has nothing to say about the present one. */
  #generation = 0;
  #relinking: Promise<void> | undefined;
  /** The life that the link was made for. */
  #life: string | undefined;
  readonly #running = new Set<Promise<void>>();

  constructor(dist: LLMDataDist, report: ReportPeer) {
    this.#dist = dist;
    this.#report = report;
  }

  /** The first link. */
  async open(): Promise<void> {
    await this.#link(await this.#report());
  }

  /** Makes a transfer over the link, and once more after what `recovery` asks for. */
  async transfer(
    askForKey: AskForKey,
    work: (caches: KvCacheManager, key: CacheKeyByIdAndIndex) => Promise<void>,
  ): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.#relinking;
      let generation = this.#generation;
      try {
        const key = await askForKey();
        // While the key was on its way, a relink may have begun; the key is refused then if it is of an earlier life.
        await this.#relinking;
        generation = this.#generation;
        await this.#track(work(this.#dist.kvCacheManager, key));
        return;
      } catch (error) {
        if (!(error instanceof LLMException) || attempt === ATTEMPTS) throw error;
        if (error.recovery === 'relink') await this.#relink(generation);
        else if (error.recovery === 'stale-key') await this.#checkLife(generation);
        else throw error;
      }
    }
  }

  #track(transfer: Promise<void>): Promise<void> {
    const ended = transfer.then(
      () => undefined,
      () => undefined,
    );
    this.#running.add(ended);
    void ended.then(() => this.#running.delete(ended));
    return transfer;
  }

  /** The key is not of the life that the link is for. Where that has ended, the link has too; else a new key is all that it takes. */
  async #checkLife(generation: number): Promise<void> {
    const { life } = await this.#report();
    if (life !== this.#life) await this.#relink(generation);
  }

  /** One relink for all that failed over the link of this generation. */
  async #relink(generation: number): Promise<void> {
    if (generation === this.#generation) {
      this.#relinking ??= this.#linkAnew().finally(() => {
        this.#relinking = undefined;
      });
    }
    await this.#relinking;
  }

  async #linkAnew(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
    const peer = await this.#report();
    try {
      await this.#dist.unlinkClusters([peer], { force: true });
    } catch (error) {
      // There is no link any more, which is what was wanted.
      if (!(error instanceof LLMException) || error.recovery !== 'none') throw error;
    }
    await this.#link(peer);
    this.#generation += 1;
  }

  async #link(peer: LLMClusterInfo): Promise<void> {
    await this.#dist.linkClusters([peer]);
    this.#life = peer.life;
  }
}
