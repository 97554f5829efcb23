import { MockBackend } from '../lib/backend/mock/mock-backend';
import { createNativeBackend } from '../lib/backend/native';
import {
  guardRefusals,
  hostPorts,
  isolatedPorts,
  mockBackends,
  nativeBackends,
  parseScenario,
  runScenario,
} from '../lib/conformance';
import type { BackendSource } from '../lib/conformance';
import { namedBackends } from '../lib/conformance/backends';

jest.mock('../lib/backend/native');
const createNative = jest.mocked(createNativeBackend);
beforeEach(() => {
  createNative.mockReset().mockImplementation((clusterId, role) => new MockBackend(clusterId, role));
});

const nodes = { P: { role: 'PROMPT', clusterId: '1' } };
const steps = [{ op: 'init', node: 'P', options: { 'llm.DeviceId': '0' }, status: 'LLM_SUCCESS' }];
const scenario = parseScenario({ name: 'little', nodes, steps });

describe('native instances', () => {
  const guarded: [title: string, run: () => Promise<unknown>, guards: boolean][] = [
    ['without guards where recordings are compared', () => runScenario(scenario, nativeBackends), false],
    ['with guards where guards are looked at', () => guardRefusals([scenario], nativeBackends), true],
  ];
  test.each(guarded)('are made %s', async (_title, run, guards) => {
    expect(await run()).toEqual([]);
    expect(createNative.mock.calls).toEqual([[1n, 1, { allowMultipleInstances: true, guards }]]);
  });

  test.each([
    ['may be the only one', true],
    ['may have others', false],
  ])('of a process that %s', (_title, alone) => {
    namedBackends('native', { alone })({ guards: false }).createBackend(2n, 3);
    expect(createNative.mock.calls).toEqual([[2n, 3, { allowMultipleInstances: !alone, guards: false }]]);
  });
});

test('ports are of this host, but for mocks, which have a network of their own', () => {
  const portsOf = (source: BackendSource) => source().freePorts;
  expect(portsOf(mockBackends)).toBe(isolatedPorts);
  expect(portsOf(namedBackends('mock', { alone: true }))).toBe(isolatedPorts);
  for (const source of [
    nativeBackends,
    namedBackends('native', { alone: true }),
    namedBackends('x.js', { alone: true }),
  ])
    expect(portsOf(source)).toBe(hostPorts);
});

describe('an instance that cannot be made', () => {
  const refusing: BackendSource = () => ({
    ...mockBackends(),
    createBackend: () => {
      throw new TypeError('not this one');
    },
  });

  test('is a difference, and nothing else is done', async () => {
    expect(await runScenario(scenario, refusing)).toEqual([
      {
        scenario: 'little',
        step: 0,
        op: 'start',
        node: 'P',
        kind: 'exception',
        expected: 'an instance',
        got: 'TypeError: not this one',
      },
    ]);
  });

  test('is an error where guards are looked at', async () => {
    await expect(guardRefusals([scenario], refusing)).rejects.toThrow(
      /little: step 0 \(start on P\): exception: expected an instance, got TypeError: not this one/,
    );
  });
});
