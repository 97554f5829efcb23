import type { BackendFactory } from '../backend/backend';
import { Fabric } from '../backend/mock/fabric';
import { MockBackend } from '../backend/mock/mock-backend';
import { createNativeBackend } from '../backend/native';
import type { FreePorts } from './ports';
import { hostPorts, isolatedPorts } from './ports';

/** What the instances of one scenario are made of. */
export interface ScenarioBackends {
  readonly createBackend: BackendFactory;
  readonly freePorts: FreePorts;
}

/** Called once per scenario, so that an implementation can keep scenarios apart. */
export type BackendSource = () => ScenarioBackends;

/** Mock instances with a network of their own. */
export const mockBackends: BackendSource = () => {
  const fabric = new Fabric();
  return { createBackend: (clusterId, role) => new MockBackend(clusterId, role, { fabric }), freePorts: isolatedPorts };
};

/**
 * Instances of the vendor library, all in this process.
 * @throws LLMBackendError, when an instance is made, where the library cannot be loaded
 */
export const nativeBackends: BackendSource = () => ({
  createBackend: (clusterId, role) => createNativeBackend(clusterId, role, { allowMultipleInstances: true }),
  freePorts: hostPorts,
});
