import { EventEmitter } from 'node:events';
import { types } from 'node:util';
import { runInNewContext } from 'node:vm';
import { LLMDataDist, LLMException, LLMRole } from '../lib';
import { listenersOfProcess } from '../lib/backend/mock/process-listeners';
import { MockBackend } from '../lib/testing';
import { rejection } from './fixtures/cluster';

type Lib = typeof import('../lib');

const address = { ip: '127.0.0.1', port: 26_000 };
const PEER = { remoteClusterId: 1n, remoteIpInfos: [address], localIpInfos: [{ ip: '127.0.0.1' }] };
const LISTEN = { deviceId: 0, listenIpInfo: '127.0.0.1:26000' };
const made: LLMDataDist[] = [];

afterEach(async () => {
  for (const dist of made.splice(0)) await dist.finalize();
});

/** The package loaded once more, as another version where one is given. */
function copyOf(version?: string): Lib {
  let copy: Lib | undefined;
  jest.isolateModules(() => {
    if (version !== undefined) jest.doMock('../lib/version', () => ({ VERSION: version }));
    copy = jest.requireActual<Lib>('../lib');
  });
  jest.dontMock('../lib/version');
  return copy!;
}

function make(lib: Pick<Lib, 'LLMDataDist'>, role: LLMRole, clusterId: bigint): LLMDataDist {
  const dist = new lib.LLMDataDist(role, clusterId, { backend: 'mock' });
  made.push(dist);
  return dist;
}

test('mocks of two copies of one version find each other and move blocks', async () => {
  const other = copyOf();
  const prompt = make({ LLMDataDist }, LLMRole.PROMPT, 1n);
  const decoder = make(other, LLMRole.DECODER, 2n);
  await prompt.init(LISTEN);
  await decoder.init({ deviceId: 1 });
  const desc = { numTensors: 1, dataType: 2, shape: [4, 16] };
  const source = await prompt.kvCacheManager.allocateCache(desc);
  const target = await decoder.kvCacheManager.allocateCache(desc);
  await source.regions![0]!.write(new Uint8Array(64).fill(7));
  expect(await decoder.linkClusters([PEER])).toMatchObject([{ code: 'LLM_SUCCESS' }]);
  await decoder.kvCacheManager.pullBlocks(source.key(), target, [1], [2]);
  expect(Buffer.from(await target.regions![0]!.read()).indexOf(7)).toBe(32);
  await decoder.unlinkClusters([PEER]);
  // A failure at the other copy's end is of the class of the caller's.
  const error = await rejection(decoder.kvCacheManager.pullBlocks(source.key(), target, [1], [2]));
  expect(Object.getPrototypeOf(error)).toBe(other.LLMException.prototype);
  expect(error).toBeInstanceOf(LLMException);
  await decoder.kvCacheManager.deallocateCache(target);
  await prompt.kvCacheManager.deallocateCache(source);
});

test('what one copy refuses as the peer of another is an answer, not a fault', async () => {
  const other = copyOf();
  const prompt = make({ LLMDataDist }, LLMRole.PROMPT, 1n);
  const decoder = make(other, LLMRole.DECODER, 2n);
  await prompt.init({ ...LISTEN, 'llm.TransferBackend': 'hixl' });
  await decoder.init({ deviceId: 1 });
  expect(await rejection(decoder.linkClusters([PEER]))).toBeInstanceOf(other.LLMException);
});

test('an address that one copy listens on is taken for the other', async () => {
  await make({ LLMDataDist }, LLMRole.PROMPT, 1n).init(LISTEN);
  const error = await rejection(make(copyOf(), LLMRole.PROMPT, 2n).init(LISTEN));
  expect((error as Error).message).toContain('127.0.0.1:26000 is taken by cluster 1');
});

test('a backend made by hand shares the network of its copy', async () => {
  const mine = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: (id, role) => new MockBackend(id, role) });
  made.push(mine);
  await mine.init(LISTEN);
  const decoder = make(copyOf(), LLMRole.DECODER, 2n);
  await decoder.init({ deviceId: 1 });
  expect(await decoder.linkClusters([PEER])).toMatchObject([{ code: 'LLM_SUCCESS' }]);
});

