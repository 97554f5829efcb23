import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { measureBandwidth } from '../bench/bandwidth';
import { PlainCopy, reversingLists } from '../bench/block-copy';
import { inFlight, IN_FLIGHT, oneByOne } from '../bench/callers';
import { readCommandLine } from '../bench/command-line';
import { checkReversed, fill } from '../bench/contents';
import { collectYoung, usedHeap } from '../bench/garbage';
import { judge } from '../bench/goal';
import { describeMachine } from '../bench/machine';
import { coldReads } from '../bench/memory-latency';
import { blocksOf, onFabric, startPair } from '../bench/node';
import { compared, isMeasured, missesGoal, single } from '../bench/result';
import type { Line, Result, Unmeasured } from '../bench/result';
import { Ring } from '../bench/ring';
import { runRounds, timed } from '../bench/rounds';
import { shuffled } from '../bench/shuffled';
import type { Suite } from '../bench/suite';
import { quantile, quotients, summarize } from '../bench/summary';
import { renderMachine, renderTable } from '../bench/table';
import { MEASUREMENTS, pairsOf, World } from '../bench/world';
import { LLMException } from '../lib';
import { Fabric } from '../lib/testing';
import { compileBench } from './fixtures/compiled-bench';

const AT_LEAST_TWO = { kind: 'at least', bound: 2 } as const;
const AT_MOST_TWO = { kind: 'at most', bound: 2 } as const;
const ONE_ROUND = { rounds: 1, milliseconds: 1, workingSet: 4096, collectGarbage: () => undefined };

describe('a summary', () => {
  test('has the median and the quartiles, whatever the order of the samples', () => {
    expect(summarize([5, 1, 4, 2, 3])).toEqual({ median: 3, low: 2, high: 4, rounds: 5 });
    expect(summarize([4, 1, 2, 3])).toEqual({ median: 2.5, low: 1.75, high: 3.25, rounds: 4 });
    expect(summarize([7])).toEqual({ median: 7, low: 7, high: 7, rounds: 1 });
  });

  test('leaves the samples as they are', () => {
    const samples = [3, 1, 2];
    summarize(samples);
    expect(samples).toEqual([3, 1, 2]);
  });

  test('is refused without samples and with one that is no number', () => {
    expect(() => summarize([])).toThrow('no round was run');
    expect(() => summarize([1, NaN])).toThrow('a round measured NaN');
    expect(() => summarize([Infinity])).toThrow('a round measured Infinity');
  });

  test('takes any quantile of samples, whatever their order', () => {
    expect(quantile([30, 10, 20], 0.5)).toBe(20);
    expect(quantile([30, 10, 20], 0.25)).toBe(15);
    expect(quantile([30, 10, 20], 1)).toBe(30);
    expect(quantile([], 0.5)).toBeNaN();
  });

  test('divides round by round, and only as many rounds as there are rivals', () => {
    expect(quotients([2, 9], [1, 3])).toEqual([2, 3]);
    expect(() => quotients([1, 2], [1])).toThrow('2 rounds cannot be compared with 1');
  });
});

describe('a goal', () => {
  test('is met by the median alone', () => {
    expect(judge(AT_LEAST_TWO, { median: 2, low: 1, high: 3, rounds: 7 })).toBe('met');
    expect(judge(AT_MOST_TWO, { median: 2, low: 1, high: 3, rounds: 7 })).toBe('met');
  });

  test('is unclear when only the better quartile reaches it', () => {
    expect(judge(AT_LEAST_TWO, { median: 1.9, low: 1.8, high: 2, rounds: 7 })).toBe('unclear');
    expect(judge(AT_MOST_TWO, { median: 2.1, low: 2, high: 2.2, rounds: 7 })).toBe('unclear');
  });

  test('is missed when the better quartile does not reach it, either', () => {
    expect(judge(AT_LEAST_TWO, { median: 1.5, low: 1, high: 1.9, rounds: 7 })).toBe('missed');
    expect(judge(AT_MOST_TWO, { median: 3, low: 2.1, high: 4, rounds: 7 })).toBe('missed');
  });
});

