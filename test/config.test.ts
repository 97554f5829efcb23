import fc from 'fast-check';
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import { LLMConfig } from '../lib/config';
import { toOptions, toUntranslatedOptions } from '../lib/init-options';
import type { LLMInitOptions } from '../lib/init-options';
import type { LLMConfigOptions } from '../lib/config';
import { LLMException } from '../lib/exception';
import { OPTION_PROPERTIES } from '../lib/option-keys';
import type { OptionProperty } from '../lib/option-keys';
import { LLMStatusCode } from '../lib/status';

type Refusal = 'type' | 'range' | 'param';

interface PropertyCase {
  property: OptionProperty;
  /** What the getter says when nothing was assigned. */
  unset: unknown;
  /** Value given, value got back, and the options that come out. */
  accepted: [given: unknown, got: unknown, options: Record<string, string>][];
  refused: [given: unknown, how: Refusal][];
}

const LISTEN = '192.168.1.1:26000';

function textCase(property: OptionProperty, key: string, whenEmpty: Record<string, string>): PropertyCase {
  return {
    property,
    unset: '',
    accepted: [
      ['some text', 'some text', { [key]: 'some text' }],
      ['文\n{"a": 1}', '文\n{"a": 1}', { [key]: '文\n{"a": 1}' }],
      ['', '', whenEmpty],
    ],
    refused: [
      [1, 'type'],
      [null, 'type'],
      [true, 'type'],
      [['x'], 'type'],
      [new String('x'), 'type'],
      ['a\0b', 'param'],
      ['\0', 'param'],
    ],
  };
}

function flagCase(property: OptionProperty, whenTrue: Record<string, string>, whenFalse: Record<string, string>) {
  const values = ['1', 1, 0, 'true', null];
  return {
    property,
    unset: false,
    accepted: [
      [true, true, whenTrue],
      [false, false, whenFalse],
    ],
    refused: values.map((value) => [value, 'type']),
  } satisfies PropertyCase;
}

const NOT_NUMBERS: [unknown, Refusal][] = [
  ['1', 'type'],
  [true, 'type'],
  [null, 'type'],
  [{}, 'type'],
  [[1], 'type'],
];
const NOT_INTEGERS: [unknown, Refusal][] = [
  [1.5, 'range'],
  [NaN, 'range'],
];

function uint32Case(property: OptionProperty, key: string): PropertyCase {
  return {
    property,
    unset: undefined,
    accepted: [
      [0, 0, { [key]: '0' }],
      [-0, 0, { [key]: '0' }],
      [132, 132, { [key]: '132' }],
      [4294967295, 4294967295, { [key]: '4294967295' }],
      [4294967295n, 4294967295, { [key]: '4294967295' }],
    ],
    refused: [
      [-1, 'range'],
      [4294967296, 'range'],
      [-1n, 'range'],
      [4294967296n, 'range'],
      [Infinity, 'range'],
      ...NOT_NUMBERS,
      ...NOT_INTEGERS,
    ],
  };
}

