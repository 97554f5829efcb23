import { LLMException, LLMRole } from '../../lib';
import type { LLMDataDist, LLMDataDistOptions } from '../../lib';
import { Fabric } from '../../lib/testing';
import type { MockBackend } from '../../lib/testing';
import { DECODER_ID, DECODER_PORT, node } from '../fixtures/cluster';
import { turns } from '../../lib/backend/mock/turns';
import { record } from './nodes';

export const OPTIONS = { deviceId: 1, listenIpInfo: `127.0.0.1:${DECODER_PORT}` };
/** Options that nothing is wrong with, but the device is not there. */
export const NO_DEVICE = { deviceId: 1_000_000 };

/** An instance that was not initialised, with a note of what its backend is called for. */
export function fresh(options: LLMDataDistOptions = {}): {
  dist: LLMDataDist;
  backend: MockBackend;
  calls: string[];
  fabric: Fabric;
} {
  const fabric = new Fabric();
  const calls: string[] = [];
  const { dist, backend } = node(LLMRole.DECODER, DECODER_ID, { fabric }, options);
  record(backend, '', calls);
  return { dist, backend, calls, fabric };
}

/** Expects the refusal of an instance that is not initialised, or about not to be. */
export function expectFailed(error: unknown, operation: string, problem: RegExp): void {
  expect(error).toBeInstanceOf(LLMException);
  expect(error).toMatchObject({ code: 'LLM_FAILED', operation });
  expect((error as LLMException).message).toMatch(problem);
  expect((error as LLMException).remedy).toContain('init()');
}

/** Lets everything run that waits for no clock. */
export async function turn(): Promise<void> {
  let seen: number;
  do {
    seen = turns.count;
    // The first one may have been before what was set off by the caller.
    for (let i = 0; i < 2; i++) await new Promise((resolve) => setImmediate(resolve));
  } while (turns.count !== seen);
}

/** Holds the calls of one method of the seam until it is opened. */
export function closedGate(
  backend: MockBackend,
  method: 'registerKvCache' | 'malloc' | 'setRole',
): { open: () => void } {
  const original = Reflect.get(backend, method) as () => unknown;
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  Object.defineProperty(backend, method, {
    value: async (...args: unknown[]): Promise<unknown> => {
      await opened;
      return Reflect.apply(original, backend, args);
    },
  });
  return { open };
}
