import { LLMDataDist, LLMException, LLMRole, Placement } from '../../lib';
import type { MemoryRegion } from '../../lib';
import { bytesOf, DESC, fill, rejection, rowOf } from '../fixtures/cluster';
import { warningsDuring } from '../fixtures/warnings';
import { instance, provokes, received, seam, standIn } from './fixtures/stand-in';

const { HOST, DEVICE } = Placement;

const MIB = 1024 * 1024;
/** Copies are made in pieces of this size. */
const CHUNK = 4 * MIB;

async function initialised(clusterId = 1n): Promise<LLMDataDist> {
  const dist = instance(LLMRole.PROMPT, clusterId);
  await dist.init({ deviceId: 3 });
  return dist;
}

/** Bytes in which every piece, and every byte of a piece, differs from its neighbours. */
function pattern(length: number): Uint8Array {
  const numbers = new Uint32Array(Math.ceil(length / 4));
  for (let i = 0; i < numbers.length; i++) numbers[i] = Math.imul(i, 0x9e37_79b1);
  return new Uint8Array(numbers.buffer, 0, length);
}

/** Kind and number of bytes of each copy. */
function copies(): unknown[] {
  return received('aclrtMemcpy').map(({ args }) => [args.kind, Number(args.count)]);
}

const HOST_TO_HOST = 0;
const HOST_TO_DEVICE = 1;
const DEVICE_TO_HOST = 2;
const DEVICE_TO_DEVICE = 3;

describe.each([
  ['device', DEVICE, 'aclrtMalloc', 'aclrtFree', HOST_TO_DEVICE, DEVICE_TO_HOST],
  ['host', HOST, 'aclrtMallocHost', 'aclrtFreeHost', HOST_TO_HOST, HOST_TO_HOST],
] as const)('%s memory', (_, placement, allocate, free, kindOfWrite, kindOfRead) => {
  test('is allocated and freed by the functions for it', async () => {
    const dist = await initialised();
    const region = await dist.allocateMemory(1000, { placement });
    expect(region).toMatchObject({ byteLength: 1000n, placement });
    await region.free();
    const [allocation, ...others] = received(allocate);
    expect([others, received(free).length]).toEqual([[], 1]);
    expect(allocation).toMatchObject({
      args: { size: '1000', ...(placement === DEVICE && { policy: 0 }) },
      results: { address: String(region.address) },
    });
    expect(received(free)[0]!.args).toEqual({ address: String(region.address) });
    expect(received(allocate === 'aclrtMalloc' ? 'aclrtMallocHost' : 'aclrtMalloc')).toEqual([]);
  });

  test('is written and read by copies of its kind, at any offset', async () => {
    const dist = await initialised();
    await using region = await dist.allocateMemory(1000, { placement });
    const bytes = pattern(1000);
    await region.write(bytes);
    await region.write(bytes.subarray(0, 10), 990);
    const wanted = Uint8Array.from(bytes);
    wanted.set(bytes.subarray(0, 10), 990);
    expect(Buffer.from(await region.read())).toEqual(Buffer.from(wanted));
    expect(Buffer.from(await region.read(985, 8))).toEqual(Buffer.from(wanted.subarray(985, 993)));
    expect(Buffer.from(await region.read(1000))).toEqual(Buffer.alloc(0));
    expect(copies()).toEqual([
      [kindOfWrite, 1000],
      [kindOfWrite, 10],
      [kindOfRead, 1000],
      [kindOfRead, 8],
    ]);
  });

  test('of 40 MiB and a bit is copied in pieces that all get to their place', async () => {
    const dist = await initialised();
    const length = 40 * MIB + 5;
    await using region = await dist.allocateMemory(length + 3, { placement });
    const bytes = pattern(length);
    await region.write(bytes, 3);
    expect(Buffer.from(await region.read(3)).equals(bytes)).toBe(true);
    const pieces = (kind: number) => [...Array<unknown>(10).fill([kind, CHUNK]), [kind, 5]];
    expect(copies()).toEqual([...pieces(kindOfWrite), ...pieces(kindOfRead)]);
  });
});

