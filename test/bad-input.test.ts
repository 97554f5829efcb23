import { cacheKeyFromJSON, LLMException, LLMRole } from '../lib';
import type { KvCache, MemoryRegion } from '../lib';
import { FUNCTIONS, METHODS } from './bad-input/methods';
import type { Method, Place } from './bad-input/methods';
import { expectUnchanged, linkedNodes, REGION_BYTES, snapshot } from './bad-input/nodes';
import type { Nodes } from './bad-input/nodes';
import { expectQuietProcess } from './bad-input/quiet-process';
import { REFUSED } from './bad-input/refused';
import type { RefusedCall } from './bad-input/refused-call';
import { BOOM, explodeAt, hostileValues, readableOnce, trapped } from './bad-input/values';
import type { HostileValue } from './bad-input/values';
import { PROMPT_CLUSTER, rejection } from './fixtures/cluster';
import { warningsDuring } from './fixtures/warnings';

expectQuietProcess();

interface Outcome {
  readonly how: 'returned' | 'threw' | 'resolved' | 'rejected';
  readonly value: unknown;
  readonly milliseconds: number;
}

async function attempt(call: () => unknown): Promise<Outcome> {
  const start = performance.now();
  const end = (how: Outcome['how'], value: unknown): Outcome => ({
    how,
    value,
    milliseconds: performance.now() - start,
  });
  let returned: unknown;
  try {
    returned = call();
  } catch (error) {
    return end('threw', error);
  }
  if (!(returned instanceof Promise)) return end('returned', returned);
  try {
    return end('resolved', await returned);
  } catch (error) {
    return end('rejected', error);
  }
}

function show({ how, value }: Outcome): string {
  return `${how} ${value instanceof Error ? `${value.name}: ${value.message.slice(0, 200)}` : typeof value}`;
}

/** The call with arguments of its own, of which one is replaced. */
function callWith(method: Method, nodes: Nodes, place: Place, value: unknown): () => unknown {
  const args = method.args(nodes);
  place.put(args, value);
  return () => method.call(nodes, Object.values(args));
}

function* hostileCalls(method: Method): Generator<readonly [Place, HostileValue]> {
  for (const place of method.places) {
    for (const hostile of hostileValues(place.kind, place.optional)) yield [place, hostile];
  }
}

/** What of an outcome is not as documented; `undefined` when all is well. */
function objection(method: Method, place: Place, { refusal }: HostileValue, outcome: Outcome): string | undefined {
  const { how, value } = outcome;
  // An object of the wrong sort may have a name that is not known, before it lacks one that is.
  const isUnknown = value instanceof RangeError && value.message.includes('has the unknown');
  const isOfType = refusal === 'type' && !(isUnknown && place.kind === 'object');
  const [errorClass, code] = isOfType ? [TypeError, 'ERR_INVALID_ARG_TYPE'] : [RangeError, 'ERR_OUT_OF_RANGE'];
  if (how !== (method.sync ? 'threw' : 'rejected')) return show(outcome);
  if (!(value instanceof errorClass) || Reflect.get(value, 'code') !== code) return show(outcome);
  if (!value.message.includes(`"${place.path}`)) return `does not name the place: ${show(outcome)}`;
  return value.message.length > 400 ? `has a message of ${value.message.length} characters` : undefined;
}

/** Runs each call on nodes of its own and names those that change something. */
async function culprits<T>(
  calls: Iterable<T>,
  name: (call: T) => string,
  run: (nodes: Nodes, call: T) => Promise<unknown>,
): Promise<string[]> {
  const found: string[] = [];
  for (const call of calls) {
    const nodes = await linkedNodes();
    const before = await snapshot(nodes);
    await run(nodes, call);
    try {
      expectUnchanged(before, await snapshot(nodes));
    } catch (error) {
      found.push(`${name(call)}: ${String(error)}`);
    }
  }
  return found;
}

