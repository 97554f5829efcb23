import { inFlight, IN_FLIGHT, oneByOne } from './callers';
import type { NativeMeasurement } from './native-measurement';
import { prepareNative } from './native-setup';
import { BLOCKS, NativeStar } from './native-star';
import { compared, single } from './result';
import type { Result } from './result';
import { PythonRival } from './rivals/python';
import { runRounds } from './rounds';
import type { RoundOptions } from './rounds';

const SUITE = 'python';
const RATE_GOAL = { kind: 'at least', bound: 10 } as const;
const LATENCY_GOAL = { kind: 'at most', bound: 1 / 3 } as const;

interface Case {
  readonly pairs: number;
  /** Goals are about long lists; with short ones Python has little to convert. */
  readonly isHeld: boolean;
  readonly flying: string;
  readonly serial: string;
  readonly blocking: string;
}

const CASES = [caseOf(BLOCKS, '1,024 block pairs', true), caseOf(1, '1 block pair', false)];

function caseOf(pairs: number, name: string, isHeld: boolean): Case {
  return {
    pairs,
    isHeld,
    flying: `${name}, ${IN_FLIGHT} in flight`,
    serial: `${name}, one by one`,
    blocking: `${name}, in Python without asyncio`,
  };
}

/** Pulls next to those of Python over the same library, through a pybind11 module and asyncio's executor. */
export const python: NativeMeasurement = {
  name: SUITE,
  title: "Pulls next to a pybind11 module over the same library, driven through asyncio's executor",
  held: CASES.flatMap(({ isHeld, flying, serial }) => (isHeld ? [flying, serial] : [])),
  measure,
};

async function measure(options: RoundOptions): Promise<Result[]> {
  const rival = new PythonRival(prepareNative());
  try {
    const star = await NativeStar.start(1);
    const results: Result[] = [];
    for (const one of CASES) results.push(...(await measureCase(one, star, rival, options)));
    await star.close();
    return results;
  } finally {
    await rival.close();
  }
}

async function measureCase(
  { pairs, isHeld, flying, serial, blocking }: Case,
  star: NativeStar,
  rival: PythonRival,
  options: RoundOptions,
): Promise<Result[]> {
  const ours = star.pulling(pairs);
  const contestants = [
    inFlight(ours),
    rival.pulling('in-flight', pairs),
    oneByOne(ours),
    rival.pulling('serial', pairs),
    rival.pulling('blocking', pairs),
  ];
  const samples = await runRounds(contestants, options);
  const [ourFlying = [], theirFlying = [], ourSerial = [], theirSerial = [], theirBlocking = []] = samples;
  const perSecond = (ms: number): number => 1000 / ms;
  const micros = (ms: number): number => ms * 1000;
  const rate = { name: 'asyncio', samples: theirFlying.map(perSecond) };
  const latency = { name: 'asyncio', samples: theirSerial.map(micros) };
  return [
    compared(SUITE, flying, 'pulls/s', ourFlying.map(perSecond), rate, isHeld ? RATE_GOAL : undefined),
    compared(SUITE, serial, 'µs', ourSerial.map(micros), latency, isHeld ? LATENCY_GOAL : undefined),
    single(SUITE, blocking, 'µs', theirBlocking.map(micros)),
  ];
}
