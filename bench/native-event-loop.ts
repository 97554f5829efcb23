import { IN_FLIGHT } from './callers';
import type { AsyncCall } from './callers';
import type { NativeMeasurement } from './native-measurement';
import { NativeStar } from './native-star';
import { observe } from './observation';
import type { Observation } from './observation';
import { compared } from './result';
import type { Result } from './result';
import { loadAsyncWorker } from './rivals/async-worker';
import { timed } from './rounds';
import type { RoundOptions } from './rounds';

const SUITE = 'event-loop';
const TRANSFER_MS = 50;
/** Long enough for a p99 of timers, short enough that most windows see nothing of what else the machine does. */
const WINDOW_MS = 250;
const WINDOWS_PER_ROUND = 2;

const PROBES = [
  { of: 'loopDelay', name: 'event-loop delay, p99', bound: 1.5 },
  { of: 'timerDelay', name: 'delay of a timer, p99', bound: 1.5 },
  { of: 'readFile', name: 'fs.readFile', bound: 1.3 },
  { of: 'lookup', name: 'dns.lookup', bound: 1.3 },
] as const;

const LOADS = [
  { name: `${IN_FLIGHT} peers`, peers: IN_FLIGHT },
  { name: 'one peer', peers: 1 },
];

/** How quickly a process answers while transfers are in flight, next to when nothing is. */
export const eventLoop: NativeMeasurement = {
  name: SUITE,
  title: `${IN_FLIGHT} transfers of ${TRANSFER_MS} ms in flight, next to an idle process`,
  held: PROBES.flatMap((probe) => LOADS.map((load) => `${probe.name}, ${load.name}`)),
  measure,
};

async function measure(options: RoundOptions): Promise<Result[]> {
  const star = await NativeStar.start(IN_FLIGHT);
  const pool = loadAsyncWorker();
  star.standIn.set('PullKvBlocks', { delay: TRANSFER_MS });
  await checkDuration(star.pulling(1));
  const transferring = (call: AsyncCall): Window => {
    const window = whileInFlight(call, () => {
      // Those that wait for others over the same link need not take their time any more.
      star.standIn.unset('PullKvBlocks');
    });
    return () => {
      star.standIn.set('PullKvBlocks', { delay: TRANSFER_MS });
      return window();
    };
  };
  const windows = [idling, ...LOADS.map(({ peers }) => transferring(star.pulling(1, peers)))];
  const [idle = [], ...busy] = await observeInTurns(windows, options);
  // A file waits for hundreds of transfers then: one window takes seconds.
  const throughPool = await whileInFlight(() => pool.sleep(TRANSFER_MS))();
  await star.close();
  return PROBES.flatMap(({ of, name, bound }) => {
    const valuesOf = (observations: readonly Observation[]): number[] => observations.map((one) => one[of]);
    const rival = { name: 'idle', samples: valuesOf(idle) };
    const goal = { kind: 'at most', bound } as const;
    const held = LOADS.map((load, i) =>
      compared(SUITE, `${name}, ${load.name}`, 'ms', valuesOf(busy[i] ?? []), rival, goal),
    );
    const [whileIdle = NaN] = rival.samples;
    const free = compared(SUITE, `${name}, through libuv's pool`, 'ms', [throughPool[of]], {
      name: 'idle',
      samples: [whileIdle],
    });
    return [...held, free];
  });
}

/** Transfers that are over at once would hold nothing up. */
export async function checkDuration(call: AsyncCall): Promise<void> {
  const elapsed = await timed(() => call(0));
  if (elapsed < TRANSFER_MS) throw new Error(`a transfer took ${elapsed} ms, not ${TRANSFER_MS}`);
}

/** One window of a state that the process is in. */
type Window = () => Promise<Observation>;

/** Each round has windows of all states, and starts with another one than the round before. */
async function observeInTurns(states: readonly Window[], options: RoundOptions): Promise<Observation[][]> {
  const observations = states.map((): Observation[] => []);
  for (let round = 0; round < options.rounds * WINDOWS_PER_ROUND; round++) {
    for (let i = 0; i < states.length; i++) {
      const turn = (round + i) % states.length;
      options.collectGarbage();
      const observation = await states[turn]?.();
      if (observation !== undefined) observations[turn]?.push(observation);
    }
  }
  return observations;
}

function idling(): Promise<Observation> {
  return observe(WINDOW_MS);
}

/** So many callers all the time; `end` is called when no more calls are made. */
function whileInFlight(call: AsyncCall, end?: () => void): Window {
  return async () => {
    const state = { ended: false };
    const callers = Array.from({ length: IN_FLIGHT }, async (_, i) => {
      while (!state.ended) await call(i);
    });
    const observation = await observe(WINDOW_MS);
    state.ended = true;
    end?.();
    await Promise.all(callers);
    return observation;
  };
}
