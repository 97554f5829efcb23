import child_process from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  BackendModuleError,
  childHosts,
  formatDifference,
  mockBackends,
  parseScenario,
  runScenario,
  runScenarioOn,
} from '../lib/conformance';
import { crc32, crcText } from '../lib/conformance/crc32';
import { ForkedProcess } from '../lib/conformance/forked-process';
import type { ChildHostOptions, Difference, Scenario } from '../lib/conformance';
import { LLMBackendError } from '../lib/exception';
import { goOn, holdTime } from './fixtures/fake-time';
import { compileLib } from './fixtures/compiled-lib';
import { MeetingPlace } from './fixtures/meeting-place';
import { changeStep, handWritten } from './fixtures/recordings';

/** Processes are started here, on machines that have other things to do. */
jest.setTimeout(120_000);

const compiled = compileLib('conformance/host-program');
const lib = dirname(dirname(compiled.path));
const folder = mkdtempSync(join(tmpdir(), 'conformance-processes-'));

/** A module that makes backends. @returns its path */
function backendModule(name: string, code: string): string {
  const path = join(folder, name);
  writeFileSync(path, code);
  return path;
}

const fixture = (name: string) => `require(${JSON.stringify(join(__dirname, 'fixtures', name))})`;
const mockClass = `require(${JSON.stringify(join(lib, 'backend/mock/mock-backend.js'))}).MockBackend`;
const obedient = backendModule('obedient.js', `module.exports = ${fixture('obedient-backend.js')}(${mockClass});`);

let place: MeetingPlace;
beforeAll(async () => {
  place = await MeetingPlace.open();
});
afterAll(async () => {
  await place.close();
  rmSync(folder, { recursive: true });
  compiled.remove();
});

/** Two nodes, P and D, that do what they are told. */
function orders(...steps: readonly object[]): Scenario {
  const nodes = { P: { role: 'PROMPT', clusterId: '1' }, D: { role: 'DECODER', clusterId: '2' } };
  return parseScenario({ name: 'orders', nodes, steps });
}
const init = (node: string, order = '', atFinalize = '') => ({
  op: 'init',
  node,
  options: { 'llm.DeviceId': node === 'P' ? '0' : '1', 'test.do': order, 'test.finalize': atFinalize },
  status: 'LLM_SUCCESS',
});
const setRole = (node: string, order: string) => ({
  op: 'setRole',
  node,
  role: 'MIX',
  options: { 'test.do': order },
  status: 'LLM_SUCCESS',
});
const DESC = { numTensors: 2, dataType: 'DT_INT8', shape: [4, 8] };
const register = (node: string, cache: string, more: object = {}) => ({
  op: 'register',
  node,
  cache,
  desc: DESC,
  base: 1,
  status: 'LLM_SUCCESS',
  cacheId: '1',
  ...more,
});

const run = (scenario: Scenario, options: Partial<ChildHostOptions> = {}): Promise<Difference[]> =>
  runScenarioOn(childHosts({ backend: obedient, processes: 'scenario', program: compiled.path, ...options }), scenario);
const lines = async (scenario: Scenario, options?: Partial<ChildHostOptions>) =>
  (await run(scenario, options)).map(formatDifference);

