import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { coldReads } from './memory-latency';
import { compared, single } from './result';
import type { Result } from './result';
import { runRounds } from './rounds';
import type { Suite, SuiteOptions } from './suite';
import { MEASUREMENTS } from './world';
import type { Measurement, Visit, WorldSize } from './world';
import type { Built, WorldReport, WorldRequest } from './world-messages';

const SMALL: WorldSize = { nodes: 10, linksPerNode: 100 };
const LARGE: WorldSize = { nodes: 1000, linksPerNode: 100 };
const GOAL = { kind: 'at most', bound: 1.5 } as const;

/** About what a thousand nodes with their links take. */
const COLD_BYTES = 64 * 2 ** 20;

/**
 * The goal is about what grows with the number of nodes and links, which steps among ten of the nodes show. Steps that go
 * around all of them show it, too, and on top of it what memory costs that no cache of the processor holds any more: the cost of one read of such memory stands below them.
 */
const WHERE: Readonly<Record<Visit, string>> = {
  'one node': 'at one of the nodes',
  'ten nodes': 'among ten of the nodes',
  'all nodes': 'around all nodes',
};

/** What one step costs among a thousand nodes, next to what it costs among ten. */
export const scale: Suite = {
  name: 'scale',
  title: `One step at ${LARGE.nodes} nodes with ${LARGE.nodes * LARGE.linksPerNode} links, next to ${SMALL.nodes} nodes, on the mock`,
  backend: 'mock',
  async run(options: SuiteOptions): Promise<Result[]> {
    const small = new WorldWorker();
    const large = new WorldWorker();
    try {
      await small.build(SMALL);
      const built = await large.build(LARGE);
      const results: Result[] = [];
      for (const measurement of MEASUREMENTS) {
        const { step, visit } = measurement;
        const contestants = [large, small].map((world) => (operations: number) => world.run(measurement, operations));
        const [atLarge = [], atSmall = []] = await runRounds(contestants, options);
        const micros = (ms: number): number => ms * 1000;
        const goal = visit === 'all nodes' ? undefined : GOAL;
        const rival = { name: `${SMALL.nodes} nodes`, samples: atSmall.map(micros) };
        results.push(compared(this.name, `one ${step} ${WHERE[visit]}`, 'µs', atLarge.map(micros), rival, goal));
      }
      const [reads = []] = await runRounds([coldReads(COLD_BYTES)], options);
      results.push(
        single(
          this.name,
          'one read of memory that no cache holds',
          'µs',
          reads.map((ms) => ms * 1000),
        ),
      );
      results.push(single(this.name, `${LARGE.nodes} nodes started`, 's', [built.secondsToStart]));
      results.push(single(this.name, `${built.links} links made and used both ways`, 's', [built.secondsToLink]));
      results.push(single(this.name, 'heap of one link, both ends', 'bytes', [built.heapBytes / built.links]));
      await small.close();
      await large.close();
      return results;
    } finally {
      await small.terminate();
      await large.terminate();
    }
  },
};

/** A world in a thread of its own; one request at a time. */
class WorldWorker {
  readonly #worker = new Worker(join(__dirname, 'world-worker.js'));

  async build(size: WorldSize): Promise<Built> {
    const { built } = await this.#ask({ kind: 'build', size });
    if (built === undefined) throw new Error('the worker did not say what it built');
    return built;
  }

  async run(measurement: Measurement, operations: number): Promise<number> {
    const { milliseconds } = await this.#ask({ kind: 'run', measurement, operations });
    return milliseconds;
  }

  async close(): Promise<void> {
    await this.#ask({ kind: 'close' });
  }

  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  async #ask(request: WorldRequest): Promise<WorldReport> {
    const answer = once(this.#worker, 'message');
    this.#worker.postMessage(request);
    const [report] = (await answer) as [WorldReport];
    return report;
  }
}
