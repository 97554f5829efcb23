import type { TcpFabricOptions } from './backend/mock/tcp/tcp-fabric';
import { unfit } from './check';
import { editDistance } from './edit-distance';
import { quoteOption } from './option-keys';
import type { FabricOptions } from './testing/create-fabric';
import type { SharedFabricOptions } from './testing/shared/create-shared-fabric';

/** What reads options of fabrics: each of them has some that the others do not have. */
type Reader = 'memory' | 'shared' | 'tcp' | 'control';

/** Each option of a type; the compiler finds one that is missing. */
type Names<T> = Readonly<Record<keyof T, true>>;

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

const KNOWN: Readonly<Record<Reader, readonly string[]>> = {
  memory: Object.keys(MEMORY),
  shared: Object.keys(SHARED),
  tcp: Object.keys(TCP),
  control: ['listen', 'connect'],
};

/** Where an option belongs that the reader does not have, in the words of what was called. */
function placeOf(key: string, reader: Reader): string | undefined {
  if (reader === 'control') return undefined;
  if (reader === 'tcp') {
    const isOfFabric = KNOWN.shared.includes(key) || KNOWN.memory.includes(key);
    return isOfFabric ? 'createFabric(), not createTcpFabric() or its option tcp' : undefined;
  }
  if (KNOWN.tcp.includes(key)) return "createTcpFabric(), or to the option tcp of createFabric({ network: 'tcp' })";
  if (reader === 'memory' && KNOWN.shared.includes(key)) {
    return "createFabric({ network: 'tcp' }), and this network is 'memory', as it is by default";
  }
  return reader === 'shared' && KNOWN.memory.includes(key)
    ? "createFabric({ network: 'memory' }), and this network is 'tcp', where transfers take the time that they take"
    : undefined;
}

/**
 * An option that is not read would be lost without a word.
 * @throws RangeError that names where it belongs, or the nearest one that there is
 */
export function checkFabricOptions(options: Readonly<Record<string, unknown>>, name: string, reader: Reader): void {
  const known = KNOWN[reader];
  for (const key of Object.keys(options)) {
    // As everywhere, undefined is as good as left out.
    if (known.includes(key) || options[key] === undefined) continue;
    const place = placeOf(key, reader);
    if (place !== undefined) throw unfit(name, `has the option ${quoteOption(key)}, which belongs to ${place}`);
    throw unfit(
      name,
      `has the unknown option ${quoteOption(key)}: the nearest is ${nearest(key, known)}, of ${known.join(', ')}`,
    );
  }
}

function nearest(key: string, known: readonly string[]): string {
  const distances = known.map((each) => ({ each, distance: editDistance(key.slice(0, 64), each) }));
  const first = distances.reduce((least, next) => (next.distance < least.distance ? next : least));
  return quoteOption(first.each);
}
