import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseListenAddress, type ListenAddress } from '../lib/option-text/listen-address';
import { checkHixlOptions, type HixlOptions, type OptionError, type Options } from '../lib/option-text/options';
import { ruleOf } from './fixtures/option-rule';

const LISTEN: ListenAddress = { ip: '127.0.0.1', port: 26000, boundPort: 26000 };

const check = (options: Options, env: Record<string, string> = {}, listen = LISTEN): HixlOptions =>
  checkHixlOptions(options, listen, env);
const config = (value: unknown): Options => ({
  'llm.GlobalResourceConfig': typeof value === 'string' ? value : JSON.stringify(value),
});
const ENDPOINT = { protocol: 'roce', comm_id: '127.0.0.1', placement: 'host' };
const resource = (...endpoints: unknown[]): Options => ({
  'llm.LocalCommRes': JSON.stringify({ version: '1.3', net_instance_id: 'pod', endpoint_list: endpoints }),
});
const MINIMAL: Options = { 'llm.LocalCommRes': '{"version":"1.3"}' };

describe('the hixl backend: RDMA values', () => {
  test.each<[Options, Record<string, string>]>([
    [{ 'llm.RdmaTrafficClass': '252', 'llm.RdmaServiceLevel': '7' }, {}],
    [{ 'llm.RdmaTrafficClass': '-0', 'llm.RdmaServiceLevel': ' 0' }, {}],
    [{ 'llm.RdmaTrafficClass': '', 'llm.RdmaServiceLevel': '' }, {}],
    [{}, { HCCL_RDMA_TC: '132', HCCL_RDMA_SL: '4' }],
    [{}, { HCCL_RDMA_TC: '', HCCL_RDMA_SL: '' }],
    [
      { 'llm.RdmaTrafficClass': '4', 'llm.RdmaServiceLevel': '4' },
      { HCCL_RDMA_TC: 'x', HCCL_RDMA_SL: 'x' },
    ],
  ])('%j with %j is accepted', (options, env) => {
    expect(check(options, env)).toEqual({ engine: 'comm' });
  });

  test.each<[Options, Record<string, string>, string]>([
    [{ 'llm.RdmaTrafficClass': '256' }, {}, 'llm.RdmaTrafficClass is "256"; it must be a multiple of 4 from 0 to 252'],
    [{ 'llm.RdmaTrafficClass': '-4' }, {}, 'llm.RdmaTrafficClass is "-4"'],
    [{ 'llm.RdmaTrafficClass': '2' }, {}, 'llm.RdmaTrafficClass is "2"'],
    [{ 'llm.RdmaTrafficClass': '4 ', 'llm.RdmaServiceLevel': 'x' }, {}, 'llm.RdmaTrafficClass is "4 "'],
    [{ 'llm.RdmaServiceLevel': '8' }, {}, 'llm.RdmaServiceLevel is "8"; it must be a number from 0 to 7'],
    [{ 'llm.RdmaServiceLevel': '-1' }, {}, 'llm.RdmaServiceLevel is "-1"'],
    [{ 'llm.RdmaServiceLevel': '4x' }, {}, 'llm.RdmaServiceLevel is "4x"'],
    [{ 'llm.RdmaTrafficClass': '' }, { HCCL_RDMA_TC: '1' }, 'the environment variable HCCL_RDMA_TC is "1"'],
    [{}, { HCCL_RDMA_SL: '9' }, 'the environment variable HCCL_RDMA_SL is "9"'],
  ])('%j with %j is refused', (options, env, rule) => {
    expect(ruleOf(() => check(options, env))).toContain(rule);
  });

  test('the environment of the process is the one that counts', () => {
    const before = process.env.HCCL_RDMA_TC;
    process.env.HCCL_RDMA_TC = 'x';
    try {
      expect(ruleOf(() => checkHixlOptions({}, LISTEN))).toContain('HCCL_RDMA_TC is "x"');
    } finally {
      if (before === undefined) delete process.env.HCCL_RDMA_TC;
      else process.env.HCCL_RDMA_TC = before;
    }
  });
});