describe('mocks that cannot find each other say why', () => {
  test.each([{}, { 'llm.TransferBackend': 'hixl' }])('across versions, %p', async (more) => {
    await make({ LLMDataDist }, LLMRole.PROMPT, 1n).init({ ...LISTEN, ...more });
    const decoder = make(copyOf('99.88.77'), LLMRole.DECODER, 2n);
    await decoder.init({ deviceId: 1, listenIpInfo: '127.0.0.1:26001', ...more });
    const error = (await rejection(decoder.linkClusters([PEER]))) as Error;
    expect(error.message).toMatch(
      /another copy of llm-datadist does, version \d+\.\d+\.\d+, this is version 99\.88\.77/,
    );
    expect(error.message).toContain('LLM_DATADIST_MOCK_FABRIC=tcp');
  });

  test('across realms', async () => {
    // As a mock of another test file or of a vm context does it.
    const { version } = jest.requireActual<{ version: string }>('../package.json');
    const elsewhere = listenersOfProcess();
    elsewhere.add('0.0.0.0:26000', version);
    const decoder = make({ LLMDataDist }, LLMRole.DECODER, 2n);
    await decoder.init({ deviceId: 1 });
    const error = (await rejection(decoder.linkClusters([PEER]))) as Error;
    expect(error.message).toContain('code in another realm does, such as another test file or a vm context');
    elsewhere.delete('0.0.0.0:26000', version);
    const after = (await rejection(decoder.linkClusters([PEER]))) as Error;
    expect(after.message).not.toContain('realm');
  });

  test('and say nothing of it when no instance listens there', async () => {
    const decoder = make({ LLMDataDist }, LLMRole.DECODER, 2n);
    await decoder.init({ deviceId: 1 });
    const error = (await rejection(decoder.linkClusters([PEER]))) as Error;
    expect(error.message).toContain('nobody listens on 127.0.0.1:26000');
    expect(error.message).not.toMatch(/realm|copy/);
  });
});

describe('the list of listeners of the process', () => {
  test('is one for all realms and copies, with an entry for each listener', () => {
    const [one, two] = [listenersOfProcess(), listenersOfProcess()];
    one.add('10.0.0.1:1', '1.0.0');
    two.add('10.0.0.1:1', '2.0.0');
    one.delete('10.0.0.1:1', '1.0.0');
    one.delete('10.0.0.1:1', '1.0.0');
    expect(one.find('10.0.0.1', 1)).toBe('2.0.0');
    two.delete('10.0.0.1:1', '2.0.0');
    expect(one.find('10.0.0.1', 1)).toBeUndefined();
    const inContext = runInNewContext('(events, key) => events[Symbol.for(key)]') as (...args: unknown[]) => unknown;
    // The realm that looked first has made it: another test file, perhaps.
    expect(types.isMap(inContext(EventEmitter, 'llm-datadist.mockListeners/1'))).toBe(true);
  });

  test('is one for each copy where the built-in modules cannot be extended', () => {
    jest.isolateModules(() => {
      jest.doMock('node:events', () => ({ EventEmitter: Object.freeze({}) }));
      const { listenersOfProcess: list } = jest.requireActual<typeof import('../lib/backend/mock/process-listeners')>(
        '../lib/backend/mock/process-listeners',
      );
      const listeners = list();
      listeners.add('10.0.0.1:1', '1.0.0');
      expect(listeners.find('10.0.0.1', 1)).toBe('1.0.0');
      expect(list().find('10.0.0.1', 1)).toBeUndefined();
      jest.dontMock('node:events');
    });
  });
});

test('the warning of the mock comes once for all copies', () => {
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  try {
    for (const lib of [{ LLMDataDist }, copyOf(), copyOf('99.88.77')]) new lib.LLMDataDist(LLMRole.PROMPT, 1n);
    expect(warn).toHaveBeenCalledTimes(1);
  } finally {
    warn.mockRestore();
  }
});
