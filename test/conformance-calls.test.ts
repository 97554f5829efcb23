import { createServer, Server } from 'node:net';
import { hostPorts, isolatedPorts, mockBackends, parseScenario, runScenario } from '../lib/conformance';
import { crc32, crcText } from '../lib/conformance/crc32';
import type { Method } from './fixtures/spoilt-backend';
import { overheard } from './fixtures/spoilt-backend';

const INIT = { op: 'init', node: 'P', options: { 'llm.DeviceId': '0' }, status: 'LLM_SUCCESS' };
const DESC = { numTensors: 2, dataType: 'DT_INT8', shape: [4, 8] };
const REGISTER = { op: 'register', node: 'P', cache: 'pk', desc: DESC, base: 250, status: 'LLM_SUCCESS', cacheId: '1' };
const PUSH = {
  op: 'pushBlocks',
  node: 'P',
  src: 'pk',
  dst: { clusterId: '2', cacheId: '9' },
  srcBlocks: [0],
  dstBlocks: [1],
};

/** What reaches the seam of the calls `names` when `steps` are made; differences do not matter. */
async function reaching(names: readonly string[], ...steps: readonly unknown[]) {
  const { source, calls } = overheard(...names);
  const nodes = { P: { role: 'PROMPT', clusterId: '1' } };
  const differences = await runScenario(parseScenario({ name: 'calls', nodes, steps }), source);
  return { calls, differences };
}

const registration = { numTensors: 2, dataType: 2, shape: [4n, 8n], placement: 1 };
const nothing = { numTensors: 0, dataType: 28, shape: [], placement: 1 };

/** What a recorded key does not have. */
const BARE_KEY = { layout: undefined, life: undefined, version: undefined, fingerprint: undefined };
/** Where a backend counts the layers of a push. */
const PROGRESS = expect.objectContaining({ layersCompleted: expect.anything() as unknown }) as unknown;

describe('the source of a push', () => {
  const failing = { ...PUSH, status: 'LLM_FAILED', crc: { pk: '00000000' } };

  test.each([
    ['carries the description of its registration', {}, { cacheId: 1n, desc: registration }],
    ['has nothing but the id when it is bare', { bareSource: true }, { cacheId: 1n, desc: nothing }],
    [
      'may differ in single fields',
      { srcDesc: { numTensors: 7 } },
      { cacheId: 1n, desc: { ...registration, numTensors: 7 } },
    ],
    [
      'may differ in the placement',
      { srcDesc: { placement: 'HOST' } },
      { cacheId: 1n, desc: { ...registration, placement: 0 } },
    ],
    [
      'may be bare but for single fields',
      { bareSource: true, srcDesc: { numTensors: 2 } },
      { cacheId: 1n, desc: { ...nothing, numTensors: 2 } },
    ],
    [
      'has nothing but the id when it is given by it',
      { src: { cacheId: '77' }, crc: {} },
      { cacheId: 77n, desc: nothing },
    ],
    [
      'may be an id with single fields',
      { src: { cacheId: '77' }, crc: {}, srcDesc: { numTensors: 4, dataType: 'DT_BOOL', shape: [2] } },
      { cacheId: 77n, desc: { numTensors: 4, dataType: 12, shape: [2n], placement: 1 } },
    ],
  ])('%s', async (_title, fields, expected) => {
    const { calls } = await reaching(['pushKvBlocks'], INIT, REGISTER, { ...failing, ...fields });
    expect(calls).toEqual([
      [
        'pushKvBlocks',
        expect.objectContaining(expected),
        { clusterId: 2n, cacheId: 9n, batchIndex: 0, ...BARE_KEY },
        BigUint64Array.of(0n),
        BigUint64Array.of(1n),
        { srcLayerRange: [-1, -1], dstLayerRange: [-1, -1], tensorNumPerLayer: 2 },
        undefined,
        PROGRESS,
      ],
    ]);
  });
});