describe('the hixl backend: which engine', () => {
  test.each<[Options, HixlOptions['engine']]>([
    [{}, 'comm'],
    [{ 'llm.LocalCommRes': '' }, 'comm'],
    [{ 'llm.LocalCommRes': '[]' }, 'comm'],
    [{ 'llm.LocalCommRes': '{"version":"1.2","server_list":7}' }, 'comm'],
    [{ 'llm.LocalCommRes': '{"version":1.3}' }, 'comm'],
    [MINIMAL, 'hixl'],
    [resource(ENDPOINT), 'hixl'],
    [config({ 'comm_resource_config.protocol_desc': [] }), 'comm'],
    [config({ 'comm_resource_config.protocol_desc': 'roce:device' }), 'hixl'],
    [{ ...config({ 'comm_resource_config.protocol_desc': 'roce:device' }), 'llm.LocalCommRes': '{}' }, 'comm'],
  ])('%j', (options, engine) => {
    expect(check(options)).toEqual({ engine });
  });

  test.each(['x', '{', ' ', '{"version":"1.3"'])('llm.LocalCommRes %j is not JSON', (text) => {
    expect(ruleOf(() => check({ 'llm.LocalCommRes': text }))).toContain('not JSON');
  });
});

describe('the hixl backend: listen address', () => {
  test('is mandatory, and missed before anything else', () => {
    expect(ruleOf(() => checkHixlOptions(config('{'), undefined, {}))).toContain('llm.ListenIpInfo is missing');
  });

  test.each<[string, boolean, boolean]>([
    ['127.0.0.1:0', true, true],
    ['127.0.0.1:65535', true, true],
    ['127.0.0.1:65536', true, false],
    ['127.0.0.1:2147483647', true, false],
    ['127.0.0.1:2147483648', false, false],
    ['[::1]:26000', false, false],
  ])('%s: communicator engine %s, newer engine %s', (text, byComm, byHixl) => {
    const listen = parseListenAddress(text);
    const accepts = (options: Options): boolean => {
      try {
        check(options, {}, listen);
        return true;
      } catch (error) {
        expect((error as OptionError).rule).toContain('llm.ListenIpInfo');
        return false;
      }
    };
    expect([accepts({}), accepts(resource(ENDPOINT))]).toEqual([byComm, byHixl]);
  });
});

