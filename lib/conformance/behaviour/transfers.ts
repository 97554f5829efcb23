import { DEFAULT_EXT_PARAM } from '../../backend/backend';
import type { BackendCacheDesc, KvCacheExtParam } from '../../backend/backend';
import { Random } from '../../random';
import { answerOf } from './answer';
import type { Behaviour, BehaviourGroup } from './behaviour';
import type { Contents, Piece } from './contents';
import { transferred } from './contents';
import type { BlockNumbers } from './stage-node';
import type { Stage } from './stage';
import type { StageCache } from './stage-cache';
import { blocksDesc, DESC, layers, ROW_BYTES, ROWS } from './cache-desc';

const FIRST = 0;
const LAST = ROWS - 1;

/** Rows from and to: the first, the last, and one in between. */
const ROW_PAIRS: readonly (readonly [from: number, to: number])[] = [
  [FIRST, FIRST],
  [FIRST, LAST],
  [LAST, FIRST],
  [LAST, LAST],
  [1, 2],
];

/** Of a cache with four tensors. */
const LAYER_RANGES: readonly KvCacheExtParam[] = [
  DEFAULT_EXT_PARAM,
  layers([0, 1], [0, 1]),
  layers([0, 0], [1, 1]),
  layers([1, 1], [0, 0]),
  layers([0, 3], [0, 3], 1),
  layers([3, 3], [0, 0], 1),
  layers([0, 2], [1, 3], 1),
];

const LISTS: readonly (readonly [src: BlockNumbers, dst: BlockNumbers])[] = [
  [[0], [0]],
  [[LAST], [FIRST]],
  [[FIRST], [LAST]],
  [
    [0, 1, 2, 3],
    [0, 1, 2, 3],
  ],
  [
    [3, 2, 1, 0],
    [0, 1, 2, 3],
  ],
  [
    [0, 1, 2, 3],
    [3, 2, 1, 0],
  ],
  [
    [1, 2],
    [2, 3],
  ],
  [
    [2, 2, 2],
    [0, 1, 3],
  ],
  [
    [0, 1, 3],
    [1, 2, 0],
  ],
];

/** Pairs of tensors that a transfer is about. */
function tensorPairs(ext: KvCacheExtParam, numTensors: number): (readonly [number, number])[] {
  const { srcLayerRange, dstLayerRange, tensorNumPerLayer: each } = ext;
  if (srcLayerRange[0] < 0) return Array.from({ length: numTensors }, (_, t) => [t, t] as const);
  const count = (srcLayerRange[1] - srcLayerRange[0] + 1) * each;
  return Array.from({ length: count }, (_, t) => [srcLayerRange[0] * each + t, dstLayerRange[0] * each + t] as const);
}

const row = (from: number, to: number, length = ROW_BYTES): Piece => ({
  from: from * ROW_BYTES,
  to: to * ROW_BYTES,
  length,
});

const blocks = (src: BlockNumbers, dst: BlockNumbers, length: number): Piece[] =>
  src.map((from, i) => ({ from: from * length, to: (dst[i] ?? 0) * length, length }));

/** The two caches of a pair, and what must be in the one that is written. */
class Course {
  #expected: Contents;

  private constructor(
    private readonly from: StageCache,
    private readonly to: StageCache,
  ) {
    this.#expected = to.initial;
  }

  static of(from: StageCache, to: StageCache): Course {
    return new Course(from, to);
  }

  /** What has to have gone from one cache to the other. */
  moved(pieces: readonly Piece[], ext = DEFAULT_EXT_PARAM): void {
    const tensors = tensorPairs(ext, this.from.local.desc.numTensors);
    this.#expected = transferred(this.from.initial, this.#expected, { tensors, pieces });
  }