describe('what a step leaves out has the default of the C++ interface', () => {
  const key = expect.objectContaining({ clusterId: 2n, cacheId: 9n, batchIndex: 0 }) as unknown;
  const cache = expect.objectContaining({ cacheId: 5n }) as unknown;
  const ext = { srcLayerRange: [-1, -1], dstLayerRange: [-1, -1], tensorNumPerLayer: 2 };
  const remote = { clusterId: '2', cacheId: '9' };
  const local = { cacheId: '5' };

  test.each([
    ['pullCache', { src: remote, dst: local }, ['pullKvCache', key, cache, 0, -1n, ext]],
    ['pushCache', { src: local, dst: remote }, ['pushKvCache', cache, key, 0, -1n, ext, PROGRESS]],
    ['link', { clusters: [], results: [] }, ['linkLlmClusters', [], 1000]],
    ['unlink', { clusters: [], results: [] }, ['unlinkLlmClusters', [], 1000, false]],
    ['setRole', { role: 'MIX' }, ['setRole', 3, {}]],
  ])('%s', async (op, fields, expected) => {
    const step = { op, node: 'P', status: 'LLM_FAILED', ...fields };
    expect((await reaching([expected[0] as string], INIT, step)).calls).toEqual([expected]);
  });

  test('and what is given arrives', async () => {
    const ranges = { srcLayerRange: [0, 1], dstLayerRange: [2, 3], tensorNumPerLayer: 4 };
    const pull = {
      op: 'pullCache',
      node: 'P',
      src: { ...remote, batchIndex: 3 },
      dst: local,
      batchIndex: 6,
      size: '12',
      ...ranges,
    };
    const push = { ...pull, op: 'pushCache', src: local, dst: pull.src, srcBatchIndex: 6, batchIndex: undefined };
    const address = ['10.0.0.1', 7];
    const clusters = [
      { remoteClusterId: '2', remote: [address], local: [['10.0.0.2', '${port:L}']], remoteRoleType: 2 },
    ];
    const link = { op: 'unlink', node: 'P', clusters, timeout: 5, force: true, results: [] };
    const setRole = { op: 'setRole', node: 'P', role: 2, options: { 'x.${port:L}': '${port:L};${port:M}' } };
    const steps = [pull, without(push, 'batchIndex'), link, setRole].map((step) => ({ ...step, status: 'LLM_FAILED' }));
    const names = ['pullKvCache', 'pushKvCache', 'unlinkLlmClusters', 'setRole'];
    const [l, m] = await isolatedPorts(2);
    expect((await reaching(names, INIT, ...steps)).calls).toEqual([
      ['pullKvCache', { clusterId: 2n, cacheId: 9n, batchIndex: 3, ...BARE_KEY }, cache, 6, 12n, ranges],
      ['pushKvCache', cache, { clusterId: 2n, cacheId: 9n, batchIndex: 3, ...BARE_KEY }, 6, 12n, ranges, PROGRESS],
      [
        'unlinkLlmClusters',
        [
          {
            remoteClusterId: 2n,
            remoteRoleType: 2,
            remoteIpInfos: [{ ip: '10.0.0.1', port: 7 }],
            localIpInfos: [{ ip: '10.0.0.2', port: l }],
          },
        ],
        5,
        true,
      ],
      ['setRole', 2, { [`x.${l}`]: `${l};${m}` }],
    ]);
  });
});

function without(json: object, key: string): object {
  return Object.fromEntries(Object.entries(json).filter(([name]) => name !== key));
}

