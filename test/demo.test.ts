import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stripVTControlCharacters } from 'node:util';
import { main } from '../lib/cli/demo';
import type { DemoEnvironment } from '../lib/cli/demo';
import { CacheContents } from '../lib/cli/demo/contents';
import { BLOCK_BYTES, MAX_BLOCKS, MIN_BLOCKS, TENSORS } from '../lib/cli/demo/geometry';
import { parseOptions } from '../lib/cli/demo/options';
import { Pattern } from '../lib/cli/demo/pattern';
import { Progress } from '../lib/cli/demo/progress';
import { inGBps, inMiB, inMs } from '../lib/cli/demo/quantity';
import { Screen } from '../lib/cli/demo/screen';
import { inWords, Tally } from '../lib/cli/demo/tally';
import { planBlocks } from '../lib/cli/demo/transfers';
import { wrap } from '../lib/cli/demo/wrap';
import type { BackendFactory, Cache, CacheIndex, ClusterInfo, KvCacheExtParam } from '../lib';
import { LLMBackendError, LLMException, LLMStatusCode } from '../lib';
import { Fabric, MockBackend } from '../lib/testing';
import { compileLib } from './fixtures/compiled-lib';

// Each run moves some hundred megabytes, and the machine may have other work.
jest.setTimeout(60_000);

const SMALL = ['--blocks', String(MIN_BLOCKS)];
const MIB = 2 ** 20;
const FULL_BLOCK = 16 * MIB;

class Capture {
  text = '';
  readonly isTTY: boolean;
  readonly columns: number;

  constructor(columns?: number) {
    this.isTTY = columns !== undefined;
    this.columns = columns ?? 0;
  }

  write(text: string): void {
    this.text += text;
  }

  /** What can be seen of each line, and of each drawing of a line. */
  get lines(): string[] {
    return stripVTControlCharacters(this.text).split(/[\r\n]/);
  }
}

interface Run {
  readonly exitCode: number;
  readonly stdout: Capture;
  readonly stderr: Capture;
}

async function run(argv: readonly string[], environment: Partial<DemoEnvironment> = {}): Promise<Run> {
  const stdout = new Capture();
  const stderr = new Capture();
  const exitCode = await main(argv, { stdout, stderr, env: {}, backend: mock(), ...environment });
  return { exitCode, stdout, stderr };
}

/** Makes backends of one class that find each other, and no others. */
function mock(make: (id: bigint, role: number, fabric: Fabric) => MockBackend = plainMock): BackendFactory {
  const fabric = new Fabric();
  return (id, role) => make(id, role, fabric);
}

function plainMock(id: bigint, role: number, fabric: Fabric): MockBackend {
  return new MockBackend(id, role, { fabric });
}

const PROMPT = 1n;
const DECODER_1 = 2n;
const DECODER_2 = 3n;

/** Bytes of the transfers that succeeded, counted where they reach the backend. */
class CountingBackend extends MockBackend {
  static transfers: { method: string; bytes: number }[] = [];

  override async pullKvCache(
    ...args: [src: CacheIndex, dst: Cache, row: number, size: bigint, ext: KvCacheExtParam]
  ): Promise<void> {
    await super.pullKvCache(...args);
    count('pullCache', 1, args[4]);
  }

  override async pullKvBlocks(
    ...args: [src: CacheIndex, dst: Cache, from: BigUint64Array, to: BigUint64Array, ext: KvCacheExtParam]
  ): Promise<void> {
    await super.pullKvBlocks(...args);
    count('pullBlocks', args[2].length, args[4]);
  }

  override async pushKvCache(
    ...args: [src: Cache, dst: CacheIndex, row: number, size: bigint, ext: KvCacheExtParam]
  ): Promise<void> {
    await super.pushKvCache(...args);
    count('pushCache', 1, args[4]);
  }