describe('data to write', () => {
  const BYTES = pattern(64);

  test.each<[string, () => ArrayBufferView]>([
    ['a part of a buffer', () => BYTES.subarray(8, 24)],
    ['numbers of another size', () => new Float64Array(BYTES.buffer, 8, 2)],
    ['a DataView', () => new DataView(BYTES.buffer, 8, 16)],
    ['a Buffer', () => Buffer.from(BYTES.subarray(8, 24))],
    [
      'shared memory',
      () => {
        const shared = new Uint8Array(new SharedArrayBuffer(64));
        shared.set(BYTES);
        return shared.subarray(8, 24);
      },
    ],
    [
      'a buffer that can be resized',
      () => {
        const resizable = Reflect.construct(ArrayBuffer, [64, { maxByteLength: 128 }]) as ArrayBuffer;
        new Uint8Array(resizable).set(BYTES);
        return new Uint8Array(resizable, 8, 16);
      },
    ],
  ])('may be %s', async (_, make) => {
    const dist = await initialised();
    await using region = await dist.allocateMemory(16);
    await region.write(make());
    expect(Buffer.from(await region.read())).toEqual(Buffer.from(BYTES.subarray(8, 24)));
  });

  test('is what it was at the call', async () => {
    const dist = await initialised();
    await using region = await dist.allocateMemory(64);
    const bytes = Uint8Array.from(BYTES);
    const written = region.write(bytes);
    bytes.fill(0);
    await written;
    expect(Buffer.from(await region.read())).toEqual(Buffer.from(BYTES));
  });

  test('may be nothing', async () => {
    const dist = await initialised();
    await using region = await dist.allocateMemory(16);
    await region.write(new Uint8Array(0), 16);
    expect(received('aclrtMemcpy')).toEqual([]);
  });

  const ways: [string, (buffer: ArrayBuffer) => void][] = [
    ['written over', (buffer) => void new Uint8Array(buffer).fill(8)],
    ['given away', (buffer) => void structuredClone(buffer, { transfer: [buffer] })],
    [
      'resized',
      (buffer) => {
        (buffer as unknown as { resize(length: number): void }).resize(CHUNK + 1);
      },
    ],
  ];

  test.each(ways)('that is %s between two pieces is written as it was at the call', async (_, change) => {
    const dist = await initialised();
    await using region = await dist.allocateMemory(3 * CHUNK);
    const buffer = Reflect.construct(ArrayBuffer, [3 * CHUNK, { maxByteLength: 3 * CHUNK }]) as ArrayBuffer;
    new Uint8Array(buffer).fill(7);
    standIn.set('aclrtMemcpy', { block: true, times: 1 });
    const written = region.write(new Uint8Array(buffer));
    await standIn.waitEntered('aclrtMemcpy');
    change(buffer);
    standIn.release('aclrtMemcpy');
    await written;
    expect(Buffer.from(await region.read()).equals(Buffer.alloc(3 * CHUNK, 7))).toBe(true);
  });
});

