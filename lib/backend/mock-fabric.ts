import { invalidArgType } from '../check';
import { CONTROL_VARIABLE, sharedFabricOf } from '../testing/shared/create-shared-fabric';
import type { BackendFactory } from './backend';
import { MockBackend } from './mock/mock-backend';
import { createTcpFabric } from './mock/tcp/tcp-fabric';

/** The network of mock instances that were not given one, and which of them find each other there. */
export interface MockFabric {
  readonly name: 'memory' | 'tcp';
  readonly backend: BackendFactory;
  readonly reach: string;
}

const MEMORY: MockFabric = {
  name: 'memory',
  backend: (clusterId, role) => new MockBackend(clusterId, role),
  reach: 'instances of this process only find each other',
};
const TCP: MockFabric = {
  name: 'tcp',
  backend: createTcpFabric().backend,
  reach: 'instances of all processes of this machine find each other (LLM_DATADIST_MOCK_FABRIC is tcp)',
};

/**
 * What `LLM_DATADIST_MOCK_FABRIC` says, and `LLM_DATADIST_MOCK_CONTROL` for a rehearsal over several processes.
 * @throws TypeError, RangeError when that makes no sense
 */
export function mockFabric(): MockFabric {
  const choice = process.env.LLM_DATADIST_MOCK_FABRIC;
  const control = process.env[CONTROL_VARIABLE];
  if (control !== undefined && control !== '') {
    if (choice !== undefined && choice !== '' && choice !== 'tcp') {
      throw invalidArgType('LLM_DATADIST_MOCK_FABRIC', `'tcp' where ${CONTROL_VARIABLE} is set`, choice);
    }
    return { name: 'tcp', backend: sharedFabricOf(control).backend, reach: TCP.reach };
  }
  if (choice === undefined || choice === '' || choice === 'memory') return MEMORY;
  if (choice === 'tcp') return TCP;
  throw invalidArgType('LLM_DATADIST_MOCK_FABRIC', "'memory' or 'tcp'", choice);
}