  override async pushKvBlocks(
    ...args: [src: Cache, dst: CacheIndex, from: BigUint64Array, to: BigUint64Array, ext: KvCacheExtParam]
  ): Promise<void> {
    await super.pushKvBlocks(...args);
    count('pushBlocks', args[2].length, args[4]);
  }
}

function count(method: string, blocks: number, ext: KvCacheExtParam): void {
  const [first, last] = ext.srcLayerRange;
  const tensors = first === -1 ? 64 : (last - first + 1) * ext.tensorNumPerLayer;
  CountingBackend.transfers.push({ method, bytes: blocks * tensors * 256 * 1024 });
}

describe('a run on the mock', () => {
  let demo: Run;
  const warnings: unknown[] = [];

  beforeAll(async () => {
    // Events of the process do not get into jest's realm.
    const spy = jest.spyOn(process, 'emitWarning').mockImplementation((warning) => warnings.push(warning));
    CountingBackend.transfers = [];
    demo = await run(SMALL, { backend: mock((id, role, fabric) => new CountingBackend(id, role, { fabric })) });
    spy.mockRestore();
  });

  it('succeeds', () => {
    expect(demo.stderr.text).toBe('');
    expect(demo.exitCode).toBe(0);
  });

  it('says which backend it is, and that no NPU is involved', () => {
    const start = demo.stdout.text.slice(0, 500).replace(/\s+/g, ' ');
    expect(start).toContain('Backend mock: no NPU is involved.');
    expect(start).toContain('the GB/s below are those of memcpy on this machine');
  });

  it('says how much memory it takes', () => {
    expect(demo.stdout.text).toContain('3 caches of 64 MiB, later one of 16 MiB: 208 MiB in all');
  });

  it('verifies both decoders', () => {
    expect(demo.stdout.text).toContain('verified by SHA-256: all 256 pieces of decoder 1, 64 MiB');
    expect(demo.stdout.text).toContain('verified by SHA-256: all 256 pieces of decoder 2, 64 MiB');
  });

  it('shows three failures as exceptions, and each recovery', () => {
    const codes = [...demo.stdout.text.matchAll(/code: '(\w+)', recovery: '([\w-]+)'/g)];
    expect(codes.map(([, code, recovery]) => [code, recovery])).toEqual([
      ['LLM_NOT_YET_LINK', 'relink'],
      ['LLM_KV_CACHE_NOT_EXIST', 'relink'],
      ['LLM_FAILED', 'relink'],
      ['LLM_UNLINK_FAILED', 'unlink-first'],
    ]);
    expect(demo.stdout.text).toContain('LLMException: pullBlocks failed: LLM_NOT_YET_LINK (0x5010B007)');
    const recovered = [...demo.stdout.text.matchAll(/pulled and verified: block 0 of the prompt is in block (\d)/g)];
    expect(recovered.map(([, block]) => block)).toEqual(['0', '1', '2']);
  });

  it('ends with a table of what went through the backend', () => {
    const rows = tableOf(demo.stdout.text);
    expect(rows).toEqual([
      ['pullCache, one row a call', 4, 64],
      ['pullBlocks, up to 4 blocks a call', 1, 16],
      ['pullBlocks, 8 layers a call', 4, 16],
      ['pushCache, one layer a call', 32, 16],
      ['pushBlocks, one layer a call', 32, 16],
      ['pullBlocks, after a recovery', 3, 48],
      ['total', 76, 176],
    ]);
    for (const method of ['pullCache', 'pullBlocks', 'pushCache', 'pushBlocks']) {
      const counted = CountingBackend.transfers.filter((transfer) => transfer.method === method);
      const told = rows.filter(([kind]) => kind.startsWith(`${method},`));
      const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
      expect(sum(told.map(([, calls]) => calls))).toBe(counted.length);
      expect(sum(told.map(([, , mib]) => mib)) * MIB).toBe(sum(counted.map(({ bytes }) => bytes)));
    }
  });

  it('draws nothing that a file could not hold', () => {
    expect(demo.stdout.text).not.toContain('\r');
    expect(demo.stdout.text).not.toContain('\x1b');
    expect(Math.max(...demo.stdout.lines.map((line) => line.length))).toBeLessThan(80);
  });

  it('causes no warning', () => {
    expect(warnings).toEqual([]);
  });
});

