import type { Backend } from '../../backend/backend';
import { Placement } from '../../placement';
import { LLMRole } from '../../role';
import { answerOf } from './answer';
import type { Behaviour, BehaviourGroup } from './behaviour';
import type { Stage } from './stage';

const PLACEMENTS = [Placement.HOST, Placement.DEVICE] as const;
const SIZES = [1, 3, 64, 255, 4096, 70_001] as const;

/** An initialised instance: a device is set only then. */
async function backendOf(stage: Stage): Promise<Backend> {
  const { backend } = await stage.initialised(LLMRole.MIX);
  return backend;
}

/** Does something with memory, and frees it. */
async function withMemory(
  backend: Backend,
  byteLength: number,
  placement: Placement,
  use: (address: bigint) => Promise<void>,
): Promise<void> {
  const address = await backend.malloc(BigInt(byteLength), placement);
  try {
    await use(address);
  } finally {
    await backend.free(address);
  }
}

const pattern = (length: number, base: number) => Uint8Array.from({ length }, (_, k) => (base + 7 * k) % 256);

/** As text, which compares quicker and is shown in fewer lines than bytes. */
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

const BEHAVIOURS: readonly Behaviour[] = [
  {
    name: 'allocates memory that nobody else has, nowhere at 0',
    nodes: 1,
    run: async (stage, expect) => {
      const backend = await backendOf(stage);
      const blocks: { address: bigint; size: number; bytes: Uint8Array }[] = [];
      for (const [i, size] of [...SIZES, ...SIZES, ...SIZES].entries()) {
        const address = await backend.malloc(BigInt(size), PLACEMENTS[i % 2] ?? Placement.HOST);
        blocks.push({ address, size, bytes: pattern(size, i) });
      }
      expect(blocks.filter(({ address }) => address === 0n).length).toEqual(0);
      for (const { address, bytes } of blocks) await backend.write(address, bytes);
      for (const [i, { address, size, bytes }] of blocks.entries()) {
        expect([i, hex(await backend.read(address, size))]).toEqual([i, hex(bytes)]);
      }
      for (const { address } of blocks) await backend.free(address);
    },
  },
  {
    name: 'writes and reads any part of an allocation, and nothing beside it',
    nodes: 1,
    run: async (stage, expect) => {
      const backend = await backendOf(stage);
      for (const placement of PLACEMENTS) {
        await withMemory(backend, 300, placement, async (address) => {
          const expected = pattern(300, 5);
          await backend.write(address, expected);
          for (const [offset, length] of [
            [0, 1],
            [299, 1],
            [100, 100],
            [0, 300],
            [17, 3],
            [255, 2],
          ] as const) {
            const piece = pattern(length, offset + 11);
            expected.set(piece, offset);
            await backend.write(address + BigInt(offset), piece);
            expect(hex(await backend.read(address + BigInt(offset), length))).toEqual(hex(piece));
            expect([offset, length, hex(await backend.read(address, 300))]).toEqual([offset, length, hex(expected)]);
          }
        });
      }
    },
  },
  {
    name: 'writes and reads nothing where nothing is asked for',
    nodes: 1,
    run: async (stage, expect) => {
      const backend = await backendOf(stage);
      await withMemory(backend, 16, Placement.DEVICE, async (address) => {
        await backend.write(address, pattern(16, 1));
        await backend.write(address + 8n, new Uint8Array(0));
        expect((await backend.read(address + 8n, 0)).length).toEqual(0);
        expect(hex(await backend.read(address, 16))).toEqual(hex(pattern(16, 1)));
      });
    },
  },
  {
    name: 'neither keeps the bytes that it was given nor those that it gave',
    nodes: 1,
    run: async (stage, expect) => {
      const backend = await backendOf(stage);
      await withMemory(backend, 64, Placement.DEVICE, async (address) => {
        const given = pattern(64, 9);
        await backend.write(address, given);
        expect(hex(given)).toEqual(hex(pattern(64, 9)));
        given.fill(0);
        const first = await backend.read(address, 64);
        expect(hex(first)).toEqual(hex(pattern(64, 9)));
        first.fill(0);
        expect(hex(await backend.read(address, 64))).toEqual(hex(pattern(64, 9)));
        const later = await backend.read(address, 64);
        await backend.write(address, pattern(64, 10));
        expect(hex(later)).toEqual(hex(pattern(64, 9)));
      });
    },
  },
  {
    name: 'writes a part of a buffer, where that is what it was given',
    nodes: 1,
    run: async (stage, expect) => {
      const backend = await backendOf(stage);
      await withMemory(backend, 8, Placement.HOST, async (address) => {
        await backend.write(address, pattern(24, 3).subarray(8, 16));
        expect(hex(await backend.read(address, 8))).toEqual(hex(pattern(24, 3).subarray(8, 16)));
      });
    },
  },
  {
    name: 'refuses memory that is not its own: freed, beyond its end, of nobody, or nothing at all',
    nodes: 1,
    run: async (stage, expect) => {
      const backend = await backendOf(stage);
      const freed = await backend.malloc(64n, Placement.DEVICE);
      await backend.free(freed);
      await withMemory(backend, 64, Placement.DEVICE, async (address) => {
        const calls: Readonly<Record<string, () => Promise<unknown>>> = {
          'a read of freed memory': () => backend.read(freed, 1),
          'a write to freed memory': () => backend.write(freed, new Uint8Array(1)),
          'a second free': () => backend.free(freed),
          'a read beyond the end': () => backend.read(address, 65),
          'a read that begins behind the end': () => backend.read(address + 64n, 1),
          'a write beyond the end': () => backend.write(address + 1n, new Uint8Array(64)),
          'a free in the middle': () => backend.free(address + 1n),
          'a read of memory of nobody': () => backend.read(8n, 1),
          'an allocation of nothing': () => backend.malloc(0n, Placement.DEVICE),
        };
        for (const [what, call] of Object.entries(calls)) {
          // The runtime has other numbers, so any status of the library or of the runtime will do.
          const answer = await answerOf(call);
          const isRefusal = /^(LLM_(?!SUCCESS)\w+|0x[\dA-F]{8})$/.test(answer);
          expect([what, isRefusal ? 'a refusal' : answer]).toEqual([what, 'a refusal']);
        }
        await backend.write(address, pattern(64, 2));
        expect(hex(await backend.read(address, 64))).toEqual(hex(pattern(64, 2)));
      });
    },
  },
  {
    name: 'copies within its memory, where it offers that',
    nodes: 1,
    run: async (stage, expect) => {
      const backend = await backendOf(stage);
      if (backend.copy === undefined) return;
      for (const [from, to] of [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ] as const) {
        const src = await backend.malloc(64n, PLACEMENTS[from]);
        const dst = await backend.malloc(64n, PLACEMENTS[to]);
        await backend.write(src, pattern(64, 1));
        await backend.write(dst, pattern(64, 100));
        await backend.copy(dst + 16n, src + 8n, 32);
        const expected = pattern(64, 100);
        expected.set(pattern(64, 1).subarray(8, 40), 16);
        expect(hex(await backend.read(dst, 64))).toEqual(hex(expected));
        expect(hex(await backend.read(src, 64))).toEqual(hex(pattern(64, 1)));
        await backend.free(src);
        await backend.free(dst);
      }
    },
  },
  {
    name: 'keeps memory until it is freed, also when it is finalized and initialised again',
    nodes: 1,
    run: async (stage, expect) => {
      const node = await stage.initialised(LLMRole.MIX);
      const { backend } = node;
      await withMemory(backend, 64, Placement.DEVICE, async (address) => {
        await backend.write(address, pattern(64, 77));
        await backend.finalize();
        await node.initialize();
        expect(hex(await backend.read(address, 64))).toEqual(hex(pattern(64, 77)));
      });
    },
  },
];

export const memory: BehaviourGroup = { subject: 'memory', behaviours: BEHAVIOURS };
