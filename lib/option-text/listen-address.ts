import { parseInt64 } from './number-text';
import { OptionError, quote } from './option-error';

/** Where an instance listens: the parsed `llm.ListenIpInfo`. */
export interface ListenAddress {
  /** IPv4 or IPv6 text as given, without brackets. */
  readonly ip: string;
  /** As given, 0 to 4294967295. `SetRole` compares this number. */
  readonly port: number;
  /** What binding makes of `port`: its low 16 bits. 0 lets the system choose. */
  readonly boundPort: number;
}

const MAX_PORT = 4_294_967_295n;

/**
 * Reads `ip:port` or `[ip]:port`, as Initialize and SetRole do.
 *
 * With brackets the address is what they enclose and the port what follows the next colon; other text is skipped.
 * @throws OptionError
 */
export function parseListenAddress(text: string): ListenAddress {
  const [ip, portText, ...more] = split(text);
  if (ip === undefined || portText === undefined || more.length > 0) {
    throw new OptionError(`llm.ListenIpInfo is ${quote(text)}; it must be "ip:port" or "[ipv6]:port".`);
  }
  if (!isIpv4(ip) && !isIpv6(ip)) {
    throw new OptionError(`llm.ListenIpInfo is ${quote(text)}; ${quote(ip)} is neither an IPv4 nor an IPv6 address.`);
  }
  const port = parseInt64(portText);
  if (port === undefined || port < 0n || port > MAX_PORT) {
    throw new OptionError(
      `llm.ListenIpInfo is ${quote(text)}; the port ${quote(portText)} must be a number from 0 to 4294967295 ` +
        '(65535 if peers are to link).',
    );
  }
  return { ip, port: Number(port), boundPort: Number(port & 0xffffn) };
}

function split(text: string): readonly string[] {
  const left = text.indexOf('[');
  const right = text.indexOf(']');
  if (left === -1 || right < left) return text.split(':');
  const colon = text.indexOf(':', right);
  return colon === -1 ? [] : [text.slice(left + 1, right), text.slice(colon + 1)];
}

const BYTE = '(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])';
const IPV4 = new RegExp(`^${BYTE}(?:\\.${BYTE}){3}$`);
const IPV6_GROUP = /^[0-9a-fA-F]{1,4}$/;

/** Exactly what `inet_pton(AF_INET)` accepts: four decimal bytes, no leading zeros. */
export function isIpv4(text: string): boolean {
  return IPV4.test(text);
}

/** Exactly what `inet_pton(AF_INET6)` accepts: no zone, no prefix; the last four bytes may be an IPv4 address. */
export function isIpv6(text: string): boolean {
  const [head, tail, ...more] = text.split('::');
  if (head === undefined || more.length > 0) return false;
  if (tail === undefined) return countGroups(head, true) === 8;
  const groups = countGroups(head, false) + countGroups(tail, true);
  return groups <= 7;
}

/** Number of 16-bit groups in a run of them; NaN, which fails every comparison, when one is malformed. */
function countGroups(run: string, endsAddress: boolean): number {
  if (run === '') return 0;
  const groups = run.split(':');
  const hex = groups.filter((group, index) => !(endsAddress && index === groups.length - 1 && isIpv4(group)));
  const embedded = groups.length - hex.length;
  return hex.every((group) => IPV6_GROUP.test(group)) ? hex.length + 2 * embedded : Number.NaN;
}