/** Kind, calls and MiB of each row of the table. */
function tableOf(text: string): [kind: string, calls: number, mib: number][] {
  const table = text.slice(text.indexOf('What was transferred'));
  return [...table.matchAll(/^ {3}(\w.*?) +(\d+) +(\d+) +\d+\.\d +(?:\d+\.\d\d|-)$/gm)].map(
    ([, kind = '', calls, mib]) => [kind, Number(calls), Number(mib)],
  );
}

it('gives each cache the blocks that are asked for', async () => {
  const { exitCode, stdout } = await run(['--blocks', '7']);
  expect(exitCode).toBe(0);
  expect(tableOf(stdout.text).map(([, calls, mib]) => [calls, mib])).toEqual([
    [7, 112],
    [1, 64],
    [4, 16],
    [32, 16],
    [32, 16],
    [3, 48],
    [79, 272],
  ]);
});

it('runs on the mock of the package when no other backend is given, at the addresses that are asked for', async () => {
  const stdout = new Capture();
  const stderr = new Capture();
  const argv = [...SMALL, '--ip', '10.0.0.7', '--port', '30001', '--devices', '4,6,5'];
  expect(await main(argv, { stdout, stderr, env: {} })).toBe(0);
  expect(stdout.text).toContain('decoder 1  cluster 2  device 6  listens on 10.0.0.7:30002');
});

describe('on a terminal', () => {
  it('draws bars within its columns, and leaves none behind', async () => {
    const stdout = new Capture(80);
    const { exitCode } = await run(SMALL, { stdout });
    expect(exitCode).toBe(0);
    expect(stdout.lines).toContain(`   moving [${'>'.padStart(24, '=').padEnd(47)}]  50 %  32 of 64 MiB`);
    expect(Math.max(...stdout.lines.map((line) => line.length))).toBeLessThan(80);
    const left = stdout.text.split('\n').map((line) => line.slice(line.lastIndexOf('\r') + 1));
    expect(stripVTControlCharacters(left.join('\n'))).not.toContain(' %  ');
    expect(tableOf(stripVTControlCharacters(left.join('\n')))).toHaveLength(7);
  });

  it.each([
    ['colours and bars', {}, true, true],
    ['no colours where NO_COLOR is set', { NO_COLOR: '1' }, false, true],
    ['colours where NO_COLOR is empty', { NO_COLOR: '' }, true, true],
    ['no bars where CI is set', { CI: 'true' }, true, false],
    ['neither on a terminal that is dumb', { TERM: 'dumb' }, false, false],
  ])('shows %s', (_, env, colours, bars) => {
    const screen = new Screen(new Capture(80), env);
    expect(screen.styled('red', 'text')).toBe(colours ? '\x1b[31mtext\x1b[39m' : 'text');
    expect(screen.animated).toBe(bars);
  });
});

