import type { BackendFactory } from '../../../lib';
import { createFabric } from '../../../lib/testing';
import type { Plan } from '../steps';
import { FabricStage } from './fabric-stage';
import type { Stage } from './stage';

/** What a test makes of the instances of a fabric. */
export type Change = (make: BackendFactory) => BackendFactory;

/** Instances in memory. */
export function mockStage({ nodes, latencyMs }: Plan, seed: number, change?: Change): Promise<Stage> {
  const wire = latencyMs === 0 ? {} : { wire: { latencyMs, jitterMs: latencyMs } };
  const fabric = createFabric({ clock: 'manual', strict: false, seed, ...wire });
  const addresses = nodes.map((_, i) => ({ ip: `10.0.0.${i + 1}`, port: 26_000 }));
  return Promise.resolve(new FabricStage(fabric, fabric.clock, addresses, change?.(fabric.backend)));
}
