import { invalidArgType } from '../check';
import type * as Shared from '../testing/shared/create-shared-fabric';
import type { BackendFactory } from './backend';
import { variable } from './environment';
import { MockBackend } from './mock/mock-backend';
import { createTcpFabric } from './mock/tcp/tcp-fabric';

/** The network of mock instances that were not given one, and which of them find each other there. */
export interface MockFabric {
  readonly name: 'memory' | 'tcp';
  readonly backend: BackendFactory;
  readonly reach: string;
}

/** Made when it is first asked for: nothing happens at load. */
let tcpBackend: BackendFactory | undefined;

const OVER_TCP = 'instances of all processes of this machine find each other (LLM_DATADIST_MOCK_FABRIC is tcp)';

/**
 * What `LLM_DATADIST_MOCK_FABRIC` says, and `LLM_DATADIST_MOCK_CONTROL` for a rehearsal over several processes.
 * @throws TypeError, RangeError when that makes no sense
 */
export function mockFabric(): MockFabric {
  const choice = variable('LLM_DATADIST_MOCK_FABRIC');
  const control = variable('LLM_DATADIST_MOCK_CONTROL');
  if (control !== undefined) {
    if (choice === 'memory') {
      throw invalidArgType('LLM_DATADIST_MOCK_FABRIC', "'tcp' where LLM_DATADIST_MOCK_CONTROL is set", choice);
    }
    return { name: 'tcp', backend: sharedFabric().sharedFabricOf(control).backend, reach: OVER_TCP };
  }
  if (choice === 'tcp') {
    return { name: 'tcp', backend: (tcpBackend ??= createTcpFabric().backend), reach: OVER_TCP };
  }
  return {
    name: 'memory',
    backend: (clusterId, role) => new MockBackend(clusterId, role),
    reach: 'instances of this process only find each other',
  };
}

/** A part of the test kit, which is loaded only where the variable is set. Bundlers follow a literal `require`. */
function sharedFabric(): typeof Shared {
  // eslint-disable-next-line @typescript-eslint/no-require-imports -- an import() would make the choice of a backend wait
  return require('../testing/shared/create-shared-fabric') as typeof Shared;
}