describe('bytes that go wrong', () => {
  /** Changes one byte of what came in last. */
  async function flip(backend: MockBackend, cache: Cache, tensor: number, offset: number): Promise<void> {
    const address = (cache.tensorAddrs[tensor] ?? 0n) + BigInt(offset);
    const [byte = 0] = await backend.read(address, 1);
    await backend.write(address, Uint8Array.of(byte ^ 1));
  }

  class FlippingBackend extends MockBackend {
    static place: { cluster: bigint; tensor: number; offset: number };
    #pulls = 0;

    constructor(
      readonly id: bigint,
      role: number,
      fabric: Fabric,
    ) {
      super(id, role, { fabric });
    }

    async #flipAfter(dst: Cache, pull: Promise<void>): Promise<void> {
      await pull;
      const { cluster, tensor, offset } = FlippingBackend.place;
      // Only blocks of the first pull are certain to be there and not to be overwritten.
      if (this.id === cluster && this.#pulls++ === 0) await flip(this, dst, tensor, offset);
    }

    override pullKvCache(
      ...args: [src: CacheIndex, dst: Cache, row: number, size: bigint, ext: KvCacheExtParam]
    ): Promise<void> {
      return this.#flipAfter(args[1], super.pullKvCache(...args));
    }

    override pullKvBlocks(
      ...args: [src: CacheIndex, dst: Cache, from: BigUint64Array, to: BigUint64Array, ext: KvCacheExtParam]
    ): Promise<void> {
      return this.#flipAfter(args[1], super.pullKvBlocks(...args));
    }
  }
  const flipping = () => mock((id, role, fabric) => new FlippingBackend(id, role, fabric));

  it.each([
    // The first row of the prompt goes into the last one of decoder 1.
    ['first', 0, 3 * BLOCK_BYTES, 'block 3 of layer 0, K (tensor 0 of cache 1, bytes 786432 to 1048575)'],
    ['last', 63, 4 * BLOCK_BYTES - 1, 'block 3 of layer 31, V (tensor 63 of cache 1, bytes 786432 to 1048575)'],
  ])('are found at the %s place that was pulled to', async (_, tensor, offset, place) => {
    FlippingBackend.place = { cluster: DECODER_1, tensor, offset };
    const stdout = new Capture(80);
    const { exitCode, stderr } = await run(SMALL, { stdout, backend: flipping() });
    expect(exitCode).toBe(1);
    // The bar of the verification is taken away.
    expect(stdout.text.endsWith('\r\x1b[K')).toBe(true);
    expect(stderr.text.replace(/\s+/g, ' ')).toContain(
      `Verification failed: decoder 1 does not hold what was sent in ${place}`,
    );
  });

  it('are found where nothing was meant to go any more', async () => {
    const { scattered } = planBlocks(MIN_BLOCKS);
    const [, block] = scattered[0]!;
    FlippingBackend.place = { cluster: DECODER_2, tensor: 35, offset: block * BLOCK_BYTES + 17 };
    const { exitCode, stderr } = await run(SMALL, { backend: flipping() });
    expect(exitCode).toBe(1);
    expect(stderr.text.replace(/\s+/g, ' ')).toContain(
      `decoder 2 does not hold what was sent in block ${block} of layer 17, V (tensor 35`,
    );
  });
});

