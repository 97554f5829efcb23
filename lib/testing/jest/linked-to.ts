import { LLMDataDist } from '../../datadist';
import { MockBackend } from '../../backend/mock/mock-backend';
import { invalidArgType } from '../../check';
import type { Instance } from '../../instance';
import { shortList } from '../../short-list';
import { clusterIdOf } from '../node-ref';
import type { MatcherResult, MatcherState } from './matcher';
import { result } from './matcher';

/** The instance behind what a matcher was given. */
export function checkReceived(received: unknown): Instance {
  const instance = LLMDataDist.instanceOf(received);
  if (instance !== undefined) return instance;
  throw invalidArgType(
    'received',
    'an LLMDataDist, of the same copy of this package that the matchers come from (jest.resetModules() makes another one)',
    received,
  );
}

/**
 * Whether an `LLMDataDist` holds a link to a peer: of the mock's, whoever has made it; of others those that it has made
 * itself, because what a peer has linked is invisible there.
 */
export function toBeLinkedTo(this: MatcherState, received: unknown, peer: unknown): MatcherResult {
  const { clusterId, backend, links, isInitialized } = checkReceived(received);
  const peerId = clusterIdOf(peer, 'peer');
  const isMock = backend instanceof MockBackend;
  const clusters = isMock ? [...(backend.session?.links.all.keys() ?? [])] : links.clusters;
  const pass = clusters.includes(peerId);
  const all = shortList(clusters.map((id) => `cluster ${id}`));
  return result(this, pass, 'llmDataDist.toBeLinkedTo(peer)', [
    `Expected: ${this.isNot === true ? 'no link' : 'a link'} of cluster ${clusterId} to cluster ${peerId}`,
    `Received: ${all.length === 0 ? 'no links' : `links to ${all.join(', ')}`}${isInitialized ? '' : '; it is not initialised'}`,
    ...(isMock ? [] : [`(links that peers have made are not seen with the backend ${backend.name})`]),
  ]);
}
