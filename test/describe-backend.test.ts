import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as nodeTest from 'node:test';
import { MockBackend } from '../lib/testing';
import { BEHAVIOUR_NAMES, describeBackend, localHosts, mockBackends, shippedScenarios } from '../lib/conformance';
import type { BackendSource, TestedBackend, TestKit } from '../lib/conformance';
import { collectedSuite, failingBehaviours, failuresOf } from './fixtures/collected-suite';
import { compileLib } from './fixtures/compiled-lib';
import { RECORDINGS } from './fixtures/recordings';
import type { Method } from './fixtures/spoilt-backend';
import { failing, spoilt } from './fixtures/spoilt-backend';
import { WRONG_BACKENDS } from './fixtures/wrong-backends';

/** Scenarios, where it does not matter which. */
const FEW = 6;

const nothing = { test: () => undefined, expect };

describe('a wrong backend', () => {
  test.each(WRONG_BACKENDS)('with $fault does not pass', async ({ source, fails }) => {
    expect((await failingBehaviours(source, fails)).sort()).toEqual([...fails].sort());
  });

  test('fails every behaviour that there is, one backend or another', () => {
    const failed = new Set(WRONG_BACKENDS.flatMap(({ fails }) => fails));
    expect(BEHAVIOUR_NAMES.filter((name) => !failed.has(name))).toEqual([]);
  });

  test('is told what it did instead', async () => {
    const lossy = spoilt({
      pullKvCache:
        (original: Method): Method =>
        (src, dst, row, _size, ext) =>
          original(src, dst, row, 63n, ext),
    });
    const name = 'pulls exactly the row and the layers that it is asked for';
    const failures = await failuresOf({ source: lossy, scenarios: [] }, (each) => each === name);
    expect(failures.get(name)).toContain('tensor 0: 1 bytes differ, the first is 63: expected ');
  });

  test('that cannot be cleared up after does not pass either', async () => {
    const sticky = spoilt({ free: failing(new TypeError('nobody frees this')) });
    const name = 'numbers caches of each instance on their own';
    const failures = await failuresOf({ source: sticky, scenarios: [] }, (each) => each === name);
    expect(failures.get(name)).toBe('nobody frees this');
  });

  test('is told what failed first, not what went wrong after that', async () => {
    const broken = spoilt({
      free: failing(new TypeError('nobody frees this')),
      registerKvCache: failing(new RangeError('nobody registers this')),
    });
    const name = 'numbers caches of each instance on their own';
    const failures = await failuresOf({ source: broken, scenarios: [] }, (each) => each === name);
    expect(failures.get(name)).toBe('nobody registers this');
  });

  test('whose ports are too few is told so', async () => {
    const source: BackendSource = () => ({ ...mockBackends(), freePorts: () => Promise.resolve([]) });
    const failures = await failuresOf({ source, scenarios: [] }, (each) => each === 'has a name');
    expect(failures.get('has a name')).toBe('a test needs port 1, freePorts gave fewer');
  });
});

describe('the scenarios of the suite', () => {
  const named = (...names: readonly string[]) => shippedScenarios().filter(({ name }) => names.includes(name));

  test('are all that are shipped, one test each, after the behaviours', () => {
    const names = collectedSuite({ source: mockBackends }).map(({ name }) => name);
    expect(names).toEqual([...BEHAVIOUR_NAMES, ...shippedScenarios().map(({ name }) => name)]);
  });

  test('fail with scenario, step, what was expected and what came', async () => {
    const source = spoilt({ pushKvBlocks: failing(new TypeError('not today')) });
    const failures = await failuresOf({ source, scenarios: named('push-blocks', 'pull-blocks') }, (name) =>
      /^pu(sh|ll)-/.test(name),
    );
    expect([...failures.keys()]).toEqual(['push-blocks']);
    expect(failures.get('push-blocks')).toMatch(
      /push-blocks: step \d+ \(pushBlocks on \w\): exception: expected LLM_SUCCESS, got TypeError: not today/,
    );
  });

  test('are run where their hosts are', async () => {
    const started: string[] = [];
    const tested: TestedBackend = {
      source: mockBackends,
      hosts: (scenario, settings) => {
        started.push(scenario.name, String(settings.guards));
        return { hosts: [], freePorts: mockBackends().freePorts };
      },
      scenarios: named('push-blocks'),
    };
    await failuresOf(tested, (name) => name === 'push-blocks');
    expect(started).toEqual(['push-blocks', 'false']);
  });
});

