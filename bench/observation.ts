import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { timed } from './rounds';
import { quantile } from './summary';

/** How quickly a process answers, in milliseconds. */
export interface Observation {
  /** 99th percentile of what `monitorEventLoopDelay` records, which includes its resolution. */
  readonly loopDelay: number;
  /** 99th percentile of how much later than asked a timer fires. */
  readonly timerDelay: number;
  /** Medians of calls that use libuv's pool. */
  readonly readFile: number;
  readonly lookup: number;
}

const RESOLUTION_MS = 1;
const TIMER_MS = 1;
const PAUSE_MS = 2;
const NANOS_PER_MS = 1e6;

/** Looks on for so long, and for as long as it takes until everything was seen once. */
export async function observe(milliseconds: number): Promise<Observation> {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  const watch = { ended: false };
  histogram.enable();
  const timers = watchTimers(watch);
  const end = performance.now() + milliseconds;
  const reads: number[] = [];
  const lookups: number[] = [];
  do {
    reads.push(await timed(() => readFile(__filename)));
    lookups.push(await timed(() => lookup('localhost')));
    await sleep(PAUSE_MS);
  } while (performance.now() < end);
  histogram.disable();
  watch.ended = true;
  return {
    loopDelay: histogram.percentile(99) / NANOS_PER_MS,
    timerDelay: quantile(await timers, 0.99),
    readFile: quantile(reads, 0.5),
    lookup: quantile(lookups, 0.5),
  };
}

async function watchTimers(watch: { readonly ended: boolean }): Promise<number[]> {
  const late: number[] = [];
  while (!watch.ended) late.push((await timed(() => sleep(TIMER_MS))) - TIMER_MS);
  return late;
}
