import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { loadScenarios, parseScenario, readScenarios, ScenarioError } from '../lib/conformance';
import type { Step } from '../lib/conformance';

type Json = Record<string, unknown>;

const INIT = { op: 'init', node: 'P', options: {}, status: 'LLM_SUCCESS' };
const DESC = { numTensors: 2, dataType: 'DT_INT32', shape: [4, '9007199254740993'], placement: 'HOST' };
const REGISTER = { op: 'register', node: 'P', cache: 'pk', desc: DESC, base: 1, status: 'LLM_SUCCESS', cacheId: '1' };
const LINK = {
  op: 'link',
  node: 'P',
  clusters: [{ remoteClusterId: '2' }],
  status: 'LLM_SUCCESS',
  results: ['LLM_SUCCESS'],
};
const PULL = {
  op: 'pullCache',
  node: 'P',
  src: { clusterId: '2', cacheId: '7' },
  dst: 'pk',
  status: 'LLM_NOT_YET_LINK',
  crc: { pk: '0123abcd' },
};

const scenario = (...steps: readonly unknown[]): Json => ({
  name: 'little',
  nodes: { P: { role: 'PROMPT', clusterId: '18446744073709551615' } },
  steps,
});
const stepOf = (json: Json): Step => parseScenario(scenario(json)).steps[0]!;
const without = (json: Json, key: string): Json => Object.fromEntries(Object.entries(json).filter(([k]) => k !== key));

describe('a scenario', () => {
  test('has 64-bit numbers as bigints, names as numbers, and the defaults of the C++ interface', () => {
    expect(parseScenario(scenario(INIT, REGISTER, LINK, PULL))).toEqual({
      name: 'little',
      about: '',
      tags: [],
      slow: false,
      nodes: new Map([['P', { role: 1, clusterId: 0xffff_ffff_ffff_ffffn }]]),
      ports: [],
      place: 'scenario: little',
      steps: [
        { op: 'init', node: 'P', options: new Map(), status: 0 },
        {
          op: 'register',
          node: 'P',
          cache: 'pk',
          desc: { numTensors: 2, dataType: 3, shape: [4n, 9007199254740993n], placement: 0 },
          base: 1,
          status: 0,
          cacheId: 1n,
        },
        {
          op: 'link',
          node: 'P',
          clusters: [{ remoteClusterId: 2n, remote: [], local: [] }],
          timeout: 1000,
          status: 0,
          results: [0],
        },
        {
          op: 'pullCache',
          node: 'P',
          src: { clusterId: 2n, target: { cacheId: 7n }, batchIndex: 0 },
          dst: { cache: 'pk' },
          batchIndex: 0,
          ext: {},
          status: 0x5010_b007,
          crc: new Map([['pk', '0123abcd']]),
        },
      ],
    });
  });

  test.each([
    [
      'no id of a cluster, and an address without a port',
      { ...LINK, clusters: [{ remote: [['127.0.0.1']] }] },
      { clusters: [{ remoteClusterId: 0n, remote: [['127.0.0.1', 0]], local: [] }] },
    ],
    [
      'no cluster of a remote cache',
      { ...PULL, src: { cacheId: '7' }, dst: { cacheId: '1' }, crc: {} },
      { src: { clusterId: 0n, batchIndex: 0 } },
    ],
    ['nothing of a local cache', { ...PULL, dst: {}, crc: {} }, { dst: { cacheId: -1n } }],
    ['a role by number', { ...INIT, op: 'setRole', role: 7 }, { role: 7 }],
    ['a type by number', { ...REGISTER, desc: { ...DESC, dataType: 99 } }, { desc: { dataType: 99 } }],
    ['a status without a name', { ...INIT, status: '0x8BadBeef' }, { status: 0x8bad_beef }],
    [
      'a role of the peer',
      { ...LINK, clusters: [{ remoteClusterId: 2, remoteRoleType: 'MIX' }] },
      { clusters: [{ remoteClusterId: 2n, remoteRoleType: 3, remote: [], local: [] }] },
    ],
    [
      'raw calls with any arguments',
      { op: 'raw', node: 'P', call: 'CopyKvCache', src: [1], status: 'LLM_FAILED' },
      { op: 'raw', node: 'P', call: 'CopyKvCache', status: 0xffff_ffff },
    ],
    [
      'a bare id to unregister',
      { op: 'unregister', node: 'P', cacheId: '-1', status: 'LLM_SUCCESS' },
      { target: { cacheId: -1n } },
    ],
  ])('may have %s', (_title, json, expected) => {
    expect(stepOf(json)).toMatchObject(expected);
  });

  test('knows the names of its ports, wherever they stand', () => {
    const options = { 'a:${port:one.two}': '${port:P}', b: '{"x":"${port:P}-${port:Q}"}' };
    const link = { ...LINK, clusters: [{ remoteClusterId: '2', remote: [['127.0.0.1', '${port:R}']] }] };
    expect(parseScenario(scenario({ ...INIT, options }, link)).ports).toEqual(['one.two', 'P', 'Q', 'R']);
  });
});

