import { isIPv4 } from 'node:net';
import { parseArgs } from 'node:util';
import type { BackendChoice } from '../../backend/select';
import { DEFAULT_BLOCKS, MAX_BLOCKS, MIN_BLOCKS } from './geometry';

/** What the command line asks for. */
export interface DemoOptions {
  readonly backend: BackendChoice;
  /** Whether the three are separate processes, of which one is killed. */
  readonly processes: boolean;
  /** Blocks of each of the three caches. */
  readonly blocks: number;
  readonly ip: string;
  /** The prompt's; the decoders take the next two. */
  readonly port: number;
  /** Of the prompt and the two decoders. */
  readonly devices: readonly [number, number, number];
}

/** A command line that makes no sense; the message says why. */
export class UsageError extends Error {}

const CLUSTERS = 3;
const LAST_PORT = 65_535;
const MAX_DEVICE = 2 ** 31 - 1;

export const USAGE = `Usage: npm run demo -- [options]

One prompt and two decoders in one process move the KV cache of a
Llama-3-8B-class model, check every byte that was moved, and show three
failures with their recovery.

  --processes       prompt and decoders are separate processes, linked
                    over TCP on this machine; the prompt is killed while a
                    decoder pulls, started again, and everything completed
  --backend NAME    mock (default), native (an Ascend host with three NPUs)
                    or auto
  --blocks N        blocks of each cache, ${MIN_BLOCKS} to ${MAX_BLOCKS}, 16 MiB each; default ${DEFAULT_BLOCKS}
  --ip ADDRESS      IPv4 address that all three listen on; default 127.0.0.1
  --port N          port of the prompt, the decoders take the next two;
                    default 26000
  --devices A,B,C   NPUs of prompt, decoder 1 and decoder 2; default 0,1,2
  -h, --help        show this text

Exit codes: 0 all went as it should, 1 something did not, 2 wrong usage.
`;

/**
 * @returns `undefined` when the help is asked for
 * @throws UsageError
 */
export function parseOptions(argv: readonly string[]): DemoOptions | undefined {
  const { backend, processes, blocks, ip, port, devices, help } = parse(argv);
  if (help === true) return undefined;
  if (!isIPv4(ip)) throw new UsageError(`--ip ${ip}: not an IPv4 address`);
  if (processes && backend !== 'mock') {
    throw new UsageError(`--processes --backend ${backend}: the processes are a rehearsal, with the mock`);
  }
  if (processes && !ip.startsWith('127.')) {
    throw new UsageError(`--processes --ip ${ip}: not an address of this machine alone (127.x.x.x)`);
  }
  return {
    backend: checkBackend(backend),
    processes,
    blocks: checkInteger('--blocks', blocks, MIN_BLOCKS, MAX_BLOCKS),
    ip,
    port: checkInteger('--port', port, 1, LAST_PORT - CLUSTERS + 1),
    devices: checkDevices(devices),
  };
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        backend: { type: 'string', default: 'mock' },
        processes: { type: 'boolean', default: false },
        blocks: { type: 'string', default: String(DEFAULT_BLOCKS) },
        ip: { type: 'string', default: '127.0.0.1' },
        port: { type: 'string', default: '26000' },
        devices: { type: 'string', default: '0,1,2' },
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function checkBackend(name: string): BackendChoice {
  if (name === 'mock' || name === 'native' || name === 'auto') return name;
  throw new UsageError(`--backend ${name}: neither mock nor native nor auto`);
}

function checkInteger(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`${option} ${text}: not a whole number from ${min} to ${max}`);
}

function checkDevices(text: string): readonly [number, number, number] {
  const ids = text.split(',').map((id) => checkInteger('--devices', id, 0, MAX_DEVICE));
  const [prompt, first, second, ...more] = ids;
  if (prompt === undefined || first === undefined || second === undefined || more.length > 0) {
    throw new UsageError(`--devices ${text}: ${ids.length} given, 3 are needed`);
  }
  // Two ends of a link on one device wait for each other in vain.
  if (new Set(ids).size < CLUSTERS) throw new UsageError(`--devices ${text}: each cluster needs a separate device`);
  return [prompt, first, second];
}