describe('a process that ends too early is the difference of its scenario', () => {
  test.each([
    ['by a signal', 'signal SIGSEGV', 'was ended by SIGSEGV'],
    ['by an exit code', 'exit 3', 'ended with exit code 3'],
    ['of its own accord', 'exit 0', 'ended too early, with exit code 0'],
  ])('%s, with the step that was being made', async (_title, order, end) => {
    const differences = await run(orders(init('P'), init('D'), setRole('D', order), setRole('P', 'exit 9')));
    expect(differences).toEqual([
      {
        scenario: 'orders',
        step: 2,
        op: 'setRole',
        node: 'D',
        kind: 'process',
        expected: 'LLM_SUCCESS',
        got: `the process of P, D ${end}`,
        stderr: [],
      },
    ]);
  });

  test('with the last lines of its standard error', async () => {
    const prints = Array.from({ length: 12 }, (_, i) => `print line ${i}`).join(';');
    expect(await lines(orders(init('P', `mutter to standard output;${prints};signal SIGABRT`)))).toEqual([
      'orders: step 0 (init on P): process: expected LLM_SUCCESS, got the process of P, D was ended by SIGABRT ' +
        `(stderr: ${Array.from({ length: 10 }, (_, i) => `line ${i + 2}`).join(' | ')})`,
    ]);
  });

  test('with an exception that nobody caught', async () => {
    const [difference, ...more] = await run(orders(init('P', 'throw out of nowhere')));
    expect(more).toEqual([]);
    expect(difference).toMatchObject({ step: 0, kind: 'process', got: 'the process of P, D ended with exit code 1' });
    expect(difference!.stderr).toContain('Error: out of nowhere');
  });

  test('after what was found before', async () => {
    const wrong = { ...init('P'), status: 'LLM_FAILED' };
    expect(await run(orders(wrong, setRole('P', 'signal SIGBUS')))).toMatchObject([
      { step: 0, kind: 'status' },
      { step: 1, kind: 'process' },
    ]);
  });

  test('while instances are finalized, and at the end', async () => {
    expect(await run(orders(init('P', '', 'signal SIGSEGV')))).toMatchObject([
      { step: 1, op: 'finalize', node: 'P', kind: 'process', got: 'the process of P, D was ended by SIGSEGV' },
    ]);
    expect(await run(orders(init('P', 'exit-code 4')))).toMatchObject([
      { step: 1, op: 'exit', node: 'P, D', kind: 'process', expected: 'exit code 0' },
    ]);
  });

  test('also when it was not its turn, and nobody is left behind', async () => {
    const scenario = orders(init('P', `ambush ${place.path} P`), init('D'), setRole('D', `meet ${place.path} D`));
    const running = run(scenario, { processes: 'node' });
    const decoder = await place.visitor('D');
    (await place.visitor('P')).release();
    expect(await running).toMatchObject([
      { step: 2, node: 'D', kind: 'process', got: 'the process of P was ended by SIGKILL' },
    ]);
    await decoder.gone;
  });

  test('which cannot be started at all', async () => {
    const { fork } = child_process;
    const spy = jest
      .spyOn(child_process, 'fork')
      .mockImplementation((program, args, options) =>
        fork(program, args as string[], { ...options, execPath: join(folder, 'no such program') }),
      );
    const differences = await run(orders(init('P')));
    spy.mockRestore();
    expect(differences).toMatchObject([{ step: 0, op: 'start', node: 'P, D', kind: 'process' }]);
    expect(differences[0]!.got).toMatch(/^the process of P, D could not be started: .*ENOENT/);
  });
});