const CASES: PropertyCase[] = [
  {
    property: 'deviceId',
    unset: undefined,
    accepted: [
      [0, 0, { 'llm.DeviceId': '0' }],
      [-0, 0, { 'llm.DeviceId': '0' }],
      [2147483647, 2147483647, { 'llm.DeviceId': '2147483647' }],
      [7n, 7, { 'llm.DeviceId': '7' }],
      [[3], [3], { 'llm.DeviceId': '3' }],
      [[0, 1n, 2147483647], [0, 1, 2147483647], { 'llm.DeviceId': '0;1;2147483647' }],
    ],
    refused: [
      [-1, 'param'],
      [-1n, 'param'],
      [-Infinity, 'param'],
      [2147483648, 'range'],
      [2147483648n, 'range'],
      [Infinity, 'range'],
      [[], 'param'],
      [[0, -1], 'param'],
      [[0, 2147483648], 'range'],
      [[0, '1'], 'type'],
      [new Array(1), 'type'],
      [[[0]], 'type'],
      [Uint32Array.of(0), 'type'],
      ...NOT_NUMBERS.filter(([value]) => !Array.isArray(value)),
      ...NOT_INTEGERS,
    ],
  },
  textCase('listenIpInfo', 'llm.ListenIpInfo', {}),
  {
    property: 'syncKvTimeout',
    unset: undefined,
    accepted: [
      [1, 1, { 'llm.SyncKvCacheWaitTime': '1' }],
      [2147483647, 2147483647, { 'llm.SyncKvCacheWaitTime': '2147483647' }],
      [1000n, 1000, { 'llm.SyncKvCacheWaitTime': '1000' }],
      ['1000', '1000', { 'llm.SyncKvCacheWaitTime': '1000' }],
      ['0001', '0001', { 'llm.SyncKvCacheWaitTime': '0001' }],
      ['2147483647', '2147483647', { 'llm.SyncKvCacheWaitTime': '2147483647' }],
    ],
    refused: [
      [0, 'param'],
      [-1, 'param'],
      [0n, 'param'],
      [-(2n ** 70n), 'param'],
      [NaN, 'param'],
      ['0', 'param'],
      ['', 'param'],
      ['-1', 'param'],
      ['+1', 'param'],
      [' 1', 'param'],
      ['1.5', 'param'],
      ['1e3', 'param'],
      ['٣', 'param'],
      ['1\0', 'param'],
      [2147483648, 'range'],
      [2n ** 70n, 'range'],
      ['2147483648', 'range'],
      ['9'.repeat(1000), 'range'],
      [0.5, 'range'],
      [true, 'type'],
      [null, 'type'],
      [['1'], 'type'],
    ],
  },
  textCase('deployResPath', 'llm.deployResPath', {}),
  {
    property: 'geOptions',
    unset: {},
    accepted: [
      [{}, {}, {}],
      [
        { 'ge.flowGraphMemMaxSize': '4106127360' },
        { 'ge.flowGraphMemMaxSize': '4106127360' },
        { 'ge.flowGraphMemMaxSize': '4106127360' },
      ],
      [
        { anything: '', '': 'x' },
        { anything: '', '': 'x' },
        { anything: '', '': 'x' },
      ],
      [{ 'ge.exec.deviceId': '3' }, { 'ge.exec.deviceId': '3' }, { 'llm.DeviceId': '3' }],
      [{ 'llm.listenIpInfo': LISTEN }, { 'llm.listenIpInfo': LISTEN }, { 'llm.ListenIpInfo': LISTEN }],
    ],
    refused: [
      [{ 'ge.a': 1 }, 'type'],
      [{ 'ge.a': undefined }, 'type'],
      [new Map([['ge.a', '1']]), 'type'],
      [['ge.a'], 'type'],
      ['ge.a', 'type'],
      [null, 'type'],
      [{ 'ge.a': 'x\0' }, 'param'],
      [{ 'ge.a\0': 'x' }, 'param'],
      [JSON.parse('{"__proto__": "x"}'), 'param'],
    ],
  },
  textCase('bufPoolCfg', 'llm.BufPoolCfg', {}),
  textCase('memPoolCfg', 'llm.MemPoolConfig', {}),
  textCase('hostMemPoolCfg', 'llm.HostMemPoolConfig', {}),
  flagCase('enableSwitchRole', { 'llm.EnableSwitchRole': '1' }, {}),
  flagCase('enableCacheManager', { 'llm.EnableCacheManager': '1' }, { 'llm.EnableCacheManager': '0' }),
  flagCase(
    'enableRemoteCacheAccessible',
    { 'llm.EnableRemoteCacheAccessible': '1' },
    { 'llm.EnableRemoteCacheAccessible': '0' },
  ),
  {
    property: 'linkTotalTime',
    unset: 0,
    accepted: [
      [0, 0, { 'llm.LinkTotalTime': '0' }],
      [20, 20, { 'llm.LinkTotalTime': '20' }],
      [4294967295, 4294967295, { 'llm.LinkTotalTime': '4294967295' }],
      [4294967295n, 4294967295, { 'llm.LinkTotalTime': '4294967295' }],
    ],
    refused: [
      [-1, 'param'],
      [4294967296, 'param'],
      [-1n, 'param'],
      [4294967296n, 'param'],
      [Infinity, 'param'],
      ...NOT_NUMBERS,
      ...NOT_INTEGERS,
    ],
  },
  {
    property: 'linkRetryCount',
    unset: 1,
    accepted: [
      [1, 1, { 'llm.LinkRetryCount': '1' }],
      [100, 100, { 'llm.LinkRetryCount': '100' }],
      [11n, 11, { 'llm.LinkRetryCount': '11' }],
    ],
    refused: [[0, 'param'], [101, 'param'], [-1, 'param'], [101n, 'param'], ...NOT_NUMBERS, ...NOT_INTEGERS],
  },
  uint32Case('rdmaTrafficClass', 'llm.RdmaTrafficClass'),
  uint32Case('rdmaServiceLevel', 'llm.RdmaServiceLevel'),
  textCase('localCommRes', 'llm.LocalCommRes', { 'llm.LocalCommRes': '' }),
  textCase('transferBackend', 'llm.TransferBackend', { 'llm.TransferBackend': '' }),
  textCase('globalResourceConfig', 'llm.GlobalResourceConfig', { 'llm.GlobalResourceConfig': '' }),
  {
    property: 'clusterInfo',
    unset: '',
    accepted: [
      ['{}', '{}', { 'llm.ClusterInfo': '{}' }],
      [
        '{"cluster_id": 18446744073709551615, "listen_ip_info": [{"ip": "192.168.1.2", "port": 26000}, {"ip": 5}]}',
        '{"cluster_id":18446744073709551615,"listen_ip_info":[{"ip":33663168,"port":26000},{"ip":5}]}',
        {
          'llm.ClusterInfo':
            '{"cluster_id":18446744073709551615,"listen_ip_info":[{"ip":33663168,"port":26000},{"ip":5}]}',
        },
      ],
      [
        '{"listen_ip_info":[{"ip":"255.255.255.255"}], "n": ["n1", "s\\"2", -1.50e+3, true, null, "\\\\"]}',
        '{"listen_ip_info":[{"ip":4294967295}],"n":["n1","s\\"2",-1.50e+3,true,null,"\\\\"]}',
        {
          'llm.ClusterInfo': '{"listen_ip_info":[{"ip":4294967295}],"n":["n1","s\\"2",-1.50e+3,true,null,"\\\\"]}',
        },
      ],
    ],
    refused: [
      [{}, 'type'],
      [null, 'type'],
      [5, 'type'],
      ['', 'param'],
      ['{', 'param'],
      ['[]', 'param'],
      ['7', 'param'],
      ['null', 'param'],
      ['{"listen_ip_info": 1}', 'param'],
      ['{"listen_ip_info": {}}', 'param'],
      ['{"listen_ip_info": ["1.1.1.1"]}', 'param'],
      ['{"listen_ip_info": [{"port": 1}]}', 'param'],
      ['{"listen_ip_info": [{"ip": "1.1.1"}]}', 'param'],
      ['{"listen_ip_info": [{"ip": "::1"}]}', 'param'],
      ['{}\0', 'param'],
    ],
  },
  {
    property: 'outputMaxSize',
    unset: undefined,
    accepted: [
      [0, 0, { 'llm.OutputMaxSize': '0' }],
      [-1, -1, { 'llm.OutputMaxSize': '-1' }],
      [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, { 'llm.OutputMaxSize': '9007199254740991' }],
      [8n, 8, { 'llm.OutputMaxSize': '8' }],
    ],
    refused: [
      [2 ** 53, 'range'],
      [-(2 ** 53), 'range'],
      [2n ** 53n, 'range'],
      [Infinity, 'range'],
      ...NOT_NUMBERS,
      ...NOT_INTEGERS,
    ],
  },
  {
    property: 'memUtilization',
    unset: 0.95,
    accepted: [
      [0, 0, { 'llm.MemoryUtilization': '0' }],
      [0.5, 0.5, { 'llm.MemoryUtilization': '0.5' }],
      [1, 1, { 'llm.MemoryUtilization': '1' }],
    ],
    refused: [
      [-Number.MIN_VALUE, 'param'],
      [1 + Number.EPSILON, 'param'],
      [NaN, 'param'],
      [Infinity, 'param'],
      [1n, 'type'],
      ...NOT_NUMBERS,
    ],
  },
];