describe('the memory of a registration', () => {
  const fails = (fields: object) => 'status' in fields;
  const registered = async (fields: object, ...more: readonly unknown[]) => {
    const { calls, differences } = await reaching(
      ['malloc', 'write', 'registerKvCache'],
      INIT,
      fails(fields) ? without({ ...REGISTER, ...fields }, 'cacheId') : { ...REGISTER, ...fields },
      ...more,
    );
    const of = (name: string) => calls.filter(([called]) => called === name);
    const addresses = of('registerKvCache').map(([, , addrs]) => [...(addrs as BigUint64Array)]);
    const allocated = of('malloc').map(([, bytes, placement]) => [bytes, placement]);
    return { allocated, written: of('write').map(([, , data]) => data as Uint8Array), addresses, differences };
  };
  const failing = (fields: object) => ({ status: 'LLM_PARAM_INVALID', ...fields });

  test('is one allocation per tensor, filled from the base', async () => {
    const { allocated, written, differences } = await registered({});
    expect(differences).toEqual([]);
    expect(allocated).toEqual([
      [32n, 1],
      [32n, 1],
    ]);
    expect(written.map((data) => [data[0], data[1], data[31]])).toEqual([
      [250, 0, (250 + 31) % 251],
      [(250 + 131) % 251, 131, (250 + 131 + 31) % 251],
    ]);
  });

  test('is one allocation for all tensors when there are many, filled alike', async () => {
    const desc = { numTensors: 1500, dataType: 'DT_INT4', shape: [3], placement: 'HOST' };
    const { allocated, written, addresses } = await registered({ desc });
    expect(allocated).toEqual([[3000n, 0]]);
    expect([...written[0]!]).toEqual(
      Array.from({ length: 3000 }, (_, i) => (250 + 131 * Math.floor(i / 2) + (i % 2)) % 251),
    );
    expect(addresses[0]!.map((address) => address - addresses[0]![0]!)).toEqual(
      Array.from({ length: 1500 }, (_, i) => BigInt(2 * i)),
    );
  });

  test.each([1024, 1025])('has the same checksum either way (%d tensors)', async (numTensors) => {
    const desc = { numTensors, dataType: 'DT_INT8', shape: [5] };
    const bytes = Uint8Array.from({ length: 5 * numTensors }, (_, i) => (3 + 131 * Math.floor(i / 5) + (i % 5)) % 251);
    const pull = {
      op: 'pullCache',
      node: 'P',
      src: { clusterId: '2', cacheId: '9' },
      dst: 'pk',
      status: 'LLM_NOT_YET_LINK',
    };
    const crc = crcText(crc32(bytes));
    const { differences } = await registered({ desc, base: 3 }, { ...pull, crc: { pk: crc } });
    expect(differences).toEqual([]);
  });

  test('may be that of another cache', async () => {
    const bytes = Uint8Array.from({ length: 64 }, (_, i) => (250 + 131 * Math.floor(i / 32) + (i % 32)) % 251);
    const again = { ...REGISTER, cache: 'again', memoryOf: 'pk', cacheId: '2' };
    const { allocated, addresses, differences } = await registered({}, again, {
      ...PUSH,
      src: 'again',
      status: 'LLM_NOT_YET_LINK',
      crc: { again: crcText(crc32(bytes)) },
    });
    expect(allocated).toHaveLength(2);
    expect(addresses[1]).toEqual(addresses[0]);
    expect(differences).toEqual([]);
  });

  test('of another cache of many tensors is read as that cache is', async () => {
    const desc = { numTensors: 1500, dataType: 'DT_INT8', shape: [2] };
    const again = { ...REGISTER, desc, cache: 'again', memoryOf: 'pk', cacheId: '2' };
    const half = { ...again, desc: { ...desc, shape: [1] }, cache: 'half', cacheId: '3' };
    const byte = (tensor: number, k: number) => (250 + 131 * tensor + k) % 251;
    const whole = Uint8Array.from({ length: 3000 }, (_, i) => byte(Math.floor(i / 2), i % 2));
    const halves = Uint8Array.from({ length: 1500 }, (_, i) => byte(i, 0));
    const push = { ...PUSH, status: 'LLM_NOT_YET_LINK' };
    const { differences } = await registered(
      { desc },
      again,
      half,
      { ...push, src: 'again', crc: { again: crcText(crc32(whole)) } },
      { ...push, src: 'half', crc: { half: crcText(crc32(halves)) } },
    );
    expect(differences).toEqual([]);
  });

  test('of another cache may be given for a description without a size', async () => {
    const again = {
      ...REGISTER,
      desc: { ...DESC, dataType: 99 },
      cache: 'again',
      memoryOf: 'pk',
      status: 'LLM_PARAM_INVALID',
    };
    const { addresses, differences } = await registered({}, without(again, 'cacheId'));
    expect(differences).toEqual([]);
    expect(addresses[1]).toEqual(addresses[0]);
  });

  test('has as many addresses as are asked for', async () => {
    expect((await registered(failing({ addrCount: 3 }))).addresses).toMatchObject([
      Array.from({ length: 3 }, () => expect.any(BigInt) as unknown),
    ]);
    expect((await registered(failing({ addrCount: 0 }))).addresses).toEqual([[]]);
  });

  test('has a null address where one is asked for', async () => {
    const { addresses } = await registered(failing({ nullAddr: 1 }));
    expect(addresses).toEqual([[expect.any(BigInt), 0n]]);
    expect(addresses[0]![0]).not.toBe(0n);
  });

  test.each([
    ['has no size', { dataType: 'DT_UNDEFINED', shape: [4] }],
    ['has no shape', { dataType: 'DT_INT8', shape: [] }],
    ['would be huge', { dataType: 'DT_INT8', shape: ['1099511627776'] }],
  ])('is not allocated for a registration that fails when it %s', async (_title, desc) => {
    const { allocated, addresses } = await registered(failing({ desc: { numTensors: 2, ...desc } }));
    expect(allocated).toEqual([]);
    expect(addresses[0]!.every((address) => address !== 0n)).toBe(true);
  });

  test('that cannot be had is a difference, and what was had is freed', async () => {
    const { source, calls } = overheard('free');
    let left = 1;
    const stingy: typeof source = () => {
      const { createBackend, freePorts } = source();
      return {
        freePorts,
        createBackend: (clusterId, role) => {
          const backend = createBackend(clusterId, role);
          const malloc = backend.malloc.bind(backend);
          return Object.assign(backend, {
            malloc: async (bytes: bigint, placement: number) => {
              left -= 1;
              if (left < 0) throw new Error('no more');
              return malloc(bytes, placement);
            },
          });
        },
      };
    };
    const nodes = { P: { role: 'PROMPT', clusterId: '1' } };
    const differences = await runScenario(parseScenario({ name: 'stingy', nodes, steps: [INIT, REGISTER] }), stingy);
    expect(differences).toMatchObject([{ step: 1, kind: 'memory', got: 'Error: no more' }]);
    expect(calls).toHaveLength(1);
  });
});