describe('blocks of a cache', () => {
  /** 2 tensors of so many blocks of so many bytes. */
  const cacheOf = (dist: LLMDataDist, blocks: number, bytes: number, placement = DEVICE) =>
    dist.kvCacheManager.allocateCache({ numTensors: 2, dataType: 2, shape: [blocks, bytes], placement });

  test.each([
    ['device', DEVICE, HOST_TO_DEVICE, DEVICE_TO_HOST],
    ['host', HOST, HOST_TO_HOST, HOST_TO_HOST],
  ] as const)(
    'in %s memory are written and read in one crossing each',
    async (_, placement, kindOfWrite, kindOfRead) => {
      const dist = await initialised();
      const cache = await cacheOf(dist, 4, 64, placement);
      const { backend } = LLMDataDist.instanceOf(dist)!;
      const written = jest.spyOn(backend, 'writeRanges');
      const read = jest.spyOn(backend, 'readRanges');
      const bytes = pattern(3 * 2 * 64);
      await cache.writeBlocks([3, 0, 1], bytes);
      expect(Buffer.from(await cache.readBlocks([3, 0, 1]))).toEqual(Buffer.from(bytes));
      expect([written.mock.calls.length, read.mock.calls.length]).toEqual([1, 1]);
      expect(copies()).toEqual([
        ...Array<unknown>(6).fill([kindOfWrite, 64]),
        ...Array<unknown>(6).fill([kindOfRead, 64]),
      ]);
      expect(Buffer.from(await cache.regions![1]!.read(3 * 64, 64))).toEqual(Buffer.from(bytes.subarray(64, 128)));
    },
  );

  test.each([
    ['of 1 MiB, some at a time', MIB, 5],
    ['larger than a piece, one at a time', CHUNK + 3, 2],
  ])('%s', async (_, blockBytes, blocks) => {
    const dist = await initialised();
    const cache = await cacheOf(dist, blocks, blockBytes);
    const list = Array.from({ length: blocks }, (_each, i) => blocks - 1 - i);
    const bytes = pattern(blocks * 2 * blockBytes);
    const writing = cache.writeBlocks(list, bytes);
    const wanted = Buffer.from(bytes);
    bytes.fill(0);
    await writing;
    expect(Buffer.from(await cache.readBlocks(list)).equals(wanted)).toBe(true);
    expect(received('aclrtMemcpy').every(({ args }) => Number(args.count) <= CHUNK)).toBe(true);
  });

  test('are copied in one crossing for each tensor, neighbours as one', async () => {
    const dist = await initialised();
    const { kvCacheManager: caches } = dist;
    const [cache, host] = [await cacheOf(dist, 8, 64), await cacheOf(dist, 8, 64, HOST)];
    await fill(cache, 7);
    const before = await bytesOf(cache);
    const crossed = jest.spyOn(LLMDataDist.instanceOf(dist)!.backend, 'copyRanges');
    const made = copies().length;
    await caches.swapBlocks(
      cache,
      host,
      new Map([
        [0, 4],
        [1, 5],
        [7, 0],
      ]),
    );
    expect(crossed).toHaveBeenCalledTimes(2);
    expect(copies().slice(made)).toEqual([
      [DEVICE_TO_HOST, 64],
      [DEVICE_TO_HOST, 128],
      [DEVICE_TO_HOST, 64],
      [DEVICE_TO_HOST, 128],
    ]);
    const copied = Buffer.from(await host.readBlocks([4, 5, 0]));
    expect(copied).toEqual(Buffer.from(await cache.readBlocks([0, 1, 7])));
    await caches.copyBlocks(cache, new Map([[0, [2, 5]]]));
    expect(await rowOf(cache, 1, 5)).toEqual(before.subarray(512, 512 + 64));
  });

  test('that fail in between stay written up to there', async () => {
    const dist = await initialised();
    const cache = await cacheOf(dist, 4, 64);
    await cache.writeBlocks([0, 1], new Uint8Array(2 * 2 * 64));
    standIn.set('aclrtMemcpy', { status: 507_000, skip: 2, times: 1 });
    const error = await rejection(cache.writeBlocks([0, 1], new Uint8Array(2 * 2 * 64).fill(9)));
    expect(error).toMatchObject({ statusCode: 507_000 });
    const now = await cache.readBlocks([0, 1]);
    expect([0, 64, 128, 192].map((at) => now[at])).toEqual([9, 9, 0, 0]);
  });

  test('in memory that is not this instance’s are refused, after those that are', async () => {
    const backend = seam(1n, LLMRole.PROMPT);
    await backend.initialize({ 'llm.DeviceId': '0' });
    const address = await backend.malloc(64n, DEVICE);
    const places = BigUint64Array.of(address, address + 1n);
    const sizes = BigUint64Array.of(8n, 64n);
    for (const call of [
      backend.readRanges!(places, 64),
      backend.writeRanges!(places, 64, new Uint8Array(128)),
      backend.copyRanges!(
        places,
        places.map((place) => place + 8n),
        sizes,
      ),
    ]) {
      expect(await rejection(call)).toMatchObject({ code: 'LLM_PARAM_INVALID' });
    }
    expect(copies()).toEqual([
      [DEVICE_TO_HOST, 64],
      [HOST_TO_DEVICE, 64],
      [DEVICE_TO_DEVICE, 8],
    ]);
    await backend.free(address);
  });

  test('by lists that do not belong together are refused before anything is copied', async () => {
    const backend = seam(1n, LLMRole.PROMPT);
    const [one, two] = [BigUint64Array.of(1n), BigUint64Array.of(1n, 2n)];
    // Made by the addon, in another realm than the one of the tests.
    expect(() => backend.copyRanges!(one, two, one)).toThrow('lists of one length are needed');
    expect(() => backend.copyRanges!(one, one, two)).toThrow('lists of one length are needed');
    await expect(backend.writeRanges!(two, 3, new Uint8Array(3))).rejects.toThrow('as many bytes for each address');
    expect(copies()).toEqual([]);
  });
});

