import { LLMException, LLMRole, LLMStatusCode, Placement } from '../../lib';
import { knownStatusCodes, statusName } from '../../lib/status';
import { rejection } from '../fixtures/cluster';
import { LIBRARY_CALLS, MEMORY_CALLS } from './fixtures/calls';
import type { SeamCall } from './fixtures/calls';
import { instance, leaves, libraryCalls, received, seam, standIn } from './fixtures/stand-in';

/** Numbers that nobody has named, and that a signed or a smaller type would not hold. */
const UNKNOWN = [1, 107_050, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe];
const FAILURES = [...knownStatusCodes.filter((code) => code !== LLMStatusCode.LLM_SUCCESS), ...UNKNOWN];

test('the catalogue has all codes of the public header, and more', () => {
  expect(FAILURES).toEqual(expect.arrayContaining(Object.values(LLMStatusCode).filter((code) => code !== 0)));
  expect(FAILURES.length).toBeGreaterThan(Object.values(LLMStatusCode).length + UNKNOWN.length);
});

/** The failure, looked at as far as all failures are alike. */
async function failure(call: Promise<unknown>): Promise<LLMException> {
  const error = await rejection(call);
  expect(error).toBeInstanceOf(LLMException);
  expect(error).toBeInstanceOf(Error);
  return error as LLMException;
}

/** What is told apart from what was thrown or returned: absent is not the same as `undefined`. */
function told({ operation, clusterId, cacheId }: LLMException) {
  return { operation, ...(clusterId !== undefined && { clusterId }), ...(cacheId !== undefined && { cacheId }) };
}

describe.each(LIBRARY_CALLS.map((call) => [call.name, call] as const))('%s', (_, call: SeamCall) => {
  const { method, operation, about } = call;

  test('gives each status as an exception with that number, and goes on working', async () => {
    const backend = seam(1n, 1);
    for (const statusCode of FAILURES) {
      standIn.set(method, { status: statusCode });
      const error = await failure(call.make(backend));
      expect(error).toMatchObject({ statusCode, status_code: statusCode, code: statusName(statusCode) });
      expect(told(error)).toEqual({ operation, ...about });
      expect(error).not.toHaveProperty('detail');
    }
    standIn.set(method, { status: LLMStatusCode.LLM_SUCCESS });
    await call.make(backend);
    expect(received(method)).toHaveLength(FAILURES.length + 1);
  });

  test("carries the runtime's own text of this failure and of no other", async () => {
    const backend = seam(1n, 1);
    for (const detail of ['E19999: Inner Error! 内部错误', `${'long '.repeat(200)}text`]) {
      standIn.set(method, { status: LLMStatusCode.LLM_TIMEOUT, error: detail });
      expect(await failure(call.make(backend))).toMatchObject({ code: 'LLM_TIMEOUT', detail });
    }
    standIn.set(method, { status: LLMStatusCode.LLM_TIMEOUT });
    expect(await failure(call.make(backend))).not.toHaveProperty('detail');
  });

  test.each([
    ['a std::runtime_error', { throw: 'HCCL is gone: 通信域' }, 'HCCL is gone: 通信域'],
    ['a std::bad_alloc', { throwBadAlloc: true }, 'std::bad_alloc'],
    ['an int', { throwInt: 42 }, 'no std::exception'],
  ])('makes a failure with its text of %s, and goes on working', async (__, action, text) => {
    const backend = seam(1n, 1);
    standIn.set(method, { ...action, error: 'what the runtime says' });
    const error = await failure(call.make(backend));
    expect(error).toMatchObject({ code: 'LLM_FAILED', detail: 'what the runtime says' });
    expect(error.message).toContain(text);
    expect(told(error)).toEqual({ operation, ...about });
    standIn.set(method, { status: LLMStatusCode.LLM_SUCCESS });
    await call.make(backend);
  });
});

describe('the constructor', () => {
  test('that throws fails the call that needed the object, and the next call makes another one', async () => {
    const backend = seam(1n, 1);
    standIn.set('UnregisterKvCache', { status: 0 });
    standIn.set('LlmDataDist', { throw: 'no object today', times: 1 });
    const error = await failure(backend.unregisterKvCache(5n));
    expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'unregisterCache', cacheId: 5n });
    expect(error.message).toContain('no object today');
    await backend.unregisterKvCache(5n);
    expect(libraryCalls().map(({ method }) => method)).toEqual(['LlmDataDist', 'LlmDataDist', 'UnregisterKvCache']);
  });
});