describe('what goes otherwise than it should', () => {
  async function failing(backend: BackendFactory): Promise<string> {
    const { exitCode, stderr } = await run(SMALL, { backend });
    expect(exitCode).toBe(1);
    return stderr.text.replace(/\s+/g, ' ').trim();
  }

  it('is a call that should have failed', async () => {
    class LenientBackend extends MockBackend {
      override async pullKvBlocks(
        ...args: [src: CacheIndex, dst: Cache, from: BigUint64Array, to: BigUint64Array, ext: KvCacheExtParam]
      ): Promise<void> {
        await super.pullKvBlocks(...args).catch(() => undefined);
      }
    }
    const message = await failing(mock((id, role, fabric) => new LenientBackend(id, role, { fabric })));
    expect(message).toBe('Unexpected: The call should have failed, and it succeeded.');
  });

  it('is an exception with another way out', async () => {
    class GrudgingBackend extends MockBackend {
      override async pullKvBlocks(
        ...args: [src: CacheIndex, dst: Cache, from: BigUint64Array, to: BigUint64Array, ext: KvCacheExtParam]
      ): Promise<void> {
        await super.pullKvBlocks(...args).catch(() => {
          throw new LLMException(LLMStatusCode.LLM_PARAM_INVALID, { operation: 'pullBlocks' });
        });
      }
    }
    const message = await failing(mock((id, role, fabric) => new GrudgingBackend(id, role, { fabric })));
    expect(message).toBe("Unexpected: The recovery of LLM_PARAM_INVALID should be 'relink' here, not 'fix-input'.");
  });

  it('is an exception where none belongs, told in its own words', async () => {
    class LonelyBackend extends MockBackend {
      override linkLlmClusters(clusters: readonly ClusterInfo[]): Promise<readonly number[]> {
        const results = clusters.map(({ remoteClusterId }) => ({
          remoteClusterId,
          statusCode: LLMStatusCode.LLM_LINK_FAILED,
          code: 'LLM_LINK_FAILED',
        }));
        const info = { operation: 'linkClusters', message: 'nobody is there', results };
        return Promise.reject(new LLMException(LLMStatusCode.LLM_LINK_FAILED, info));
      }
    }
    const message = await failing(mock((id, role, fabric) => new LonelyBackend(id, role, { fabric })));
    expect(message).toMatch(/^LLMException: linkClusters failed: LLM_LINK_FAILED \(0x5010B009\): nobody is there/);
    expect(message).not.toContain(' at ');
  });

  it('is an error of another kind, told with its stack, and nothing hides it', async () => {
    class BrokenBackend extends MockBackend {
      constructor(
        readonly id: bigint,
        role: number,
        fabric: Fabric,
      ) {
        super(id, role, { fabric });
      }

      override async pullKvCache(): Promise<void> {
        throw new TypeError('this backend is broken');
      }

      override free(address: bigint): Promise<void> {
        return this.id === PROMPT ? Promise.reject(new Error('and it keeps its memory')) : super.free(address);
      }
    }
    const message = await failing(mock((id, role, fabric) => new BrokenBackend(id, role, fabric)));
    expect(message).toMatch(/^TypeError: this backend is broken at .*Error: and it keeps its memory at /);
  });

  it('is an error of another kind where an exception is due', async () => {
    class ConfusedBackend extends MockBackend {
      override async pullKvBlocks(
        ...args: [src: CacheIndex, dst: Cache, from: BigUint64Array, to: BigUint64Array, ext: KvCacheExtParam]
      ): Promise<void> {
        await super.pullKvBlocks(...args).catch(() => {
          throw new RangeError('out of words');
        });
      }
    }
    const message = await failing(mock((id, role, fabric) => new ConfusedBackend(id, role, { fabric })));
    expect(message).toMatch(/^RangeError: out of words at /);
  });

  it('is a failure that is not even an error', async () => {
    class OddBackend extends MockBackend {
      override initialize(): Promise<void> {
        return Promise.resolve({
          then: (_: unknown, reject: (reason: unknown) => void) => {
            reject('no reason');
          },
        });
      }
    }
    expect(await failing(mock((id, role, fabric) => new OddBackend(id, role, { fabric })))).toBe('no reason');
  });

  it('is a backend that cannot be loaded', async () => {
    const message = await failing(() => {
      throw new LLMBackendError([{ path: '/opt/libllm_datadist.so', error: 'cannot open shared object file' }]);
    });
    expect(message).toMatch(/^LLMBackendError: The native backend cannot be loaded/);
    expect(message).toContain('/opt/libllm_datadist.so: cannot open shared object file');
  });

  it('is a cache whose memory cannot be read back', () => {
    const none = () => Promise.reject(new Error('there is no memory'));
    const desc = { numTensors: 0, dataType: 27, shape: [1] };
    const cache = { cacheId: 7n, desc, tensorAddrs: new BigUint64Array(), readBlocks: none, writeBlocks: none };
    const owner = { name: 'nobody', manager: undefined as never };
    expect(() => new CacheContents(owner, { ...cache, key: () => ({ clusterId: 1, cacheId: 7 }) }, 1)).toThrow(
      new TypeError('the memory of cache 7 is not known'),
    );
  });
});

