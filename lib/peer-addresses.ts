import type { IpInfo } from './backend/backend';
import { shortList } from './short-list';

/** Where a peer is looked for, in words. */
export function peerAddresses(infos: readonly IpInfo[]): string {
  if (infos.length === 0) return 'no address';
  return shortList(infos.map(({ ip, port }) => `${ip}:${port}`)).join(', ');
}
