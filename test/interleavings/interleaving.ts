import { Calls } from './calls';
import type { Context } from './context';
import { end, settle } from './ending';
import { doOnFabric } from './fabric-steps';
import * as life from './life-calls';
import * as memory from './memory-calls';
import type { Stage } from './stages/stage';
import type { CallName, Gap, Plan } from './steps';
import * as transfers from './transfer-calls';
import { World } from './world';

const MAKERS: Readonly<Record<CallName, (context: Context) => void>> = {
  init: life.init,
  finalize: life.finalize,
  dispose: life.dispose,
  switchRole: life.switchRole,
  linkClusters: life.linkClusters,
  unlinkClusters: life.unlinkClusters,
  allocateMemory: (context) => {
    memory.allocateMemory(context);
  },
  write: memory.write,
  read: memory.read,
  free: memory.free,
  registerCache: memory.registerCache,
  unregisterCache: memory.unregisterCache,
  allocateCache: memory.allocateCache,
  deallocateCache: memory.deallocateCache,
  pullCache: transfers.pull,
  pullBlocks: transfers.pull,
  pushCache: transfers.push,
  pushBlocks: transfers.push,
  copyCache: transfers.copyLocally,
  copyBlocks: transfers.copyLocally,
  swapBlocks: transfers.copyLocally,
  readBlocks: memory.readBlocks,
  writeBlocks: memory.writeBlocks,
};

/** What came of an interleaving. */
export interface Result {
  /** What was wrong; empty where all held. */
  readonly problems: readonly string[];
  /** How often which call ended in which way. */
  readonly outcomes: ReadonlyMap<string, number>;
  /** Whether an instance was lost, which keeps what it has. */
  readonly hasLost: boolean;
}

/** Runs a plan on a stage, and closes the stage. */
export async function run(plan: Plan, stage: Stage): Promise<Result> {
  const calls = new Calls((ms) => stage.pass(ms));
  const world = new World(plan, stage);
  try {
    for (const [number, step] of plan.steps.entries()) {
      if ('call' in step) MAKERS[step.call]({ world, calls, step, number, node: world.nodeFor(step) });
      else await doOnFabric(world, calls, step, number);
      await wait(step.gap, stage, calls);
      if (calls.problems.length > 0) break;
    }
    await end(plan, world, calls);
  } finally {
    await stage.close();
  }
  return { problems: calls.problems, outcomes: calls.outcomes, hasLost: world.nodes.some(({ dist }) => dist.isLost) };
}

async function wait(gap: Gap, stage: Stage, calls: Calls): Promise<void> {
  switch (gap.kind) {
    case 'none':
      return;
    case 'microtasks':
      for (let i = 0; i < gap.count; i++) await Promise.resolve();
      return;
    case 'macrotasks':
      for (let i = 0; i < gap.count; i++) await new Promise((resolve) => setImmediate(resolve));
      return;
    case 'time':
      await stage.pass(gap.ms);
      return;
    case 'settle':
      await settle(stage, calls, false);
  }
}
