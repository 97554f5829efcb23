import { checkObject, checkString, invalidArgType } from '../check';
import type { LLMBackendError } from '../backend-error';
import type { Backend, BackendFactory } from './backend';
import { checkEnvironment, variable, warnOfUnknownVariables } from './environment';
import { MockBackend } from './mock/mock-backend';
import { mockFabric } from './mock-fabric';
import { createNativeBackend, openNative } from './native';
import type { NativeOptions } from './native';
import { ascendSigns } from './native/ascend-signs';
import type { AscendSign } from './native/ascend-signs';
import { backendError } from './native/load-failure';
import type { LoadFailure } from './native/load-failure';

export type BackendChoice = 'auto' | 'native' | 'mock';

const CHOICES: readonly unknown[] = ['auto', 'native', 'mock'] satisfies BackendChoice[];

/** One warning per process, whatever copies of the package it has: an orchestrator makes many instances. */
const WARNED = Symbol.for('llm-datadist.mockWarning');
const shared = globalThis as { [WARNED]?: boolean };

/**
 * The backend of one instance.
 *
 * @param signsOfAscend how to look whether this is an Ascend host, where `auto` does not fall back to the mock
 * @throws TypeError for anything that is no backend, and with RangeError for a wrong variable of the environment;
 *   LLMBackendError
 */
export function createBackend(
  choice: unknown,
  clusterId: bigint,
  role: number,
  options: NativeOptions,
  signsOfAscend: () => readonly AscendSign[] = ascendSigns,
): Backend {
  if (typeof choice === 'function') return checkBackend((choice as BackendFactory)(clusterId, role));
  if (typeof choice === 'object') return checkBackend(choice);
  switch (chosen(choice)) {
    case 'mock':
      return new MockBackend(clusterId, role, { fabric: mockFabric().fabric });
    case 'native':
      return createNativeBackend(clusterId, role, options);
    case 'auto': {
      const native = openNative();
      if ('create' in native) return native.create(clusterId, role, options);
      return fallBack(native.failure, signsOfAscend(), clusterId, role);
    }
  }
}

function chosen(choice: unknown): BackendChoice {
  const expected = "'auto', 'native', 'mock', a Backend or a function that makes one";
  if (choice !== undefined && !isChoice(choice)) throw invalidArgType('options.backend', expected, choice);
  checkEnvironment();
  warnOfUnknownVariables();
  if (choice !== undefined && choice !== 'auto') return choice;
  // One of the choices, since it was checked.
  return (variable('LLM_DATADIST_BACKEND') as BackendChoice | undefined) ?? 'auto';
}

function isChoice(value: unknown): value is BackendChoice {
  return CHOICES.includes(value);
}

/** The mock in place of the library, with a warning: on a host where nothing else can have been meant. */
function fallBack(failure: LoadFailure, signs: readonly AscendSign[], clusterId: bigint, role: number): Backend {
  const refusal = noFallBack(failure, signs);
  if (refusal !== undefined) throw refusal;
  const { fabric, reach } = mockFabric();
  if (shared[WARNED] !== true) {
    shared[WARNED] = true;
    process.emitWarning(
      `LLM-DataDist is not available, the mock backend is used instead: no NPU is involved, and ${reach}. ` +
        `Pass backend: 'mock' to silence this warning. ${backendError(failure).message}`,
      'LLMDataDistMockWarning',
    );
  }
  return new MockBackend(clusterId, role, { fabric });
}

function noFallBack(failure: LoadFailure, signs: readonly AscendSign[]): LLMBackendError | undefined {
  const { advice, askedFor } = failure;
  if (askedFor === undefined && signs.length === 0) return undefined;
  const why = signs.length === 0 ? `where ${askedFor} is set` : 'on such a host';
  return backendError(failure, {
    signs: signs.map(({ text }) => text),
    advice:
      `'auto' does not fall back to the mock backend ${why}; if the mock is meant, pass backend: 'mock' or set ` +
      `LLM_DATADIST_BACKEND=mock. If not: ${advice}`,
  });
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
