import fc from 'fast-check';
import type { Channel, Flow } from '../lib/testing/wire/fair-share';
import { shareFairly } from '../lib/testing/wire/fair-share';
import { VirtualClock, WireModel } from '../lib/testing';
import type { Arrival, Load, WireOptions } from '../lib/testing';

/** Bytes per second; a byte per millisecond is the unit of these tests. */
const perMs = (bytes: number): number => 1000 * bytes;

/** A transfer and when it begins. */
interface Plan {
  readonly at: number;
  readonly source: bigint;
  readonly destination: bigint;
  readonly bytes: number;
}

interface Network {
  readonly latencyMs: number;
  readonly port: number;
  readonly way: number;
}

const network = fc.record({
  latencyMs: fc.nat(5),
  port: fc.integer({ min: 1, max: 20 }),
  way: fc.integer({ min: 1, max: 20 }),
});
const ends = fc.tuple(fc.bigInt(1n, 4n), fc.bigInt(1n, 4n)).filter(([source, destination]) => source !== destination);
const plan = fc
  .record({ at: fc.nat(40), ends, bytes: fc.integer({ min: 1, max: 200 }) })
  .map(({ at, ends: [source, destination], bytes }): Plan => ({ at, source, destination, bytes }));
const plans = fc.array(plan, { minLength: 1, maxLength: 8 });

const optionsOf = ({ latencyMs, port, way }: Network): WireOptions => ({
  latencyMs,
  port: perMs(port),
  bandwidth: perMs(way),
});

/** When each transfer arrives, by the model. They are begun in the order of the list. */
async function arrivals(options: WireOptions, list: readonly Plan[], limitMs = Infinity) {
  const clock = new VirtualClock();
  const wire = new WireModel(options, { clock });
  const begun = list.map(
    async ({ at, source, destination, bytes }): Promise<{ at: number; arrival: Arrival | undefined }> => {
      await clock.sleep(at);
      const load: Load = { source, destination, direction: 'rD2D', copies: [bytes], tensors: 1, limitMs };
      const arrival = await wire.carry(load);
      return { at: clock.now(), arrival };
    },
  );
  return Promise.all(begun);
}

/** Bytes per millisecond by brute force: drops of bandwidth are dealt out in turn as long as there are any. */
function dealt({ port, way }: Network, moving: readonly Plan[]): number[] {
  const DROP = 1 / 512;
  const used = new Map<string, number>();
  const rates = moving.map(() => 0);
  let hungry = [...moving.entries()];
  while (hungry.length > 0) {
    hungry = hungry.filter(([i, { source, destination }]) => {
      const places: [string, number][] = [
        [`out ${source}`, port],
        [`in ${destination}`, port],
        [`${source} ${destination}`, way],
      ];
      if (places.some(([place, capacity]) => (used.get(place) ?? 0) + DROP > capacity + 1e-9)) return false;
      for (const [place] of places) used.set(place, (used.get(place) ?? 0) + DROP);
      rates[i]! += DROP;
      return true;
    });
  }
  return rates;
}

/** When each transfer arrives, in small steps of time. */
function simulated(network: Network, list: readonly Plan[]): number[] {
  const STEP = 1 / 64;
  const left = list.map(({ bytes }) => bytes);
  const ended = list.map(() => Infinity);
  let rates: number[] = [];
  let before = '';
  for (let time = 0; ended.includes(Infinity); time += STEP) {
    const moving = list.flatMap(({ at }, i) => (at + network.latencyMs <= time && left[i]! > 0 ? [i] : []));
    if (moving.join() !== before) {
      before = moving.join();
      rates = dealt(
        network,
        moving.map((i) => list[i]!),
      );
    }
    for (const [place, i] of moving.entries()) {
      left[i]! -= rates[place]! * STEP;
      if (left[i]! <= 0) ended[i] = time + STEP;
    }
  }
  return ended;
}

