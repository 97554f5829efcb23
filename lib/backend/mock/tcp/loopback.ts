import { isIpv4 } from '../../../option-text/listen-address';

const MAPPED = /^::ffff:/i;

/** Whether nobody on another machine can reach this address, or be reached under it. 0.0.0.0 is none of these. */
export function isLoopback(ip: string): boolean {
  if (ip === '::1') return true;
  const ipv4 = ip.replace(MAPPED, '');
  return isIpv4(ipv4) && ipv4.startsWith('127.');
}
