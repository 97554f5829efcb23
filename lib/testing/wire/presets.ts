import type { BandwidthTable } from './bandwidth';
import type { WireOptions } from './wire-options';

const KIB = 1024;

/** Block sizes of the vendor's tables: 16K to 2M, binary. */
const SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048].map((kib) => kib * KIB);

/** A row of the vendor's tables on its side: GB/s, decimal, by block size. */
function measured(gigabytesPerSecond: readonly number[]): BandwidthTable {
  return SIZES.map((bytes, i) => [bytes, (gigabytesPerSecond[i] ?? 0) * 1e9]);
}

/**
 * The vendor's published figures, for `createFabric({ wire: 'A2_RoCE' })`, or `{ ...WIRE_PRESETS.A2_RoCE, jitterMs: 1 }`.
 *
 * From `benchmarks/performance_en.md` of HIXL ("HIXL Communication Performance Data"; units: `benchmarks/README_en.md`): the
 * effective bandwidth of 128 MiB in blocks of 16 KiB to 2 MiB between two devices, in each direction that the transport
 * supports. The communicator path ("communication domain") is what LocalCommRes left empty, 1.0 and 1.2 take; names that
 * end in `_1_3` are the path of LocalCommRes 1.3 ("hixl_cs").
 *
 * - Effective bandwidth holds everything that a block costs, so that the presets have no latency (0 ms).
 * - What several transfers get to at the same time is not published. Here the fastest figure of a preset is what a node's
 *   port has, each way: with RoCE that is one network port per NPU; with HCCS it is an assumption, set `port` to change it.
 * - Blocks of other sizes than the measured ones: see {@link BandwidthTable}.
 */
