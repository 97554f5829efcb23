import { shuffled } from './shuffled';
import { timed } from './rounds';
import type { Contestant } from './rounds';

/** What a processor fetches at a time, in 32-bit words. */
const LINE_WORDS = 16;

/**
 * Reads memory at random, each place named by the one before it: what a single miss of the processor's caches costs. Steps
 * that go around a thousand nodes make some dozens of them.
 *
 * @param byteLength more than the caches hold
 */
export function coldReads(byteLength: number): Contestant {
  const lines = Math.floor(byteLength / (LINE_WORDS * 4));
  const words = new Uint32Array(lines * LINE_WORDS);
  const order = shuffled(Array.from({ length: lines }, (_, i) => i * LINE_WORDS));
  for (const [i, place] of order.entries()) words[place] = order[(i + 1) % lines] ?? 0;
  let place = 0;
  return (operations) =>
    timed(() => {
      for (let i = 0; i < operations; i++) place = words[place] ?? 0;
    });
}