  /** In what either cache differs from what it must hold. */
  async differences(): Promise<{ source: string[]; destination: string[] }> {
    return {
      source: await this.from.differences(this.from.initial),
      destination: await this.to.differences(this.#expected),
    };
  }
}

const EXACT = { source: [], destination: [] };

/** A pair where the decoder pulls, or pushes, from one cache to the other. */
async function pullingPair(stage: Stage, desc: BackendCacheDesc = DESC) {
  const pair = await stage.linkedPair(desc);
  return { ...pair, course: Course.of(pair.source, pair.target) };
}

async function pushingPair(stage: Stage, desc: BackendCacheDesc = DESC) {
  const pair = await stage.linkedPair(desc);
  return { ...pair, course: Course.of(pair.target, pair.source) };
}

const MANY = 100_000;

const BEHAVIOURS: readonly Behaviour[] = [
  {
    name: 'pulls exactly the row and the layers that it is asked for',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pullingPair(stage);
      for (const ext of LAYER_RANGES) {
        for (const [from, to] of ROW_PAIRS) {
          await decoder.pull(source, target, ext, from, to);
          course.moved([row(from, to)], ext);
          expect([from, to, ext, await course.differences()]).toEqual([from, to, ext, EXACT]);
        }
      }
    },
  },
  {
    name: 'pulls the beginning of a row, as many bytes as it is told',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pullingPair(stage);
      for (const [size, to] of [
        [1, 0],
        [ROW_BYTES - 1, 1],
        [ROW_BYTES, 2],
        [33, LAST],
      ] as const) {
        await decoder.pull(source, target, undefined, 1, to, BigInt(size));
        course.moved([row(1, to, size)]);
        expect([size, await course.differences()]).toEqual([size, EXACT]);
      }
    },
  },
  {
    name: 'pushes exactly the row and the layers that it is asked for',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pushingPair(stage);
      for (const ext of LAYER_RANGES) {
        for (const [from, to] of ROW_PAIRS) {
          await decoder.push(target, source, ext, from, to);
          course.moved([row(from, to)], ext);
          const { source: unread, destination } = await course.differences();
          expect([from, to, ext, unread, destination]).toEqual([from, to, ext, [], []]);
        }
      }
    },
  },
  {
    name: 'pulls exactly the blocks that it is asked for, in any order',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pullingPair(stage);
      const ranges = [DEFAULT_EXT_PARAM, layers([1, 1], [0, 0])];
      for (const ext of ranges) {
        for (const [src, dst] of LISTS) {
          await decoder.pullBlocks(source, target, src, dst, ext);
          course.moved(blocks(src, dst, ROW_BYTES), ext);
          expect([src, dst, ext, await course.differences()]).toEqual([src, dst, ext, EXACT]);
        }
      }
    },
  },
  {
    name: 'pushes exactly the blocks that it is asked for, in any order',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pushingPair(stage);
      const ranges = [DEFAULT_EXT_PARAM, layers([0, 0], [1, 1])];
      for (const ext of ranges) {
        for (const [src, dst] of LISTS) {
          await decoder.pushBlocks(target, source, src, dst, ext);
          course.moved(blocks(src, dst, ROW_BYTES), ext);
          expect([src, dst, ext, await course.differences()]).toEqual([src, dst, ext, EXACT]);
        }
      }
    },
  },
  {
    name: 'moves exactly the blocks of long random lists',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pullingPair(stage, blocksDesc(300));
      const numbers = new Random(2026);
      for (let round = 0; round < 12; round++) {
        const count = 1 + numbers.below(300);
        const dst = numbers.shuffled(300).slice(0, count);
        const src = round % 2 === 0 ? numbers.shuffled(300).slice(0, count) : dst.map(() => numbers.below(300));
        await decoder.pullBlocks(source, target, src, dst);
        course.moved(blocks(src, dst, 4));
        expect([round, await course.differences()]).toEqual([round, EXACT]);
      }
    },
  },
  {
    name: 'pulls and pushes a hundred thousand blocks in one call',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pullingPair(stage, blocksDesc(MANY));
      // Runs of four: the library takes up to 65,531 runs in a request, and any number of blocks.
      const src = Array.from({ length: MANY }, (_, i) => MANY - 4 - (i - (i % 4)) + (i % 4));
      const dst = src.map((_, i) => i);
      await decoder.pullBlocks(source, target, src, dst);
      course.moved(blocks(src, dst, 4));
      expect(await course.differences()).toEqual(EXACT);
      // Back again, which makes it what it was.
      await decoder.pushBlocks(target, source, src, dst, { ...DEFAULT_EXT_PARAM, tensorNumPerLayer: 1 });
      expect(await source.differences(source.initial)).toEqual([]);
    },
  },
  {
    name: 'does not change its block lists, and is through with them at once where it says so',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pullingPair(stage);
      const { backend } = decoder;
      const transfers = {
        pull: (src: BigUint64Array, dst: BigUint64Array) =>
          backend.pullKvBlocks(source.at(), target.local, src, dst, DEFAULT_EXT_PARAM),
        push: (src: BigUint64Array, dst: BigUint64Array) =>
          backend.pushKvBlocks(target.local, source.at(), dst, src, DEFAULT_EXT_PARAM),
      };
      for (const transfer of [transfers.pull, transfers.push]) {
        const src = BigUint64Array.of(2n, 0n);
        const dst = BigUint64Array.of(1n, 3n);
        const under = transfer(src, dst);
        const reads = backend.readsBlocksAtOnce === true;
        if (reads) for (const list of [src, dst]) list.fill(0n);
        await under;
        if (!reads) expect([src.join(), dst.join()]).toEqual(['2,0', '1,3']);
        course.moved(blocks([2, 0], [1, 3], ROW_BYTES));
        expect(await course.differences()).toEqual(EXACT);
      }
    },
  },
  {
    name: 'refuses block numbers beyond their limits, where it reads lists at once',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pullingPair(stage);
      const { backend } = decoder;
      if (backend.readsBlocksAtOnce !== true) return;
      const pull = (limits: { readonly src: number; readonly dst: number }) =>
        answerOf(() =>
          backend.pullKvBlocks(
            source.at(),
            target.local,
            BigUint64Array.of(0n, 2n),
            BigUint64Array.of(1n, 3n),
            DEFAULT_EXT_PARAM,
            limits,
          ),
        );
      expect([await pull({ src: 1, dst: 3 }), await pull({ src: 2, dst: 2 })]).toEqual([
        'LLM_PARAM_INVALID',
        'LLM_PARAM_INVALID',
      ]);
      expect(await course.differences()).toEqual(EXACT);
      expect(await pull({ src: 2, dst: 3 })).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'refuses a transfer that cannot be, and has moved nothing',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target } = await stage.linkedPair();
      const unknown = { ...source.at(), cacheId: 99n };
      const { backend } = decoder;
      const { local } = target;
      const pull = (ext: KvCacheExtParam) => backend.pullKvCache(source.at(), local, 0, -1n, ext);
      const calls: Readonly<Record<string, [() => Promise<void>, string]>> = {
        'a pull into a row that is not there': [
          () => decoder.pull(source, target, undefined, 0, ROWS),
          'LLM_PARAM_INVALID',
        ],
        'a pull from a row that is not there': [
          () => decoder.pull(source, target, undefined, ROWS),
          'LLM_PARAM_INVALID',
        ],
        'a push into a row that is not there': [
          () => decoder.push(target, source, undefined, 0, ROWS),
          'LLM_PARAM_INVALID',
        ],
        'a push from a row that is not there': [
          () => decoder.push(target, source, undefined, ROWS),
          'LLM_PARAM_INVALID',
        ],
        'a pull of a block that is not there': [
          () => decoder.pullBlocks(source, target, [ROWS], [0]),
          'LLM_PARAM_INVALID',
        ],
        'a push of a block that is not there': [
          () => decoder.pushBlocks(target, source, [ROWS], [0]),
          'LLM_PARAM_INVALID',
        ],
        'a push into a block that is not there': [
          () => decoder.pushBlocks(target, source, [0], [ROWS]),
          'LLM_PARAM_INVALID',
        ],
        'lists of different lengths': [() => decoder.pullBlocks(source, target, [0, 1], [0]), 'LLM_PARAM_INVALID'],
        'lists of nothing': [() => decoder.pullBlocks(source, target, [], []), 'LLM_PARAM_INVALID'],
        'layers that are not there': [() => pull(layers([2, 2], [0, 0])), 'LLM_PARAM_INVALID'],
        'layers of different numbers': [() => pull(layers([0, 1], [0, 0])), 'LLM_PARAM_INVALID'],
        'no tensors in a layer': [() => pull({ ...DEFAULT_EXT_PARAM, tensorNumPerLayer: 0 }), 'LLM_PARAM_INVALID'],
        'a remote cache that is not there': [
          () => backend.pullKvCache(unknown, local, 0, -1n, DEFAULT_EXT_PARAM),
          'LLM_KV_CACHE_NOT_EXIST',
        ],
        'a local cache that is not there': [
          () => backend.pullKvCache(source.at(), { ...local, cacheId: 99n }, 0, -1n, DEFAULT_EXT_PARAM),
          'LLM_KV_CACHE_NOT_EXIST',
        ],
      };
      for (const [what, [call, status]] of Object.entries(calls)) {
        expect([what, await answerOf(call)]).toEqual([what, status]);
      }
      expect(await source.differences(source.initial)).toEqual([]);
      expect(await target.differences(target.initial)).toEqual([]);
      expect(await answerOf(() => decoder.pull(source, target))).toEqual('LLM_SUCCESS');
    },
  },
  {
    name: 'pushes layer by layer: those before the one that fails have been written',
    nodes: 2,
    run: async (stage, expect) => {
      const { decoder, source, target, course } = await pushingPair(stage);
      // Layer 1 goes to a layer that is not there; layer 0 has gone to layer 1 by then.
      expect(await answerOf(() => decoder.push(target, source, layers([0, 1], [1, 2])))).toEqual('LLM_PARAM_INVALID');
      course.moved([row(0, 0)], layers([0, 0], [1, 1]));
      expect(await course.differences()).toEqual(EXACT);
      const blocksOf = () => decoder.pushBlocks(target, source, [1], [3], layers([0, 1], [1, 2]));
      expect(await answerOf(blocksOf)).toEqual('LLM_PARAM_INVALID');
      course.moved([row(1, 3)], layers([0, 0], [1, 1]));
      expect(await course.differences()).toEqual(EXACT);
    },
  },
  {
    name: 'does many transfers at the same time, each of them completely',
    nodes: 2,
    run: async (stage, expect) => {
      const desc = { ...DESC, shape: [128n, 16n] };
      const { prompt, decoder, source, target } = await stage.linkedPair(desc);
      const { backend } = decoder;
      const pieces = Array.from({ length: 32 }, (_, i) => i);
      const scratch = await decoder.allocate(DESC);
      const [address = 0n] = scratch.addresses;
      const answers = await Promise.all([
        ...pieces.map((i) => answerOf(() => decoder.pull(source, target, undefined, i, 31 - i))),
        ...pieces.map((i) => answerOf(() => decoder.pullBlocks(source, target, [32 + i], [32 + i]))),
        ...pieces.map((i) => answerOf(() => decoder.pushBlocks(target, source, [64 + i], [64 + i]))),
        ...pieces.map((i) => answerOf(() => prompt.push(source, target, undefined, 96 + i, 96 + i))),
        ...pieces.map((i) => answerOf(() => backend.write(address + BigInt(i), Uint8Array.of(i)))),
      ]);
      expect(answers.filter((answer) => answer !== 'LLM_SUCCESS')).toEqual([]);
      const tensors = tensorPairs(DEFAULT_EXT_PARAM, desc.numTensors);
      const arrived = pieces.flatMap((i) => [row(i, 31 - i), row(32 + i, 32 + i), row(96 + i, 96 + i)]);
      const left = pieces.map((i) => row(64 + i, 64 + i));
      expect({
        target: await target.differences(transferred(source.initial, target.initial, { tensors, pieces: arrived })),
        source: await source.differences(transferred(target.initial, source.initial, { tensors, pieces: left })),
        scratch: [...(await backend.read(address, 32))],
      }).toEqual({ target: [], source: [], scratch: pieces });
    },
  },
];

export const transfers: BehaviourGroup = { subject: 'transfers', behaviours: BEHAVIOURS };