describe('the hixl backend: llm.GlobalResourceConfig', () => {
  test.each<[string]>([
    ['{}'],
    ['{"unknown":[],"connect_pool":0}'],
    ['{"fabric_memory.max_capacity":1024,"fabric_memory.start_address":"0","fabric_memory.task_stream_num":1}'],
    ['{"fabric_memory.task_stream_num":8,"fabric_memory.enable_aicpu_unfold":false}'],
    ['{"fabric_memory":{"task_stream_num":8,"enable_aicpu_unfold":false}}'],
    ['{"fabric_memory":{"task_stream_num":8},"fabric_memory.task_stream_num":1}'],
    ['{"fabric_memory":{"task_stream_num":8},"fabric_memory.enable_aicpu_unfold":false}'],
    ['{"fabric_memory":[],"fabric_memory.start_address":1024}'],
    ['{"connect_pool.thread_num":" +64","connect_pool.task_queue_capacity":65535}'],
    ['{"comm_resource_config.listen_port":65535,"comm_resource_config.qos":-0}'],
    ['{"comm_resource_config.max_active_channels":4294967295,"local_comm_res_path":"no-such-file"}'],
  ])('%s is accepted', (text) => {
    expect(check({ ...config(text), 'llm.LocalCommRes': '{}' })).toEqual({ engine: 'comm' });
    expect(check({ ...config(text), ...resource(ENDPOINT) })).toEqual({ engine: 'hixl' });
  });

  test.each<[string, string]>([
    ['{', 'not JSON'],
    ['[]', 'it must be a JSON object'],
    ['{"fabric_memory.max_capacity":0}', 'fabric_memory.max_capacity must be an integer from 1 to 1024'],
    ['{"fabric_memory":{"max_capacity":1025}}', 'fabric_memory.max_capacity must be'],
    ['{"fabric_memory":{"max_capacity":0},"fabric_memory.max_capacity":1}', 'fabric_memory.max_capacity must be'],
    ['{"fabric_memory.start_address":1025}', 'fabric_memory.start_address must be an integer from 0 to 1024'],
    ['{"fabric_memory.task_stream_num":9}', 'fabric_memory.task_stream_num must be an integer from 1 to 8'],
    ['{"fabric_memory.task_stream_num":2}', 'fabric_memory.task_stream_num is 2; it must be 1 unless'],
    ['{"fabric_memory":{"enable_aicpu_unfold":1}}', 'fabric_memory.enable_aicpu_unfold must be true or false'],
    ['{"connect_pool.thread_num":1.0}', 'connect_pool.thread_num must be an integer from 1 to 64'],
    ['{"connect_pool.thread_num":"64 "}', 'connect_pool.thread_num must be'],
    ['{"connect_pool.thread_num":null}', 'connect_pool.thread_num must be'],
    ['{"connect_pool.task_queue_capacity":0}', 'connect_pool.task_queue_capacity must be an integer from 1 to 65535'],
    ['{"comm_resource_config.protocol_desc":{}}', 'protocol_desc must be a string or an array of strings'],
    ['{"comm_resource_config.protocol_desc":["roce:host",1]}', 'protocol_desc must be a string or an array of strings'],
    ['{"comm_resource_config.listen_port":"0"}', 'comm_resource_config.listen_port must be an integer from 1 to 65535'],
    ['{"comm_resource_config.qos":8}', 'comm_resource_config.qos must be an integer from 0 to 7'],
    ['{"comm_resource_config.max_active_channels":18446744073709551615}', 'max_active_channels must be an integer'],
    ['{"local_comm_res_path":""}', 'local_comm_res_path must be a non-empty string'],
    ['{"local_comm_res_path":[]}', 'local_comm_res_path must be a non-empty string'],
  ])('%s is refused by both engines', (text, rule) => {
    expect(ruleOf(() => check(config(text)))).toContain(rule);
    expect(ruleOf(() => check({ ...config(text), ...resource(ENDPOINT) }))).toContain(rule);
  });

  test('the empty text is malformed for the communicator engine and absent for the newer one', () => {
    expect(ruleOf(() => check(config('')))).toContain('llm.GlobalResourceConfig is empty');
    expect(check({ ...config(''), ...resource(ENDPOINT) })).toEqual({ engine: 'hixl' });
  });

  const pool = (max: unknown, high: unknown, low: unknown): Options =>
    config({ 'channel_pool.max_channel': max, 'channel_pool.high_waterline': high, 'channel_pool.low_waterline': low });

  test.each<[unknown, unknown, unknown]>([
    [undefined, undefined, undefined],
    [undefined, 0.8, undefined],
    [undefined, undefined, '0.2'],
    [undefined, 0.8, 0.2],
    [512, '+.8', ' 2e-1'],
    [' 10', 0.8, 0.2],
    [10, 0.2, 5e-324],
  ])('a channel pool of %j channels between %j and %j is accepted', (max, high, low) => {
    expect(check(pool(max, high, low))).toEqual({ engine: 'comm' });
  });

  test.each<[unknown, unknown, unknown, string]>([
    [5, undefined, undefined, 'channel_pool.max_channel needs'],
    [5, 0.8, undefined, 'channel_pool.max_channel needs'],
    [0, 0.8, 0.2, 'channel_pool.max_channel must be an integer from 1 to 512'],
    [513, 0.8, 0.2, 'channel_pool.max_channel must be'],
    [10.5, 0.8, 0.2, 'channel_pool.max_channel must be'],
    ['10 ', 0.8, 0.2, 'channel_pool.max_channel must be'],
    [true, 0.8, 0.2, 'channel_pool.max_channel must be'],
    [undefined, 1, 0.2, 'channel_pool.high_waterline must be a number between 0 and 1'],
    [undefined, 0.8, 0, 'channel_pool.low_waterline must be a number between 0 and 1'],
    [undefined, '0.8x', 0.2, 'channel_pool.high_waterline must be'],
    [undefined, '1.0', 0.2, 'channel_pool.high_waterline must be'],
    [undefined, 0.8, null, 'channel_pool.low_waterline must be'],
    [undefined, 0.5, 0.5, 'makes 256 and channel_pool.low_waterline 0.5 makes 256; the first must be more'],
    [10, 0.29, 0.2, 'makes 2 and channel_pool.low_waterline 0.2 makes 2'],
    [1, 0.9, 0.1, 'of 1 channels channel_pool.high_waterline 0.9 makes 1'],
  ])('a channel pool of %j channels between %j and %j is refused, by its engine only', (max, high, low, rule) => {
    expect(ruleOf(() => check(pool(max, high, low)))).toContain(rule);
    expect(check({ ...pool(max, high, low), ...resource(ENDPOINT) })).toEqual({ engine: 'hixl' });
  });
});

