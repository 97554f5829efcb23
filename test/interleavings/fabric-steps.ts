import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Calls } from './calls';
import type { FabricStep } from './steps';
import type { World } from './world';

let collect: (() => void) | undefined;

/** Has what nothing reaches any more collected. */
export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}

/** Does what is not a call of an instance. */
export async function doOnFabric(world: World, calls: Calls, step: FabricStep, number: number): Promise<void> {
  const { stage } = world;
  switch (step.fabric) {
    case 'fault':
      await stage.inject({ ...step.fault, node: world.node(step.fault.node).number });
      return;
    case 'removeFault':
      await stage.removeFault(step.fault);
      return;
    case 'partition':
    case 'heal': {
      const node = world.node(step.node);
      if (step.fabric === 'heal') await stage.heal();
      else await stage.partition(node.number, world.peer(node, step).number);
      return;
    }
    case 'kill':
      await kill(world, step.node);
      return;
    case 'restart':
      await restart(world, calls, step.node, number);
      return;
    case 'collect':
      collectGarbage();
      return;
    case 'dropHandles': {
      const { caches } = world.node(step.node);
      const cache = caches[step.cache % caches.length];
      // Memory of the program goes with its handles; the cache stays until the instance is finalized.
      if (cache !== undefined) cache.handle = undefined;
      return;
    }
  }
}

async function kill(world: World, number: number): Promise<void> {
  const node = world.node(number);
  if (node.isKilled) return;
  // Over the library it lives on, and others cannot reach it.
  node.isKilled = true;
  if (!world.stage.isCautious) node.forget();
  world.forgetLinks(node);
  await world.stage.kill(node.number);
}

async function restart(world: World, calls: Calls, number: number, step: number): Promise<void> {
  const node = world.node(number);
  if (!node.isKilled) return;
  node.isKilled = false;
  await world.stage.restart(node.number);
  if (world.stage.isCautious) return;
  world.renew(node);
  const { dist } = node;
  const options = world.initOptions(node);
  calls.start({ step, operation: 'init', make: (limits) => dist.init(options, limits) });
}
