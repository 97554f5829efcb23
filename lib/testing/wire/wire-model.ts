import { checkFields, checkUint32 } from '../../check';
import type { Names } from '../../check';
import { checkClock } from '../../backend/mock/clock';
import type { Clock } from '../../backend/mock/clock';
import { failed } from '../../backend/mock/refusal';
import type { Arrival, Load, Wire } from '../../backend/mock/wire';
import { pairOf } from '../node-pair';
import type { Channel } from './fair-share';
import { Jitter } from './jitter';
import type { WirePreset } from './presets';
import { Traffic } from './traffic';
import type { WireClock } from './traffic';
import type { LinkFigures, WireFigures, WireOptions } from './wire-options';
import { checkWireOptions } from './wire-options';

/** What a wire is made with beside its figures. */
export interface WireModelOptions {
  /** The clock that transfers take their time on: that of the instances. It needs `after`, as the clocks of this package. */
  readonly clock: Clock;
  /** From which the jitter follows, uint32. Default 1. */
  readonly seed?: number;
}

const MODEL_OPTIONS: Names<WireModelOptions> = { clock: true, seed: true };

/**
 * A model of the wire for `new Fabric({ wire })`: transfers take as long as their latency and their bytes do, and share
 * what they have to share in equal parts (max-min fair): the way between two nodes, and the port of each node, in either
 * direction of the bytes. What one begins or ends changes the rates of the others at that moment.
 *
 * Nothing is copied before all bytes of a pull, or of a layer of a push, have crossed; what takes longer than
 * `syncKvTimeout` fails with `LLM_TIMEOUT`. Transfers over one link wait for each other, as in the library.
 */
export class WireModel implements Wire {
  readonly #figures: WireFigures;
  readonly #traffic: Traffic;
  readonly #jitter: Jitter;
  /** By what they are and where. */
  readonly #channels = new Map<string, Channel>();

  /**
   * @param wire figures, or the name of a preset
   * @param name what messages call it
   * @throws TypeError, RangeError
   */
  constructor(wire: WireOptions | WirePreset, options: WireModelOptions, name = 'wire') {
    this.#figures = checkWireOptions(wire, name);
    const { clock, seed } = checkFields(options, 'options', MODEL_OPTIONS, 'option');
    this.#traffic = new Traffic(checkClock(clock, 'options.clock', ['after']) as WireClock);
    this.#jitter = new Jitter(seed === undefined ? 1 : checkUint32(seed, 'options.seed'));
  }

  carry(load: Load): Promise<Arrival> | undefined {
    const { source, destination, copies, tensors, limitMs } = load;
    const link = this.#figures.between.get(pairOf(source, destination)) ?? this.#figures.base;
    const ceiling = ceilingOf(load, link);
    const bytes = tensors * copies.reduce((sum, length) => sum + length, 0);
    const jitter = link.jitterMs === 0 ? 0 : link.jitterMs * this.#jitter.next(source, destination);
    const latencyMs = link.latencyMs + jitter;
    const channels = [
      this.#channel(`out of ${source}`, this.#figures.port),
      this.#channel(`into ${destination}`, this.#figures.port),
      this.#channel(`${source} to ${destination}`, link.capacity),
    ].filter(({ capacity }) => capacity < Infinity);
    if (latencyMs === 0 && (bytes === 0 || (ceiling === Infinity && channels.length === 0))) return undefined;
    return this.#traffic.carry({ bytes, latencyMs, limitMs, ceiling, channels, ends: [source, destination] });
  }

  drop(clusterId: bigint, other?: bigint): void {
    this.#traffic.drop(clusterId, other);
  }

  #channel(name: string, capacity: number): Channel {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { capacity };
      this.#channels.set(name, channel);
    }
    return channel;
  }
}

/** Bytes per millisecond of a load that has everything to itself: its blocks go one after the other. */
function ceilingOf({ source, destination, direction, copies }: Load, { speeds }: LinkFigures): number {
  if (speeds === undefined) return Infinity;
  const speed = speeds.get(direction);
  if (speed === undefined) {
    throw failed(`the wire between cluster ${source} and cluster ${destination} has no way for ${direction}`, {
      remedy:
        `Its bandwidth is given for ${[...speeds.keys()].join(', ')}. In the vendor's benchmarks HCCS does not support ` +
        'the others: use memory of the device, or a preset of RoCE.',
    });
  }
  let [bytes, ms] = [0, 0];
  for (const length of copies) {
    bytes += length;
    ms += speed.msOf(length);
  }
  return bytes === 0 ? speed.peak : bytes / ms;
}