describe.each([...METHODS, ...FUNCTIONS].map((method) => [method.name, method] as const))('%s', (_, method) => {
  const succeeds = method.sync ? 'returned' : 'resolved';

  test('succeeds with the arguments that are spoilt below, and reads each property once', async () => {
    for (const wrap of [(value: unknown) => value, readableOnce]) {
      const nodes = await linkedNodes();
      await method.prepare?.(nodes);
      const args = Object.entries(method.args(nodes)).map(([name, value]) => wrap(value, name));
      const outcome = await attempt(() => method.call(nodes, args));
      expect(show(outcome)).toMatch(succeeds);
      await release(nodes, outcome.value);
    }
  });

  test.each([true, false])(
    'refuses values of the wrong type or size and changes nothing (guards: %s)',
    async (guards) => {
      const nodes = await linkedNodes({ guards });
      const before = await snapshot(nodes);
      const objections: string[] = [];
      for (const [place, hostile] of hostileCalls(method)) {
        const problem = objection(method, place, hostile, await attempt(callWith(method, nodes, place, hostile.value)));
        if (problem !== undefined) objections.push(`${place.path} = ${hostile.label}: ${problem}`);
      }
      expect(objections).toEqual([]);
      // The backend, the native library one day, has not seen any of it.
      expect(nodes.calls).toEqual([]);
      const after = await snapshot(nodes);
      try {
        expectUnchanged(before, after);
      } catch (error) {
        const run = (each: Nodes, [place, { value }]: readonly [Place, HostileValue]) =>
          attempt(callWith(method, each, place, value));
        const name = ([{ path }, { label }]: readonly [Place, HostileValue]) => `${path} = ${label}`;
        throw new Error((await culprits(hostileCalls(method), name, run)).join('\n'), { cause: error });
      }
    },
  );

  test('hands on what a getter or a trap throws, as it is, and changes nothing', async () => {
    const nodes = await linkedNodes();
    const before = await snapshot(nodes);
    const objections: string[] = [];
    const expectBoom = async (what: string, args: readonly unknown[]) => {
      const outcome = await attempt(() => method.call(nodes, args));
      if (outcome.how !== (method.sync ? 'threw' : 'rejected') || outcome.value !== BOOM)
        objections.push(`${what}: ${show(outcome)}`);
    };
    for (const { path, kind, holder, put } of method.places) {
      const args = method.args(nodes);
      if (holder !== undefined) {
        explodeAt(...holder(args));
        await expectBoom(`getter ${path}`, Object.values(args));
      }
      const trap = trapped(kind);
      if (trap === undefined) continue;
      put(args, trap);
      await expectBoom(`trap ${path}`, Object.values(args));
    }
    expect(objections).toEqual([]);
    expect(nodes.calls).toEqual([]);
    expectUnchanged(before, await snapshot(nodes));
  });
});

async function release({ decoder }: Nodes, value: unknown): Promise<void> {
  if (typeof value !== 'object' || value === null) return;
  if ('free' in value) await (value as MemoryRegion).free();
  if ('regions' in value) await decoder.dist.kvCacheManager.deallocateCache(value as KvCache);
}

describe.each([...new Set(REFUSED.map(({ method }) => method))])('%s', (name) => {
  const calls = REFUSED.filter(({ method }) => method === name);

  test('refuses what makes no sense with a status and a remedy, and changes nothing', async () => {
    const nodes = await linkedNodes();
    const before = await snapshot(nodes);
    const objections: string[] = [];
    let idsTaken = 0;
    for (const refused of calls) {
      const outcome = await attempt(() => refused.call(nodes));
      const problem = refusalObjection(refused, outcome);
      if (problem !== undefined) objections.push(`${refused.what}: ${problem}`);
      idsTaken += refused.idsTaken;
    }
    expect(objections).toEqual([]);
    const after = await snapshot(nodes);
    try {
      expectUnchanged(before, after, idsTaken);
    } catch (error) {
      throw new Error(
        (
          await culprits(
            calls,
            ({ what }) => what,
            (each, { call }) => attempt(() => call(each)),
          )
        ).join('\n'),
        {
          cause: error,
        },
      );
    }
  });
});

/** What a method consists of, where a step of it may be what fails. */
const STEPS: Readonly<Partial<Record<string, string[]>>> = { allocateCache: ['allocateMemory', 'registerCache'] };

function refusalObjection({ method, code }: RefusedCall, outcome: Outcome): string | undefined {
  const { how, value } = outcome;
  if (how !== 'rejected' || !(value instanceof LLMException) || value.code !== code) return show(outcome);
  if (![method, ...(STEPS[method] ?? [])].includes(value.operation))
    return `is reported as a failure of ${value.operation}`;
  if (value.remedy.length < 20) return `has the remedy "${value.remedy}"`;
  return undefined;
}

test('no hostile value takes long', async () => {
  const nodes = await linkedNodes();
  const times: [milliseconds: number, what: string][] = [];
  for (const method of [...METHODS, ...FUNCTIONS]) {
    for (const [place, hostile] of hostileCalls(method)) {
      const { milliseconds } = await attempt(callWith(method, nodes, place, hostile.value));
      times.push([milliseconds, `${method.name} ${place.path} = ${hostile.label}`]);
    }
  }
  for (const { method, what, call } of REFUSED) {
    const { milliseconds } = await attempt(() => call(nodes));
    times.push([milliseconds, `${method} ${what}`]);
  }
  const slowest = times.sort(([a], [b]) => b - a).slice(0, 5);
  // Two seconds are the limit on a machine of its own. What hangs takes minutes.
  expect(slowest.filter(([milliseconds]) => milliseconds > 5000)).toEqual([]);
});