describe('a result', () => {
  test('without a rival is held to its value', () => {
    const result = single('some', 'one', 'pulls/s', [1, 3, 5], AT_LEAST_TWO);
    expect(result.ratio?.median).toBe(1.5);
    expect(result.goal).toEqual({ ...AT_LEAST_TWO, of: 'value' });
    expect(result.verdict).toBe('met');
    expect(single('some', 'two', 's', [1])).toEqual({ suite: 'some', name: 'two', unit: 's', value: summarize([1]) });
  });

  test('with a rival is held to the ratio of the rounds, not to that of the medians', () => {
    // The medians are 2 and 1; in two of three rounds the value was not even the rival's.
    const rival = { name: 'rival', samples: [1, 4, 1] };
    const result = compared('some', 'one', 'GB/s', [2, 2, 0.5], rival, AT_LEAST_TWO);
    expect(result.value.median).toBe(2);
    expect(result.rival?.value.median).toBe(1);
    expect(result.ratio?.median).toBe(0.5);
    expect(result.verdict).toBe('missed');
    expect(compared('some', 'two', 'GB/s', [2, 2, 0.5], rival)).not.toHaveProperty('verdict');
  });

  test('fails a check only when it misses its goal by more than the noise', () => {
    const met = single('some', 'met', 's', [2], AT_LEAST_TWO);
    const unclear = single('some', 'unclear', 's', [1.9, 1.9, 2.1], AT_LEAST_TWO);
    const missed = single('some', 'missed', 's', [1], AT_LEAST_TWO);
    expect([met, unclear, missed].map(({ verdict }) => verdict)).toEqual(['met', 'unclear', 'missed']);
    expect(missesGoal([met, unclear, single('some', 'free', 's', [1])])).toBe(false);
    expect(missesGoal([met, missed])).toBe(true);
  });

  test('that could not be measured passes no check', () => {
    const unmeasured: Unmeasured = { suite: 'some', name: 'one', verdict: 'not measured', reason: 'no such thing' };
    const measured = single('some', 'free', 's', [1]);
    expect(missesGoal([measured, unmeasured])).toBe(true);
    expect([measured, unmeasured].map(isMeasured)).toEqual([true, false]);
  });
});

describe('rounds', () => {
  /** Takes so many milliseconds per operation, and notes that it ran. */
  const scripted = (name: string, cost: number, log: string[]) => (operations: number) => {
    log.push(`${name} ${operations}`);
    return operations * cost;
  };

  test('run every contestant once each, in turns, after a collection', async () => {
    const log: string[] = [];
    const collectGarbage = () => log.push('collect');
    const contestants = [scripted('a', 1, log), scripted('b', 2, log)];
    const samples = await runRounds(contestants, {
      rounds: 3,
      milliseconds: 4,
      collectGarbage: () => collectGarbage(),
    });
    expect(samples).toEqual([
      [1, 1, 1],
      [2, 2, 2],
    ]);
    expect(log.slice(log.indexOf('collect'))).toEqual(
      ['a 4', 'b 2', 'b 2', 'a 4', 'a 4', 'b 2'].flatMap((part) => ['collect', part]),
    );
  });

  test('give every contestant enough operations to last as long as asked', async () => {
    const log: string[] = [];
    await runRounds([scripted('slow', 50, log), scripted('fast', 0.01, log)], { ...ONE_ROUND, milliseconds: 20 });
    expect(log.at(-2)).toBe('slow 1');
    expect(log.at(-1)).toBe('fast 2000');
  });

  test('end even if a contestant seems to take no time', async () => {
    const samples = await runRounds([() => 0], ONE_ROUND);
    expect(samples).toEqual([[0]]);
  });

  test('fail as their contestant fails', async () => {
    const failing = () => Promise.reject(new Error('out of blocks'));
    await expect(runRounds([failing], ONE_ROUND)).rejects.toThrow('out of blocks');
  });

  test('measure the work, including what it waits for', async () => {
    let done = false;
    const elapsed = await timed(async () => {
      await new Promise((next) => setImmediate(next));
      done = true;
    });
    expect(done).toBe(true);
    expect(elapsed).toBeGreaterThan(0);
  });
});

