import { inFlight, IN_FLIGHT, oneByOne } from './callers';
import type { AsyncCall } from './callers';
import type { NativeMeasurement } from './native-measurement';
import { BLOCKS, NativeStar } from './native-star';
import { compared, single } from './result';
import type { Result } from './result';
import { loadAsyncWorker } from './rivals/async-worker';
import { runRounds } from './rounds';
import type { RoundOptions } from './rounds';

const SUITE = 'native-pulls';
const PEERS = 64;

const SERIAL = '1,024 block pairs, one by one';
const FLYING = `1,024 block pairs, ${IN_FLIGHT} in flight`;
const LISTS = `the lists of 1,024 block pairs, ${IN_FLIGHT} in flight`;
const SERIAL_GOAL = { kind: 'at most', bound: 1.3 } as const;
const FLYING_GOAL = { kind: 'at most', bound: 3 } as const;
const LISTS_GOAL = { kind: 'at most', bound: 1 } as const;

/** What pulls cost through the addon when the library answers at once, next to a bare AsyncWorker. */
export const nativePulls: NativeMeasurement = {
  name: SUITE,
  title: 'One pull through the public API, guards on, of a native library that answers at once',
  held: [SERIAL, FLYING, LISTS],
  measure,
};

async function measure(options: RoundOptions): Promise<Result[]> {
  const star = await NativeStar.start(PEERS);
  const rival = loadAsyncWorker();
  const many = star.pulling(BLOCKS);
  const one = star.pulling(1);
  const around = star.pulling(BLOCKS, PEERS);
  const bare: AsyncCall = () => rival.roundTrip();
  const serial = await runRounds([many, one, bare].map(oneByOne), options);
  const [manySerial = [], oneSerial = [], bareSerial = []] = serial.map(toMicros);
  const flying = await runRounds([many, one, bare].map(inFlight), options);
  const [manyFlying = [], oneFlying = [], bareFlying = []] = flying.map(toMicros);
  // By itself and at last: the instance has threads for all the links from then on.
  const [aroundFlying = []] = (await runRounds([inFlight(around)], options)).map(toMicros);
  await star.close();
  // Round by round, as ratios are taken.
  const lists = manyFlying.map((micros, i) => micros - (oneFlying[i] ?? NaN));
  const asyncWorker = { name: 'AsyncWorker', samples: bareSerial };
  return [
    compared(SUITE, SERIAL, 'µs', manySerial, asyncWorker, SERIAL_GOAL),
    compared(SUITE, '1 block pair, one by one', 'µs', oneSerial, asyncWorker),
    single(SUITE, FLYING, 'µs', manyFlying, FLYING_GOAL),
    single(SUITE, `1 block pair, ${IN_FLIGHT} in flight`, 'µs', oneFlying),
    single(SUITE, LISTS, 'µs', lists, LISTS_GOAL),
    single(SUITE, `1,024 block pairs, ${IN_FLIGHT} in flight, ${PEERS} peers`, 'µs', aroundFlying),
    single(SUITE, `AsyncWorker, ${IN_FLIGHT} in flight`, 'µs', bareFlying),
  ];
}

function toMicros(samples: readonly number[]): number[] {
  return samples.map((ms) => ms * 1000);
}
