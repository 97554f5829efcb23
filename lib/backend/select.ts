import { checkObject, checkString, invalidArgType } from '../check';
import { LLMBackendError } from '../exception';
import type { Backend, BackendFactory } from './backend';
import { mockFabric } from './mock-fabric';
import { createNativeBackend, openNative } from './native';
import type { NativeOptions } from './native';

export type BackendChoice = 'auto' | 'native' | 'mock';

const CHOICES: readonly unknown[] = ['auto', 'native', 'mock'] satisfies BackendChoice[];

/** One warning per process: an orchestrator makes many instances. */
let warned = false;

/**
 * The backend of one instance.
 * @throws TypeError for anything that is no backend, also in `LLM_DATADIST_BACKEND`; LLMBackendError
 */
export function createBackend(choice: unknown, clusterId: bigint, role: number, options: NativeOptions): Backend {
  if (typeof choice === 'function') return checkBackend((choice as BackendFactory)(clusterId, role));
  if (typeof choice === 'object') return checkBackend(choice);
  switch (chosen(choice)) {
    case 'mock':
      return mockFabric().backend(clusterId, role);
    case 'native':
      return createNativeBackend(clusterId, role, options);
    case 'auto':
      return automatic(clusterId, role, options);
  }
}

function chosen(choice: unknown): BackendChoice {
  const expected = "'auto', 'native', 'mock', a Backend or a function that makes one";
  if (choice !== undefined && !isChoice(choice)) throw invalidArgType('options.backend', expected, choice);
  if (choice !== undefined && choice !== 'auto') return choice;
  const override = process.env.LLM_DATADIST_BACKEND;
  if (override === undefined || override === '') return 'auto';
  if (!isChoice(override)) throw invalidArgType('LLM_DATADIST_BACKEND', "'auto', 'native' or 'mock'", override);
  return override;
}

function isChoice(value: unknown): value is BackendChoice {
  return CHOICES.includes(value);
}

function automatic(clusterId: bigint, role: number, options: NativeOptions): Backend {
  const native = openNative();
  if ('create' in native) return native.create(clusterId, role, options);
  const { backend, reach } = mockFabric();
  if (!warned) {
    warned = true;
    const reason = new LLMBackendError(native.attempts).message;
    process.emitWarning(
      `LLM-DataDist is not available, the mock backend is used instead: no NPU is involved, and ${reach}. ` +
        `Say backend: 'mock' if that is meant. ${reason}`,
      'LLMDataDistMockWarning',
    );
  }
  return backend(clusterId, role);
}

const METHODS = [
  'initialize',
  'finalize',
  'setRole',
  'linkLlmClusters',
  'unlinkLlmClusters',
  'allocateCache',
  'deallocateCache',
  'copyKvCache',
  'copyKvBlocks',
  'registerKvCache',
  'unregisterKvCache',
  'pullKvCache',
  'pullKvBlocks',
  'pushKvCache',
  'pushKvBlocks',
  'malloc',
  'free',
  'write',
  'read',
] as const satisfies readonly (keyof Backend)[];

/** A backend of the user's own: missing methods are better found here than in the middle of a transfer. */
function checkBackend(value: unknown): Backend {
  const backend = checkObject(value, 'options.backend');
  checkString(backend.name, 'options.backend.name');
  for (const method of METHODS) {
    const actual = backend[method];
    if (typeof actual !== 'function') throw invalidArgType(`options.backend.${method}`, 'a function', actual);
  }
  return value as Backend;
}