describe('describeBackend', () => {
  test('keeps the instances of each test apart from those of others', () => {
    const settings: unknown[] = [];
    const source: BackendSource = (given) => {
      settings.push(given);
      return mockBackends(given);
    };
    const [first, second] = collectedSuite({ source, scenarios: [] });
    expect(settings).toEqual([]);
    return Promise.all([first!.run(), second!.run()]).then(() => {
      expect(settings).toEqual([{ guards: true }, { guards: true }]);
    });
  });

  test('takes a factory alone, whose instances get ports of this host', async () => {
    const names: string[] = [];
    const runs: (() => Promise<void>)[] = [];
    describeBackend('a factory', (clusterId, role) => new MockBackend(clusterId, role), {
      expect,
      test: (name, run) => {
        names.push(name);
        runs.push(run);
      },
    });
    // Without groups their names are part of those of the tests.
    expect(names[0]).toBe('a factory › instances › has a name');
    expect(names.at(-1)).toBe(`a factory › scenarios › ${shippedScenarios().at(-1)!.name}`);
    for (const run of runs.slice(0, BEHAVIOUR_NAMES.length)) await run();
  });

  test('leaves out what it is told to, and nothing else', () => {
    const leaveOut = [{ name: 'has a name', because: 'it is shy' }];
    const names = collectedSuite({ source: mockBackends, scenarios: [], leaveOut }).map(({ name }) => name);
    expect(names).toEqual(BEHAVIOUR_NAMES.filter((name) => name !== 'has a name'));
  });

  test('makes no more instances for a test than a process can have', async () => {
    const made: number[] = [];
    const source: BackendSource = (settings) => {
      const { createBackend, freePorts } = mockBackends(settings);
      const own = made.push(0) - 1;
      return {
        freePorts,
        createBackend: (clusterId, role) => {
          made[own]! += 1;
          return createBackend(clusterId, role);
        },
      };
    };
    const scenarios = shippedScenarios().filter(({ tags }) => tags.includes('init'));
    const mostNodes = Math.max(...scenarios.map(({ nodes }) => nodes.size));
    const counts: number[] = [];
    for (const maxNodes of [1, 2, undefined]) {
      made.length = 0;
      const tests = collectedSuite({ source, scenarios, maxNodes });
      for (const { run } of tests) await run();
      expect(made.reduce((most, each) => Math.max(most, each))).toBe(maxNodes ?? mostNodes);
      counts.push(tests.length);
    }
    expect(counts[0]).toBeGreaterThan(20);
    expect(counts[1]).toBeGreaterThan(counts[0]!);
    expect(counts[2]).toBe(BEHAVIOUR_NAMES.length + scenarios.length);
    // Where they live elsewhere, their number is no matter of this process.
    const names = collectedSuite({ source, scenarios, maxNodes: 1, hosts: localHosts(source) });
    expect(names.filter(({ name }) => !BEHAVIOUR_NAMES.includes(name))).toHaveLength(scenarios.length);
  });

  test.each<[string, unknown[], string]>([
    ['a number of nodes', ['b', { source: mockBackends, maxNodes: '1' }, nothing], 'backend.maxNodes'],
    ['a name', [1, mockBackends, nothing], 'name'],
    ['a backend', ['b', undefined, nothing], 'backend'],
    ['a source', ['b', {}, nothing], 'backend.source'],
    ['hosts', ['b', { source: mockBackends, hosts: [] }, nothing], 'backend.hosts'],
    ['what to leave out', ['b', { source: mockBackends, leaveOut: 'all' }, nothing], 'backend.leaveOut'],
    ['a kit', ['b', { source: mockBackends }, undefined], 'kit'],
    ['a test function', ['b', { source: mockBackends }, { expect }], 'kit.test'],
    ['an expect function', ['b', { source: mockBackends }, { test }], 'kit.expect'],
    ['a describe function', ['b', { source: mockBackends }, { ...nothing, describe: 'it' }], 'kit.describe'],
  ])('refuses what is not %s', (_, args, argument) => {
    const call = () => {
      (describeBackend as (...args: unknown[]) => void)(...args);
    };
    expect(call).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }) as Error);
    expect(call).toThrow(`"${argument}"`);
  });

  test('refuses to leave out what is not there', () => {
    const leaveOut = [{ name: 'has no name', because: '' }];
    expect(() => {
      describeBackend('b', { source: mockBackends, leaveOut }, nothing);
    }).toThrow(/"backend\.leaveOut\[0\]\.name" is out of range\. .* Received "has no name"/);
  });
});

