import { createFabric } from '../../../lib/testing';
import { FabricStage } from './fabric-stage';
import type { Stage } from './stage';

/** Instances in memory. */
export function mockStage(nodes: number, seed: number): Promise<Stage> {
  const fabric = createFabric({ clock: 'manual', strict: false, seed });
  const addresses = Array.from({ length: nodes }, (_, i) => ({ ip: `10.0.0.${i + 1}`, port: 26_000 }));
  return Promise.resolve(new FabricStage(fabric, fabric.clock, addresses));
}
