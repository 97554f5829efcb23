import { guardRefusals, guardRefusalTable, mockBackends, parseScenario } from '../lib/conformance';
import type { GuardRefusal, Scenario } from '../lib/conformance';
import { handWritten, random } from './fixtures/recordings';
import { expectReadmeBlock } from './fixtures/readme';

const nodes = { P: { role: 'PROMPT', clusterId: '1' }, D: { role: 'DECODER', clusterId: '2' } };
const DESC = { numTensors: 2, dataType: 'DT_INT8', shape: [4, 8] };
/** Rows of four bits: the library takes them, a guard does not. */
const HALF_BYTES = { numTensors: 2, dataType: 'DT_INT4', shape: [2, 1] };

const init = (node: string, more: object = {}, status = 'LLM_SUCCESS') => ({
  op: 'init',
  node,
  options: { 'llm.DeviceId': '0', ...more },
  status,
});
const register = (cache: string, desc: object, cacheId = '1') => ({
  op: 'register',
  node: 'P',
  cache,
  desc,
  base: 0,
  status: 'LLM_SUCCESS',
  cacheId,
});
const pull = (dst: string, more: object = {}) => ({
  op: 'pullCache',
  node: 'P',
  src: { clusterId: '2', cacheId: '9' },
  dst,
  status: 'LLM_NOT_YET_LINK',
  crc: { [dst]: '00000000' },
  ...more,
});
const oneRange = { dstLayerRange: [0, 0] };
const scenario = (...steps: unknown[]): Scenario => parseScenario({ name: 'little', nodes, steps });

const refused = async (...steps: unknown[]) =>
  (await guardRefusals([scenario(...steps)], mockBackends)).map(({ step, rule }) => `${step} ${rule}`);

describe('guardRefusals', () => {
  test('tells which recorded call is refused, by which rule, and what the library answered', async () => {
    const step = { ...pull('a'), ...oneRange };
    expect(await guardRefusals([scenario(init('P'), register('a', DESC), step)], mockBackends)).toEqual([
      { scenario: 'little', step: 2, op: 'pullCache', rule: 'both-layer-ranges', recorded: 'LLM_NOT_YET_LINK' },
    ]);
  });

  test('leaves out what the library refuses as an invalid parameter too', async () => {
    const step = pull('a', { ...oneRange, status: 'LLM_PARAM_INVALID' });
    expect(await refused(init('P'), register('a', DESC), step)).toEqual([]);
  });

  test('leaves out what is refused by no rule', async () => {
    expect(await refused(init('P', { 'llm.DeviceId': 'x' }))).toEqual([]);
  });

  test('leaves out steps with a cache whose registration was refused, and goes on with the others', async () => {
    const steps = [register('a', HALF_BYTES), pull('a', oneRange), register('b', DESC, '2'), pull('b', oneRange)];
    expect(await refused(init('P'), ...steps)).toEqual(['1 whole-byte-rows', '4 both-layer-ranges']);
  });

  test('leaves out the steps of a node whose init was refused, until it is finalized', async () => {
    const badly = init('P', { 'llm.SyncKvCacheWaitTime': '0' });
    const twice = [register('a', HALF_BYTES)];
    expect(await refused(badly, ...twice)).toEqual(['0 wait-time']);
    expect(await refused(badly, ...twice, { op: 'finalize', node: 'P' }, init('P'), ...twice)).toEqual([
      '0 wait-time',
      '4 whole-byte-rows',
    ]);
  });

  test('goes on with the other nodes', async () => {
    const badly = init('P', { 'llm.SyncKvCacheWaitTime': '0' });
    const onD = { ...register('a', HALF_BYTES), node: 'D' };
    expect(await refused(badly, init('D'), onD)).toEqual(['0 wait-time', '2 whole-byte-rows']);
  });

  test('finds nothing where nothing is refused', async () => {
    expect(await refused(init('P'), register('a', DESC), pull('a'))).toEqual([]);
  });
});

describe('guardRefusalTable', () => {
  const refusal = (rule: GuardRefusal['rule'], name: string, step: number): GuardRefusal => ({
    scenario: name,
    step,
    op: 'init',
    rule,
    recorded: 'LLM_SUCCESS',
  });

  test('has one row per rule, in the order of the rules, with examples of different scenarios first', () => {
    const refusals = [
      refusal('wait-time', 'x', 1),
      refusal('wait-time', 'x', 2),
      refusal('wait-time', 'y', 3),
      refusal('wait-time', 'x', 4),
      refusal('cache-tensors', 'z', 0),
    ];
    expect(guardRefusalTable(refusals).split('\n')).toEqual([
      '| rule | recorded calls refused | examples (scenario, step) |',
      '| --- | ---: | --- |',
      '| `cache-tensors` | 1 | z, 0 |',
      '| `wait-time` | 4 | x, 1; y, 3; x, 2; … |',
    ]);
  });
});

test('the README lists what guards refuse of all recordings', async () => {
  const refusals = await guardRefusals([...handWritten, ...random], mockBackends);
  expect(refusals.length).toBeGreaterThan(0);
  expectReadmeBlock('guard-refusals', guardRefusalTable(refusals));
});
