import type { IpInfo } from './backend/backend';
import { shortList } from './short-list';

/** More would be a wall of text. */
const MAX_TOLD = 16;

/** Where a peer is looked for, in words. */
export function peerAddresses(infos: readonly IpInfo[]): string {
  if (infos.length === 0) return 'no address';
  return shortList(
    infos.map(({ ip, port }) => `${ip}:${port}`),
    MAX_TOLD,
  ).join(', ');
}
