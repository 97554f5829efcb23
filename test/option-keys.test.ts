import fc from 'fast-check';
import { LLMDataDist, LLMRole } from '../lib';
import { LLMException } from '../lib/exception';
import { toOptions } from '../lib/init-options';
import {
  isOptionProperty,
  isRawOptionKey,
  libraryKey,
  nearestKey,
  OPTION_KEYS,
  OPTION_PROPERTIES,
  rawOptionKey,
  unknownOption,
} from '../lib/option-keys';
import { LLMStatusCode } from '../lib/status';
import { MockBackend } from '../lib/testing';

describe('the list of known keys', () => {
  test('has every property of the Python LLMConfig under its Python name', () => {
    expect(OPTION_KEYS.flatMap(({ pythonProperty }) => pythonProperty ?? []).sort()).toEqual([
      'buf_pool_cfg',
      'cluster_info',
      'deploy_res_path',
      'device_id',
      'enable_cache_manager',
      'enable_remote_cache_accessible',
      'enable_switch_role',
      'ge_options',
      'global_resource_config',
      'host_mem_pool_cfg',
      'link_retry_count',
      'link_total_time',
      'listen_ip_info',
      'local_comm_res',
      'mem_pool_cfg',
      'mem_utilization',
      'output_max_size',
      'rdma_service_level',
      'rdma_traffic_class',
      'sync_kv_timeout',
      'transfer_backend',
    ]);
  });

  test('has every option constant of the C++ headers with its value', () => {
    const constants = OPTION_KEYS.flatMap(({ constant, key }) => (constant === undefined ? [] : [[constant, key]]));
    expect(Object.fromEntries(constants)).toEqual({
      OPTION_LISTEN_IP_INFO: 'llm.ListenIpInfo',
      OPTION_DEVICE_ID: 'llm.DeviceId',
      OPTION_SYNC_CACHE_WAIT_TIME: 'llm.SyncKvCacheWaitTime',
      OPTION_BUF_POOL_CFG: 'llm.BufPoolCfg',
      OPTION_ENABLE_SET_ROLE: 'llm.EnableSwitchRole',
      OPTION_LOCAL_COMM_RES: 'llm.LocalCommRes',
      OPTION_TRANSFER_BACKEND: 'llm.TransferBackend',
      OPTION_GLOBAL_RESOURCE_CONFIG: 'llm.GlobalResourceConfig',
      LLM_OPTION_CLUSTER_INFO: 'llm.ClusterInfo',
      LLM_OPTION_OUTPUT_MAX_SIZE: 'llm.OutputMaxSize',
    });
  });

  test('names no key twice', () => {
    const keys = OPTION_KEYS.flatMap(({ key, pythonKey, property }) => [key, pythonKey, property]);
    const named = keys.filter((key) => key !== undefined);
    expect(new Set(named).size).toBe(named.length);
  });
});

describe('translation', () => {
  test.each([
    ['ge.exec.deviceId', 'llm.DeviceId'],
    ['llm.listenIpInfo', 'llm.ListenIpInfo'],
    // Read under these very names, or by nobody.
    ['llm.DeviceId', 'llm.DeviceId'],
    ['ge.session_device_id', 'ge.session_device_id'],
    ['llm.deployResPath', 'llm.deployResPath'],
    ['llm.deviceId', 'llm.deviceId'],
    ['LLM.LISTENIPINFO', 'LLM.LISTENIPINFO'],
    ['__proto__', '__proto__'],
  ])('%s becomes %s', (key, expected) => {
    expect(libraryKey(key)).toBe(expected);
  });
});

test.each([
  ['llm.DeviceId', true],
  ['llm.Foo', true],
  ['ge.flowGraphMemMaxSize', true],
  ['LLM.DeviceId', false],
  ['llmDeviceId', false],
  ['deviceId', false],
  ['', false],
])('whether %j is a key of the library: %s', (key, expected) => {
  expect(isRawOptionKey(key)).toBe(expected);
});

test.each(['toString', 'constructor', '__proto__', 'hasOwnProperty', 'device_id', ''])('%j is no property', (key) => {
  expect(isOptionProperty(key)).toBe(false);
});