export const WIRE_PRESETS = Object.freeze({
  /** Atlas A3 over HCCS, within one host, communicator path. "Ascend A3 Chip, Single-Machine Data, HCCS (communication domain)". */
  A3_HCCS: {
    bandwidth: {
      D2rD: measured([15.983, 31.97, 60.293, 108.384, 146.208, 158.308, 157.44, 158.812]),
      rD2D: measured([15.016, 30.106, 52.557, 80.165, 110.322, 132.348, 143.571, 158.189]),
      H2rD: measured([7.18, 13.487, 23.636, 29.658, 34.267, 37.354, 39.0, 40.484]),
      rD2H: measured([7.217, 13.343, 22.226, 28.408, 33.201, 36.511, 38.343, 39.856]),
    },
  },
  /** Atlas A3 over HCCS, within one host, LocalCommRes 1.3. "Ascend A3 Chip, Single-Machine Data, HCCS (hixl_cs)". */
  A3_HCCS_1_3: {
    bandwidth: {
      D2rD: measured([18.018, 36.71, 70.133, 122.422, 156.034, 161.101, 161.185, 164.61]),
      rD2D: measured([17.208, 34.829, 60.441, 88.537, 116.639, 136.33, 150.467, 165.265]),
      H2rD: measured([9.984, 18.236, 31.669, 40.774, 48.461, 53.868, 57.183, 59.791]),
      rD2H: measured([9.376, 16.512, 26.223, 35.149, 42.922, 48.367, 51.89, 54.41]),
    },
  },
  /** Atlas A3 over HCCS, between two hosts, communicator path. None is published for LocalCommRes 1.3. "Ascend A3 Chip, Dual-Machine Data, HCCS (communication domain)". */
  A3_HCCS_DUAL: {
    bandwidth: {
      D2rD: measured([3.471, 6.911, 12.967, 22.87, 37.465, 54.564, 71.708, 89.985]),
      rD2D: measured([5.041, 10.09, 18.747, 32.633, 53.585, 77.99, 98.584, 117.531]),
      H2rD: measured([4.002, 7.724, 14.429, 16.257, 17.464, 18.186, 18.519, 18.907]),
      rD2H: measured([4.044, 7.692, 13.471, 15.859, 17.587, 18.576, 18.969, 19.287]),
    },
  },
  /** Atlas A3 over RoCE, between two hosts, communicator path. "Ascend A3 Chip, Dual-Machine Data, ROCE (communication domain)". */
  A3_RoCE: {
    bandwidth: {
      D2rD: measured([7.765, 6.289, 10.799, 17.863, 22.232, 22.752, 22.895, 23.045]),
      rD2D: measured([10.713, 6.518, 10.587, 16.275, 22.861, 23.377, 23.4, 23.509]),
      D2rH: measured([6.515, 6.052, 10.216, 16.381, 21.76, 22.283, 22.439, 22.617]),
      rH2D: measured([9.434, 6.44, 10.669, 16.321, 22.83, 23.344, 23.364, 23.504]),
      H2rH: measured([9.946, 6.866, 10.814, 16.406, 22.973, 23.42, 23.322, 23.481]),
      rH2H: measured([11.249, 6.684, 10.681, 15.934, 22.854, 23.341, 23.35, 23.491]),
      H2rD: measured([9.817, 6.947, 10.857, 17.122, 23.052, 23.475, 23.506, 23.604]),
      rD2H: measured([11.951, 6.51, 10.678, 16.487, 22.871, 23.386, 23.388, 23.51]),
    },
  },
  /** Atlas A3 over RoCE, between two hosts, LocalCommRes 1.3. "Ascend A3 Chip, Dual-Machine Data, ROCE (hixl_cs)". */
  A3_RoCE_1_3: {
    bandwidth: {
      D2rD: measured([18.367, 23.151, 23.713, 23.778, 23.803, 23.82, 23.788, 23.933]),
      rD2D: measured([17.814, 23.04, 23.548, 23.673, 23.674, 23.681, 23.663, 23.828]),
      D2rH: measured([18.606, 23.092, 23.645, 23.71, 23.741, 23.771, 23.725, 23.888]),
      rH2D: measured([18.701, 23.122, 23.652, 23.678, 23.682, 23.783, 23.728, 23.903]),
      H2rH: measured([18.396, 22.963, 23.49, 23.553, 23.605, 23.584, 23.607, 23.772]),
      rH2H: measured([18.618, 22.867, 23.518, 23.639, 23.674, 23.658, 23.549, 23.77]),
      H2rD: measured([18.835, 23.122, 23.677, 23.703, 23.776, 23.78, 23.77, 23.914]),
      rD2H: measured([18.903, 23.118, 23.622, 23.682, 23.659, 23.662, 23.687, 23.784]),
    },
  },
  /** Atlas A2 over RoCE, between two hosts, communicator path. "Ascend A2 Chip, Dual-Machine Data, ROCE (communication domain)". */
  A2_RoCE: {
    bandwidth: {
      D2rD: measured([0.718, 1.404, 2.847, 5.502, 11.203, 18.532, 21.223, 20.729]),
      rD2D: measured([0.703, 1.296, 2.705, 5.611, 11.055, 16.295, 24.006, 24.134]),
      D2rH: measured([0.715, 1.413, 2.853, 5.65, 11.259, 15.368, 18.981, 18.283]),
      rH2D: measured([0.685, 1.324, 2.784, 5.663, 10.76, 17.117, 20.713, 22.878]),
      H2rH: measured([0.717, 1.429, 2.777, 5.508, 11.044, 17.814, 19.838, 19.543]),
      rH2H: measured([0.699, 1.285, 2.802, 5.543, 11.09, 17.982, 19.961, 19.394]),
      H2rD: measured([0.721, 1.432, 2.789, 5.786, 11.292, 18.429, 20.509, 20.276]),
      rD2H: measured([0.676, 1.309, 2.771, 5.579, 10.829, 17.921, 14.599, 18.739]),
    },
  },
  /** Atlas A2 over RoCE, between two hosts, LocalCommRes 1.3. "Ascend A2 Chip, Dual-Machine Data, ROCE (hixl_cs)". */
  A2_RoCE_1_3: {
    bandwidth: {
      D2rD: measured([18.29, 22.742, 23.469, 23.565, 23.661, 23.682, 23.652, 23.827]),
      rD2D: measured([18.056, 22.599, 23.332, 23.488, 23.564, 23.548, 23.525, 23.664]),
      D2rH: measured([16.988, 19.79, 20.334, 20.47, 20.415, 20.499, 20.504, 20.593]),
      rH2D: measured([17.823, 21.705, 22.326, 22.487, 22.51, 22.548, 22.521, 22.679]),
      H2rH: measured([16.432, 19.607, 20.086, 20.238, 19.852, 17.321, 17.345, 20.41]),
      rH2H: measured([16.17, 19.909, 20.289, 19.838, 19.745, 19.826, 18.071, 18.194]),
      H2rD: measured([17.161, 21.68, 22.433, 22.555, 22.618, 22.607, 22.605, 22.722]),
      rD2H: measured([17.161, 19.841, 20.336, 20.519, 20.557, 20.538, 20.582, 20.639]),
    },
  },
} as const satisfies Record<string, WireOptions>);

/** The name of one of {@link WIRE_PRESETS}. */
export type WirePreset = keyof typeof WIRE_PRESETS;

export function isPreset(text: string): text is WirePreset {
  return Object.hasOwn(WIRE_PRESETS, text);
}