test('runners of other kinds fit, and what does not fit is a type error', () => {
  const assertion = (actual: unknown) => ({
    toEqual: (expected: unknown) => {
      expect(actual).toEqual(expected);
    },
  });
  const kits: TestKit[] = [
    { test, expect, describe },
    { test: it, expect },
    { test: nodeTest.test, describe: nodeTest.describe, expect: assertion },
    // As vitest's: options or a time limit may follow, and something comes back.
    {
      test: (name: string, run: () => unknown, limits?: number | object): object => [name, run, limits],
      expect: assertion,
    },
    // @ts-expect-error without expect
    { test },
    // @ts-expect-error expect that compares nothing
    { test, expect: () => ({ toBe: () => undefined }) },
    // @ts-expect-error test that takes the function first
    { test: (run: () => void, name: string) => [run, name], expect },
  ];
  expect(kits).toHaveLength(7);
  const wrong = () => {
    // @ts-expect-error a factory makes backends
    describeBackend('b', () => ({}), nothing);
    // @ts-expect-error a source makes factories
    describeBackend('b', { source: new MockBackend(1n, 1) }, nothing);
  };
  expect(wrong).toBeInstanceOf(Function);
});

test('node:test runs it with assert in place of expect, and its exit code tells of a failure', () => {
  const compiled = compileLib('conformance/index');
  const program = join(dirname(compiled.path), 'own.test.js');
  writeFileSync(
    program,
    `const assert = require('node:assert/strict');
     const { describe, test } = require('node:test');
     const { describeBackend, loadScenarios, mockBackends } = require('./index.js');
     const expect = (actual) => ({ toEqual: (expected) => assert.deepStrictEqual(actual, expected) });
     const [, , scenarios, spoil] = process.argv;
     const source = (settings) => {
       const { createBackend, freePorts } = mockBackends(settings);
       const nameless = (...args) => Object.assign(createBackend(...args), { name: '' });
       return { freePorts, createBackend: spoil ? nameless : createBackend };
     };
     describeBackend('own', { source, scenarios: loadScenarios(scenarios).slice(0, ${FEW}) }, { test, describe, expect });`,
  );
  const scenarios = join(RECORDINGS, 'scenarios');
  const run = (...args: readonly string[]) => {
    const { status, stdout } = spawnSync(process.execPath, ['--test-reporter', 'tap', program, scenarios, ...args], {
      encoding: 'utf8',
      // A test of node:test that runs inside another one reports to that.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    });
    return {
      status,
      failed: Number(/^# fail (\d+)$/m.exec(stdout)?.[1]),
      passed: Number(/^# pass (\d+)$/m.exec(stdout)?.[1]),
      stdout,
    };
  };
  try {
    const all = BEHAVIOUR_NAMES.length + FEW;
    expect(run()).toMatchObject({ status: 0, failed: 0, passed: all });
    const wrong = run('spoil');
    expect(wrong).toMatchObject({ status: 1, failed: 1, passed: all - 1 });
    expect(wrong.stdout).toMatch(/not ok \d+ - has a name/);
  } finally {
    compiled.remove();
  }
});
