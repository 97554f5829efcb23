import { createTcpFabric } from '../../backend/mock/tcp/tcp-fabric';
import type { TcpFabricOptions } from '../../backend/mock/tcp/tcp-fabric';
import {
  checkBoolean,
  checkInteger,
  checkObject,
  checkUint32,
  invalidArgType,
  outOfRange,
  wrongType,
} from '../../check';
import { checkFabricOptions } from '../../fabric-options';
import { nodeTimers } from '../../node-timers';
import { checkHistory } from '../call-log';
import { readControlAddress, readListenPlace, writeControlAddress } from './control-address';
import type { ControlAddress, ListenPlace } from './control-address';
import { HubServer } from './hub-server';
import { linePair } from './line';
import { Member, reachHub } from './member';
import type { SharedRules, SharedTime } from './protocol';
import { SharedFabric } from './shared-fabric';

/** The variable with which a process joins a rehearsal that another one hosts. */
const CONTROL_VARIABLE = 'LLM_DATADIST_MOCK_CONTROL';

export interface SharedFabricOptions {
  /** Over TCP, with other processes. */
  readonly network: 'tcp';
  /**
   * Where the rehearsal is controlled from: this process hosts it and listens (`listen`, port 0 for a free one), or joins one
   * (`connect`, the `controlAddress` of its fabric). Default: it joins the one of `LLM_DATADIST_MOCK_CONTROL` where that is set,
   * and otherwise hosts one on `127.0.0.1:0`.
   */
  readonly control?: { readonly listen: string } | { readonly connect: string };
  /** For the process that hosts. `manual` (default): time stands still until some process advances it; `real`: that of the host. */
  readonly clock?: SharedTime;
  /** For the process that hosts; as for a fabric in memory. Each process looks at its own instances. Default true. */
  readonly strict?: boolean;
  /** For the process that hosts: as for a fabric in memory. Default 1. */
  readonly seed?: number;
  /** How many calls of this process the history keeps at least. Default 100000. */
  readonly history?: number;
  /** Whether the history of this process has each `read` and `write` of memory regions. Default false. */
  readonly recordMemory?: boolean;
  /** The network. `patience` is 10 by default: where time is rehearsed, a busy machine is to break nothing. */
  readonly tcp?: TcpFabricOptions;
  /**
   * How long a process may take to answer, and all of them to come to rest while the clock is advanced, in milliseconds of real
   * time, 1 to 2^31-1. Default 30,000. For a process that joins, a hub that takes longer has gone, which is noticed at most half
   * as much later.
   */
  readonly controlTimeout?: number;
}

/** What this process is in the rehearsal. */
type Part = { readonly host: ListenPlace } | { readonly join: ControlAddress };

interface Checked {
  readonly part: Part;
  readonly time: SharedTime;
  readonly strict: boolean;
  readonly seed: number;
  readonly history: number;
  readonly recordMemory: boolean;
  readonly limitMs: number;
  readonly tcp: TcpFabricOptions;
}

const DEFAULT_LISTEN = '127.0.0.1:0';
const DEFAULT_LIMIT_MS = 30_000;
const MAX_LIMIT_MS = 2 ** 31 - 1;

/** Slow machines are to time nothing out that a test has not. */
const PATIENCE = 10;

/**
 * Hosts a rehearsal over several processes, or joins one.
 * @throws TypeError, RangeError for a wrong option or variable; Error when it cannot listen, or join
 */
export async function createSharedFabric(options: unknown): Promise<SharedFabric> {
  const checked = checkOptions(options);
  const { part } = checked;
  if ('host' in part) return host(checked, part.host);
  const { member, fabric } = joinShared(part.join, checked);
  await member.joined;
  return fabric;
}

const joined = new Map<string, SharedFabric>();

/**
 * The rehearsal that `LLM_DATADIST_MOCK_CONTROL` names, for instances that were not given a fabric. Their first call waits until
 * the process has joined.
 * @throws TypeError, RangeError for a value that is no such address
 */
export function sharedFabricOf(value: string): SharedFabric {
  const known = joined.get(value);
  if (known !== undefined) return known;
  const address = readControlAddress(value, CONTROL_VARIABLE, false);
  const { fabric } = joinShared(address, {
    history: checkHistory(undefined),
    recordMemory: false,
    limitMs: DEFAULT_LIMIT_MS,
    tcp: { patience: PATIENCE },
  });
  joined.set(value, fabric);
  return fabric;
}