describe('a process that takes too long is ended', () => {
  const limitMs = 60_000;
  const pass = () => {
    jest.advanceTimersByTime(limitMs);
  };

  beforeEach(() => {
    // Time passes when a test says so, and so after what it waits for.
    holdTime({ doNotFake: ['nextTick', 'queueMicrotask', 'setImmediate', 'clearImmediate', 'Date'] });
  });
  afterEach(() => {
    goOn();
    jest.restoreAllMocks();
  });

  test.each([
    ['that waits for something', 'waiting', () => `meet ${place.path} for-ever`],
    ['that is busy for ever', 'busy', () => `block ${place.path} blocked`],
  ])('%s', async (_title, name, order) => {
    const running = lines(orders(init('P', `meet ${place.path} ${name};print now;${order()}`)), { onLine: pass });
    const { release, gone } = await place.visitor(name);
    release();
    expect(await running).toEqual([
      'orders: step 0 (init on P): process: expected LLM_SUCCESS, ' +
        'got the process of P, D gave no answer within 60 s (stderr: now)',
    ]);
    await gone;
  });

  test('that does not end when all is done', async () => {
    const end = Reflect.get<object, string>(ForkedProcess.prototype, 'end') as (this: ForkedProcess) => Promise<void>;
    jest.spyOn(ForkedProcess.prototype, 'end').mockImplementation(function (this: ForkedProcess) {
      const ended = end.call(this);
      pass();
      return ended;
    });
    expect(await lines(orders(init('P', 'stay-alive')))).toEqual([
      'orders: step 1 (exit on P, D): process: expected exit code 0, ' +
        'got the process of P, D did not end after finalize() within 60 s',
    ]);
  });

  test('and blamed only when it was waited for', async () => {
    const running = run(orders(init('P'), init('D'), setRole('D', `meet ${place.path} slow`)), { processes: 'node' });
    const { gone } = await place.visitor('slow');
    pass();
    expect(await running).toMatchObject([{ step: 2, node: 'D', got: 'the process of D gave no answer within 60 s' }]);
    await gone;
  });

  test('when it is asked for more after its time', async () => {
    const source = childHosts({ backend: obedient, processes: 'scenario', program: compiled.path, limitMs: 1500 });
    const { hosts } = source(orders(), { guards: false });
    const [host] = hosts;
    pass();
    void host!.free();
    expect((await host!.process!.lost).message).toBe('the process of P, D gave no answer within 1.5 s');
  });

  test('and has the end that it had when only its output is still held open', async () => {
    const fork = jest.spyOn(child_process, 'fork');
    const running = run(orders(init('P', `leave ${place.path} left;exit 5`)));
    const { release, gone } = await place.visitor('left');
    const child = fork.mock.results[0]!.value as child_process.ChildProcess;
    if (child.exitCode === null) await once(child, 'exit');
    pass();
    expect(await running).toMatchObject([{ step: 0, got: 'the process of P, D ended with exit code 5' }]);
    release();
    await gone;
  });
});

describe('a scenario whose nodes live in several processes', () => {
  const pair = (...steps: readonly object[]) => orders(init('P'), init('D'), ...steps);
  const bytes = (base: number) =>
    Uint8Array.from({ length: 64 }, (_, i) => (base + 131 * Math.floor(i / 32) + (i % 32)) % 251);
  const crcs = { pk: crcText(crc32(bytes(1))), dk: crcText(crc32(bytes(7))) };
  const nowhere = { srcBlocks: [0], dstBlocks: [1], status: 'LLM_NOT_YET_LINK' };

  test('may name caches of other nodes: by their ids, with their descriptions and their bytes', async () => {
    const scenario = pair(
      register('P', 'pk'),
      register('D', 'dk', { base: 7 }),
      { op: 'pullBlocks', node: 'D', src: { clusterId: '1', cache: 'pk' }, dst: 'dk', ...nowhere, crc: crcs },
      {
        op: 'pushBlocks',
        node: 'D',
        src: 'pk',
        dst: { clusterId: '1', cache: 'pk' },
        ...nowhere,
        crc: { pk: crcs.pk },
      },
      { op: 'unregister', node: 'D', cache: 'pk', status: 'LLM_SUCCESS' },
      { op: 'unregister', node: 'P', cache: 'pk', status: 'LLM_SUCCESS' },
    );
    expect(await runScenario(scenario, mockBackends)).toEqual([]);
    expect(await lines(scenario, { processes: 'node' })).toEqual([]);
    const wrong = changeStep({ scenario, index: 4 }, { crc: new Map([...Object.entries(crcs), ['pk', '0badbeef']]) });
    expect(await run(wrong, { processes: 'node' })).toMatchObject([
      { step: 4, kind: 'crc', cache: 'pk', got: crcs.pk },
    ]);
  });

  test('may not register memory of another node', async () => {
    const scenario = pair(register('P', 'pk'), register('D', 'dk', { memoryOf: 'pk' }));
    expect(await lines(scenario, { processes: 'node' })).toEqual([
      'orders: step 3 (register on D): not made: expected the memory of cache pk, got memory of another process',
    ]);
  });
});