describe('the hixl backend: endpoints of llm.LocalCommRes 1.3', () => {
  const EID = '00112233445566778899aAbBcCdDeEfF';
  const endpoint = (protocol: string, commId: string, placement: string, more: object = {}): object => ({
    protocol,
    comm_id: commId,
    placement,
    ...more,
  });

  test.each<[string, Options]>([
    ['every protocol', resource(ENDPOINT, endpoint('hccs', '4294967295', 'device'), endpoint('ub_ctp', EID, 'host'))],
    ['uboe', resource(endpoint('uboe', '::1', 'device'), ENDPOINT)],
    ['ub_rtp', resource(endpoint('ub_rtp', EID, 'device'))],
    ['optional and unknown fields', resource({ ...ENDPOINT, plane: '', dst_eid: 'x', server_id: 's', extra: 1 })],
    ['no list', MINIMAL],
    ['an empty list', resource()],
    ['a list that is no array', { 'llm.LocalCommRes': '{"version":"1.3","net_instance_id":"a","endpoint_list":{}}' }],
    ['a list without net_instance_id', { 'llm.LocalCommRes': '{"version":"1.3","endpoint_list":[1]}' }],
  ])('%s: accepted', (_name, options) => {
    expect(check(options)).toEqual({ engine: 'hixl' });
  });

  test.each<[unknown, string]>([
    [1, 'endpoint 0 of llm.LocalCommRes must have a string "protocol"'],
    [{}, 'must have a string "protocol"'],
    [{ ...ENDPOINT, comm_id: 7 }, 'must have a string "comm_id"'],
    [{ ...ENDPOINT, placement: undefined }, 'must have a string "placement"'],
    [endpoint('tcp', '127.0.0.1', 'host'), 'has "tcp:host"; supported are roce:host, roce:device,'],
    [endpoint('roce', '127.0.0.1', 'moon'), 'has "roce:moon"'],
    [endpoint('uboe', '127.0.0.1', 'host'), 'has "uboe:host"'],
    [endpoint('ub_rtp', EID, 'host'), 'has "ub_rtp:host"'],
    [{ ...ENDPOINT, plane: 1 }, 'must have a string "plane"'],
    [{ ...ENDPOINT, dst_eid: null }, 'must have a string "dst_eid"'],
    [{ ...ENDPOINT, server_id: [] }, 'must have a string "server_id"'],
    [endpoint('roce', 'localhost', 'host'), 'comm_id "localhost"; it must be an IPv4 or IPv6 address'],
    [endpoint('uboe', '', 'device'), 'comm_id ""; it must be an IPv4 or IPv6 address'],
    [endpoint('hccs', '-1', 'device'), 'comm_id "-1"; it must be a device number'],
    [endpoint('hccs', '4294967296', 'device'), 'it must be a device number'],
    [endpoint('hccs', '00000000001', 'device'), 'it must be a device number'],
    [endpoint('ub_ctp', EID.slice(1), 'host'), 'it must be an EID of 32 hexadecimal digits'],
    [endpoint('ub_rtp', `${EID.slice(1)}g`, 'device'), 'it must be an EID of 32 hexadecimal digits'],
  ])('%j is refused', (item, rule) => {
    expect(ruleOf(() => check(resource(item)))).toContain(rule);
    expect(ruleOf(() => check(resource(ENDPOINT, item)))).toContain(rule.replace('endpoint 0', 'endpoint 1'));
  });

  test('ub_rtp and uboe exclude each other', () => {
    const options = resource(endpoint('ub_rtp', EID, 'device'), endpoint('uboe', '1.2.3.4', 'device'));
    expect(ruleOf(() => check(options))).toContain('both ub_rtp and uboe');
  });

  const described = (options: Options, ...protocolDesc: string[]): Options => ({
    ...options,
    ...config({ 'comm_resource_config.protocol_desc': protocolDesc }),
  });

  test('protocol_desc picks endpoints, and what it leaves out is not looked at', () => {
    const wrong = endpoint('ub_ctp', 'x', 'host');
    expect(check(described(resource(ENDPOINT, wrong), 'hccs:device', 'roce:host'))).toEqual({ engine: 'hixl' });
    expect(ruleOf(() => check(described(resource(ENDPOINT, wrong), 'roce:device')))).toContain('no endpoint is left');
    expect(check(described(MINIMAL, 'hccs:device'))).toEqual({ engine: 'hixl' });
    expect(ruleOf(() => check(described(MINIMAL, 'uboe:device')))).toContain('no endpoint is left');
  });

  test.each(['', 'roce', 'roce:', ':host', 'roce:host:', 'tcp:host', 'uboe:host', 'roce:host '])(
    'protocol_desc %j is refused',
    (description) => {
      const rule = `protocol_desc has ${JSON.stringify(description)}; supported are roce:host`;
      expect(ruleOf(() => check(described(resource(ENDPOINT), 'roce:host', description)))).toContain(rule);
      expect(ruleOf(() => check(described({}, description)))).toContain(rule);
    },
  );

  test('HCCL_INTRA_ROCE_ENABLE=1 leaves RoCE only', () => {
    const roceOnly = { HCCL_INTRA_ROCE_ENABLE: '1' };
    const hccs = endpoint('hccs', 'x', 'device');
    expect(check(resource(ENDPOINT, hccs), roceOnly)).toEqual({ engine: 'hixl' });
    expect(ruleOf(() => check(resource(hccs), roceOnly))).toContain('lists no RoCE endpoint');
    expect(ruleOf(() => check(resource(hccs), { HCCL_INTRA_ROCE_ENABLE: '0' }))).toContain('a device number');
    expect(check(MINIMAL, roceOnly)).toEqual({ engine: 'hixl' });
    expect(ruleOf(() => check(described(MINIMAL, 'hccs:device'), roceOnly))).toContain('no endpoint is left');
  });
});