describe('ports', () => {
  test('of isolated instances are different numbers', async () => {
    expect(new Set(await isolatedPorts(50)).size).toBe(50);
  });

  /** `hostPorts(3)` where all ports after the first two fail to be listened on; none stays open. */
  async function hostPortsFailing(error: Error): Promise<readonly number[]> {
    const closed = jest.spyOn(Server.prototype, 'close');
    const { listen } = Server.prototype as unknown as { listen: Method };
    let left = 2;
    const spy = jest.spyOn(Server.prototype, 'listen').mockImplementation(function (this: Server, ...args: unknown[]) {
      left -= 1;
      if (left < 0) this.emit('error', error);
      else listen.apply(this, args);
      return this;
    });
    try {
      return await hostPorts(3);
    } finally {
      expect(closed).toHaveBeenCalledTimes(2);
      spy.mockRestore();
      closed.mockRestore();
    }
  }

  test('of this host that cannot be had are an error, and none stays open', async () => {
    await expect(hostPortsFailing(new Error('no socket is left'))).rejects.toThrow('no socket is left');
  });

  test.each(['EADDRINUSE', 'EACCES'])('of this host are all taken: %s', async (code) => {
    await expect(hostPortsFailing(Object.assign(new Error(code), { code }))).rejects.toThrow(
      /^3 free TCP ports are needed: from \d+ to \d+ there are 2$/,
    );
  });

  test('of this host that somebody listens on are not given', async () => {
    const [port = 0] = await hostPorts(1);
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    try {
      expect(await hostPorts(500)).not.toContain(port);
      expect(await hostPorts(20)).not.toContain(port);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test('of this host are none that an outgoing connection may have taken meanwhile', async () => {
    for (const port of await hostPorts(20)) expect(port).toBeLessThan(32_768);
  });

  test('of this host are not given again while another scenario may be using them', async () => {
    const ports = new Set<number>();
    for (let i = 0; i < 400; i++) for (const port of await hostPorts(1)) ports.add(port);
    expect(ports.size).toBe(400);
  });

  test('of this host are different, and free', async () => {
    const ports = await hostPorts(20);
    expect(new Set(ports).size).toBe(20);
    for (const port of ports.slice(0, 3)) {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject).listen(port, '127.0.0.1', resolve);
      });
      await new Promise((resolve) => server.close(resolve));
    }
  });
});

test('scenarios never see each other', async () => {
  const listen = { 'llm.DeviceId': '0', 'llm.ListenIpInfo': '127.0.0.1:${port:P}' };
  const nodes = { P: { role: 'PROMPT', clusterId: '1' } };
  const scenario = parseScenario({ name: 'alone', nodes, steps: [{ ...INIT, options: listen }] });
  const [first, second] = await Promise.all([runScenario(scenario, mockBackends), runScenario(scenario, mockBackends)]);
  expect([first, second]).toEqual([[], []]);
});

describe('crc32', () => {
  test('is that of zlib', () => {
    expect(crcText(crc32(Buffer.from('123456789')))).toBe('cbf43926');
    expect(crcText(crc32(new Uint8Array(0)))).toBe('00000000');
    expect(crcText(crc32(Uint8Array.of(0, 0, 0, 0)))).toBe('2144df1c');
  });

  test('can be continued', () => {
    expect(crc32(Buffer.from('6789'), crc32(Buffer.from('12345')))).toBe(crc32(Buffer.from('123456789')));
  });

  test('is written with all its digits', () => {
    expect(crcText(0xab)).toBe('000000ab');
  });
});
