import type { BackendFactory } from '../backend/backend';
import { Fabric } from '../backend/mock/fabric';
import { MockBackend } from '../backend/mock/mock-backend';
import { createTcpFabric } from '../backend/mock/tcp/tcp-fabric';
import { createNativeBackend } from '../backend/native';
import { loadBackendModule } from './backend-module';
import type { FreePorts } from './ports';
import { hostPorts, isolatedPorts } from './ports';

/** What the instances of one scenario are made of. */
export interface ScenarioBackends {
  readonly createBackend: BackendFactory;
  readonly freePorts: FreePorts;
}

/** How instances are to be. */
export interface BackendSettings {
  /** Whether guards keep away from the library what it does not survive. Recordings are of the bare library. */
  readonly guards: boolean;
}

/** Called once per scenario, so that an implementation can keep scenarios apart. Without settings there are no guards. */
export type BackendSource = (settings?: BackendSettings) => ScenarioBackends;

/** Mock instances with a separate network. */
export const mockBackends: BackendSource = () => {
  const fabric = new Fabric();
  return { createBackend: (clusterId, role) => new MockBackend(clusterId, role, { fabric }), freePorts: isolatedPorts };
};

/**
 * Mock instances that may be in different processes. Scenarios listen on addresses that are not the loopback's as well, and
 * say nothing about how quick peers are.
 */
export const tcpMockBackends: BackendSource = () => {
  const { backend } = createTcpFabric({ allowRemote: true, patience: 30 });
  return { createBackend: backend, freePorts: hostPorts };
};

/**
 * Instances of the vendor library, all in this process.
 * @throws LLMBackendError, when an instance is made, where the library cannot be loaded
 */
export const nativeBackends: BackendSource = nativeSource(true);

/**
 * Backends that can be made in any process, because a text says which.
 *
 * @param name `mock`, `mock-tcp`, `native`, or the path of a JavaScript file whose `module.exports` or `export default` is a
 *   {@link BackendFactory}; the file is loaded when the first instance is made
 * @param alone whether no process has more than one instance: the vendor library is held to it then
 */
export function namedBackends(name: string, { alone }: { readonly alone: boolean }): BackendSource {
  switch (name) {
    case 'mock':
      return mockBackends;
    case 'mock-tcp':
      return tcpMockBackends;
    case 'native':
      return nativeSource(!alone);
    default:
      return () => ({
        createBackend: (clusterId, role) => loadBackendModule(name)(clusterId, role),
        freePorts: hostPorts,
      });
  }
}

function nativeSource(allowMultipleInstances: boolean): BackendSource {
  return ({ guards } = { guards: false }) => ({
    createBackend: (clusterId, role) => createNativeBackend(clusterId, role, { allowMultipleInstances, guards }),
    freePorts: hostPorts,
  });
}