describe('recorded scenarios', () => {
  const named = (...names: readonly string[]) => handWritten.filter(({ name }) => names.includes(name));

  test('come out the same with each node in a process of its own', async () => {
    const [node, server] = [fixture('shared-mock.js'), join(__dirname, 'fixtures/shared-mock.js')];
    const socket = join(folder, 'mock-socket');
    const backend = backendModule(
      'shared.js',
      `module.exports = ${node}(${JSON.stringify(lib)}, ${JSON.stringify(socket)});`,
    );
    const serving = child_process.spawn(process.execPath, [server, lib, socket], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(serving.stdout, 'data');
    const scenarios = named(
      'finalize-twice-and-reinit',
      'pull-blocks',
      'push-tensors-per-layer',
      'two-prompts-two-decoders',
      'unlink-dead-peer',
      'unregister',
    );
    expect(scenarios).toHaveLength(6);
    for (const scenario of scenarios) expect(await lines(scenario, { backend, processes: 'node' })).toEqual([]);
    serving.kill();
    await once(serving, 'exit');
  });

  test('have one process, or one per node where they are tagged so', async () => {
    const fork = jest.spyOn(child_process, 'fork');
    const [alone, apart] = named('pull-own-cluster', 'hixl-two-prompts-two-decoders-comm-res-1.3').reverse();
    expect(await lines(alone!, { backend: 'mock', processes: 'tagged' })).toEqual([]);
    expect(fork).toHaveBeenCalledTimes(1);
    // In different processes mocks do not find each other.
    expect((await run(apart!, { backend: 'mock', processes: 'tagged' })).length).toBeGreaterThan(0);
    expect(fork).toHaveBeenCalledTimes(1 + apart!.nodes.size);
    fork.mockRestore();
  });
});

describe('a backend that cannot be had', () => {
  const scenario = orders(init('P'));

  test('is an error, not a difference: of the library', async () => {
    // The compiled copy has no addon in any place where one is looked for.
    await expect(run(scenario, { backend: 'native' })).rejects.toThrow(LLMBackendError);
    await expect(run(scenario, { backend: 'native', processes: 'node' })).rejects.toThrow(
      /tried:\n.*llm_datadist\.node/,
    );
  });

  test.each([
    ['cannot be loaded', `throw new Error('not today');`, /^The module .*bad\.js cannot be loaded: not today$/],
    ['throws what is no error', `throw 'no error';`, /^The module .*bad\.js cannot be loaded: no error$/],
    ['exports nothing of use', `module.exports = { default: 7 };`, /^The module .*bad\.js makes no backends: it must/],
    ['exports nothing at all', `module.exports = null;`, /^The module .*bad\.js makes no backends: it must/],
  ])('of a module that %s', async (_title, code, message) => {
    const backend = backendModule('bad.js', code);
    const failure = await run(scenario, { backend }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(BackendModuleError);
    expect((failure as Error).message).toMatch(message);
  });

  test.each([
    ['CommonJS', 'default.js', `exports.default = require(${JSON.stringify(obedient)});`],
    ['ES', 'default.mjs', `export { default } from ${JSON.stringify(obedient)};`],
  ])('and one that can may be the default export of a module (%s)', async (_title, name, code) => {
    expect(await run(scenario, { backend: backendModule(name, code) })).toEqual([]);
  });

  test('for some nodes only is a difference', async () => {
    const code = `const make = require(${JSON.stringify(obedient)});
      module.exports = (clusterId, role) => {
        if (clusterId === 2n) throw new RangeError('no second one');
        return make(clusterId, role);
      };`;
    const backend = backendModule('one.js', code);
    for (const processes of ['scenario', 'node'] as const) {
      expect(await lines(scenario, { backend, processes })).toEqual([
        'orders: step 0 (start on D): exception: expected an instance, got RangeError: no second one',
      ]);
    }
  });
});

test('a fault in the program of such a process ends it', async () => {
  const source = childHosts({ backend: obedient, processes: 'scenario', program: compiled.path });
  const [host] = source(orders(), { guards: false }).hosts;
  void host!.free();
  const { message, stderr } = await host!.process!.lost;
  expect(message).toBe('the process of P, D ended with exit code 1');
  expect(stderr).toContain('RangeError: a host was asked to free before it was started');
});

test('the program of such a process is of no use by itself', () => {
  const { status, stdout, stderr } = child_process.spawnSync(process.execPath, [compiled.path], { encoding: 'utf8' });
  expect([status, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(/^This program is a part of the conformance command/);
});
