import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseListenAddress } from '../lib/option-text/listen-address';
import {
  OptionError,
  checkHcclOptions,
  checkHixlOptions,
  checkLateOptions,
  readBackend,
  readDevicesAndListener,
  type Options,
} from '../lib/option-text/options';
import { ruleOf } from './fixtures/option-rule';

/** Both parts, one after the other, as Initialize reads them. */
function readInitOptions(options: Options) {
  const { devices, listen } = readDevicesAndListener(options);
  return { listen, ...readBackend(options, devices) };
}

const PORT = 26000;
const LISTEN = { ip: '127.0.0.1', port: PORT, boundPort: PORT };

test('HCCL: half of the internal listen options is refused', () => {
  expect(ruleOf(() => checkHcclOptions({ 'llm.ListenPort': '1' }))).toContain('llm.ListenPort');
  expect(checkHcclOptions({ 'llm.ListenPort': '1', 'llm.ListenIpInfo': '127.0.0.1:1' })).toEqual({});
});

describe('what is read before the device is touched', () => {
  test('an HCCL client, an HCCL listener, a hixl cluster', () => {
    expect(readInitOptions({ 'llm.DeviceId': ' +07' })).toEqual({ deviceId: 7, listen: undefined, backend: 'hccl' });
    const listening = { 'llm.DeviceId': '0', 'llm.ListenIpInfo': '127.0.0.1:26000', unknown: '', '': 'x' };
    expect(readInitOptions(listening)).toEqual({ deviceId: 0, listen: LISTEN, backend: 'hccl' });
    const hixl = { ...listening, 'llm.TransferBackend': 'hixl' };
    expect(readInitOptions(hixl)).toEqual({ deviceId: 0, listen: LISTEN, backend: 'hixl' });
  });

  test.each<[Options, string]>([
    [{}, 'llm.DeviceId is missing'],
    [{ 'llm.DeviceId': '' }, 'llm.DeviceId is ""; it must be one number from 0 to 2147483647'],
    [{ 'llm.DeviceId': '-1' }, 'llm.DeviceId is "-1"'],
    [{ 'llm.DeviceId': '2147483648' }, 'llm.DeviceId is "2147483648"'],
    [{ 'llm.DeviceId': '0;' }, 'it must be one number'],
    [{ 'llm.DeviceId': '0;1' }, 'llm.DeviceId is "0;1"; a cluster has exactly one device'],
    [{ 'llm.DeviceId': '0', 'llm.ListenIpInfo': 'x' }, 'llm.ListenIpInfo is "x"'],
    [{ 'llm.DeviceId': '0', 'llm.TransferBackend': '' }, 'llm.TransferBackend is ""; it must be "hixl"'],
    [{ 'llm.DeviceId': '0', 'llm.TransferBackend': 'HIXL' }, 'llm.TransferBackend is "HIXL"'],
  ])('%j is refused', (options, rule) => {
    expect(ruleOf(() => readInitOptions(options))).toContain(rule);
  });

  test('the first broken rule in the order of the library is the one reported', () => {
    const wrong = { 'llm.DeviceId': '0;x', 'llm.ListenIpInfo': 'x', 'llm.TransferBackend': 'x' };
    expect(ruleOf(() => readInitOptions(wrong))).toContain('llm.DeviceId');
    expect(ruleOf(() => readInitOptions({ ...wrong, 'llm.DeviceId': '0;1' }))).toContain('llm.ListenIpInfo');
    const listening = { ...wrong, 'llm.DeviceId': '0;1', 'llm.ListenIpInfo': '1.2.3.4:5' };
    expect(ruleOf(() => readInitOptions(listening))).toContain('llm.TransferBackend');
    expect(ruleOf(() => readInitOptions({ ...listening, 'llm.TransferBackend': 'hixl' }))).toContain('one device');
  });
});

