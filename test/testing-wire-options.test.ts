import { Fabric, ManualClock, WIRE_PRESETS, WireModel } from '../lib/testing';
import type { Bandwidth, WireDirection, WireOptions, WirePreset } from '../lib/testing';
import { Speed } from '../lib/testing/wire/bandwidth';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Milliseconds of a load on a wire of its own. */
async function msOf(wire: WireOptions | WirePreset, copies: number[], direction: WireDirection = 'rD2D', tensors = 1) {
  const clock = new ManualClock();
  const model = new WireModel(wire, { clock });
  void model.carry({ source: 1n, destination: 2n, direction, copies, tensors, limitMs: Infinity });
  await clock.runAll();
  return clock.now();
}

describe('the time of a block', () => {
  const speed = new Speed([
    [1000, 500_000],
    [3000, 1_500_000],
    [4000, 1_000_000],
  ]);

  test.each([
    ['of a measured size is the measured one', 3000, 2],
    ['between two sizes is between their times', 3500, 3],
    ['between two sizes of the same time is the same', 2000, 2],
    ['below the smallest size is that of the smallest', 10, 2],
    ['beyond the largest size has the bandwidth of the largest', 8000, 8],
    ['without bytes is none', 0, 0],
  ])('%s', (_, bytes, ms) => {
    expect(speed.msOf(bytes)).toBeCloseTo(ms, 9);
  });

  test('is at its best as fast as the highest figure', () => {
    expect(speed.peak).toBe(1500);
  });
});

describe('the presets', () => {
  test.each([
    // From the vendor's tables: 128 MiB in blocks of that size, GB/s.
    ['A2_RoCE', 16 * KIB, 'rD2D', 0.703],
    ['A2_RoCE', 2 * MIB, 'D2rD', 20.729],
    ['A2_RoCE_1_3', 16 * KIB, 'rD2D', 18.056],
    ['A3_RoCE', 32 * KIB, 'D2rH', 6.052],
    ['A3_RoCE_1_3', 1 * MIB, 'rH2D', 23.728],
    ['A3_HCCS', 2 * MIB, 'rD2D', 158.189],
    ['A3_HCCS_1_3', 128 * KIB, 'rD2H', 35.149],
    ['A3_HCCS_DUAL', 64 * KIB, 'D2rD', 12.967],
  ] as const)('%s moves blocks of %p bytes %s at %p GB/s', async (preset, bytes, direction, gigabytesPerSecond) => {
    const copies = Array.from({ length: (16 * MIB) / bytes }, () => bytes);
    const ms = await msOf(preset, copies, direction, 8);
    expect((128 * MIB) / ms / 1e6).toBeCloseTo(gigabytesPerSecond, 6);
  });

  test('are the vendor-supported directions, and can be changed', async () => {
    const directions = Object.entries(WIRE_PRESETS).map(([name, { bandwidth }]) => [
      name,
      Object.keys(bandwidth).length,
    ]);
    expect(Object.fromEntries(directions)).toEqual({
      A3_HCCS: 4,
      A3_HCCS_1_3: 4,
      A3_HCCS_DUAL: 4,
      A3_RoCE: 8,
      A3_RoCE_1_3: 8,
      A2_RoCE: 8,
      A2_RoCE_1_3: 8,
    });
    const slow = await msOf({ ...WIRE_PRESETS.A2_RoCE_1_3, latencyMs: 3 }, [2 * MIB]);
    expect(slow - (await msOf('A2_RoCE_1_3', [2 * MIB]))).toBeCloseTo(3, 6);
  });

  test('do not change when somebody tries to', () => {
    expect(Object.isFrozen(WIRE_PRESETS)).toBe(true);
  });
});

test('a pair of its own has what it says, and the rest as the others, in both directions', async () => {
  const clock = new ManualClock();
  const between: WireOptions['between'] = [{ nodes: [2n, 1], latencyMs: 7 }];
  const model = new WireModel({ latencyMs: 1, bandwidth: 1_000_000, between }, { clock });
  const ended: string[] = [];
  for (const [source, destination] of [
    [1n, 2n],
    [2n, 1n],
    [3n, 4n],
  ] as const) {
    const load = { source, destination, direction: 'rD2D', copies: [1000], tensors: 1, limitMs: Infinity } as const;
    void model.carry(load)?.then(() => ended.push(`${source} to ${destination} after ${clock.now().toFixed(3)}`));
  }
  await clock.runAll();
  expect(ended).toEqual(['3 to 4 after 2.000', '1 to 2 after 8.000', '2 to 1 after 8.000']);
});