async function host(checked: Checked, place: ListenPlace): Promise<SharedFabric> {
  const { time, strict, seed, limitMs, history, recordMemory, tcp } = checked;
  const rules: SharedRules = { time, strict, seed, originNs: nodeTimers.hostNanoseconds() };
  const network = createTcpFabric(tcp);
  const server = new HubServer(rules, limitMs);
  await server.listen(place);
  const options = { network, history, recordMemory, limitMs, hub: hostAndPort(server.address) };
  const member = new Member(options, server.address.token, () => {
    const [mine, its] = linePair();
    server.hub.serve(its, nothing, nothing);
    return Promise.resolve(mine);
  });
  await member.joined;
  return new SharedFabric({
    member,
    controlAddress: writeControlAddress(server.address),
    closeHub: () => server.close(),
  });
}

function joinShared(
  address: ControlAddress,
  { history, recordMemory, limitMs, tcp }: Pick<Checked, 'history' | 'recordMemory' | 'limitMs' | 'tcp'>,
): { member: Member; fabric: SharedFabric } {
  const options = { network: createTcpFabric(tcp), history, recordMemory, limitMs, hub: hostAndPort(address) };
  const member = new Member(options, address.token, () => reachHub(address));
  return {
    member,
    fabric: new SharedFabric({ member, controlAddress: writeControlAddress(address), closeHub: undefined }),
  };
}

function checkOptions(value: unknown): Checked {
  const options = checkObject(value, 'options');
  checkFabricOptions(options, 'options', 'shared');
  const { control, clock, strict, seed, history, recordMemory, tcp, controlTimeout } = options;
  const given = tcp === undefined ? {} : checkObject(tcp, 'options.tcp');
  checkFabricOptions(given, 'options.tcp', 'tcp');
  const allowRemote =
    given.allowRemote === undefined ? false : checkBoolean(given.allowRemote, 'options.tcp.allowRemote');
  const part = checkControl(control, allowRemote);
  if ('join' in part) {
    for (const [name, rule] of Object.entries({ clock, strict, seed })) {
      if (rule === undefined) continue;
      throw outOfRange(`options.${name}`, 'left out in a process that joins: the one that hosts decides it', rule);
    }
  }
  return {
    part,
    time: checkTime(clock),
    strict: strict === undefined ? true : checkBoolean(strict, 'options.strict'),
    seed: seed === undefined ? 1 : checkUint32(seed, 'options.seed'),
    history: checkHistory(history),
    recordMemory: recordMemory === undefined ? false : checkBoolean(recordMemory, 'options.recordMemory'),
    limitMs:
      controlTimeout === undefined
        ? DEFAULT_LIMIT_MS
        : checkInteger(controlTimeout, 'options.controlTimeout', 1, MAX_LIMIT_MS),
    tcp: { patience: PATIENCE, ...given },
  };
}

function checkControl(value: unknown, allowRemote: boolean): Part {
  const variable = process.env[CONTROL_VARIABLE];
  if (value === undefined && variable !== undefined && variable !== '') {
    return { join: readControlAddress(variable, CONTROL_VARIABLE, allowRemote) };
  }
  const expected = "{ listen: 'IP:PORT' } or { connect: controlAddress }";
  // It may be a control address, which has a secret.
  if (typeof value === 'string') throw wrongType('options.control', expected, 'a string');
  const given = value === undefined ? { listen: DEFAULT_LISTEN } : checkObject(value, 'options.control');
  checkFabricOptions(given, 'options.control', 'control');
  const { listen, connect }: Record<string, unknown> = given;
  if ((listen === undefined) === (connect === undefined)) throw invalidArgType('options.control', expected, value);
  return connect === undefined
    ? { host: readListenPlace(listen, 'options.control.listen', allowRemote) }
    : { join: readControlAddress(connect, 'options.control.connect', allowRemote) };
}

function checkTime(value: unknown): SharedTime {
  if (value === undefined) return 'manual';
  if (value === 'manual' || value === 'real') return value;
  throw outOfRange('options.clock', "'manual' or 'real' over several processes", value);
}

/** For messages: the token is a secret. */
function hostAndPort({ host, port }: ListenPlace): string {
  return `${host}:${port}`;
}

function nothing(): void {
  // The process of the hub needs no time to say which one it is.
}