describe('the HCCL backend', () => {
  test.each<[Options, string | undefined]>([
    [{}, undefined],
    [{ 'llm.LocalCommRes': '' }, undefined],
    [{ 'llm.LocalCommRes': 'anything' }, 'anything'],
    [{ 'llm.RdmaTrafficClass': '4294967295', 'llm.RdmaServiceLevel': '-1' }, undefined],
    [{ 'llm.LinkTotalTime': '-2147483648', 'llm.LinkRetryCount': '100' }, undefined],
    [{ 'llm.GlobalResourceConfig': 'anything', 'llm.BufPoolCfg': 'anything' }, undefined],
  ])('accepts %j', (options, localCommRes) => {
    expect(checkHcclOptions(options)).toEqual({ localCommRes });
  });

  test.each<[Options, string]>([
    [{ 'llm.RdmaTrafficClass': '', 'llm.RdmaServiceLevel': '' }, 'llm.RdmaTrafficClass is ""'],
    [{ 'llm.RdmaServiceLevel': '4294967296', 'llm.LinkTotalTime': '' }, 'llm.RdmaServiceLevel is "4294967296"'],
    [{ 'llm.LinkTotalTime': '1.0', 'llm.LinkRetryCount': '' }, 'llm.LinkTotalTime is "1.0"'],
    [{ 'llm.LinkRetryCount': '0' }, 'llm.LinkRetryCount is "0"; it must be a number from 1 to 100'],
    [{ 'llm.LinkRetryCount': '101' }, 'llm.LinkRetryCount is "101"'],
    [{ 'llm.LinkRetryCount': 'x' }, 'llm.LinkRetryCount is "x"'],
  ])('refuses %j', (options, rule) => {
    expect(ruleOf(() => checkHcclOptions(options))).toContain(rule);
  });
});

describe('what is read after the backend was started', () => {
  test('defaults, and everything set', () => {
    expect(checkLateOptions({})).toEqual({ waitTimeMs: 1000, devicePool: undefined, hostPool: undefined });
    expect(
      checkLateOptions({
        'llm.SyncKvCacheWaitTime': '99999999999999',
        'llm.MemPoolConfig': '{"memory_size":65536}',
        'llm.HostMemPoolConfig': '{"page_shift":30,"memory_size":4611686017353646079}',
      }),
    ).toEqual({
      waitTimeMs: 276447231,
      devicePool: { memorySize: 65536n, pageShift: 16 },
      hostPool: { memorySize: 4611686017353646079n, pageShift: 30 },
    });
  });

  test.each<[string, number]>([
    ['{"memory_size":1024,"page_shift":10}', 10],
    ['{"memory_size":1073741824,"page_shift":30}', 30],
    ['{"memory_size":4398046510079,"page_shift":10}', 10],
  ])('the memory pool %s is within its limits', (text, pageShift) => {
    expect(checkLateOptions({ 'llm.MemPoolConfig': text }).devicePool?.pageShift).toBe(pageShift);
  });

  test.each<[string, string]>([
    ['', 'not JSON'],
    ['x', 'not JSON'],
    ['[]', '"memory_size" is an unsigned integer'],
    ['{}', '"memory_size" is an unsigned integer'],
    ['{"memory_size":-1}', '"memory_size" is an unsigned integer'],
    ['{"memory_size":65536.0}', '"memory_size" is an unsigned integer'],
    ['{"memory_size":"65536"}', '"memory_size" is an unsigned integer'],
    ['{"memory_size":18446744073709551616}', '"memory_size" is an unsigned integer'],
    ['{"memory_size":65536,"page_shift":9}', '"page_shift" must be an unsigned integer from 10 to 30'],
    ['{"memory_size":65536,"page_shift":31}', '"page_shift" must be'],
    ['{"memory_size":65536,"page_shift":1e1}', '"page_shift" must be'],
    ['{"memory_size":65536,"page_shift":null}', '"page_shift" must be'],
    ['{"memory_size":4398046510080,"page_shift":10}', '4398046510080 bytes are too many pages of 1024 bytes'],
    ['{"memory_size":65535}', 'is less than one page of 65536 bytes'],
    ['{"memory_size":0}', 'is less than one page'],
  ])('the memory pool %s is refused', (text, rule) => {
    for (const option of ['llm.MemPoolConfig', 'llm.HostMemPoolConfig']) {
      expect(ruleOf(() => checkLateOptions({ [option]: text }))).toContain(rule);
      expect(ruleOf(() => checkLateOptions({ [option]: text }))).toContain(option);
    }
  });

  test('wait time comes first, then the device pool, then the host pool', () => {
    const wrong = { 'llm.SyncKvCacheWaitTime': 'x', 'llm.MemPoolConfig': 'x', 'llm.HostMemPoolConfig': 'x' };
    expect(ruleOf(() => checkLateOptions(wrong))).toContain('llm.SyncKvCacheWaitTime is "x"; it must be digits only');
    expect(ruleOf(() => checkLateOptions({ ...wrong, 'llm.SyncKvCacheWaitTime': '1' }))).toContain('llm.MemPoolConfig');
  });
});

