import type { BackendCacheDesc } from '../../backend/backend';
import { LLMRole } from '../../role';
import type { ScenarioBackends } from '../backends';
import { DESC } from './cache-desc';
import { StageNode } from './stage-node';

/** Taken at once, because only then they differ. */
const MOST_PORTS = 4;

/** The nodes of one test. */
export class Stage {
  readonly #backends: ScenarioBackends;
  readonly #nodes: StageNode[] = [];
  #ports: Promise<readonly number[]> | undefined;
  #portsTaken = 0;

  constructor(backends: ScenarioBackends) {
    this.#backends = backends;
  }

  /** An instance that is not initialised yet. */
  async node(role: LLMRole, { listens = true }: { readonly listens?: boolean } = {}): Promise<StageNode> {
    const device = this.#nodes.length;
    const clusterId = BigInt(device + 1);
    const port = listens ? await this.port() : undefined;
    const node = new StageNode(this.#backends.createBackend(clusterId, role), clusterId, role, device, port);
    this.#nodes.push(node);
    return node;
  }

  async initialised(role: LLMRole, options?: { readonly listens?: boolean }): Promise<StageNode> {
    const node = await this.node(role, options);
    await node.initialize();
    return node;
  }

  /** A prompt that listens and a decoder that need not, initialised. */
  async pair(): Promise<{ prompt: StageNode; decoder: StageNode }> {
    const prompt = await this.initialised(LLMRole.PROMPT);
    return { prompt, decoder: await this.initialised(LLMRole.DECODER, { listens: false }) };
  }

  /** A pair with a cache each, filled with different bytes, linked by the decoder. */
  async linkedPair(desc: BackendCacheDesc = DESC) {
    const { prompt, decoder } = await this.pair();
    const source = await prompt.register(desc, 7);
    const target = await decoder.register(desc, 90);
    await decoder.link(prompt);
    return { prompt, decoder, source, target };
  }

  /** A port that nobody listens on. */
  async port(): Promise<number> {
    this.#ports ??= this.#backends.freePorts(MOST_PORTS);
    const port = (await this.#ports)[this.#portsTaken++];
    if (port === undefined) throw new RangeError(`a test needs port ${this.#portsTaken}, freePorts gave fewer`);
    return port;
  }

  /**
   * Ends all instances, and frees what they were given.
   * @throws the first failure, when everything has been tried
   */
  async clear(): Promise<void> {
    const failures: unknown[] = [];
    const ends = this.#nodes.map(
      ({ backend }) =>
        () =>
          backend.finalize(),
    );
    for (const clean of [...ends, ...this.#nodes.map((node) => () => node.free())]) {
      try {
        await clean();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw failures[0];
  }
}
