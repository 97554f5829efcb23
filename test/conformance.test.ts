import { join } from 'node:path';
import { formatDifference, loadScenarios, mockBackends, runScenario } from '../lib/conformance';
import type { Scenario } from '../lib/conformance';
import { handWritten, random } from './fixtures/recordings';

const PER_TEST = 50;

const batches = Array.from({ length: Math.ceil(random.length / PER_TEST) }, (_, i) => {
  const scenarios = random.slice(i * PER_TEST, (i + 1) * PER_TEST);
  return { first: scenarios[0]!.name, last: scenarios.at(-1)!.name, scenarios };
});

async function differences(scenarios: readonly Scenario[]): Promise<string[]> {
  const lines: string[] = [];
  for (const scenario of scenarios) lines.push(...(await runScenario(scenario, mockBackends)).map(formatDifference));
  return lines;
}

describe('the mock answers as the recordings of the library do', () => {
  test.each(handWritten.map((scenario) => [scenario.name, scenario] as const))('%s', async (_name, scenario) => {
    expect(await differences([scenario])).toEqual([]);
  });

  test.each(batches)('$first to $last', async ({ scenarios }) => {
    expect(await differences(scenarios)).toEqual([]);
  });
});

/** Scenarios of this project, with the answers of the library built for a host without NPU. */
const own = loadScenarios(join(__dirname, 'conformance', 'differential.jsonl'));

test('the mock answers as the library did in scenarios of our own', async () => {
  expect(own.length).toBeGreaterThanOrEqual(180);
  expect(await differences(own)).toEqual([]);
});

describe('the recordings', () => {
  test('are all there', () => {
    expect(handWritten.length).toBeGreaterThanOrEqual(86);
    expect(random.length).toBeGreaterThanOrEqual(310);
  });

  test('have names of their own', () => {
    const names = [...handWritten, ...random].map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });

  test('hold calls of every kind, successful and refused', () => {
    const seen = new Set<string>();
    for (const { steps } of [...handWritten, ...random]) {
      for (const step of steps) seen.add('status' in step ? `${step.op} ${step.status === 0}` : step.op);
    }
    const answered = [
      'init',
      'setRole',
      'register',
      'link',
      'unlink',
      'pullCache',
      'pullBlocks',
      'pushCache',
      'pushBlocks',
    ];
    expect([...seen].sort()).toEqual(
      [
        ...answered.flatMap((op) => [`${op} true`, `${op} false`]),
        ...['unregister true', 'unregister false', 'raw false', 'finalize'],
      ].sort(),
    );
  });
});
