import { formatDifference, mockBackends, parseScenario, runScenario } from '../lib/conformance';

const HOST = '127.0.0.1';
const timeout = 1000;

const listen = (port: string) => ({ 'llm.ListenIpInfo': `${HOST}:${port}` });
const port = (name: string) => '${port:' + name + '}';

const NEWER_ENGINE = {
  'llm.TransferBackend': 'hixl',
  'llm.LocalCommRes': JSON.stringify({
    version: '1.3',
    net_instance_id: 'pod',
    endpoint_list: [{ protocol: 'roce', comm_id: HOST, placement: 'host' }],
  }),
};

const init = (node: string, device: string, status: string, options: object = {}) => ({
  op: 'init',
  node,
  options: { 'llm.DeviceId': device, ...options },
  status,
});
const peer = (remoteClusterId: string, node: string) => ({
  remoteClusterId,
  remote: [[HOST, port(node)]],
  local: [[HOST, 26999]],
});
const link = (node: string, cluster: object, status: string) => ({
  op: 'link',
  node,
  clusters: [cluster],
  timeout,
  status,
  results: [status],
});
const unlink = (node: string, cluster: object, status: string) => ({ ...link(node, cluster, status), op: 'unlink' });
const register = (
  node: string,
  cache: string,
  cacheId: string,
  [numTensors, dataType, shape]: [number, string, number[]],
  base: number,
) => ({
  op: 'register',
  node,
  cache,
  desc: { numTensors, dataType, shape, placement: 'DEVICE' },
  base,
  status: 'LLM_SUCCESS',
  cacheId,
});