const ACCEPTED = CASES.flatMap(({ property, accepted }) =>
  accepted.map(([given, got, options]) => ({ property, given, got, options, label: label(given) })),
);
const REFUSED = CASES.flatMap(({ property, refused }) =>
  refused.map(([given, how]) => ({ property, given, how, label: label(given) })),
);

/** Control characters and long texts stay out of the names of tests. */
function label(given: unknown): string {
  return inspect(given, { breakLength: Infinity }).slice(0, 60);
}

function caught(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

function expectRefusal(action: () => unknown, how: Refusal, name: string): void {
  const error = caught(action) as Error & { code: unknown };
  switch (how) {
    case 'type':
      expect(error).toBeInstanceOf(TypeError);
      expect(error.code).toBe('ERR_INVALID_ARG_TYPE');
      break;
    case 'range':
      expect(error).toBeInstanceOf(RangeError);
      expect(error.code).toBe('ERR_OUT_OF_RANGE');
      break;
    case 'param':
      expectParamInvalid(error);
  }
  expect(error.message).toContain(name);
}

function expectParamInvalid(error: unknown, operation = 'init'): asserts error is LLMException {
  expect(error).toBeInstanceOf(LLMException);
  const exception = error as LLMException;
  expect(exception.statusCode).toBe(LLMStatusCode.LLM_PARAM_INVALID);
  expect(exception.operation).toBe(operation);
  expect(exception.remedy).not.toBe('');
}

function read(config: LLMConfig, property: OptionProperty): unknown {
  return config[property];
}

function write(config: LLMConfig, property: OptionProperty, value: unknown): void {
  Object.assign(config, { [property]: value });
}

test('the cases cover every property', () => {
  expect(CASES.map(({ property }) => property).sort()).toEqual(Object.keys(OPTION_PROPERTIES).sort());
});

describe('an unset property', () => {
  test.each(CASES)('$property reads as its default and emits nothing', ({ property, unset }) => {
    const config = new LLMConfig();
    expect(read(config, property)).toEqual(unset);
    expect(config.generateOptions()).toEqual({});
  });

  test.each(CASES)('$property is unset again once undefined is assigned', ({ property, unset, accepted }) => {
    const config = new LLMConfig();
    write(config, property, accepted[0]![0]);
    write(config, property, undefined);
    expect(read(config, property)).toEqual(unset);
    expect(config.toJSON()).toEqual({});
    expect(config.generateOptions()).toEqual({});
  });
});

describe('an acceptable value', () => {
  test.each(ACCEPTED)('$property = $label is kept and emitted', ({ property, given, got, options }) => {
    const config = new LLMConfig();
    write(config, property, given);
    expect(read(config, property)).toEqual(got);
    expect(config.generateOptions()).toStrictEqual(options);
    expect(config.genOptions()).toStrictEqual(options);
  });

  test.each(ACCEPTED)('$property = $label gives the same in every form', ({ property, given, options }) => {
    const plain = { [property]: given };
    expect(toOptions(plain)).toStrictEqual(options);
    expect(toOptions(new LLMConfig(plain))).toStrictEqual(options);
    expect(toOptions(new LLMConfig(new LLMConfig(plain)))).toStrictEqual(options);
    expect(toOptions(JSON.parse(JSON.stringify(new LLMConfig(plain))))).toStrictEqual(options);
  });
});

describe('an unacceptable value', () => {
  test.each(REFUSED)('$property = $label is refused ($how) and changes nothing', ({ property, given, how }) => {
    const config = new LLMConfig();
    const [before, got] = CASES.find((other) => other.property === property)!.accepted[0]!;
    write(config, property, before);
    expectRefusal(
      () => {
        write(config, property, given);
      },
      how,
      property,
    );
    expect(read(config, property)).toEqual(got);
  });

  test.each(REFUSED)('$property = $label is refused ($how) in a plain object', ({ property, given, how }) => {
    expectRefusal(() => toOptions({ [property]: given }), how, property);
    expectRefusal(() => new LLMConfig({ [property]: given }), how, property);
  });

  test('is shown in part when it is long', () => {
    const error = caught(() => toOptions({ syncKvTimeout: 'x'.repeat(10_000) }));
    expectParamInvalid(error);
    expect(error.message.length).toBeLessThan(1000);
  });

  test('names the element of a list', () => {
    expectRefusal(() => toOptions({ deviceId: [0, -1] }), 'param', 'deviceId[1]');
  });

  test('keeps the reason why a cluster description cannot be read', () => {
    const error = caught(() => toOptions({ clusterInfo: '{' }));
    expectParamInvalid(error);
    expect((error as Error).cause).toBeInstanceOf(SyntaxError);
  });

  test('includes a cluster description nested beyond the stack', () => {
    const depth = 200_000;
    const error = caught(() => toOptions({ clusterInfo: `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}` }));
    expectParamInvalid(error);
  });
});

describe('LLMConfig', () => {
  test('keeps its own copy of a list and of geOptions', () => {
    const deviceId = [0];
    const geOptions: Record<string, string> = { 'ge.a': '1' };
    const config = new LLMConfig({ deviceId, geOptions });
    deviceId.push(-1);
    geOptions['ge.a'] = '2';
    expect(config.generateOptions()).toEqual({ 'llm.DeviceId': '0', 'ge.a': '1' });
    expect(Object.isFrozen(config.deviceId)).toBe(true);
    expect(Object.isFrozen(config.geOptions)).toBe(true);
    expect(Object.isFrozen(new LLMConfig().geOptions)).toBe(true);
  });

  test('generates anew each time, so a property cleared in between is gone', () => {
    const config = new LLMConfig({ deviceId: 0, listenIpInfo: LISTEN });
    const first = config.generateOptions();
    config.listenIpInfo = undefined;
    expect(config.generateOptions()).toEqual({ 'llm.DeviceId': '0' });
    expect(first).toEqual({ 'llm.DeviceId': '0', 'llm.ListenIpInfo': LISTEN });
  });

  test('copies another LLMConfig, which then is independent', () => {
    const original = new LLMConfig({ deviceId: 1, memUtilization: 0.5 });
    const copy = new LLMConfig(original);
    original.deviceId = 2;
    expect(copy.toJSON()).toEqual({ deviceId: 1, memUtilization: 0.5 });
  });

  test('refuses a raw key, naming the property that stands for it', () => {
    const error = caught(() => new LLMConfig({ 'llm.ListenIpInfo': LISTEN } as LLMConfigOptions));
    expectParamInvalid(error);
    expect(error.message).toContain('"listenIpInfo"');
  });

  test.each([null, 'x', [], new Map()])('refuses %p as its options', (options) => {
    expectRefusal(() => new LLMConfig(options as unknown as LLMConfigOptions), 'type', 'options');
  });

  test('of a subclass may add options, which are checked as texts', () => {
    class Extended extends LLMConfig {
      constructor(private readonly extra: unknown) {
        super({ deviceId: 0 });
      }
      override generateOptions(): Record<string, string> {
        return { ...super.generateOptions(), 'vendor.key': this.extra } as Record<string, string>;
      }
    }
    expect(toOptions(new Extended('x'))).toEqual({ 'llm.DeviceId': '0', 'vendor.key': 'x' });
    expectRefusal(() => toOptions(new Extended(1)), 'type', 'vendor.key');
  });
});

describe('all properties together', () => {
  test('emit the keys that the C++ library reads', () => {
    const config = new LLMConfig({
      deviceId: 0,
      listenIpInfo: LISTEN,
      syncKvTimeout: 1000,
      deployResPath: '/opt/res',
      geOptions: { 'ge.flowGraphMemMaxSize': '1024' },
      bufPoolCfg: '{"buf_cfg":[]}',
      memPoolCfg: '{"memory_size":1048576}',
      hostMemPoolCfg: '{"memory_size":2097152}',
      enableSwitchRole: true,
      enableCacheManager: true,
      enableRemoteCacheAccessible: true,
      linkTotalTime: 20,
      linkRetryCount: 2,
      rdmaTrafficClass: 100,
      rdmaServiceLevel: 2,
      localCommRes: '{"version":"1.3"}',
      transferBackend: 'hixl',
      globalResourceConfig: '{"connect_pool.thread_num":4}',
      clusterInfo: '{}',
      outputMaxSize: 16,
      memUtilization: 0.9,
    });
    expect(config.generateOptions()).toStrictEqual({
      'llm.DeviceId': '0',
      'llm.ListenIpInfo': LISTEN,
      'llm.SyncKvCacheWaitTime': '1000',
      'llm.deployResPath': '/opt/res',
      'ge.flowGraphMemMaxSize': '1024',
      'llm.BufPoolCfg': '{"buf_cfg":[]}',
      'llm.MemPoolConfig': '{"memory_size":1048576}',
      'llm.HostMemPoolConfig': '{"memory_size":2097152}',
      'llm.EnableSwitchRole': '1',
      'llm.EnableCacheManager': '1',
      'llm.EnableRemoteCacheAccessible': '1',
      'llm.LinkTotalTime': '20',
      'llm.LinkRetryCount': '2',
      'llm.RdmaTrafficClass': '100',
      'llm.RdmaServiceLevel': '2',
      'llm.LocalCommRes': '{"version":"1.3"}',
      'llm.TransferBackend': 'hixl',
      'llm.GlobalResourceConfig': '{"connect_pool.thread_num":4}',
      'llm.ClusterInfo': '{}',
      'llm.OutputMaxSize': '16',
      'llm.MemoryUtilization': '0.9',
    });
  });
});

describe('toOptions', () => {
  test('takes a mixture of properties and raw keys', () => {
    const options: LLMInitOptions = {
      deviceId: 0,
      'llm.SyncKvCacheWaitTime': 'nonsense',
      'ge.x': '',
      'llm.Foo': 'bar',
    };
    expect(toOptions(options)).toStrictEqual({
      'llm.DeviceId': '0',
      'llm.SyncKvCacheWaitTime': 'nonsense',
      'ge.x': '',
      'llm.Foo': 'bar',
    });
  });

  test('translates what the Python package emits', () => {
    const python = {
      'ge.exec.deviceId': '0',
      'ge.session_device_id': '0',
      'llm.listenIpInfo': LISTEN,
      'llm.SyncKvCacheWaitTime': '1000',
      'llm.MemoryUtilization': '0.95',
    };
    expect(toOptions(python)).toStrictEqual({
      'llm.DeviceId': '0',
      'ge.session_device_id': '0',
      'llm.ListenIpInfo': LISTEN,
      'llm.SyncKvCacheWaitTime': '1000',
      'llm.MemoryUtilization': '0.95',
    });
  });

  test('takes two spellings that agree', () => {
    const options = {
      deviceId: 0,
      'llm.DeviceId': '0',
      'ge.exec.deviceId': '0',
      geOptions: { 'ge.exec.deviceId': '0', 'llm.DeviceId': '0' },
    };
    expect(toOptions(options)).toEqual({ 'llm.DeviceId': '0' });
  });

  test.each<[options: object, first: string, second: string]>([
    [{ 'llm.DeviceId': '0', 'ge.exec.deviceId': '1' }, 'llm.DeviceId ("0")', 'ge.exec.deviceId ("1")'],
    [{ 'llm.listenIpInfo': 'a', 'llm.ListenIpInfo': 'b' }, 'llm.listenIpInfo ("a")', 'llm.ListenIpInfo ("b")'],
    [{ deviceId: 0, 'ge.exec.deviceId': '1' }, 'deviceId ("0")', 'ge.exec.deviceId ("1")'],
    [{ 'llm.TransferBackend': 'hixl', transferBackend: '' }, 'transferBackend ("")', 'llm.TransferBackend ("hixl")'],
    [{ deviceId: 0, geOptions: { 'llm.DeviceId': '1' } }, 'deviceId ("0")', 'geOptions["llm.DeviceId"] ("1")'],
    [{ geOptions: { 'ge.a': '1' }, 'ge.a': '2' }, 'geOptions["ge.a"] ("1")', 'ge.a ("2")'],
  ])('refuses %j, naming both spellings', (options, first, second) => {
    const error = caught(() => toOptions(options));
    expectParamInvalid(error);
    expect(error.message).toContain(first);
    expect(error.message).toContain(second);
  });

  test('refuses a contradiction inside an LLMConfig as well', () => {
    const config = new LLMConfig({ deviceId: 0, geOptions: { 'ge.exec.deviceId': '1' } });
    expectParamInvalid(caught(() => config.generateOptions()));
    expectParamInvalid(caught(() => toOptions(config)));
  });

  test.each([
    ['device_id', 'deviceId', 'llm.DeviceId'],
    ['DeviceId', 'deviceId', 'llm.DeviceId'],
    ['listenIP', 'listenIpInfo', 'llm.ListenIpInfo'],
    ['LLM.DeviceId', 'deviceId', 'llm.DeviceId'],
    ['', '', ''],
    ['constructor', '', ''],
    ['toString', '', ''],
  ])('refuses the unknown key %j, naming it and %s', (key, property, libraryName) => {
    const error = caught(() => toOptions({ deviceId: 0, [key]: '0' }));
    expectParamInvalid(error);
    expect(error.message).toContain(JSON.stringify(key));
    expect(error.message).toContain(property);
    expect(error.message).toContain(libraryName);
  });

  test('refuses __proto__ as an own key and pollutes nothing', () => {
    const hostile: unknown = JSON.parse('{"deviceId": 0, "__proto__": {"llm.Foo": "polluted"}}');
    const error = caught(() => toOptions(hostile));
    expectParamInvalid(error);
    expect(error.message).toContain('"__proto__"');
    expect(({} as Record<string, unknown>)['llm.Foo']).toBeUndefined();
  });

  test('does not take inherited properties for options', () => {
    const options = Object.assign(Object.create({ 'llm.Foo': 'inherited' }) as object, { deviceId: 0 });
    expect(toOptions(options)).toEqual({ 'llm.DeviceId': '0' });
  });

  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['a string', 'llm.DeviceId'],
    ['a number', 0],
    ['an array', []],
    ['a function', () => ({})],
    ['a Map', new Map([['llm.DeviceId', '0']])],
    ['a Map with a property', Object.assign(new Map(), { deviceId: 0 })],
    ['a Set', new Set()],
    ['a promise that nobody awaited', Promise.resolve({ deviceId: 0 })],
    [
      'an instance that keeps its values to itself',
      new (class {
        readonly #deviceId = 0;
        get deviceId() {
          return this.#deviceId;
        }
      })(),
    ],
  ])('refuses %s', (_, input) => {
    expectRefusal(() => toOptions(input), 'type', 'options');
  });

  test.each<[string, object]>([
    ['without a prototype', Object.assign(Object.create(null) as object, { deviceId: 0 })],
    ['of another realm', runInNewContext('({ deviceId: 0 })') as object],
    [
      'of a class with fields',
      new (class {
        deviceId = 0;
      })(),
    ],
  ])('takes an object %s', (_, input) => {
    expect(toOptions(input)).toStrictEqual({ 'llm.DeviceId': '0' });
  });

  test('takes an empty object, whatever realm it is of', () => {
    expect(toOptions({})).toStrictEqual({});
    expect(toOptions(Object.create(null))).toStrictEqual({});
    expect(toOptions(runInNewContext('({})'))).toStrictEqual({});
  });

  test.each([0, true, null, undefined, ['0'], {}])('refuses a raw key with the value %p', (value) => {
    expectRefusal(() => toOptions({ 'llm.DeviceId': value }), 'type', 'options["llm.DeviceId"]');
  });

  test('refuses NUL characters in raw keys and values', () => {
    expectRefusal(() => toOptions({ 'llm.DeviceId': '0\0' }), 'param', 'options["llm.DeviceId"]');
    expectRefusal(() => toOptions({ 'llm.DeviceId\0': '0' }), 'param', 'the key "llm.DeviceId\\u0000"');
  });

  test('ignores symbol keys and properties that are not enumerable', () => {
    const options = Object.defineProperty({ deviceId: 0, [Symbol('note')]: 1 }, 'hidden', { value: 1 });
    expect(toOptions(options)).toEqual({ 'llm.DeviceId': '0' });
  });

  test('reads each property exactly once', () => {
    const reads: PropertyKey[] = [];
    const counting = <T extends object>(target: T): T =>
      new Proxy(target, {
        get(object, key, receiver) {
          reads.push(key);
          return Reflect.get(object, key, receiver) as unknown;
        },
      });
    const geOptions = counting({ 'ge.a': '1' });
    const options = toOptions(counting({ deviceId: 0, geOptions, 'llm.Foo': 'x', listenIpInfo: LISTEN }));
    expect(options).toEqual({ 'llm.DeviceId': '0', 'ge.a': '1', 'llm.Foo': 'x', 'llm.ListenIpInfo': LISTEN });
    expect(reads).toEqual(['deviceId', 'geOptions', 'ge.a', 'llm.Foo', 'listenIpInfo']);
  });

  test.each(['deviceId', 'geOptions', 'llm.Foo'])('lets what a getter of %s throws reach the caller', (key) => {
    const thrown = new Error('from the getter');
    const options = Object.defineProperty({ listenIpInfo: LISTEN }, key, {
      enumerable: true,
      get() {
        throw thrown;
      },
    });
    expect(caught(() => toOptions(options))).toBe(thrown);
    expect(caught(() => new LLMConfig({ geOptions: options }))).toBe(thrown);
  });

  test.each(['ownKeys', 'getOwnPropertyDescriptor', 'get'])(
    'lets what a proxy throws in %s reach the caller',
    (trap) => {
      const thrown = new Error('from the trap');
      const handler = {
        [trap]() {
          throw thrown;
        },
      };
      expect(caught(() => toOptions(new Proxy({ deviceId: 0 }, handler)))).toBe(thrown);
    },
  );

  test('reports errors in the name of the given operation', () => {
    for (const options of [{ deviceId: -1 }, { typo: '' }, { 'llm.a\0': '' }, { deviceId: 0, 'llm.DeviceId': '1' }]) {
      expectParamInvalid(
        caught(() => toOptions(options, 'switchRole')),
        'switchRole',
      );
    }
  });

  test('gives back any record of raw options unless a spelling of Python is among them', () => {
    const key = fc
      .tuple(fc.constantFrom('llm.', 'ge.'), fc.string())
      .map((parts) => parts.join(''))
      .filter((text) => !text.includes('\0') && text !== 'ge.exec.deviceId' && text !== 'llm.listenIpInfo');
    const value = fc.string().filter((text) => !text.includes('\0'));
    fc.assert(
      fc.property(fc.dictionary(key, value), (record) => {
        expect(toOptions(record)).toEqual({ ...record });
      }),
    );
  });
});

describe('toUntranslatedOptions', () => {
  test('takes any key as it is', () => {
    const record = { 'llm.DeviceId': '0', 'llm.listenIpInfo': 'junk', 'ge.exec.deviceId': '5', '': 'x', typo: '' };
    const options = toUntranslatedOptions(record);
    expect(options).toStrictEqual(record);
    expect(options).not.toBe(record);
  });

  test('keeps __proto__ an ordinary key', () => {
    const options = toUntranslatedOptions(JSON.parse('{"__proto__": "x"}'));
    expect(Object.entries(options)).toEqual([['__proto__', 'x']]);
    expect(Object.getPrototypeOf(options)).toBe(Object.prototype);
  });

  test('refuses what is no text', () => {
    expectRefusal(() => toUntranslatedOptions({ 'llm.DeviceId': 0 }), 'type', 'options["llm.DeviceId"]');
    expectRefusal(() => toUntranslatedOptions(null), 'type', 'options');
    expectRefusal(() => toUntranslatedOptions(new Map()), 'type', 'options');
    expectParamInvalid(
      caught(() => toUntranslatedOptions({ a: '\0' }, 'switchRole')),
      'switchRole',
    );
  });
});