describe('Finalize', () => {
  test.each([
    ['a std::runtime_error', { throw: 'not so fast' }, 'not so fast'],
    ['a std::bad_alloc', { throwBadAlloc: true }, 'std::bad_alloc'],
    ['an int', { throwInt: 42 }, 'no std::exception'],
  ])('that throws %s fails, and the instance can be initialised again', async (_, action, text) => {
    const dist = instance(LLMRole.PROMPT, 1n);
    await dist.init({ deviceId: 0 });
    standIn.set('Finalize', { ...action, times: 1 });
    const error = await failure(dist.finalize());
    expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'finalize' });
    expect(error.message).toContain(text);
    expect(dist.isInitialized).toBe(false);
    await dist.init({ deviceId: 0 });
    await dist.finalize();
    // The object that threw is left alone: what state it is in nobody knows.
    leaves({ initialisedObjects: 1 });
  });
});

describe('aclInit', () => {
  test('that fails fails init with its number and text, and the library is not called', async () => {
    const backend = seam(1n, 1);
    standIn.set('aclInit', { status: 500_000, error: 'driver and firmware do not match' });
    const error = await failure(backend.initialize({}));
    expect(error).toMatchObject({
      statusCode: 500_000,
      operation: 'init',
      detail: 'driver and firmware do not match',
    });
    expect(error.message).toContain('aclInit');
    expect(libraryCalls()).toEqual([]);
  });
});

describe.each(MEMORY_CALLS.map((call) => [call.name, call] as const))('%s', (_, call) => {
  const { method, operation, placement } = call;

  test.each([107_000, 507_899, 1, 0x7fff_ffff])('gives number %d of the runtime, with its text', async (statusCode) => {
    const backend = seam(1n, 1);
    await backend.initialize({ 'llm.DeviceId': '0' });
    const address = await backend.malloc(64n, placement);
    standIn.set(method, { status: statusCode, error: `text of ${statusCode}` });
    const error = await failure(call.make(backend, address));
    expect(error).toMatchObject({ statusCode, operation, detail: `text of ${statusCode}` });
    expect(error.message).toContain(method);
    standIn.unset(method);
    // What the runtime has refused to free may be free all the same: it is not tried again.
    if (operation === 'free') leaves({ liveAllocations: 1 });
    else await backend.free(address);
  });
});

test('each call carries the text of the thread that made it, with 16 of them failing at the same time', async () => {
  const peers = Array.from({ length: 16 }, (_, i) => BigInt(i));
  const backend = seam(1n, 1);
  for (const peer of peers) {
    const action = { block: true, status: LLMStatusCode.LLM_TIMEOUT, error: `text of call ${peer}`, times: 1 };
    standIn.add('PullKvCache', action);
  }
  const local = { cacheId: 1n, tensorAddrs: new BigUint64Array(0), desc: LOCAL_DESC };
  const calls: Promise<LLMException>[] = [];
  for (const peer of peers) {
    const remote = { clusterId: peer, cacheId: 1n, batchIndex: 0 };
    calls.push(failure(backend.pullKvCache(remote, local, 0, -1n, EXT)));
    // Actions are taken in the order in which calls come in.
    await standIn.waitEntered('PullKvCache', calls.length);
  }
  expect(new Set(received('PullKvCache').map(({ thread }) => thread)).size).toBe(16);
  standIn.release('PullKvCache');
  const errors = await Promise.all(calls);
  expect(errors.map(({ clusterId, detail }) => `${clusterId}: ${detail}`)).toEqual(
    peers.map((peer) => `${peer}: text of call ${peer}`),
  );
});

const LOCAL_DESC = { numTensors: 0, dataType: 0, shape: [], placement: Placement.DEVICE };
const EXT = { srcLayerRange: [-1, -1], dstLayerRange: [-1, -1], tensorNumPerLayer: 2 } as const;
