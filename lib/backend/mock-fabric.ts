import { invalidArgType } from '../check';
import { processFabric } from './mock/process-fabric';
import type { Network } from './mock/network';
import { createTcpFabric } from './mock/tcp/tcp-fabric';

/** The network of mock instances that were not given one, and who finds whom there. */
export interface MockFabric {
  readonly name: 'memory' | 'tcp';
  readonly fabric: Network;
  readonly reach: string;
}

/** Made when it is first asked for: nothing happens at load. */
let tcpFabric: Network | undefined;

/**
 * What `LLM_DATADIST_MOCK_FABRIC` says.
 * @throws TypeError when that makes no sense
 */
export function mockFabric(): MockFabric {
  const choice = process.env.LLM_DATADIST_MOCK_FABRIC;
  if (choice === undefined || choice === '' || choice === 'memory') {
    return { name: 'memory', fabric: processFabric(), reach: 'instances of this process only find each other' };
  }
  if (choice === 'tcp') {
    return {
      name: 'tcp',
      fabric: (tcpFabric ??= createTcpFabric()),
      reach: 'instances of all processes of this machine find each other (LLM_DATADIST_MOCK_FABRIC is tcp)',
    };
  }
  throw invalidArgType('LLM_DATADIST_MOCK_FABRIC', "'memory' or 'tcp'", choice);
}
