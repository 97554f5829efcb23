import type { Backend } from '../lib/backend/backend';
import { formatDifference, mockBackends, runScenario } from '../lib/conformance';
import type { Difference, DifferenceKind, Op, Scenario, Step } from '../lib/conformance';
import { LLMException } from '../lib/exception';
import { LLMStatusCode } from '../lib/status';
import { changeStep, findStep, handWritten, random } from './fixtures/recordings';
import { failing, spoilt } from './fixtures/spoilt-backend';

const { LLM_SUCCESS, LLM_FAILED, LLM_LINK_BUSY } = LLMStatusCode;

/** A status that the library has never given. */
const NEVER = 0x0bad_beef;

type StepOf<O extends Op> = Extract<Step, { op: O }>;
type Answered = Exclude<Op, 'finalize'>;

/** A recorded step of one kind with one of its expectations made wrong, and what must be said about it. */
interface Falsification {
  readonly title: string;
  readonly matches: (step: Step) => boolean;
  readonly change: (step: never) => object;
  readonly kind: DifferenceKind;
  readonly expected?: string;
  readonly got?: string | RegExp;
}

function of<O extends Op>(op: O, matches: (step: StepOf<O>) => boolean = () => true): (step: Step) => boolean {
  return (step) => step.op === op && matches(step as StepOf<O>);
}

const ANSWERED: readonly Answered[] = [
  'init',
  'setRole',
  'register',
  'unregister',
  'link',
  'unlink',
  'pullCache',
  'pullBlocks',
  'pushCache',
  'pushBlocks',
];
const CLUSTER_CALLS = ['link', 'unlink'] as const;
const TRANSFERS = ['pullCache', 'pullBlocks', 'pushCache', 'pushBlocks'] as const;

const hasFreshMemory = (step: Step) => step.op !== 'register' || step.desc.numTensors < 100;

const statuses: Falsification[] = [...ANSWERED, 'raw' as const].flatMap((op) => {
  const fails = of(op, (step) => step.status !== LLM_SUCCESS && hasFreshMemory(step));
  const succeeds = of(op, (step) => step.status === LLM_SUCCESS);
  const wrong: Falsification[] = [
    {
      title: `${op}: a failure where success is expected`,
      matches: fails,
      change: () => ({ status: LLM_SUCCESS }),
      kind: 'status',
      expected: 'LLM_SUCCESS',
      got: /^LLM_(?!SUCCESS)/,
    },
    {
      title: `${op}: a failure with another status`,
      matches: fails,
      change: () => ({ status: NEVER }),
      kind: 'status',
      expected: '0x0BADBEEF',
      got: /^LLM_(?!SUCCESS)/,
    },
    {
      title: `${op}: a success where a failure is expected`,
      matches: succeeds,
      change: () => ({ status: LLM_LINK_BUSY }),
      kind: 'status',
      expected: 'LLM_LINK_BUSY',
      got: 'LLM_SUCCESS',
    },
  ];
  // Today's library never succeeds in these.
  return op === 'raw' ? wrong.slice(0, 2) : wrong;
});

const results: Falsification[] = CLUSTER_CALLS.flatMap((op) => [
  {
    title: `${op}: one cluster of several with another status`,
    matches: of(op, (step) => step.results.length > 1),
    change: (step: StepOf<typeof op>) => ({ results: step.results.with(1, NEVER) }),
    kind: 'results' as const,
    expected: '0x0BADBEEF',
  },
  {
    title: `${op}: a missing result`,
    matches: of(op, (step) => step.results.length > 1),
    change: (step: StepOf<typeof op>) => ({ results: [...step.results, LLM_SUCCESS] }),
    kind: 'results' as const,
  },
  {
    title: `${op}: a result too many`,
    matches: of(op, (step) => step.results.length > 0),
    change: (step: StepOf<typeof op>) => ({ results: step.results.slice(1) }),
    kind: 'results' as const,
  },
  {
    title: `${op}: results of a call that was refused as a whole`,
    matches: of(op, (step) => step.results.length === 0),
    change: () => ({ results: [LLM_FAILED] }),
    kind: 'results' as const,
    expected: '[LLM_FAILED]',
    got: '[]',
  },
]);

const bytes: Falsification[] = TRANSFERS.flatMap((op) =>
  [0, 1].map((which) => ({
    title: `${op}: other bytes in ${which === 0 ? 'one' : 'the other'} cache`,
    matches: of(op, (step) => step.crc.size === 2),
    change: (step: StepOf<typeof op>) => ({
      crc: new Map([...step.crc].with(which, [[...step.crc.keys()][which]!, '0badbeef'])),
    }),
    kind: 'crc' as const,
    expected: '0badbeef',
    got: /^[\da-f]{8}$/,
  })),
);