describe('the command line', () => {
  it.each([
    [['--blocks', '3'], '--blocks 3: not a whole number from 4 to 21'],
    [['--blocks', '22'], '--blocks 22: not a whole number from 4 to 21'],
    [['--blocks', '1e1'], '--blocks 1e1: not a whole number from 4 to 21'],
    [['--blocks', ''], '--blocks : not a whole number from 4 to 21'],
    [['--backend', 'Mock'], '--backend Mock: neither mock nor native nor auto'],
    [['--ip', '::1'], '--ip ::1: not an IPv4 address'],
    [['--port', '65534'], '--port 65534: not a whole number from 1 to 65533'],
    [['--devices', '0,1'], '--devices 0,1: 2 given, 3 are needed'],
    [['--devices', '0,1,2,3'], '--devices 0,1,2,3: 4 given, 3 are needed'],
    [['--devices', '0,1,x'], '--devices x: not a whole number from 0 to 2147483647'],
    [['--devices', '0,1,1'], '--devices 0,1,1: each cluster needs a separate device'],
    [['--verbose'], "Unknown option '--verbose'"],
    [['now'], "Unexpected argument 'now'"],
    [['--port'], "Option '--port <value>' argument missing"],
  ])('%j is refused', async (argv, message) => {
    const { exitCode, stdout, stderr } = await run(argv);
    expect(exitCode).toBe(2);
    expect(stdout.text).toBe('');
    expect(stderr.text.startsWith(message)).toBe(true);
    expect(stderr.text).toContain('Usage: npm run demo');
  });

  it.each(['--help', '-h'])('%s shows the usage', async (argument) => {
    const { exitCode, stdout, stderr } = await run([argument]);
    expect(exitCode).toBe(0);
    expect(stdout.text).toMatch(/^Usage: npm run demo -- \[options\]\n/);
    expect(stderr.text).toBe('');
    expect(Math.max(...stdout.lines.map((line) => line.length))).toBeLessThan(80);
  });

  it.each(['mock', 'native', 'auto'])('knows the backend %s', (backend) => {
    expect(parseOptions(['--backend', backend])).toEqual({
      backend,
      processes: false,
      blocks: 16,
      ip: '127.0.0.1',
      port: 26000,
      devices: [0, 1, 2],
    });
  });

  it('allows no more blocks than fit in 1 GiB', () => {
    expect((3 * MAX_BLOCKS + 1) * FULL_BLOCK).toBeLessThanOrEqual(1024 * MIB);
    expect((3 * (MAX_BLOCKS + 1) + 1) * FULL_BLOCK).toBeGreaterThan(1024 * MIB);
  });
});

describe('the program', () => {
  const lib = compileLib('cli/demo');
  afterAll(() => {
    lib.remove();
  });

  it('writes a whole run to a pipe and nothing to stderr', async () => {
    const child = spawn(process.execPath, [lib.path, ...SMALL]);
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(errors).toBe('');
    expect(tableOf(output)).toHaveLength(7);
  });

  it('says by its exit code that it was called wrongly', async () => {
    const child = spawn(process.execPath, [lib.path, '--blocks', 'all'], { stdio: 'ignore' });
    expect(await once(child, 'close')).toEqual([2, null]);
  });

  it('ends in silence when its reader does', async () => {
    const child = spawn(process.execPath, [lib.path, ...SMALL]);
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    await once(child.stdout, 'data');
    child.stdout.destroy();
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(errors).toBe('');
  });

  it('ends at once on Ctrl-C', async () => {
    const child = spawn(process.execPath, [lib.path]);
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    expect(await once(child, 'close')).toEqual([null, 'SIGINT']);
  });
});

describe('the plan for decoder 2', () => {
  it('names each block of both caches once, and gives every kind of transfer some', () => {
    for (let blocks = MIN_BLOCKS; blocks <= MAX_BLOCKS; blocks++) {
      const plan = planBlocks(blocks);
      const parts = [plan.scattered, plan.byLayers, plan.rows, plan.pushed];
      expect(parts.map((part) => part.length)).not.toContain(0);
      const all = Array.from({ length: blocks }, (_, block) => block);
      const pairs = parts.flat();
      expect(pairs.map(([src]) => src).sort((a, b) => a - b)).toEqual(all);
      expect(pairs.map(([, dst]) => dst).sort((a, b) => a - b)).toEqual(all);
      expect(pairs.every(([src, dst]) => src !== dst)).toBe(true);
    }
  });
});