describe('callers', () => {
  /** Calls that end when they are told to, and what was seen of them. */
  const startCalls = () => {
    const seen = { numbers: [] as number[], now: 0, most: 0 };
    const call = async (number: number) => {
      seen.numbers.push(number);
      seen.now += 1;
      seen.most = Math.max(seen.most, seen.now);
      await new Promise((next) => setImmediate(next));
      seen.now -= 1;
    };
    return { seen, call };
  };

  test('make one call after the other, and number them', async () => {
    const { seen, call } = startCalls();
    expect(await oneByOne(call)(3)).toBeGreaterThan(0);
    expect(seen).toEqual({ numbers: [0, 1, 2], now: 0, most: 1 });
  });

  test('have as many calls in flight as they should, and make as many as they are asked for', async () => {
    const { seen, call } = startCalls();
    await inFlight(call)(3 * IN_FLIGHT + 1);
    expect(seen).toMatchObject({ now: 0, most: IN_FLIGHT });
    expect(seen.numbers).toHaveLength(3 * IN_FLIGHT + 1);
  });

  test('fail as a call fails', async () => {
    const failing = () => Promise.reject(new Error('out of blocks'));
    await expect(oneByOne(failing)(1)).rejects.toThrow('out of blocks');
    await expect(inFlight(failing)(1)).rejects.toThrow('out of blocks');
  });
});

test('a ring goes around its items and needs one', () => {
  const ring = new Ring(['a', 'b']);
  expect([ring.next(), ring.next(), ring.next()]).toEqual(['a', 'b', 'a']);
  expect(() => new Ring([])).toThrow('nothing to go around');
});

test('a shuffled list has the same items in another order, and the same one every time', () => {
  const list = Array.from({ length: 100 }, (_, i) => i);
  const mixed = shuffled(list);
  expect(mixed).not.toEqual(list);
  expect(mixed.toSorted((a, b) => a - b)).toEqual(list);
  expect(shuffled(list)).toEqual(mixed);
});

test('reads of cold memory go on for as long as they are asked to', async () => {
  const read = coldReads(4096);
  // More than there are places: the last one leads back to the first.
  expect(await read(1000)).toBeGreaterThan(0);
});

describe('the collector', () => {
  test('can be called without a flag of Node, and lets go of what nobody holds', () => {
    const before = usedHeap();
    const held = Array.from({ length: 1000 }, (_, i) => new Array<number>(1000).fill(i + 0.5));
    const between = usedHeap();
    held.length = 0;
    collectYoung();
    const after = usedHeap();
    expect(between - before).toBeGreaterThan(4_000_000);
    expect(between - after).toBeGreaterThan(4_000_000);
  });
});

describe('block lists', () => {
  test('name every block once on either side', () => {
    const lists = reversingLists(6, 2);
    const blocks = (side: 'src' | 'dst') => lists.flatMap((list) => [...list[side]].map(Number));
    expect(blocks('src')).toEqual([0, 1, 2, 3, 4, 5]);
    expect(blocks('dst')).toEqual([5, 4, 3, 2, 1, 0]);
  });

  test('leave a rest out that does not fill a list', () => {
    expect(reversingLists(5, 2)).toHaveLength(2);
  });

  test('move the blocks of plain buffers', () => {
    const plain = new PlainCopy(2, 3, 2);
    plain.copy({ src: BigUint64Array.of(0n), dst: BigUint64Array.of(2n) });
    expect(plain.destination(0)).toEqual(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 1, 1));
    expect(plain.destination(1)).toEqual(Uint8Array.of(0xff, 0xff, 0xff, 0xff, 2, 2));
  });
});

describe('the contents of the caches', () => {
  test('tell pulls that moved every block from pulls that did not', async () => {
    const blockBytes = 8;
    const rows = 3;
    const pair = await startPair(onFabric(new Fabric()), blocksOf(blockBytes, rows, 2));
    const filled = { ...pair, blockBytes, rows };
    const pull = (src: number[], dst: number[]) =>
      pair.puller.dist.kvCacheManager.pullBlocks(pair.remote.key(), pair.local, src, dst);
    await fill(filled);
    await pull([0, 1], [2, 1]);
    await expect(checkReversed(filled)).rejects.toThrow('block 2 of tensor 0 arrived as 255 to 255, not as 14');
    await pull([2], [0]);
    await checkReversed(filled);
    await pair.close();
    expect([pair.puller.dist.isInitialized, pair.owner.dist.isInitialized]).toEqual([false, false]);
  });
});

describe('the bandwidth of pulls', () => {
  test('is measured next to plain copies, and held to its goal for large blocks only', async () => {
    const [one, four] = await measureBandwidth({ blockBytes: 256, blocksPerPull: [1, 4] }, ONE_ROUND);
    expect(one).toMatchObject({ suite: 'bandwidth', name: '1 block of 256 B per pull', unit: 'GB/s' });
    expect(one?.rival?.name).toBe('TypedArray.set');
    expect(one).not.toHaveProperty('goal');
    expect(four?.name).toBe('4 blocks of 256 B per pull');
    const [large] = await measureBandwidth({ blockBytes: 2 ** 21, blocksPerPull: [1] }, ONE_ROUND);
    expect(large?.name).toBe('1 block of 2 MiB per pull');
    expect(large?.goal).toEqual({ kind: 'at least', bound: 0.8, of: 'ratio' });
  });
});