describe('a wire is not made with', () => {
  const clock = new ManualClock();
  const wrong: [string, unknown, string][] = [
    ['no options', undefined, '"wire"'],
    ['an unknown preset', 'A1_RoCE', 'one of A3_HCCS, A3_HCCS_1_3'],
    ['a negative latency', { latencyMs: -1 }, '"wire.latencyMs"'],
    ['a latency that is no number', { latencyMs: '1' }, '"wire.latencyMs"'],
    ['an endless jitter', { jitterMs: Infinity }, '"wire.jitterMs"'],
    ['a misspelt property', { latency: 1 }, '"latency"'],
    ['no bandwidth', { bandwidth: 0 }, '"wire.bandwidth"'],
    ['a bandwidth in words', { bandwidth: 'fast' }, '"wire.bandwidth"'],
    ['an empty table', { bandwidth: [] }, '"wire.bandwidth"'],
    ['a table that is no table', { bandwidth: [1000, 5] }, '"wire.bandwidth[0]"'],
    ['a row that is too long', { bandwidth: [[1000, 5, 6]] }, '"wire.bandwidth[0].length"'],
    ['a block of a part of a byte', { bandwidth: [[0.5, 5]] }, '"wire.bandwidth[0][0]"'],
    ['a figure below one byte per second', { bandwidth: [[1, 0.5]] }, '"wire.bandwidth[0][1]"'],
    ['sizes that do not rise', { bandwidth: [[8, 1], [8, 2]] }, '"wire.bandwidth[1][0]"'], // prettier-ignore
    ['an unknown direction', { bandwidth: { D2D: 5 } }, '"D2D"'],
    ['no direction', { bandwidth: {} }, '"wire.bandwidth"'],
    ['a direction without figures', { bandwidth: { D2rD: undefined } }, '"wire.bandwidth"'],
    ['a port of nothing', { port: 0 }, '"wire.port"'],
    ['pairs that are no list', { between: {} }, '"wire.between"'],
    ['a pair of one', { between: [{ nodes: [1] }] }, '"wire.between[0].nodes"'],
    ['a pair of three', { between: [{ nodes: [1, 2, 3] }] }, '"wire.between[0].nodes"'],
    ['a node and itself', { between: [{ nodes: [1, 1n] }] }, '"wire.between[0].nodes"'],
    ['no node', { between: [{ nodes: [1, 'two'] }] }, '"wire.between[0].nodes[1]"'],
    ['a pair twice', { between: [{ nodes: [1, 2] }, { nodes: [2, 1] }] }, '"wire.between[1].nodes"'],
    ['a wrong latency of a pair', { between: [{ nodes: [1, 2], latencyMs: -1 }] }, '"wire.between[0].latencyMs"'],
  ];
  const invalid = (message: string) =>
    expect.objectContaining({
      code: expect.stringMatching(/^ERR_/) as string,
      message: expect.stringContaining(message) as string,
    }) as Error;

  test.each(wrong)('%s', (_, options, message) => {
    expect(() => new WireModel(options as WireOptions, { clock })).toThrow(invalid(message));
  });

  test.each<[string, object, string]>([
    ['no clock', {}, '"options.clock"'],
    [
      'a clock on which nothing can be called off',
      { clock: { now: () => 0, sleep: () => undefined } },
      '"options.clock.after"',
    ],
    ['a seed that is no uint32', { clock, seed: -1 }, '"options.seed"'],
  ])('%s', (_, options, message) => {
    expect(() => new WireModel({}, options as { clock: ManualClock })).toThrow(invalid(message));
  });
});

test('a fabric has the wire that it was made with, or none', () => {
  const wire = new WireModel('A2_RoCE', { clock: new ManualClock() });
  expect(new Fabric({ wire }).wire).toBe(wire);
  expect(new Fabric().wire).toBeUndefined();
});

test('a bandwidth may be given for all directions or for some', async () => {
  const bandwidth: Bandwidth = { rD2D: 1_000_000, D2rD: [[1, 500_000]] };
  expect(await msOf({ bandwidth }, [1000])).toBeCloseTo(1, 6);
  expect(await msOf({ bandwidth }, [1000], 'D2rD')).toBeCloseTo(2, 6);
  expect(await msOf({ bandwidth: 1_000_000 }, [1000], 'rH2H')).toBeCloseTo(1, 6);
});