const ids: Falsification[] = [
  {
    title: 'register: another cacheId',
    matches: of('register', (step) => step.cacheId === 2n),
    change: () => ({ cacheId: 77n }),
    kind: 'cacheId',
    expected: '77',
    got: '2',
  },
];

describe('a wrong expectation is reported, at its step and nothing else', () => {
  test.each([...statuses, ...results, ...bytes, ...ids])('$title', async ({ matches, change, kind, expected, got }) => {
    const place = findStep(matches);
    const step = place.scenario.steps[place.index]!;
    const differences = await runScenario(changeStep(place, change(step as never)), mockBackends);
    expect(differences).toEqual([
      expect.objectContaining({ scenario: place.scenario.name, step: place.index, op: step.op, node: step.node, kind }),
    ]);
    const [difference] = differences;
    if (expected !== undefined) expect(difference!.expected).toContain(expected);
    if (got !== undefined) expect(difference!.got).toMatch(got);
    expect(difference!.got).not.toBe(difference!.expected);
  });

  test('the bytes of a failing transfer count as well', async () => {
    const place = findStep(of('pushCache', (step) => step.status !== LLM_SUCCESS && step.crc.size > 0));
    const { crc } = place.scenario.steps[place.index] as StepOf<'pushCache'>;
    const [cache] = [...crc.keys()];
    const wrong = changeStep(place, { crc: new Map([...crc, [cache!, '0badbeef']]) });
    expect(await runScenario(wrong, mockBackends)).toMatchObject([{ step: place.index, kind: 'crc', cache }]);
  });
});

const named = (name: string): Scenario => [...handWritten, ...random].find((scenario) => scenario.name === name)!;
const kinds = (differences: readonly Difference[]) => differences.map(({ op, kind }) => `${op}: ${kind}`);

describe('a backend that breaks its promises', () => {
  const pull = named('pull-cache-rows');

  test('rejecting with something else than an LLMException is a difference of its own', async () => {
    const source = spoilt({ pullKvCache: failing(new TypeError('cannot read properties of undefined')) });
    const differences = await runScenario(pull, source);
    expect(new Set(kinds(differences))).toEqual(new Set(['pullCache: exception']));
    expect(differences[0]).toMatchObject({
      expected: 'LLM_SUCCESS',
      got: 'TypeError: cannot read properties of undefined',
    });
  });

  test('throwing what is no error at all does not stop the run', async () => {
    const source = spoilt({ pullKvCache: failing('no error' as unknown as Error) });
    const differences = await runScenario(pull, source);
    expect(differences[0]).toMatchObject({ kind: 'exception', got: "a rejection with 'no error'" });
    expect(differences).toHaveLength(pull.steps.filter(({ op }) => op === 'pullCache').length);
  });

  test('a number that the package cannot pass on is one too', async () => {
    const place = findStep(of('link', (step) => step.clusters.length === 1 && step.status === LLM_SUCCESS));
    const { clusters } = place.scenario.steps[place.index] as StepOf<'link'>;
    const wrong = changeStep(place, { clusters: [{ ...clusters[0], remote: [['127.0.0.1', '99999']] }] });
    const [first] = await runScenario(wrong, mockBackends);
    expect(first).toMatchObject({ step: place.index, kind: 'exception', expected: 'LLM_SUCCESS' });
    expect(first!.got).toMatch(/^RangeError: .*port/);
  });

  test('a failing finalize is reported, as a step and at the end', async () => {
    const refuse = failing(new LLMException(LLM_FAILED, { operation: 'finalize' }));
    const scenario = named('finalize-while-linked');
    const differences = await runScenario(scenario, spoilt({ finalize: refuse }));
    const first = scenario.steps.findIndex(({ op }) => op === 'finalize');
    expect(differences[0]).toMatchObject({ step: first, kind: 'status', expected: 'LLM_SUCCESS', got: 'LLM_FAILED' });
    expect(await runScenario(pull, spoilt({ finalize: refuse }))).toMatchObject(
      [...pull.nodes.keys()].map((node) => ({ step: pull.steps.length, op: 'finalize', node, kind: 'exception' })),
    );
  });

  test('steps that need a cache whose registration failed are not made, and say so', async () => {
    const refuse = failing(new LLMException(LLM_FAILED, { operation: 'registerCache' }));
    const differences = await runScenario(pull, spoilt({ registerKvCache: refuse }));
    expect(new Set(kinds(differences))).toEqual(new Set(['register: status', 'pullCache: not made']));
    expect(differences.find(({ kind }) => kind === 'not made')!.expected).toMatch(/^cache \w+, \w+ to be registered$/);
  });

  test('a name does not stand for an older cache when its registration failed', async () => {
    let calls = 0;
    const source = spoilt({
      registerKvCache:
        (original) =>
        async (...args) => {
          calls += 1;
          if (calls > 1) throw new LLMException(LLM_FAILED, { operation: 'registerCache' });
          return original(...args);
        },
    });
    const [init, register] = [pull.steps.find(({ op }) => op === 'init')!, pull.steps.find(of('register'))!];
    const { node } = init;
    const { cache } = register as StepOf<'register'>;
    const unregister: Step = { op: 'unregister', node, target: { cache }, status: LLM_SUCCESS };
    const steps = [init, { ...register, node }, { ...register, node }, unregister];
    expect(kinds(await runScenario({ ...pull, steps }, source))).toEqual(['register: status', 'unregister: not made']);
  });

  test('a link that is refused as a whole has no results, where they are expected', async () => {
    const place = findStep(of('link', (step) => step.results.length === 1 && step.status === LLM_SUCCESS));
    const refuse = failing(new LLMException(LLM_FAILED, { operation: 'linkClusters' }));
    const differences = await runScenario(place.scenario, spoilt({ linkLlmClusters: refuse }));
    expect(differences.filter(({ step }) => step === place.index)).toMatchObject([
      { kind: 'status', expected: 'LLM_SUCCESS', got: 'LLM_FAILED' },
      { kind: 'results', expected: '[LLM_SUCCESS]', got: '[]' },
    ]);
  });

  test('a raw call that succeeds is noticed', async () => {
    const place = findStep(of('raw', (step) => step.call === 'AllocateCache'));
    const source = spoilt({ allocateCache: () => async () => ({ cacheId: 1n }) });
    const differences = await runScenario(place.scenario, source);
    expect(new Set(differences.map(({ got }) => got))).toEqual(new Set(['LLM_SUCCESS']));
    expect(differences[0]).toMatchObject({ step: place.index, op: 'raw', kind: 'status' });
  });

  test.each(['malloc', 'write', 'read', 'free'])('%s that fails is a matter of memory', async (method) => {
    const source = spoilt({ [method]: failing(new Error('no memory today')) });
    const differences = await runScenario(pull, source);
    expect(differences.find(({ kind }) => kind === 'memory')!.got).toBe('Error: no memory today');
  });
});