describe('the nearest known key', () => {
  test.each([
    ['device_id', 'deviceId'],
    ['DeviceId', 'deviceId'],
    ['deviceID', 'deviceId'],
    ['DEVICE-ID', 'deviceId'],
    ['LLM.DeviceId', 'deviceId'],
    ['OPTION_DEVICE_ID', 'deviceId'],
    ['exec.deviceId', 'deviceId'],
    ['devcieId', 'deviceId'],
    ['listenIP', 'listenIpInfo'],
    ['listen_ip_info', 'listenIpInfo'],
    ['listen', 'listenIpInfo'],
    ['timeout', 'syncKvTimeout'],
    ['SyncKvCacheWaitTime', 'syncKvTimeout'],
    ['retry', 'linkRetryCount'],
    ['deviceIdentifier', 'deviceId'],
    ['listenIpInfos', 'listenIpInfo'],
    ['linkTimeTotal', 'linkTotalTime'],
    ['backend', 'transferBackend'],
    ['MemPoolConfig', 'memPoolCfg'],
    ['hostMemPool', 'hostMemPoolCfg'],
    ['rdma_tc', 'rdmaTrafficClass'],
    ['rdma_sl', 'rdmaServiceLevel'],
    ['memory_utilization', 'memUtilization'],
    ['geOption', 'geOptions'],
    ['localCommRes ', 'localCommRes'],
  ])('%s is nearest to %s', (key, property) => {
    expect(nearestKey(key).property).toBe(property);
  });

  test('of a key that exists as a raw option only is that raw option', () => {
    expect(nearestKey('flow_graph_mem_max_size')).toEqual({ key: 'ge.flowGraphMemMaxSize' });
  });

  test.each(
    OPTION_KEYS.flatMap((option) =>
      [option.key, option.constant, option.pythonKey, option.property, option.pythonProperty]
        .filter((name) => name !== undefined)
        .map((name) => ({ name, option })),
    ),
  )('of $name is the option itself', ({ name, option }) => {
    expect(nearestKey(name)).toBe(option);
  });

  test('exists for any text, in bounded time', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (key) => {
        expect(OPTION_KEYS).toContain(nearestKey(key));
      }),
    );
    expect(OPTION_KEYS).toContain(nearestKey('d'.repeat(2 ** 20)));
  });
});

describe('the exception for an unknown key', () => {
  test('names the key, the property and the raw key', () => {
    const error = unknownOption('device_id', 'switchRole');
    expect(error).toBeInstanceOf(LLMException);
    expect(error.statusCode).toBe(LLMStatusCode.LLM_PARAM_INVALID);
    expect(error.operation).toBe('switchRole');
    expect(error.message).toContain('"device_id"');
    expect(error.message).toContain('"deviceId"');
    expect(error.message).toContain('"llm.DeviceId"');
  });

  test('names only what exists', () => {
    expect(unknownOption('ge_options', 'init').remedy).toContain('"geOptions".');
    expect(unknownOption('flowGraphMemMaxSize', 'init').remedy).toContain(' is "ge.flowGraphMemMaxSize".');
  });

  test('shows a long key in part and control characters escaped', () => {
    const { message } = unknownOption(`\u001b[31m\n${'x'.repeat(10_000)}`, 'init');
    expect(message).toContain('"\\u001b[31m\\nxxx');
    expect(message.length).toBeLessThan(1000);
  });
});

describe("a key of the library's kind that is misspelt", () => {
  const MISSPELT = [
    ['llm.ListenIpinfo', 'llm.ListenIpInfo'],
    ['llm.listen_ip_info', 'llm.ListenIpInfo'],
    ['llm.DeviceID', 'llm.DeviceId'],
    ['ge.DeviceId', 'llm.DeviceId'],
    ['ge.exec.deviceID', 'llm.DeviceId'],
    ['llm.memPoolCfg', 'llm.MemPoolConfig'],
    ['llm.SyncKvCacheWaitTimes', 'llm.SyncKvCacheWaitTime'],
    ['llm.syncKvTimeout', 'llm.SyncKvCacheWaitTime'],
    ['ge.flowGraphMemMaxsize', 'ge.flowGraphMemMaxSize'],
  ] as const;
  const refused = (nearest: string): Error =>
    expect.objectContaining({
      code: 'LLM_PARAM_INVALID',
      remedy: expect.stringContaining(`"${nearest}"`) as string,
    }) as Error;

  test.each(MISSPELT)('%s is refused, and %s is named', (key, nearest) => {
    expect(() => rawOptionKey(key, 'init')).toThrow(refused(nearest));
    expect(() => toOptions({ 'llm.DeviceId': '0', [key]: '1' })).toThrow(refused(nearest));
    expect(() => toOptions({ deviceId: 0, geOptions: { [key]: '1' } })).toThrow(refused(nearest));
  });

  test.each([
    ...OPTION_KEYS.flatMap(({ key, pythonKey }) => [key, pythonKey]).filter((key) => key !== undefined),
    ...['llm.Role', 'llm.ListenIp', 'llm.ListenPort', 'ge.exec.deviceType', 'llm.KeyOfALaterLibrary', 'ge.socVersion'],
  ])('%s is none', (key) => {
    expect(rawOptionKey(key, 'init')).toBe(libraryKey(key));
  });

  test('goes as it is without guards, where the record is all in keys of the library', async () => {
    const initialize = jest.spyOn(MockBackend.prototype, 'initialize');
    const dist = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: 'mock', guards: false });
    await dist.init({ 'llm.DeviceId': '0', 'llm.ListenIpinfo': '127.0.0.1:1' });
    expect(initialize).toHaveBeenCalledWith({ 'llm.DeviceId': '0', 'llm.ListenIpinfo': '127.0.0.1:1' });
    await dist.finalize();
    initialize.mockRestore();
  });
});

test('every property but geOptions has a key of its own', () => {
  const withoutKey = Object.entries(OPTION_PROPERTIES).filter(([, { names }]) => names.key === undefined);
  expect(withoutKey.map(([property]) => property)).toEqual(['geOptions']);
});