describe('memory that is not there', () => {
  test.each([
    ['aclrtMalloc', 207_001, DEVICE, 'LLM_DEVICE_OUT_OF_MEMORY'],
    ['aclrtMallocHost', 207_001, HOST, 'LLM_OUT_OF_MEMORY'],
    ['aclrtMalloc', 200_000, DEVICE, 'LLM_DEVICE_OUT_OF_MEMORY'],
  ] as const)(
    '%s with %d is a lack of memory, told with number, size and text',
    async (method, status, placement, code) => {
      const dist = await initialised();
      standIn.set(method, { status, error: 'EL0004: Failed to allocate memory.' });
      const error = await rejection(dist.allocateMemory(12_345, { placement }));
      expect(error).toMatchObject({ code, operation: 'allocateMemory', detail: 'EL0004: Failed to allocate memory.' });
      for (const part of [method, String(status), '12345 bytes']) expect((error as Error).message).toContain(part);
    },
  );

  test('more than there is of it is a lack of memory', async () => {
    const dist = await initialised();
    for (const [placement, code] of [
      [DEVICE, 'LLM_DEVICE_OUT_OF_MEMORY'],
      [HOST, 'LLM_OUT_OF_MEMORY'],
    ] as const) {
      for (const size of [2n ** 62n, 2n ** 64n - 1n]) {
        expect(await rejection(dist.allocateMemory(size, { placement }))).toMatchObject({ code });
      }
    }
  });

  test('nothing at all is refused by the runtime, in its own words', async () => {
    const dist = await initialised();
    const error = await rejection(dist.allocateMemory(0));
    expect(error).toMatchObject({ statusCode: 107_000, operation: 'allocateMemory' });
    expect((error as LLMException).detail).toContain('0 bytes');
  });
});

describe('memory that was freed', () => {
  test('is not freed again, read or written', async () => {
    const dist = await initialised();
    const region = await dist.allocateMemory(64);
    await region.free();
    for (const [operation, use] of [
      ['free', () => region.free()],
      ['read', () => region.read()],
      ['write', () => region.write(new Uint8Array(1))],
    ] as const) {
      const error = await rejection(use());
      expect(error).toMatchObject({ code: 'LLM_PARAM_INVALID', operation });
      expect((error as Error).message).toContain('was freed');
    }
    expect(received('aclrtFree')).toHaveLength(1);
    expect(received('aclrtMemcpy')).toEqual([]);
  });

  test('is freed when the copies of it have ended', async () => {
    const dist = await initialised();
    const region = await dist.allocateMemory(64);
    standIn.set('aclrtMemcpy', { block: true });
    const read = region.read();
    await standIn.waitEntered('aclrtMemcpy');
    const freed = region.free();
    expect(received('aclrtFree')).toEqual([]);
    standIn.release('aclrtMemcpy');
    await Promise.all([read, freed]);
    expect(received('aclrtFree')).toHaveLength(1);
  });

  test('below the public classes too is nobody’s, as is memory of another instance', async () => {
    const backend = seam(1n, 1);
    await backend.initialize({ 'llm.DeviceId': '0' });
    const other = seam(2n, 1);
    await other.initialize({ 'llm.DeviceId': '1' });
    const address = await backend.malloc(64n, DEVICE);
    const foreign = await other.malloc(64n, HOST);
    const outside: [string, () => Promise<unknown>][] = [
      ['write', () => backend.write(foreign, new Uint8Array(1))],
      ['read', () => backend.read(foreign, 1)],
      ['read', () => backend.read(address, 65)],
      ['read', () => backend.read(address + 64n, 1)],
      ['read', () => backend.read(address - 1n, 1)],
      ['read', () => backend.read(0n, 1)],
      ['read', () => backend.read(2n ** 64n - 1n, 2)],
      ['write', () => backend.write(address + 60n, new Uint8Array(5))],
      ['copyCache', () => backend.copy!(address, foreign, 1)],
      ['copyCache', () => backend.copy!(foreign, address, 1)],
      ['copyCache', () => backend.copy!(address, address + 32n, 33)],
      ['free', () => backend.free(foreign)],
      ['free', () => backend.free(address + 1n)],
      ['free', () => backend.free(0n)],
    ];
    for (const [operation, call] of outside) {
      expect(await rejection(call())).toMatchObject({ code: 'LLM_PARAM_INVALID', operation });
    }
    await backend.free(address);
    expect(await rejection(backend.free(address))).toMatchObject({ code: 'LLM_PARAM_INVALID', operation: 'free' });
    await other.free(foreign);
    expect(received('aclrtMemcpy')).toEqual([]);
    expect([received('aclrtFree').length, received('aclrtFreeHost').length]).toEqual([1, 1]);
  });
});