describe('a world of nodes', () => {
  test('links no two nodes twice', () => {
    const nodes = Array.from({ length: 10 }, (_, i) => i);
    const pairs = pairsOf(nodes, 100).map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
    expect(new Set(pairs).size).toBe(pairs.length);
    expect(pairs).toHaveLength(45);
    expect(pairsOf(Array.from({ length: 1000 }), 100)).toHaveLength(100_000);
    expect(pairsOf(nodes, 1)).toHaveLength(10);
  });

  test('stays what it is whatever was measured in it', async () => {
    const world = await World.build({ nodes: 12, linksPerNode: 3 });
    expect(world.links).toBe(36);
    await world.linkAll();
    for (const measurement of MEASUREMENTS) {
      // More than there are links and nodes, so that some are taken twice: what was left undone would be refused then.
      expect(await world.run(measurement, 100)).toBeGreaterThan(0);
    }
    await world.close();
    await expect(world.run({ step: 'pull', visit: 'all nodes' }, 1)).rejects.toThrow(LLMException);
  });

  test('cannot be pulled over before it is linked', async () => {
    const world = await World.build({ nodes: 2, linksPerNode: 1 });
    await expect(world.run({ step: 'pull', visit: 'all nodes' }, 1)).rejects.toMatchObject({
      code: 'LLM_NOT_YET_LINK',
    });
    await world.close();
  });
});

describe('the command line', () => {
  const suiteOf = (name: string, backend: Suite['backend']): Suite => ({
    name,
    title: name,
    backend,
    run: () => Promise.resolve([]),
  });
  const suites = [suiteOf('bandwidth', 'mock'), suiteOf('scale', 'mock'), suiteOf('crossing', 'native')];
  const read = (...args: string[]) => readCommandLine(args, suites);
  const selected = (...args: string[]) => read(...args).suites.map(({ name }) => name);

  test('runs everything in full by default', () => {
    expect(read()).toEqual({
      json: false,
      quick: false,
      check: false,
      help: false,
      suites,
      rounds: undefined,
      milliseconds: undefined,
    });
  });

  test('takes its options', () => {
    const given = read('--json', '--quick', '--check', '--rounds', '3', '--milliseconds', '20');
    expect(given).toMatchObject({ json: true, quick: true, check: true, rounds: 3, milliseconds: 20 });
  });

  test('selects suites by name and by backend', () => {
    expect(selected('--only', 'scale', '--only=bandwidth')).toEqual(['bandwidth', 'scale']);
    expect(selected('--mock')).toEqual(['bandwidth', 'scale']);
    expect(selected('--native')).toEqual(['crossing']);
    expect(selected('--native', '--mock')).toEqual(['bandwidth', 'scale', 'crossing']);
    expect(selected('--mock', '--only', 'scale', '--only', 'crossing')).toEqual(['scale']);
  });

  test.each([
    [['--fast'], "Unknown option '--fast'"],
    [['scale'], 'Unexpected argument'],
    [['--only', 'speed'], 'there is no suite "speed"; there are bandwidth, scale, crossing'],
    [
      ['--native', '--only', 'scale', '--only', 'bandwidth'],
      'none of scale, bandwidth is a suite of the native backend',
    ],
    [['--mock', '--only', 'crossing'], 'none of crossing is a suite of the mock backend'],
    [['--rounds', '0'], '--rounds takes a number from 1 to 999999, not "0"'],
    [['--milliseconds', '1e3'], '--milliseconds takes a number from 1 to 999999, not "1e3"'],
  ])('refuses %j', (args, problem) => {
    expect(() => read(...args)).toThrow(problem);
  });
});