describe('the pattern', () => {
  it('differs between runs, tensors, blocks and positions', () => {
    const pattern = new Pattern();
    const first = pattern.block(0, 0, 0).slice();
    expect(first).toHaveLength(BLOCK_BYTES);
    expect(new Set(new Uint32Array(first.buffer)).size).toBe(BLOCK_BYTES / 4);
    const words = new Set<number>();
    for (const runOfPrompt of [0, 1, 2]) {
      for (let tensor = 0; tensor < TENSORS; tensor++) {
        for (let block = 0; block < MAX_BLOCKS; block++) {
          words.add(new DataView(pattern.block(runOfPrompt, tensor, block).buffer).getUint32(400));
        }
      }
    }
    expect(words.size).toBe(3 * TENSORS * MAX_BLOCKS);
  });
});

describe('lines', () => {
  it.each([
    ['one two three', 20, 0, ['one two three']],
    ['one two three', 8, 0, ['one two', 'three']],
    ['one two three', 7, 2, ['one two', 'three']],
    ['one two three', 7, 3, ['one two', 'thre', 'e']],
    ['abcdefghij', 4, 0, ['abcd', 'efgh', 'ij']],
    ['{"a":1,"b":2}', 9, 0, ['{"a":1,', '"b":2}']],
    ['', 5, 0, ['']],
  ])('%j is wrapped at %i, hanging by %i', (text, width, hang, lines) => {
    expect(wrap(text, width, hang)).toEqual(lines);
  });

  it('are told of quantities in MiB, ms and GB/s', () => {
    expect([inMiB(16 * MIB), inMiB(1.5 * MIB)]).toEqual(['16', '1']);
    expect([inMs(3.14), inMs(31.4)]).toEqual(['3.1', '31']);
    expect([inGBps(3e9, 1000), inGBps(1, 0)]).toEqual(['3.00', '-']);
    expect(inWords({ kind: 'pull', calls: 1, bytes: 2 * MIB, ms: 2 })).toBe('pull: 1 call, 2 MiB in 2.0 ms, 1.05 GB/s');
  });

  it('have 80 columns where the terminal does not know its size', () => {
    expect(new Screen({ write: () => true, isTTY: true }, {}).columns).toBe(79);
    expect(new Screen({ write: () => true, isTTY: true, columns: 0 }, {}).columns).toBe(79);
  });
});

it.each([
  [40, '   moving [===>   ]  50 %  32 of 64 MiB'],
  [34, '   moving   50 %  32 of 64 MiB'],
  [20, '   moving   50 %  3'],
])('a bar fits %i columns', (columns, drawing) => {
  const output = new Capture(columns);
  new Progress(new Screen(output, { NO_COLOR: '1' }), 'moving', 64 * MIB).advance(32 * MIB);
  expect(output.text).toBe(`\r\x1b[K${drawing}`);
});

it('a bar is drawn once per percent at most', () => {
  const output = new Capture(60);
  const progress = new Progress(new Screen(output, { NO_COLOR: '1' }), 'moving', 1000 * MIB);
  for (let i = 0; i < 1000; i++) progress.advance(MIB);
  progress.end();
  const drawings = output.text.split('\r\x1b[K').slice(1);
  expect(drawings).toHaveLength(102);
  expect(drawings[50]).toBe('   moving [===========>           ]  50 %   500 of 1000 MiB');
  expect(drawings[101]).toBe('');
});

it('a transfer that fails is not counted', async () => {
  const tally = new Tally();
  await tally.measure('pull', 10, () => Promise.resolve());
  await expect(tally.measure('pull', 10, () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(tally.row('pull')).toMatchObject({ calls: 1, bytes: 10 });
  expect(tally.total).toMatchObject({ calls: 1, bytes: 10 });
});