describe('memory', () => {
  test('is not read or written beyond its end', async () => {
    const nodes = await linkedNodes();
    const before = await snapshot(nodes);
    const { region, calls } = nodes;
    const outside: [string, () => Promise<unknown>][] = [
      ['offset', () => region.read(REGION_BYTES + 1)],
      ['offset', () => region.read(Number.MAX_SAFE_INTEGER)],
      ['offset', () => region.read(REGION_BYTES + 1, 0)],
      ['length', () => region.read(0, REGION_BYTES + 1)],
      ['length', () => region.read(REGION_BYTES, 1)],
      ['length', () => region.read(1, Number.MAX_SAFE_INTEGER)],
      ['offset', () => region.write(new Uint8Array(REGION_BYTES + 1))],
      ['offset', () => region.write(new Uint8Array(1), REGION_BYTES)],
      ['offset', () => region.write(new Uint8Array(0), REGION_BYTES + 1)],
      ['offset', () => region.write(new BigUint64Array(1), REGION_BYTES - 7)],
    ];
    for (const [name, call] of outside) {
      const { how, value } = await attempt(call);
      expect(how).toBe('rejected');
      expect(value).toBeInstanceOf(RangeError);
      expect(value).toMatchObject({
        code: 'ERR_OUT_OF_RANGE',
        message: expect.stringContaining(`"${name}"`) as string,
      });
    }
    expect(calls).toEqual([]);
    expectUnchanged(before, await snapshot(nodes));
    expect(await region.read(REGION_BYTES)).toHaveLength(0);
    await region.write(new Uint8Array(0), REGION_BYTES);
  });

  test('gets the bytes that a view has, whatever the properties of its object say', async () => {
    const { region } = await linkedNodes();
    const view = Uint8Array.of(1, 2, 3);
    Object.defineProperty(view, 'byteLength', { value: 2 ** 40 });
    Object.defineProperty(view, 'length', { value: 2 ** 40 });
    Object.defineProperty(view, 'buffer', { value: new ArrayBuffer(2) });
    await region.write(view, 1);
    await region.write(new Uint8Array(new SharedArrayBuffer(1)), 3);
    expect([...(await region.read(0, 6))]).toEqual([0, 1, 2, 0, 4, 5]);
  });

  test('and handles are what they were when they were made', async () => {
    const { decoder, region, cache } = await linkedNodes();
    const write = (target: object, key: string, value: unknown) => () => {
      (target as Record<string, unknown>)[key] = value;
    };
    expect(write(region, 'address', 4096n)).toThrow(TypeError);
    expect(write(region, 'byteLength', 2n ** 40n)).toThrow(TypeError);
    expect(write(cache, 'cacheId', 2n)).toThrow(TypeError);
    expect(write(cache.desc, 'numTensors', 2)).toThrow(TypeError);
    const [first, ...others] = cache.regions ?? [];
    cache.regions?.splice(0, 4, region);
    await decoder.dist.kvCacheManager.deallocateCache(cache);
    for (const freed of [first, ...others]) expect(await rejection(freed!.read())).toMatchObject({ operation: 'read' });
    expect(await region.read()).toHaveLength(REGION_BYTES);
  });
});

test('what only resembles a handle is none', async () => {
  const { decoder, promptCache, cache, other } = await linkedNodes();
  const { kvCacheManager: caches } = decoder.dist;
  const proxy = new Proxy(cache, {});
  for (const use of [
    () => caches.pullBlocks(promptCache.key(), proxy, [0, 1], [0, 1]),
    () => caches.pullBlocks(promptCache.key(), Object.create(cache) as KvCache, [0, 1], [0, 1]),
    () => caches.copyCache(proxy, other),
    () => caches.copyBlocks(proxy, new Map()),
    () => caches.deallocateCache(Object.create(cache) as KvCache),
  ]) {
    expect(await rejection(use())).toMatchObject({ name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' });
  }
});

test('a getter that finalizes the instance ends the call that it is part of', async () => {
  const { decoder, promptCache, cache, calls } = await linkedNodes();
  const { dist } = decoder;
  let finalized = Promise.resolve<string[]>([]);
  const { clusterId, cacheId } = promptCache.key();
  const key = {
    cacheId,
    get clusterId() {
      finalized = warningsDuring(() => dist.finalize());
      return clusterId;
    },
  };
  const error = await rejection(dist.kvCacheManager.pullBlocks(key, cache, [0], [0]));
  expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'pullBlocks' });
  await finalized;
  expect(calls.filter((call) => call !== 'decoder.free')).toEqual(['decoder.finalize']);
});

test('objects without a prototype are as good as any', async () => {
  const bare = <T extends object>(value: T): T => Object.assign(Object.create(null) as T, value);
  const { decoder, promptCache, cache, region } = await linkedNodes();
  const { dist } = decoder;
  const layout = bare(promptCache.key().layout!);
  const options = bare({ tensorNumPerLayer: 1 });
  await dist.kvCacheManager.pullCache(bare({ ...promptCache.key(), layout }), cache, 0, options);
  const desc = bare({ numTensors: 1, dataType: 2, shape: [4] });
  await dist.kvCacheManager.registerCache(desc, [region.address]);
  const remoteIpInfos = PROMPT_CLUSTER.remoteIpInfos.map(bare);
  await dist.unlinkClusters([bare({ ...PROMPT_CLUSTER, remoteIpInfos })], bare({ timeout: 1000 }));
  await dist.switchRole(LLMRole.MIX, bare({ listenIpInfo: '127.0.0.1:26001' }));
});

test.each(['', '{', 'undefined', '{"clusterId":1n}', '\u0000', '['.repeat(100_000)])(
  'a key is not read from a text that is no JSON (%#)',
  async (text) => {
    expect(() => cacheKeyFromJSON(text)).toThrow(SyntaxError);
  },
);