interface Step {
  readonly op: string;
  readonly node: string;
  readonly status?: string;
  readonly role?: string | number;
  readonly options?: Options;
}
interface Scenario {
  readonly name: string;
  readonly nodes: Record<string, { role: string | number }>;
  readonly steps: readonly Step[];
}

const RECORDINGS = join(__dirname, 'conformance/recordings');
const SCENARIOS: Scenario[] = [
  ...readdirSync(join(RECORDINGS, 'scenarios')).map((name) =>
    readFileSync(join(RECORDINGS, 'scenarios', name), 'utf8'),
  ),
  ...readFileSync(join(RECORDINGS, 'random.jsonl'), 'utf8').trim().split('\n'),
].map((text) => JSON.parse(text) as Scenario);

const withPorts = (options: Options): Options =>
  Object.fromEntries(
    Object.entries(options).map(([key, text]) => [key, text.replace(/\$\{port:[^}]*\}/g, String(PORT))]),
  );

/** What the options alone make of Initialize. */
function statusOf(options: Options): string {
  try {
    const { listen, backend } = readInitOptions(options);
    if (backend === 'hccl') checkHcclOptions(options);
    else checkHixlOptions(options, listen, {});
    checkLateOptions(options);
    return 'LLM_SUCCESS';
  } catch (error) {
    expect(error).toBeInstanceOf(OptionError);
    return 'LLM_PARAM_INVALID';
  }
}

/** Calls whose outcome depends on the options, with what was recorded for them. */
function optionCalls(scenario: Scenario): { op: string; options: Options; status: string }[] {
  const initialized = new Set<string>();
  return scenario.steps.flatMap(({ op, node, status = '', role, options = {} }) => {
    const fresh = !initialized.has(node);
    if (op === 'finalize') initialized.delete(node);
    const roleGiven = op === 'init' ? scenario.nodes[node]?.role : role;
    if (typeof roleGiven !== 'string') return [];
    if (op === 'init' && fresh) {
      if (status === 'LLM_SUCCESS') initialized.add(node);
      return [{ op, options: withPorts(options), status }];
    }
    return op === 'setRole' && !fresh ? [{ op, options: withPorts(options), status }] : [];
  });
}

describe('the recordings of the library', () => {
  const recorded = SCENARIOS.map((scenario) => [scenario.name, optionCalls(scenario)] as const);

  test('are there', () => {
    const statuses = recorded.flatMap(([, calls]) => calls.map(({ op, status }) => `${op} ${status}`));
    for (const kind of ['init LLM_SUCCESS', 'init LLM_PARAM_INVALID', 'init LLM_FAILED', 'setRole LLM_PARAM_INVALID']) {
      expect(statuses.filter((status) => status === kind).length).toBeGreaterThan(4);
    }
  });

  test.each(recorded.filter(([, calls]) => calls.some(({ status }) => status !== 'LLM_SUCCESS')))(
    '%s',
    (_name, calls) => {
      for (const { op, options, status } of calls) check(op, options, status);
    },
  );

  test('all calls that succeeded', () => {
    const calls = recorded.flatMap(([, all]) => all).filter(({ status }) => status === 'LLM_SUCCESS');
    for (const { op, options, status } of calls) check(op, options, status);
  });
});

function check(op: string, options: Options, status: string): void {
  const listen = options['llm.ListenIpInfo'];
  if (op === 'setRole') {
    if (status === 'LLM_PARAM_INVALID')
      expect(ruleOf(() => parseListenAddress(listen ?? ''))).toContain('ListenIpInfo');
    else if (listen !== undefined) expect(parseListenAddress(listen).port).toBe(PORT);
  } else if (status === 'LLM_FAILED') {
    // The device is missing or the port taken: what comes before that was fine.
    expect(readInitOptions(options).deviceId).toBeGreaterThanOrEqual(0);
  } else {
    expect([options, statusOf(options)]).toEqual([options, status]);
  }
}
