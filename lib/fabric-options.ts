import type { TcpFabricOptions } from './backend/mock/tcp/tcp-fabric';
import { unfit, unknownName } from './check';
import type { Names } from './check';
import { quoteOption } from './option-keys';
import type { FabricOptions } from './testing/create-fabric';
import type { SharedFabricOptions } from './testing/shared/create-shared-fabric';

/** What reads options of fabrics: each of them has some that the others do not have. */
type Reader = 'memory' | 'shared' | 'tcp' | 'control';

const MEMORY: Names<FabricOptions> = {
  network: true,
  clock: true,
  strict: true,
  wire: true,
  seed: true,
  history: true,
  recordMemory: true,
};

const SHARED: Names<SharedFabricOptions> = {
  network: true,
  control: true,
  clock: true,
  strict: true,
  seed: true,
  history: true,
  recordMemory: true,
  tcp: true,
  controlTimeout: true,
};

const TCP: Names<TcpFabricOptions> = {
  allowRemote: true,
  handshakeTimeout: true,
  frameTimeout: true,
  unreadTimeout: true,
  patience: true,
  maxConnections: true,
  maxUnlinked: true,
};

const KNOWN: Readonly<Record<Reader, Readonly<Record<string, true>>>> = {
  memory: MEMORY,
  shared: SHARED,
  tcp: TCP,
  control: { listen: true, connect: true },
};

function knows(reader: Reader, key: string): boolean {
  return Object.hasOwn(KNOWN[reader], key);
}

/** Where an option belongs that the reader does not have, in the words of what was called. */
function placeOf(key: string, reader: Reader): string | undefined {
  if (reader === 'control') return undefined;
  if (reader === 'tcp') {
    const isOfFabric = knows('shared', key) || knows('memory', key);
    return isOfFabric ? 'createFabric(), not createTcpFabric() or its option tcp' : undefined;
  }
  if (knows('tcp', key)) return "createTcpFabric(), or to the option tcp of createFabric({ network: 'tcp' })";
  if (reader === 'memory' && knows('shared', key)) {
    return "createFabric({ network: 'tcp' }), and this network is 'memory', as it is by default";
  }
  return reader === 'shared' && knows('memory', key)
    ? "createFabric({ network: 'memory' }), and this network is 'tcp', where transfers take the time that they take"
    : undefined;
}

/**
 * An option that is not read would be lost without a word.
 * @throws RangeError that names where it belongs, or the nearest one that there is
 */
export function checkFabricOptions(options: Readonly<Record<string, unknown>>, name: string, reader: Reader): void {
  for (const key of Object.keys(options)) {
    if (knows(reader, key)) continue;
    const place = placeOf(key, reader);
    if (place === undefined) throw unknownName(name, 'option', key, KNOWN[reader]);
    // One of another reader without a value is as good as left out: options are often made for any network.
    if (options[key] === undefined) continue;
    throw unfit(name, `has the option ${quoteOption(key)}, which belongs to ${place}`);
  }
}
