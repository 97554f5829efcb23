import { join } from 'node:path';
import {
  childHosts,
  describeBackend,
  formatDifference,
  loadScenarios,
  runScenario,
  runScenarioOn,
  tcpMockBackends,
} from '../lib/conformance';
import type { Scenario } from '../lib/conformance';
import { inJobs } from '../lib/conformance/jobs';
import { compileLib } from './fixtures/compiled-lib';
import { handWritten, random } from './fixtures/recordings';

/** Connections and processes are made here, on machines that have other things to do. */
jest.setTimeout(300_000);

const PER_TEST = 50;
const batches = Array.from({ length: Math.ceil(random.length / PER_TEST) }, (_, i) => {
  const scenarios = random.slice(i * PER_TEST, (i + 1) * PER_TEST);
  return { first: scenarios[0]!.name, last: scenarios.at(-1)!.name, scenarios };
});
const own = loadScenarios(join(__dirname, 'conformance', 'differential.jsonl'));

async function differences(scenarios: readonly Scenario[]): Promise<string[]> {
  const lines: string[] = [];
  const play = async (scenario: Scenario) => (await runScenario(scenario, tcpMockBackends)).map(formatDifference);
  await inJobs(scenarios, 8, play, (found) => lines.push(...found));
  return lines;
}

describeBackend('the mock over TCP', { source: tcpMockBackends, scenarios: handWritten }, { test, expect, describe });

// Several at a time: each test waits for peers that do not answer, in real time.
describe('the mock over TCP answers as the library did at random', () => {
  test.each(batches)('$first to $last', async ({ scenarios }) => {
    expect(await differences(scenarios)).toEqual([]);
  });

  test('in scenarios of our own', async () => {
    expect(await differences(own)).toEqual([]);
  });
});

describe('with each node in a process of its own', () => {
  const compiled = compileLib('conformance/host-program');
  afterAll(() => {
    compiled.remove();
  });

  /** Some of each kind; the command runs all of them. */
  const NAMES = [
    'finalize-while-linked',
    'hixl-both-ways',
    'hixl-late-registration',
    'hixl-link-id-repointed',
    'hixl-unregister-while-linked',
    'late-registration-invisible',
    'link-mixed-list',
    'link-serves-both-directions',
    'port-in-use',
    'push-blocks',
    'setrole-late-listener-refuses-links',
    'three-node-chain',
    'unlink-dead-peer',
    'unlink-forced-leaves-peer-linked',
  ];
  const chosen = NAMES.map((name) => handWritten.find((scenario) => scenario.name === name)!);

  test.each(chosen.map((scenario) => [scenario.name, scenario] as const))('%s', async (_name, scenario) => {
    const source = childHosts({ backend: 'mock-tcp', processes: 'node', program: compiled.path });
    expect((await runScenarioOn(source, scenario)).map(formatDifference)).toEqual([]);
  });
});
