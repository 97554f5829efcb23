import { timed } from './rounds';
import type { Contestant } from './rounds';

/** How many calls are in flight at a time where it is not one. */
export const IN_FLIGHT = 64;

/** A call that is measured; it is told its number, for what changes from one to the next. */
export type AsyncCall = (number: number) => Promise<unknown>;

/** One caller, which waits for each call before the next one. */
export function oneByOne(call: AsyncCall): Contestant {
  return (operations) => timed(() => callSome(call, 0, operations));
}

/** So many callers, each of which waits for its own calls only. */
export function inFlight(call: AsyncCall): Contestant {
  return (operations) =>
    timed(async () => {
      const each = Math.floor(operations / IN_FLIGHT);
      const callers = Array.from({ length: IN_FLIGHT }, (_, i) =>
        callSome(call, i, each + (i < operations % IN_FLIGHT ? 1 : 0)),
      );
      await Promise.all(callers);
    });
}

async function callSome(call: AsyncCall, start: number, count: number): Promise<void> {
  for (let i = start; i < start + count; i++) await call(i);
}