describe('copies between placements', () => {
  test.each([
    ['device to device', DEVICE, DEVICE, DEVICE_TO_DEVICE],
    ['device to host', DEVICE, HOST, DEVICE_TO_HOST],
    ['host to device', HOST, DEVICE, HOST_TO_DEVICE],
    ['host to host', HOST, HOST, HOST_TO_HOST],
  ])('%s', async (_, from, to, kind) => {
    const { kvCacheManager } = await initialised();
    const source = await kvCacheManager.allocateCache({ ...DESC, placement: from });
    const destination = await kvCacheManager.allocateCache({ ...DESC, placement: to });
    await fill(source, 7);
    await fill(destination, 90);
    const before = received('aclrtMemcpy').length;
    await kvCacheManager.copyCache(destination, source, { srcBatchIndex: 1, dstBatchIndex: 2 });
    expect(copies().slice(before)).toEqual(Array(4).fill([kind, 64]));
    expect(await rowOf(destination, 3, 2)).toEqual(await rowOf(source, 3, 1));
    if (from !== to) {
      await kvCacheManager.swapBlocks(source, destination, new Map([[0, 3]]));
      expect(await rowOf(destination, 1, 3)).toEqual(await rowOf(source, 1, 0));
    }
    await kvCacheManager.copyBlocks(destination, new Map([[2, [0, 1]]]));
    expect(await rowOf(destination, 0, 1)).toEqual(await rowOf(source, 0, 1));
    expect((await bytesOf(destination)).length).toBe(4 * 4 * 64);
    await kvCacheManager.deallocateCache(source);
    await kvCacheManager.deallocateCache(destination);
  });
});

describe('the device', () => {
  test('is set on the thread of each call of the memory functions', async () => {
    const dist = await initialised();
    const region = await dist.allocateMemory(64);
    await region.write(new Uint8Array(8));
    await region.read();
    await region.free();
    const ofMemory = standIn.journal().filter(({ method }) => /^aclrt(Malloc|Free|Memcpy)/.test(method));
    const sets = received('aclrtSetDevice');
    expect(sets.map(({ args }) => args)).toEqual(Array(4).fill({ device: 3 }));
    expect(sets.map(({ thread }) => thread)).toEqual(ofMemory.map(({ thread }) => thread));
  });

  test('that is not set is a hazard that the stand-in would tell', async () => {
    const backend = seam(1n, 1);
    provokes('no-device');
    // Without Initialize there is no device to set.
    expect(await rejection(backend.malloc(64n, DEVICE))).toMatchObject({ statusCode: 107_002 });
  });

  test('is the one that init was called with, also of the next life', async () => {
    const dist = await initialised();
    await dist.finalize();
    await dist.init({ deviceId: 5 });
    await (await dist.allocateMemory(64)).free();
    expect(received('aclrtSetDevice').map(({ args }) => args.device)).toEqual([5, 5]);
  });
});

describe('finalize', () => {
  test('frees what is left, of both kinds, after the library’s own Finalize, and warns which', async () => {
    const dist = await initialised();
    const regions: MemoryRegion[] = [];
    for (const placement of [DEVICE, HOST, DEVICE]) regions.push(await dist.allocateMemory(4096, { placement }));
    await regions[2]!.free();
    const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    await dist.finalize();
    const warnings = warn.mock.calls.map(([message, type]) => ({ message: String(message), type }));
    warn.mockRestore();
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatchObject({ type: 'LLMDataDistMemoryWarning' });
    for (const region of regions.slice(0, 2)) {
      expect(warnings[0]!.message).toContain(`0x${region.address.toString(16)} (4096 bytes)`);
    }
    expect(warnings[0]!.message).toContain('2 memory regions of 8192 bytes');
    const end = standIn.journal().map(({ method }) => method);
    expect(end.slice(end.indexOf('Finalize')).filter((method) => method !== 'aclrtSetDevice')).toEqual([
      'Finalize',
      ...(regions[0]!.address < regions[1]!.address ? ['aclrtFree', 'aclrtFreeHost'] : ['aclrtFreeHost', 'aclrtFree']),
    ]);
  });

  test('says nothing where nothing is left', async () => {
    const dist = await initialised();
    await (await dist.allocateMemory(64)).free();
    expect(await warningsDuring(() => dist.finalize())).toEqual([]);
  });
});
