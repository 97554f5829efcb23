import { DEFAULT_CACHE_DESC, DEFAULT_EXT_PARAM, LLMRole } from '../lib';
import type { Backend } from '../lib';
import { createNativeBackend } from '../lib/backend/native';
import { inFlight, IN_FLIGHT } from './callers';
import type { AsyncCall } from './callers';
import type { NativeMeasurement } from './native-measurement';
import { BLOCKS, listsOf, NativeStar } from './native-star';
import { single } from './result';
import type { Result } from './result';
import { loadAsyncWorker } from './rivals/async-worker';
import { runRounds, timed } from './rounds';
import type { Contestant, RoundOptions } from './rounds';

const SUITE = 'crossing';
const AT = `${IN_FLIGHT} in flight`;

/** What the way into the library is made of. */
export const crossing: NativeMeasurement = {
  name: SUITE,
  title: 'Calls from JavaScript into C++; pulls at the seam, below the guards, and through the public API',
  held: [],
  measure,
};

async function measure(options: RoundOptions): Promise<Result[]> {
  const star = await NativeStar.start(1);
  const calls = loadAsyncWorker();
  const seam = await startBackend();
  const wrapped = new calls.Wrapped();
  const { src, dst } = listsOf(BLOCKS);
  const plain = { src: Array.from(src, Number), dst: Array.from(dst, Number) };
  const synchronous = { unit: 'ns', perMillisecond: 1e6 } as const;
  const asynchronous = { unit: 'µs', perMillisecond: 1e3 } as const;
  const cases = [
    { name: 'a function that does nothing', contestant: repeating(() => calls.nothing()), ...synchronous },
    { name: 'a method that does nothing', contestant: repeating(() => wrapped.nothing()), ...synchronous },
    { name: `seam, pullKvCache, ${AT}`, contestant: inFlight(pullingRow(seam)), ...asynchronous },
    { name: `seam, pullKvBlocks, 1 pair, ${AT}`, contestant: inFlight(pulling(seam, 1)), ...asynchronous },
    { name: `seam, pullKvBlocks, 1,024 pairs, ${AT}`, contestant: inFlight(pulling(seam, BLOCKS)), ...asynchronous },
    { name: `pullCache, ${AT}`, contestant: inFlight(star.pullingRow()), ...asynchronous },
    { name: `pullBlocks, 1 pair, ${AT}`, contestant: inFlight(star.pulling(1)), ...asynchronous },
    {
      name: `pullBlocks, 1,024 pairs in BigUint64Arrays, ${AT}`,
      contestant: inFlight(star.pullingLists(src, dst)),
      ...asynchronous,
    },
    {
      name: `pullBlocks, 1,024 pairs in Uint32Arrays, ${AT}`,
      contestant: inFlight(star.pullingLists(Uint32Array.from(plain.src), Uint32Array.from(plain.dst))),
      ...asynchronous,
    },
    {
      name: `pullBlocks, 1,024 pairs in arrays of numbers, ${AT}`,
      contestant: inFlight(star.pullingLists(plain.src, plain.dst)),
      ...asynchronous,
    },
  ];
  const samples = await runRounds(
    cases.map(({ contestant }) => contestant),
    options,
  );
  await seam.finalize();
  await star.close();
  return cases.map(({ name, unit, perMillisecond }, i) =>
    single(
      SUITE,
      name,
      unit,
      (samples[i] ?? []).map((ms) => ms * perMillisecond),
    ),
  );
}

/** A backend by itself. While the library looks at nothing, it need not be linked or have caches. */
async function startBackend(): Promise<Backend> {
  const backend = createNativeBackend(1000n, LLMRole.MIX, { allowMultipleInstances: true });
  await backend.initialize({ 'llm.DeviceId': '0', 'llm.ListenIpInfo': '10.1.0.0:25000' });
  return backend;
}

const REMOTE = { clusterId: 1n, cacheId: 1n, batchIndex: 0 };
const LOCAL = { cacheId: 1n, tensorAddrs: new BigUint64Array(1), desc: DEFAULT_CACHE_DESC };

function pullingRow(backend: Backend): AsyncCall {
  return () => backend.pullKvCache(REMOTE, LOCAL, 0, -1n, DEFAULT_EXT_PARAM);
}

function pulling(backend: Backend, blocks: number): AsyncCall {
  const { src, dst } = listsOf(blocks);
  return () => backend.pullKvBlocks(REMOTE, LOCAL, src, dst, DEFAULT_EXT_PARAM);
}

function repeating(call: () => unknown): Contestant {
  return (operations) =>
    timed(() => {
      for (let i = 0; i < operations; i++) call();
    });
}