describe('the model of the wire', () => {
  test('agrees with a simulation in small steps', async () => {
    await fc.assert(
      fc.asyncProperty(network, plans, async (figures, list) => {
        const expected = simulated(figures, list);
        const actual = await arrivals(optionsOf(figures), list);
        for (const [i, { at }] of actual.entries()) {
          // A step for each that begins or ends before, and what is too little for a drop.
          const slack = 0.5 + 0.02 * (expected[i]! - list[i]!.at);
          expect(Math.abs(at - expected[i]!)).toBeLessThan(slack);
        }
      }),
      { numRuns: 60 },
    );
  });

  test('never moves more than a way or a port holds', async () => {
    await fc.assert(
      fc.asyncProperty(network, plans, async (figures, list) => {
        const ended = await arrivals(optionsOf(figures), list);
        const places = list.flatMap(({ source, destination }) => [
          { capacity: figures.port, of: (other: Plan) => other.source === source },
          { capacity: figures.port, of: (other: Plan) => other.destination === destination },
          { capacity: figures.way, of: (other: Plan) => other.source === source && other.destination === destination },
        ]);
        for (const { capacity, of } of places) {
          // In every stretch of time: what began and ended in it fits in.
          for (const { at: from } of list) {
            for (const { at: to } of ended) {
              const inside = list.filter((each, i) => of(each) && each.at >= from && ended[i]!.at <= to);
              const bytes = inside.reduce((sum, each) => sum + each.bytes, 0);
              if (bytes > 0) expect(bytes).toBeLessThanOrEqual(capacity * (to - from - figures.latencyMs) + 1e-3);
            }
          }
        }
      }),
      { numRuns: 100 },
    );
  });

  test('gives every transfer at least its latency and its bytes at full speed', async () => {
    await fc.assert(
      fc.asyncProperty(network, plans, async (figures, list) => {
        const ended = await arrivals(optionsOf(figures), list);
        for (const [i, { at, arrival }] of ended.entries()) {
          const alone = figures.latencyMs + list[i]!.bytes / Math.min(figures.way, figures.port);
          expect(arrival).toBe('arrived');
          expect(at - list[i]!.at).toBeGreaterThanOrEqual(alone - 1e-3);
        }
      }),
      { numRuns: 100 },
    );
  });

  test('lets equal transfers end together, whatever their number', async () => {
    await fc.assert(
      fc.asyncProperty(network, fc.integer({ min: 2, max: 12 }), plan, async (figures, count, one) => {
        const ended = await arrivals(
          optionsOf(figures),
          Array.from({ length: count }, () => one),
        );
        expect(new Set(ended.map(({ at }) => at)).size).toBe(1);
        const alone = one.at + figures.latencyMs + (count * one.bytes) / Math.min(figures.way, figures.port);
        expect(ended[0]!.at).toBeCloseTo(alone, 3);
      }),
      { numRuns: 100 },
    );
  });

  test('does not depend on the order of those that begin in the same moment', async () => {
    await fc.assert(
      fc.asyncProperty(network, plans, fc.infiniteStream(fc.nat()), async (figures, list, keys: Iterator<number>) => {
        const together = list.map((each) => ({ ...each, at: each.at % 3 }));
        const order = together
          .map((each, i) => ({ each, i, key: Number(keys.next().value) }))
          .sort((a, b) => a.key - b.key);
        const ended = await arrivals(optionsOf(figures), together);
        const shuffled = await arrivals(
          optionsOf(figures),
          order.map(({ each }) => each),
        );
        for (const [place, { i }] of order.entries()) expect(shuffled[place]!.at).toBeCloseTo(ended[i]!.at, 4);
      }),
      { numRuns: 100 },
    );
  });

  test('gives up what its limit has passed for, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(network, plans, fc.integer({ min: 1, max: 60 }), async (figures, list, limitMs) => {
        const ended = await arrivals(optionsOf(figures), list, limitMs);
        for (const [i, { at, arrival }] of ended.entries()) {
          if (arrival === 'late') expect(at).toBeCloseTo(list[i]!.at + limitMs, 4);
          else expect(at).toBeLessThanOrEqual(list[i]!.at + limitMs + 1e-4);
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('a fair share', () => {
  const capacities = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 });
  const wishes = fc.array(
    fc.record({ ceiling: fc.integer({ min: 1, max: 60 }), uses: fc.array(fc.nat(4), { minLength: 1, maxLength: 3 }) }),
    {
      minLength: 1,
      maxLength: 12,
    },
  );

  test('fills up: every flow is at its ceiling, or on a full channel on which none has more', () => {
    fc.assert(
      fc.property(capacities, wishes, (sizes, list) => {
        const channels: Channel[] = sizes.map((capacity) => ({ capacity }));
        const flows: Flow[] = list.map(({ ceiling, uses }) => ({
          ceiling,
          channels: [...new Set(uses.map((use) => channels[use % channels.length]!))],
          rate: 0,
        }));
        shareFairly(flows);
        const on = (channel: Channel) => flows.filter((flow) => flow.channels.includes(channel));
        const sum = (channel: Channel) => on(channel).reduce((total, { rate }) => total + rate, 0);
        for (const channel of channels) expect(sum(channel)).toBeLessThanOrEqual(channel.capacity + 1e-9);
        for (const flow of flows) {
          expect(flow.rate).toBeLessThanOrEqual(flow.ceiling);
          const isHeld = flow.channels.some(
            (channel) =>
              sum(channel) >= channel.capacity - 1e-9 && on(channel).every(({ rate }) => rate <= flow.rate + 1e-9),
          );
          expect(isHeld || flow.rate === flow.ceiling).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });
});
