import { join } from 'node:path';
import { LLMException, LLMRole } from '../../lib';
import type { LLMBackendError, LLMDataDist, LLMDataDistOptions } from '../../lib';
import { rejection } from '../fixtures/cluster';
import { built } from './fixtures/built';
import { runChild } from './fixtures/child';
import { compileLibrary, temporaryFolder } from './fixtures/compiler';
import { packageCopy, withAddon } from './fixtures/package-copy';
import { endAfterTest, instance, libraryCalls, received, standIn } from './fixtures/stand-in';
import { InstanceWorker } from './fixtures/worker';

const OPTIONS = { deviceId: 0 };
const other = packageCopy();

/** An instance of the first copy, that does not ask for others beside it. */
function first(clusterId: bigint, options: LLMDataDistOptions = {}): LLMDataDist {
  return instance(LLMRole.PROMPT, clusterId, { allowMultipleInstances: false, ...options });
}

/** The same of the second copy. */
function second(clusterId: bigint, options: LLMDataDistOptions = {}): LLMDataDist {
  const dist = withAddon(
    other,
    () => new other.lib.LLMDataDist(LLMRole.DECODER, clusterId, { backend: 'native', ...options }),
  );
  endAfterTest(() => dist.finalize());
  return dist;
}

async function expectRefused(dist: LLMDataDist, holder: bigint): Promise<void> {
  const before = libraryCalls().length;
  const error = await rejection(dist.init(OPTIONS));
  expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'init' });
  expect((error as Error).message).toContain(`cluster ${holder} is initialised in this process`);
  expect(libraryCalls()).toHaveLength(before);
}

test('the copies are two files of the addon, over one library', () => {
  first(1n);
  second(2n);
  const loaded = (process.report.getReport() as { sharedObjects: string[] }).sharedObjects;
  expect(loaded).toEqual(expect.arrayContaining([built().addon, other.addon]));
  expect(loaded.filter((path) => path.includes('libllm_datadist.so'))).toHaveLength(1);
});

test('an instance of one copy is in the way of one of the other, until it is finalized', async () => {
  const [one, two] = [first(1n), second(2n)];
  await one.init(OPTIONS);
  await expectRefused(two, 1n);
  await one.finalize();
  await two.init(OPTIONS);
  await expectRefused(one, 2n);
  await two.finalize();
  await one.init(OPTIONS);
});

test('calls that the library makes one at a time take turns across copies', async () => {
  const one = first(1n, { allowMultipleInstances: true });
  const two = second(2n, { allowMultipleInstances: true });
  standIn.set('Initialize', { block: true, times: 1 });
  const initialised = [one.init(OPTIONS)];
  await standIn.waitEntered('Initialize');
  initialised.push(two.init({ deviceId: 1 }));
  // Without the common lock the second one is inside by now.
  for (let turn = 0; turn < 1000; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  expect(received('LlmDataDist')).toHaveLength(1);
  standIn.release('Initialize');
  await Promise.all(initialised);
  expect(received('Initialize')).toHaveLength(2);
});

test('a worker with the other copy counts, and what it held is free when it is terminated', async () => {
  const worker = withAddon(other, () => new InstanceWorker(other.path));
  await worker.call('make', 'it', LLMRole.DECODER, 7n, {});
  const main = first(1n);
  await main.init(OPTIONS);
  const { error } = await worker.ask('init', 'it', OPTIONS);
  expect(error).toMatchObject({ code: 'LLM_FAILED' });
  expect((error as Error).message).toContain('cluster 1 is initialised in this process');
  await main.finalize();
  await worker.call('init', 'it', OPTIONS);
  await expectRefused(main, 7n);
  await worker.terminate();
  await worker.ended;
  await main.init(OPTIONS);
});

test('each copy rejects with its own class, which the class of the other one recognises', async () => {
  const [one, two] = [first(1n), second(2n)];
  await one.init(OPTIONS);
  const theirs = await rejection(two.init(OPTIONS));
  expect(Object.getPrototypeOf(theirs)).toBe(other.lib.LLMException.prototype);
  expect(theirs).toBeInstanceOf(LLMException);
  await one.finalize();
  await two.init(OPTIONS);
  const ours = await rejection(one.init(OPTIONS));
  expect(Object.getPrototypeOf(ours)).toBe(LLMException.prototype);
  expect(ours).toBeInstanceOf(other.lib.LLMException);
});

test('the copy that comes second uses the library that is open, whatever its environment names', async () => {
  const third = packageCopy();
  const { LLM_DATADIST_LIBRARY: library } = process.env;
  first(1n);
  process.env.LLM_DATADIST_LIBRARY = built().runtime;
  try {
    const dist = withAddon(third, () => new third.lib.LLMDataDist(LLMRole.MIX, 3n, { backend: 'native' }));
    await dist.init(OPTIONS);
    expect(received('Initialize')).toHaveLength(1);
    await dist.finalize();
  } finally {
    process.env.LLM_DATADIST_LIBRARY = library;
  }
});

test('a call that never comes back to one copy is the reason of the other', async () => {
  const { stdout, stderr } = await runChild('two-copies.js', ['hang', other.path, other.addon], {
    commands: ['set Initialize hang times=1'],
    env: { LLM_DATADIST_EXIT_TIMEOUT: '0' },
  });
  expect({ stderr, answer: JSON.parse(stdout) as unknown }).toEqual({
    stderr: '',
    answer: {
      name: 'LLMException',
      message: expect.stringContaining('init of cluster 1 never came back from the library') as string,
      recovery: 'fatal',
    },
  });
});

test('a copy that shares the library in another way is refused, with both versions', async () => {
  const newer = join(temporaryFolder(), 'llm_datadist.node');
  const { include_dir: headers } = jest.requireActual<{ include_dir: string }>('node-api-headers');
  compileLibrary(newer, ['libraries/newer_addon.cc'], ['-isystem', headers, '-Wl,-z,nodelete']);
  const { stdout, calls } = await runChild('two-copies.js', ['newer', other.path, newer]);
  const { name, attempts } = JSON.parse(stdout) as Pick<LLMBackendError, 'name' | 'attempts'>;
  expect(name).toBe('LLMBackendError');
  expect(attempts).toEqual([
    {
      path: newer,
      error: expect.stringMatching(/another copy of llm-datadist.*version 99\.88\.77.*than version \d/) as string,
    },
  ]);
  expect(calls).toEqual([]);
});