// Answers of the vendor's library, built for a host without NPU, from a comparison of the mock with it.
const SCENARIOS = [
  {
    name: 'an Initialize that fails late moves the taken port along with its listen address',
    nodes: {
      A: { role: 'MIX', clusterId: '1' },
      B: { role: 'MIX', clusterId: '2' },
      C: { role: 'MIX', clusterId: '3' },
    },
    steps: [
      init('A', '0', 'LLM_PARAM_INVALID', { ...listen(port('P')), 'llm.SyncKvCacheWaitTime': '1s' }),
      init('A', '0', 'LLM_PARAM_INVALID', { ...listen(port('Q')), 'llm.SyncKvCacheWaitTime': '1s' }),
      init('B', '1', 'LLM_SUCCESS', listen(port('P'))),
      init('C', '2', 'LLM_FAILED', listen(port('Q'))),
      { op: 'finalize', node: 'A' },
      init('C', '2', 'LLM_FAILED', listen(port('Q'))),
      init('A', '0', 'LLM_SUCCESS'),
      init('C', '2', 'LLM_SUCCESS', listen(port('Q'))),
      {
        op: 'link',
        node: 'A',
        clusters: [peer('2', 'B'), peer('3', 'C')],
        timeout: 1000,
        status: 'LLM_LINK_FAILED',
        results: ['LLM_LINK_FAILED', 'LLM_LINK_FAILED'],
      },
    ],
  },
  {
    name: 'the port that a failed Initialize of the newer hixl engine keeps answers links, and refuses them',
    nodes: { A: { role: 'MIX', clusterId: '1' }, B: { role: 'MIX', clusterId: '2' } },
    steps: [
      init('A', '0', 'LLM_PARAM_INVALID', { ...listen(port('A')), ...NEWER_ENGINE, 'llm.MemPoolConfig': '{}' }),
      init('B', '1', 'LLM_SUCCESS', { ...listen(port('B')), ...NEWER_ENGINE }),
      link('B', peer('1', 'A'), 'LLM_PARAM_INVALID'),
      unlink('B', peer('1', 'A'), 'LLM_SUCCESS'),
      link('B', peer('1', 'A'), 'LLM_PARAM_INVALID'),
    ],
  },
  {
    name: 'rows that do not fill whole bytes: the remote remainder decides the bytes of the last run',
    nodes: { A: { role: 'MIX', clusterId: '10' }, B: { role: 'MIX', clusterId: '11' } },
    steps: [
      init('A', '0', 'LLM_SUCCESS', listen(port('A'))),
      init('B', '1', 'LLM_SUCCESS'),
      register('A', 'far', '1', [2, 'DT_INT4', [5, 3]], 17),
      register('A', 'wide', '2', [2, 'DT_INT2', [3, 7]], 90),
      register('B', 'near', '1', [2, 'DT_UINT2', [4, 9]], 200),
      link('B', peer('10', 'A'), 'LLM_SUCCESS'),
      {
        op: 'pullCache',
        node: 'B',
        src: { clusterId: '10', cache: 'far', batchIndex: 2 },
        dst: 'near',
        batchIndex: 1,
        size: '1',
        status: 'LLM_SUCCESS',
        crc: { far: 'fe897e45', near: '36df343c' },
      },
      {
        op: 'pullCache',
        node: 'B',
        src: { clusterId: '10', cache: 'far', batchIndex: 0 },
        dst: 'near',
        batchIndex: 0,
        status: 'LLM_PARAM_INVALID',
        crc: { far: 'fe897e45', near: '36df343c' },
      },
      {
        op: 'pullBlocks',
        node: 'B',
        src: { clusterId: '10', cache: 'far' },
        dst: 'near',
        srcBlocks: [0, 2],
        dstBlocks: [3, 1],
        status: 'LLM_SUCCESS',
        crc: { far: 'fe897e45', near: '3bb897a8' },
      },
      {
        op: 'pullBlocks',
        node: 'B',
        src: { clusterId: '10', cache: 'wide' },
        dst: 'near',
        srcBlocks: [1, 0],
        dstBlocks: [0, 2],
        status: 'LLM_SUCCESS',
        crc: { wide: '05d36070', near: 'e298b13b' },
      },
      {
        op: 'pushBlocks',
        node: 'B',
        src: 'near',
        dst: { clusterId: '10', cache: 'far' },
        srcBlocks: [3, 0],
        dstBlocks: [1, 0],
        status: 'LLM_SUCCESS',
        crc: { near: 'e298b13b', far: 'fbeaba2a' },
      },
      {
        op: 'pushCache',
        node: 'B',
        src: 'near',
        dst: { clusterId: '10', cache: 'far', batchIndex: 1 },
        srcBatchIndex: 3,
        status: 'LLM_SUCCESS',
        crc: { near: 'e298b13b', far: 'dbfe6af5' },
      },
    ],
  },
  {
    name: 'one peer linked under the id of another one, and what a link and an unlink of either then do',
    nodes: {
      A: { role: 'MIX', clusterId: '5' },
      B: { role: 'MIX', clusterId: '6' },
      C: { role: 'MIX', clusterId: '7' },
    },
    steps: [
      init('A', '0', 'LLM_SUCCESS', listen(port('A'))),
      init('B', '1', 'LLM_SUCCESS', listen(port('B'))),
      init('C', '2', 'LLM_SUCCESS', listen(port('C'))),
      link('A', peer('6', 'B'), 'LLM_SUCCESS'),
      link('A', peer('6', 'C'), 'LLM_SUCCESS'),
      link('A', peer('6', 'C'), 'LLM_ALREADY_LINK'),
      link('A', peer('7', 'C'), 'LLM_ALREADY_LINK'),
      link('A', peer('99', 'C'), 'LLM_SUCCESS'),
      unlink('A', peer('7', 'B'), 'LLM_SUCCESS'),
      { op: 'setRole', node: 'C', role: 'MIX', status: 'LLM_EXIST_LINK' },
      unlink('C', peer('5', 'A'), 'LLM_SUCCESS'),
      { op: 'setRole', node: 'C', role: 'PROMPT', options: listen(`0${port('C')}`), status: 'LLM_SUCCESS' },
      { op: 'setRole', node: 'B', role: 'MIX', status: 'LLM_SUCCESS' },
    ],
  },
  {
    name: 'resources of both versions meet: the smaller one decides which fields are read',
    nodes: {
      A: { role: 'MIX', clusterId: '1' },
      B: { role: 'MIX', clusterId: '2' },
      C: { role: 'MIX', clusterId: '3' },
    },
    steps: [
      init('A', '0', 'LLM_SUCCESS', {
        ...listen(port('A')),
        'llm.LocalCommRes':
          '{"version":"1.2","server_list":[{"server_id":"10.0.0.1","device":[{"device_id":"0","super_device_id":"0"}]}]}',
      }),
      init('B', '1', 'LLM_SUCCESS', {
        'llm.LocalCommRes': '{"version":"1.0","server_list":[{"server_id":"10.0.0.2","device":[{"device_id":"1"}]}]}',
      }),
      init('C', '2', 'LLM_SUCCESS', {
        'llm.LocalCommRes':
          '{"version":"1.2","server_list":[{"server_id":"10.0.0.3","device":[{"device_id":"2","super_device_id":"2","device_port":5}]}]}',
      }),
      link('B', peer('1', 'A'), 'LLM_SUCCESS'),
      link('C', peer('1', 'A'), 'LLM_PARAM_INVALID'),
    ],
  },
  {
    name: 'a registration of shared memory that fails half-way, and the table seen after a new link',
    nodes: { A: { role: 'MIX', clusterId: '1' }, B: { role: 'MIX', clusterId: '2' } },
    steps: [
      init('A', '0', 'LLM_SUCCESS', listen(port('A'))),
      init('B', '1', 'LLM_SUCCESS'),
      register('A', 'one', '1', [2, 'DT_INT8', [4, 2]], 3),
      {
        op: 'register',
        node: 'A',
        cache: 'bad',
        desc: { numTensors: 2, dataType: 'DT_UNDEFINED', shape: [4, 2], placement: 'DEVICE' },
        base: 3,
        memoryOf: 'one',
        status: 'LLM_PARAM_INVALID',
      },
      {
        op: 'register',
        node: 'A',
        cache: 'two',
        desc: { numTensors: 1, dataType: 'DT_INT8', shape: [2, 4], placement: 'DEVICE' },
        base: 0,
        memoryOf: 'one',
        addrCount: 1,
        status: 'LLM_SUCCESS',
        cacheId: '3',
      },
      register('B', 'own', '1', [1, 'DT_INT16', [4]], 40),
      link('B', peer('1', 'A'), 'LLM_SUCCESS'),
      {
        op: 'pullBlocks',
        node: 'B',
        src: { clusterId: '1', cacheId: '2' },
        dst: 'own',
        srcBlocks: [0],
        dstBlocks: [0],
        status: 'LLM_KV_CACHE_NOT_EXIST',
        crc: { own: '7f1513c0' },
      },
      {
        op: 'pullBlocks',
        node: 'B',
        src: { clusterId: '1', cache: 'two' },
        dst: 'own',
        srcBlocks: [0, 1, 3],
        dstBlocks: [0, 1, 2],
        status: 'LLM_SUCCESS',
        crc: { two: '62bca3dc', own: '102666a3' },
      },
      register('A', 'late', '4', [1, 'DT_INT16', [4]], 77),
      {
        op: 'pullCache',
        node: 'B',
        src: { clusterId: '1', cache: 'late', batchIndex: 0 },
        dst: 'own',
        status: 'LLM_KV_CACHE_NOT_EXIST',
        crc: { late: 'e48a7860', own: '102666a3' },
      },
      {
        op: 'unlink',
        node: 'A',
        clusters: [peer('2', 'B')],
        timeout: 1000,
        force: true,
        status: 'LLM_SUCCESS',
        results: ['LLM_SUCCESS'],
      },
      unlink('B', peer('1', 'A'), 'LLM_SUCCESS'),
      link('B', peer('1', 'A'), 'LLM_SUCCESS'),
      {
        op: 'pullCache',
        node: 'B',
        src: { clusterId: '1', cache: 'late', batchIndex: 0 },
        dst: 'own',
        batchIndex: 3,
        status: 'LLM_SUCCESS',
        crc: { late: 'e48a7860', own: '64430f09' },
      },
      { op: 'unregister', node: 'A', cache: 'late', status: 'LLM_SUCCESS' },
      { op: 'unregister', node: 'A', cache: 'late', status: 'LLM_SUCCESS' },
      {
        op: 'pushCache',
        node: 'B',
        src: 'own',
        dst: { clusterId: '1', cache: 'late', batchIndex: 4 },
        srcBatchIndex: 1,
        tensorNumPerLayer: 1,
        status: 'LLM_PARAM_INVALID',
        crc: { own: '64430f09', late: 'e48a7860' },
      },
    ],
  },
];

describe('the mock answers as the library does', () => {
  test.each(SCENARIOS)('$name', async (scenario) => {
    const differences = await runScenario(parseScenario(scenario), mockBackends);
    expect(differences.map(formatDifference)).toEqual([]);
  });
});

describe('where the library ends the process, the mock refuses', () => {
  test.each(['4294967296', '8589934592'])('a first dimension of %s, whatever the addresses lead to', async (rows) => {
    const scenario = parseScenario({
      name: `${rows} rows`,
      nodes: { A: { role: 'PROMPT', clusterId: '1' } },
      steps: [
        init('A', '0', 'LLM_SUCCESS'),
        {
          op: 'register',
          node: 'A',
          cache: 'rows',
          desc: { numTensors: 1, dataType: 'DT_INT8', shape: [rows], placement: 'DEVICE' },
          base: 0,
          status: 'LLM_PARAM_INVALID',
        },
      ],
    });
    expect((await runScenario(scenario, mockBackends)).map(formatDifference)).toEqual([]);
  });
});
