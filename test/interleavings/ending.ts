import type { Calls } from './calls';
import { look } from './memory-calls';
import type { Stage } from './stages/stage';
import type { Plan } from './steps';
import type { World } from './world';

/** Ends an interleaving: all calls settle, then all memory is looked at, then all instances are finalized. */
export async function end(plan: Plan, world: World, calls: Calls): Promise<void> {
  const { stage } = world;
  const removeFaults = async () => {
    await stage.removeFaults();
    await stage.heal();
  };
  if (plan.removesFaults || !stage.limits.waitsForHangs) await removeFaults();
  await settle(stage, calls, true);
  // What hangs is given up, whether or not it comes back.
  for (const name of calls.running) calls.problems.push(`${name} has not settled`);
  await removeFaults();
  await settle(stage, calls, true);
  for (const name of calls.running) calls.problems.push(`${name} has not settled`);
  if (calls.problems.length > 0) return;
  await stage.untilBack();
  lookAtAll(plan, world, calls);
  await settle(stage, calls, true);
  await finalizeAll(plan, world, calls);
}

function lookAtAll(plan: Plan, world: World, calls: Calls): void {
  for (const { caches } of world.nodes) {
    for (const cache of caches) {
      look(
        { calls, number: plan.steps.length },
        cache,
        Array.from({ length: cache.memory.rows }, (_, i) => i),
      );
    }
  }
}

async function finalizeAll(plan: Plan, world: World, calls: Calls): Promise<void> {
  const { stage } = world;
  const instances = [...world.nodes.map(({ dist }) => dist), ...world.dead];
  for (const dist of instances) {
    calls.start({
      step: plan.steps.length,
      operation: 'finalize',
      make: () => dist.finalize(),
      rejected: (error) => {
        if (!dist.isLost)
          calls.problems.push(`the last finalize of cluster ${dist.clusterId} failed: ${String(error)}`);
      },
    });
  }
  await settle(stage, calls, true);
  for (const name of calls.running) calls.problems.push(`${name} has not settled at the end`);
  // After a status that ends the link rows are released with the link, at the latest now.
  for (const name of calls.unreleased) calls.problems.push(`${name} is not released`);
  if (calls.problems.length > 0) return;
  try {
    await stage.assertIdle(world.nodes.filter(({ dist }) => dist.isLost).map(({ number }) => number));
  } catch (error) {
    calls.problems.push(`after finalize of all: ${(error as Error).message}`);
  }
}

/**
 * Lets time pass until all calls have settled, or for as long as any of them may take; and a while for those that are to be
 * released, which some are only when their link ends.
 */
export async function settle(stage: Stage, calls: Calls, isLast: boolean): Promise<void> {
  const { limits } = stage;
  const longest = isLast ? limits.longestMs : limits.shortMs;
  let step = limits.firstStepMs;
  for (let passed = 0; passed < longest; passed += step) {
    if (calls.running.length === 0 && (calls.unreleased.length === 0 || passed >= limits.shortMs)) return;
    step = Math.min(step * 2, limits.mostStepMs);
    await stage.pass(step);
  }
}
