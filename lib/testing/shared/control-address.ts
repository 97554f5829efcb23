import { invalidArgType, unfit } from '../../check';
import { isLoopback } from '../../backend/mock/tcp/loopback';
import { isIpv4 } from '../../option-text/listen-address';

/** Where the hub of a rehearsal listens, and what lets a process in. */
export interface ControlAddress {
  readonly host: string;
  readonly port: number;
  /** Keeps other users of the machine out. */
  readonly token: string;
}

/** Where a hub is to listen; port 0 takes a free one. */
export type ListenPlace = Pick<ControlAddress, 'host' | 'port'>;

/** Bytes of a token, twice as many characters. */
export const TOKEN_BYTES = 16;

const ADDRESS = /^([^:#]+):(\d{1,5})#([0-9a-f]{32})$/;
const PLACE = /^([^:#]+):(\d{1,5})$/;

const EXPECTED_ADDRESS = "an address as a fabric's controlAddress has it, 'IP:PORT#TOKEN'";
const EXPECTED_PLACE = "an address to listen on, 'IP:PORT'";

export function writeControlAddress({ host, port, token }: ControlAddress): string {
  return `${host}:${port}#${token}`;
}

/**
 * No message quotes the value: it has a secret, also where it is no address.
 * @throws TypeError, RangeError
 */
export function readControlAddress(value: unknown, name: string, allowRemote: boolean): ControlAddress {
  if (typeof value !== 'string') throw invalidArgType(name, EXPECTED_ADDRESS, value);
  const [, host = '', port = '', token = ''] = ADDRESS.exec(value) ?? [];
  const place = checkPlace({ host, port: Number(port) }, name, EXPECTED_ADDRESS, allowRemote);
  if (place.port === 0) throw unfit(name, 'must be an address with a port of 1 to 65535');
  return { ...place, token };
}

/**
 * Nor here: it may be a control address by mistake.
 * @throws TypeError, RangeError
 */
export function readListenPlace(value: unknown, name: string, allowRemote: boolean): ListenPlace {
  if (typeof value !== 'string') throw invalidArgType(name, EXPECTED_PLACE, value);
  const [, host = '', port = ''] = PLACE.exec(value) ?? [];
  return checkPlace({ host, port: Number(port) }, name, EXPECTED_PLACE, allowRemote);
}

function checkPlace(place: ListenPlace, name: string, expected: string, allowRemote: boolean): ListenPlace {
  if (!isIpv4(place.host) || place.port > 0xffff) throw unfit(name, `must be ${expected}`);
  if (!allowRemote && !isLoopback(place.host)) {
    throw unfit(name, 'must be a loopback address, as 127.0.0.1:0, unless tcp.allowRemote is true');
  }
  return place;
}