describe('the report', () => {
  test('says what it was measured on, and does not name the machine', () => {
    const machine = describeMachine();
    expect(machine.cores).toBeGreaterThan(0);
    expect(Object.keys(machine)).toEqual(['cpu', 'cores', 'memoryGiB', 'system', 'node', 'v8', 'load']);
    expect(renderMachine({ ...machine, cpu: 'Some CPU', cores: 4 }, 7)).toMatch(
      /^Some CPU, 4 cores, .*\nNode v.* 7 rounds$/,
    );
  });

  test('aligns its columns', () => {
    const results: Result[] = [
      single('some', 'short', 'pulls/s', [1_234_567, 1_234_569, 1_234_568], { kind: 'at least', bound: 100_000 }),
      compared('some', 'a longer name', 'µs', [3], { name: 'rival', samples: [1] }, AT_MOST_TWO),
      single('some', 'once', 'bytes', [460]),
    ];
    expect(renderTable('Some title', results).split('\n')).toEqual([
      'Some title',
      '',
      'measurement    median             quartiles               compared with   ratio  quartiles       goal',
      'short          1,234,568 pulls/s  1,234,568 to 1,234,569                  12.35  12.35 to 12.35  at least 100000 pulls/s  met',
      'a longer name  3.00 µs                                    rival: 1.00 µs  3.00                   at most 2 times          NOT MET',
      'once           460 bytes',
    ]);
  });

  test('says once why lines of it were not measured', () => {
    const unmeasured = (name: string, reason: string): Line => ({
      suite: 'some',
      name,
      verdict: 'not measured',
      reason,
    });
    const lines = [
      unmeasured('one', 'no compiler'),
      unmeasured('two', 'no compiler'),
      unmeasured('three', 'no library'),
      single('some', 'four', 's', [1], { kind: 'at most', bound: 1 / 3 }),
    ];
    expect(renderTable('Some title', lines).split('\n').slice(2)).toEqual([
      'measurement  median  quartiles  compared with  ratio  quartiles  goal',
      'one                                                                              not measured',
      'two                                                                              not measured',
      'three                                                                            not measured',
      'four         1.00 s                            3.00              at most 0.33 s  NOT MET',
      'not measured: no compiler',
      'not measured: no library',
    ]);
  });

  test('tells a goal that is missed within the noise from one that is missed', () => {
    const unclear = single('some', 'unclear', 's', [1.9, 1.9, 2.1], AT_LEAST_TWO);
    expect(renderTable('Some title', [unclear])).toMatch(/at least 2 s +not met, within the noise$/);
  });
});

describe('the program', () => {
  const compiled = compileBench();
  const run = (...args: string[]) => spawnSync(process.execPath, [compiled.program, ...args], { encoding: 'utf8' });

  afterAll(() => {
    compiled.remove();
  });

  test('explains itself', () => {
    const { status, stdout } = run('--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/--only NAME/);
    expect(stdout).toMatch(/^ {2}scale /m);
  });

  test('ends with 2 and a reason when it is called wrongly', () => {
    const { status, stdout, stderr } = run('--only', 'speed');
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toContain('there is no suite "speed"');
  });

  test('prints JSON and nothing else when asked', () => {
    const { status, stdout, stderr } = run('--json', '--only', 'scale', '--rounds', '1', '--milliseconds', '1');
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const report = JSON.parse(stdout) as { machine: object; options: object; results: Result[] };
    expect(report.machine).toMatchObject({ node: process.version });
    expect(report.options).toMatchObject({ rounds: 1, milliseconds: 1 });
    const held = report.results.filter(({ goal }) => goal !== undefined).map(({ name }) => name);
    expect(held).toEqual([
      'one pull among ten of the nodes',
      'one link among ten of the nodes',
      'one register at one of the nodes',
    ]);
    expect(report.results.map(({ name }) => name)).toContain('100000 links made and used both ways');
    const heap = report.results.find(({ name }) => name === 'heap of one link, both ends');
    expect(heap?.value.median).toBeGreaterThan(50);
  }, 120_000);

  test('prints a table of the suites that were asked for', () => {
    const { status, stdout } = run('--only', 'pull-rate', '--rounds', '1', '--milliseconds', '1');
    expect(status).toBe(0);
    expect(stdout).toMatch(/^1 × 64 B, 64 in flight, key with layout +[\d,]+ pulls\/s .* at least 100000 pulls\/s/m);
    expect(stdout).not.toContain('nodes');
  }, 120_000);

  test('reports what goes wrong in the thread of a world', async () => {
    const worker = new Worker(compiled.worldWorker);
    const failure = once(worker, 'error');
    worker.postMessage({ kind: 'run', measurement: MEASUREMENTS[0], operations: 1 });
    expect(String((await failure)[0])).toContain('the world was not built');
    const { status, stderr } = spawnSync(process.execPath, [compiled.worldWorker], {
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain('run by a worker thread only');
  });
});