describe('at the end of a scenario', () => {
  test('instances are finalized and memory is freed, also when calls failed', async () => {
    const initialised = new Set<Backend>();
    const allocated = new Set<unknown>();
    const seen = { instances: 0, allocations: 0, failures: 0 };
    const source = spoilt({
      initialize: (original, backend) => async (options) => {
        await original(options);
        initialised.add(backend);
        seen.instances += 1;
      },
      finalize: (original, backend) => async () => {
        initialised.delete(backend);
        await original();
      },
      malloc: (original) => async (bytes, placement) => {
        const address = await original(bytes, placement);
        allocated.add(address);
        seen.allocations += 1;
        return address;
      },
      free: (original) => async (address) => {
        allocated.delete(address);
        await original(address);
      },
      pullKvBlocks: failing(new Error('broken')),
    });
    for (const scenario of random.slice(0, 30)) {
      seen.failures += (await runScenario(scenario, source)).length;
      expect([initialised.size, allocated.size]).toEqual([0, 0]);
    }
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(0);
  });
});

describe('a scenario that was not read but made by hand', () => {
  test('may not have a step on a node that it lacks', async () => {
    const lost: Scenario = { ...handWritten[0]!, steps: [{ op: 'finalize', node: 'nobody' }] };
    await expect(runScenario(lost, mockBackends)).rejects.toThrow(
      new RangeError(`the scenario ${lost.name} has no node nobody`),
    );
  });

  test('may not compare the bytes of a cache that it lacks', async () => {
    const place = findStep(of('pullCache'));
    const wrong = changeStep(place, { crc: new Map([['nothing', '00000000']]) });
    expect(await runScenario(wrong, mockBackends)).toMatchObject([
      {
        step: place.index,
        kind: 'memory',
        cache: 'nothing',
        got: `RangeError: the scenario ${wrong.name} has no cache nothing`,
      },
    ]);
  });
});

describe('formatDifference', () => {
  const difference: Difference = {
    scenario: 'pull-blocks',
    step: 4,
    op: 'pullBlocks',
    node: 'D',
    kind: 'status',
    expected: 'LLM_SUCCESS',
    got: 'LLM_TIMEOUT',
  };

  test('says where, what, what was expected and what came', () => {
    expect(formatDifference(difference)).toBe(
      'pull-blocks: step 4 (pullBlocks on D): status: expected LLM_SUCCESS, got LLM_TIMEOUT',
    );
  });

  test('names the cache, and repeats the exception on one line', () => {
    expect(formatDifference({ ...difference, kind: 'crc', cache: 'dk', message: 'two\n  lines' })).toBe(
      'pull-blocks: step 4 (pullBlocks on D): crc of cache dk: expected LLM_SUCCESS, got LLM_TIMEOUT (two lines)',
    );
  });
});