describe('a malformed scenario is refused with its place', () => {
  test.each<[title: string, json: unknown, message: string]>([
    ['no object', null, 'f.json: expected an object, found null'],
    ['a list', [1], 'f.json: expected an object, found [ 1 ]'],
    ['no name', without(scenario(), 'name'), 'f.json: the field "name" is missing'],
    ['no nodes', without(scenario(), 'nodes'), 'f.json: little: the field "nodes" is missing'],
    ['no steps', without(scenario(), 'steps'), 'f.json: little: the field "steps" is missing'],
    ['steps that are no list', { ...scenario(), steps: {} }, 'f.json: little: steps: expected a list, found {}'],
    ['tags that are no texts', { ...scenario(), tags: [7] }, 'f.json: little: tags[0]: expected a text, found 7'],
    [
      'a node without a cluster id',
      { ...scenario(), nodes: { P: { role: 'MIX' } } },
      'f.json: little: nodes: P: the field "clusterId" is missing',
    ],
    [
      'a role that does not exist',
      { ...scenario(), nodes: { P: { role: 'PRINCE', clusterId: '1' } } },
      "f.json: little: nodes: P: role: expected a number or one of PROMPT, DECODER, MIX, found 'PRINCE'",
    ],
  ])('%s', (_title, json, message) => {
    expect(() => parseScenario(json, 'f.json')).toThrow(new ScenarioError('f.json', message.slice('f.json: '.length)));
  });

  test.each<[title: string, step: unknown, message: string | RegExp]>([
    ['no object', 7, '2: expected an object, found 7'],
    ['no op', without(INIT, 'op'), '2: the field "op" is missing'],
    ['an unknown op', { ...INIT, op: 'pulCache' }, /^2: unknown op 'pulCache'; there are init, finalize, .*, raw$/],
    ['an op of the prototype', { ...INIT, op: 'toString' }, /^2: unknown op 'toString'/],
    ['an unknown node', { ...INIT, node: 'Q' }, "2 (init): unknown node 'Q'; there are P"],
    ['no status', without(INIT, 'status'), '2 (init): the field "status" is missing'],
    [
      'an unknown status',
      { ...INIT, status: 'LLM_SUCESS' },
      /^2 \(init\): status: expected the name of a status .*'LLM_SUCESS'$/,
    ],
    ['a status in decimal', { ...INIT, status: 0 }, /status: expected the name of a status .* found 0$/],
    ['an option that is no text', { ...INIT, options: { a: 1 } }, '2 (init): options: a: expected a text, found 1'],
    ['options that are a list', { ...INIT, options: [] }, '2 (init): options: expected an object, found []'],
    ['a misspelt field', { ...PULL, sise: '4' }, '2 (pullCache): unknown field "sise"'],
    [
      'a misspelt field deeper inside',
      { ...PULL, src: { ...PULL.src, cluster: 1 } },
      '2 (pullCache): src: unknown field "cluster"',
    ],
    [
      'a cache nobody registered',
      { ...PULL, dst: 'nk' },
      "2 (pullCache): cache 'nk' is not registered by any step before",
    ],
    ['no crc of a named cache', without(PULL, 'crc'), "2 (pullCache): crc of cache 'pk' is missing"],
    [
      'a crc of another cache',
      { ...PULL, crc: { ...PULL.crc, x: '00000000' } },
      "2 (pullCache): crc of cache 'x', which is not named",
    ],
    ['a crc in capitals', { ...PULL, crc: { pk: '0123ABCD' } }, /crc: pk: expected 8 lower-case hexadecimal digits/],
    [
      'a cache both by name and by id',
      { ...PULL, src: { ...PULL.src, cache: 'pk' } },
      '2 (pullCache): src: both "cache" and "cacheId" are given',
    ],
    ['a cache by nothing', { ...PULL, src: { clusterId: '2' } }, '2 (pullCache): src: the field "cacheId" is missing'],
    ['a range of three', { ...PULL, srcLayerRange: [0, 1, 2] }, '2 (pullCache): srcLayerRange: expected a list of two'],
    ['half a range', { ...PULL, srcLayerRange: [0] }, '2 (pullCache): srcLayerRange: expected a list of two'],
    [
      'a size that was rounded',
      { ...PULL, size: 2 ** 53 },
      /^2 \(pullCache\): size: expected an integer .* found 9007199254740992$/,
    ],
    [
      'a size beyond int64',
      { ...PULL, size: String(2n ** 63n) },
      /size: expected an integer from -9223372036854775808 to 9223372036854775807/,
    ],
    ['a size that is no number', { ...PULL, size: '4 KiB' }, /size: expected an integer .* found '4 KiB'$/],
    [
      'a row beyond uint32',
      { ...PULL, batchIndex: 2 ** 32 },
      /batchIndex: expected an integer from 0 to 4294967295, found 4294967296$/,
    ],
    ['no blocks', { ...PULL, op: 'pullBlocks', srcBlocks: [1] }, '2 (pullBlocks): the field "dstBlocks" is missing'],
    [
      'a block below 0',
      { ...PULL, op: 'pullBlocks', srcBlocks: [0, -1], dstBlocks: [] },
      /srcBlocks\[1\]: expected an integer from 0/,
    ],
    ['a flag that is none', { ...LINK, op: 'unlink', force: 1 }, '2 (unlink): force: expected true or false, found 1'],
    [
      'a port that is none',
      { ...LINK, clusters: [{ remoteClusterId: 1, remote: [['::1', '${prot:P}']] }] },
      "2 (link): clusters[0]: remote[0][1]: expected a port or ${port:NAME}, found '${prot:P}'",
    ],
    [
      'an unknown raw call',
      { op: 'raw', node: 'P', call: 'Finalize', status: 'LLM_FAILED' },
      /call: expected one of AllocateCache, .* found 'Finalize'$/,
    ],
    ['a success without a cacheId', without(REGISTER, 'cacheId'), '2 (register): the field "cacheId" is missing'],
    [
      'a failure with a cacheId',
      { ...REGISTER, status: 'LLM_FAILED' },
      '2 (register): a registration that fails has no cacheId',
    ],
    ['no base', without(REGISTER, 'base'), '2 (register): the field "base" is missing'],
    [
      'a null address outside the list',
      { ...REGISTER, nullAddr: 2 },
      '2 (register): nullAddr 2 is not below the number of addresses, 2',
    ],
    [
      'more tensors than can be',
      { ...REGISTER, desc: { ...DESC, numTensors: 2 ** 32 - 1 } },
      '2 (register): 4294967295 tensors without addrCount: at most 1048576 can be allocated',
    ],
    [
      'memory of a cache nobody registered',
      { ...REGISTER, memoryOf: 'nk' },
      "2 (register): cache 'nk' is not registered by any step before",
    ],
    ['a text that is much too long', { ...INIT, status: 'x'.repeat(200) }, /found 'x{50,}\.\.\.$/],
  ])('a step with %s', (_title, step, message) => {
    const parse = () => parseScenario(scenario(INIT, REGISTER, step), 'f.json');
    expect(parse).toThrow(ScenarioError);
    const prefix = 'f.json: little: step ';
    const expected = typeof message === 'string' ? prefix + message : message;
    try {
      parse();
    } catch (error) {
      const text = (error as Error).message;
      expect(text.startsWith(prefix)).toBe(true);
      if (typeof expected === 'string') expect(text).toBe(expected);
      else expect(text.slice(prefix.length)).toMatch(expected);
    }
  });
});

describe('files of scenarios', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'scenarios-'));
  });
  afterEach(() => {
    rmSync(folder, { recursive: true });
  });

  const write = (name: string, ...jsons: readonly unknown[]): string => {
    const path = join(folder, name);
    writeFileSync(path, jsons.map((json) => (typeof json === 'string' ? json : JSON.stringify(json))).join('\n'));
    return path;
  };
  const little = (name: string) => ({ ...scenario(INIT), name });
  const names = (...paths: string[]) => loadScenarios(...paths).map(({ name }) => name);

  test('are a .json file, the .json files of a folder by name, and the lines of a .jsonl file', () => {
    const file = write('b.json', little('b'));
    write('a.json', little('a'));
    write('notes.txt', 'not a scenario');
    const lines = write('r.jsonl', little('r1'), '', little('r2'), '');
    expect(names(file)).toEqual(['b']);
    expect(names(folder)).toEqual(['a', 'b']);
    expect(names(lines)).toEqual(['r1', 'r2']);
  });

  test('are the lines of a .jsonl.gz file, and one that is not compressed is named', () => {
    const packed = join(folder, 'packed.jsonl.gz');
    writeFileSync(packed, gzipSync(`${JSON.stringify(little('p1'))}\n${JSON.stringify(little('p2'))}\n`));
    expect(names(packed)).toEqual(['p1', 'p2']);
    expect(() => loadScenarios(write('plain.jsonl.gz', little('p')))).toThrow(/plain\.jsonl\.gz: cannot be read: /);
  });

  test('are scenarios/ and random.jsonl in a folder that is laid out as the recordings are', () => {
    mkdirSync(join(folder, 'scenarios'));
    write('scenarios/a.json', little('a'));
    write('crashes.json', { crashes: [] });
    expect(names(folder)).toEqual(['a']);
    write('random.jsonl', little('r'));
    expect(names(folder)).toEqual(['a', 'r']);
  });

  test('are read once, however they are reached', () => {
    const file = write('a.json', little('a'));
    expect(names(folder, file, `${folder}/./a.json`)).toEqual(['a']);
  });

  test('that are malformed are named, with the line, and do not hide the others', () => {
    const path = write('r.jsonl', little('r1'), '{"name": ', little('r3'), { ...scenario({ op: 'x' }), name: 'r4' });
    const [r1, r2, r3, r4] = readScenarios(path);
    expect([r1, r3]).toMatchObject([{ name: 'r1' }, { name: 'r3' }]);
    expect(r2).toBeInstanceOf(ScenarioError);
    expect((r2 as ScenarioError).message).toMatch(`${path}:2: not JSON: `);
    expect((r4 as ScenarioError).message).toMatch(`${path}:4: r4: step 0: unknown op 'x'`);
    expect(() => loadScenarios(path)).toThrow(`${path}:2: not JSON: `);
  });

  test('do not hide faults of the reader itself', () => {
    const path = write('a.json', little('a'));
    const parse = jest.spyOn(JSON, 'parse').mockImplementationOnce(() => ({
      get name() {
        throw new RangeError('a bug');
      },
    }));
    expect(() => readScenarios(path)).toThrow(new RangeError('a bug'));
    parse.mockRestore();
  });

  test('that are not there are an error that names them', () => {
    const path = join(folder, 'gone.json');
    expect(() => readScenarios(path)).toThrow(new RegExp(`^${path}: cannot be read: ENOENT`));
  });
});
