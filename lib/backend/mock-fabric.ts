import { invalidArgType } from '../check';
import { sharedFabric } from './mock/fabric';
import type { Network } from './mock/network';
import { createTcpFabric } from './mock/tcp/tcp-fabric';

/** The network of mock instances that were not given one, and who finds whom there. */
export interface MockFabric {
  readonly name: 'memory' | 'tcp';
  readonly fabric: Network;
  readonly reach: string;
}

const MEMORY: MockFabric = {
  name: 'memory',
  fabric: sharedFabric,
  reach: 'instances of this process only find each other',
};
const TCP: MockFabric = {
  name: 'tcp',
  fabric: createTcpFabric(),
  reach: 'instances of all processes of this machine find each other (LLM_DATADIST_MOCK_FABRIC is tcp)',
};

/**
 * What `LLM_DATADIST_MOCK_FABRIC` says.
 * @throws TypeError when that makes no sense
 */
export function mockFabric(): MockFabric {
  const choice = process.env.LLM_DATADIST_MOCK_FABRIC;
  if (choice === undefined || choice === '' || choice === 'memory') return MEMORY;
  if (choice === 'tcp') return TCP;
  throw invalidArgType('LLM_DATADIST_MOCK_FABRIC', "'memory' or 'tcp'", choice);
}