describe('the hixl backend: local_comm_res_path', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'comm-res-'));
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });
  const file = (name: string, content: string | Buffer): string => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const withPath = (path: string): Options => config({ local_comm_res_path: path });

  test('the file stands for llm.LocalCommRes', () => {
    expect(check(withPath(file('1.3', '\ufeff{"version":"1.3"}\n')))).toEqual({ engine: 'hixl' });
    expect(check(withPath(file('1.2', '{"version":"1.2"}')))).toEqual({ engine: 'comm' });
    expect(check(withPath(file('full', '{}'.padEnd(1_048_576))))).toEqual({ engine: 'comm' });
    expect(ruleOf(() => check(withPath(file('text', 'x'))))).toContain('not JSON');
  });

  test('a link to it will do', () => {
    symlinkSync(file('target', '{"version":"1.3"}'), join(folder, 'link'));
    expect(check(withPath(join(folder, 'link')))).toEqual({ engine: 'hixl' });
  });

  test('it is not read when llm.LocalCommRes is given', () => {
    expect(check({ ...withPath(join(folder, 'absent')), 'llm.LocalCommRes': '{}' })).toEqual({ engine: 'comm' });
    expect(ruleOf(() => check({ ...withPath(join(folder, 'absent')), 'llm.LocalCommRes': '' }))).toContain('ENOENT');
  });

  test('a file that cannot be used is refused with the reason', () => {
    mkdirSync(join(folder, 'folder'));
    execFileSync('mkfifo', [join(folder, 'pipe')]);
    const refused = (path: string): string => ruleOf(() => check(withPath(path)));
    expect(refused(join(folder, 'absent'))).toContain('ENOENT');
    expect(refused(join(folder, 'folder'))).toContain('it is no regular file');
    expect(refused(join(folder, 'pipe'))).toContain('it is no regular file');
    expect(refused(file('empty', ''))).toContain('it has 0 bytes, not 1 to 1048576');
    expect(refused(file('large', ' '.repeat(1_048_577)))).toContain('it has 1048577 bytes');
    expect(refused(file('binary', Buffer.from([0x22, 0xff, 0x22])))).toContain('not valid');
    expect(refused('a\0b')).toContain('local_comm_res_path "a\\u0000b" cannot be used');
  });
});
