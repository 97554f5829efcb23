import { LLMRole } from '../../lib';
import { rejection } from '../fixtures/cluster';
import { warningsDuring } from '../fixtures/warnings';
import { endAfterTest, instance, received } from './fixtures/stand-in';

type Lib = typeof import('../../lib');

/** More than the listeners that Node takes for a leak. */
const REGISTRIES = 50;

/** The package as a program has it after `jest.resetModules()`. */
function loadAgain(): Lib {
  jest.resetModules();
  return jest.requireActual<Lib>('../../lib');
}

function make(lib: Lib, clusterId: bigint) {
  const dist = new lib.LLMDataDist(LLMRole.PROMPT, clusterId, { backend: 'native' });
  endAfterTest(() => dist.finalize());
  return dist;
}

test('fifty module registries have one exit listener, and no warning', async () => {
  instance(LLMRole.PROMPT, 1n);
  const before = process.listenerCount('exit');
  expect(before).toBeGreaterThan(0);
  const warnings = await warningsDuring(() => {
    for (let i = 0; i < REGISTRIES; i += 1) make(loadAgain(), 2n);
    return Promise.resolve();
  });
  expect(process.listenerCount('exit')).toBe(before);
  expect(warnings).toEqual([]);
});

test('instances of every registry reject with the class of their own', async () => {
  const libs = [loadAgain(), loadAgain(), loadAgain()];
  const holder = instance(LLMRole.PROMPT, 1n);
  await holder.init({ deviceId: 0 });
  const dists = libs.map((lib, i) => make(lib, BigInt(i + 2)));
  for (const [i, dist] of dists.entries()) {
    const error = await rejection(dist.init({ deviceId: 1 }));
    expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'init' });
    for (const [j, { LLMException }] of libs.entries()) {
      expect(Object.getPrototypeOf(error) === LLMException.prototype).toBe(i === j);
    }
  }
  expect(received('Initialize')).toHaveLength(1);
});
