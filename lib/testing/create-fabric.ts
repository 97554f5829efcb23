import { checkClock, ManualClock, RealClock, VirtualClock } from '../backend/mock/clock';
import type { Clock } from '../backend/mock/clock';
import { checkBoolean, checkObject, checkUint32, invalidArgType, outOfRange } from '../check';
import { checkFabricOptions } from '../fabric-options';
import { checkHistory } from './call-log';
import { createSharedFabric } from './shared/create-shared-fabric';
import type { SharedFabricOptions } from './shared/create-shared-fabric';
import type { SharedFabric } from './shared/shared-fabric';
import { TestFabric } from './test-fabric';
import type { WirePreset } from './wire/presets';
import { WireModel } from './wire/wire-model';
import type { WireOptions } from './wire/wire-options';

export interface FabricOptions {
  /** In this process (default). Over several processes it is `tcp`, with {@link SharedFabricOptions}. */
  readonly network?: 'memory';
  /**
   * Whose time timeouts, delays and waits take:
   * - `manual` (default): time stands still until the test advances it, `await fabric.clock.advance(ms)`;
   * - `real`: that of the clock on the wall;
   * - `instant`: waiting takes no real time, and the clock says that the time has passed;
   * - a clock of your own.
   */
  readonly clock?: 'manual' | 'real' | 'instant' | Clock;
  /**
   * Refuse what the vendor's documentation forbids and the library does not notice, with `LLM_PARAM_INVALID` and the rule's
   * text. Default true.
   */
  readonly strict?: boolean;
  /**
   * How long transfers take on the fabric's clock: latency and bandwidth, or the name of a preset with the vendor's figures.
   * Default: no time. A clock of your own needs `after` for it.
   */
  readonly wire?: WireOptions | WirePreset;
  /** What chance decides, such as the bytes that a fault changes, it decides alike for the same seed. uint32, default 1. */
  readonly seed?: number;
  /** How many calls the history keeps at least; of very long lists of blocks it keeps fewer. Default 100000. */
  readonly history?: number;
  /**
   * Whether the history has each `read` and `write` of memory regions: a test that fills its caches and looks at them would
   * see little else. Default false: only those that a fault hits.
   */
  readonly recordMemory?: boolean;
}

/**
 * Makes an isolated network of mock instances, with separate faults, clock and history: in this process, or with
 * `network: 'tcp'` over several ones, for which it gives a promise.
 *
 * @throws TypeError, RangeError for a wrong option, one that does not exist, and one that belongs to the other network
 */
export function createFabric(options: SharedFabricOptions): Promise<SharedFabric>;
export function createFabric(options?: FabricOptions & { readonly clock?: 'manual' }): TestFabric<ManualClock>;
export function createFabric(options: FabricOptions & { readonly clock: 'real' }): TestFabric<RealClock>;
export function createFabric(options: FabricOptions & { readonly clock: 'instant' }): TestFabric<VirtualClock>;
export function createFabric<C extends Clock>(options: FabricOptions & { readonly clock: C }): TestFabric<C>;
export function createFabric(options?: FabricOptions): TestFabric;
export function createFabric(options?: FabricOptions | SharedFabricOptions): TestFabric | Promise<SharedFabric> {
  const given = options === undefined ? {} : checkObject(options, 'options');
  const { network, clock, strict, wire, seed = 1, history, recordMemory } = given;
  if (network === 'tcp') return createSharedFabric(options);
  if (network !== undefined && network !== 'memory') throw outOfRange('options.network', "'memory' or 'tcp'", network);
  checkFabricOptions(given, 'options', 'memory');
  const time = clockOf(clock);
  const number = checkUint32(seed, 'options.seed');
  return new TestFabric({
    clock: time,
    strict: strict === undefined ? true : checkBoolean(strict, 'options.strict'),
    wire:
      wire === undefined
        ? undefined
        : new WireModel(wire as WireOptions, { clock: time, seed: number }, 'options.wire'),
    seed: number,
    recordMemory: recordMemory === undefined ? false : checkBoolean(recordMemory, 'options.recordMemory'),
    history: checkHistory(history),
  });
}

function clockOf(value: unknown): Clock {
  const expected = "'manual', 'real', 'instant' or a Clock";
  switch (value) {
    case undefined:
    case 'manual':
      return new ManualClock();
    case 'real':
      return new RealClock();
    case 'instant':
      return new VirtualClock();
    default:
      if (typeof value === 'string') throw outOfRange('options.clock', expected, value);
      if (typeof value !== 'object' || value === null) throw invalidArgType('options.clock', expected, value);
      return checkClock(value, 'options.clock');
  }
}
