import { isDeepStrictEqual } from 'node:util';
import type { BackendFactory } from '../../lib';
import type { Call, Outcome } from './call';
import { predict } from './cluster-model';
import { callOf } from './step';
import type { Run } from './step';
import { newMocks, System } from './system';
import { newWorld } from './world';
import type { NodeRecord, World } from './world';

/** Where mock and model part: what was done until then, and what each of them says. */
export class ModelDifference extends Error {
  override readonly name = 'ModelDifference';

  constructor(
    readonly run: Run,
    readonly calls: readonly string[],
    expected: string,
    got: string,
  ) {
    super(`expected by the model: ${expected}\ngot from the backend:  ${got}`);
  }
}

export interface RunOptions {
  /** Makes what does the work of one run, on a network of its own; default: mocks. */
  readonly newBackends?: () => BackendFactory;
  /** Told the status of every call. */
  readonly onCall?: (call: Call, status: string) => void;
}

/**
 * Makes the calls of a run on the backend and in the model, and compares after each what came of it and the bytes of all
 * caches.
 * @throws ModelDifference at the first one
 */
export async function compare(run: Run, { newBackends = newMocks, onCall }: RunOptions = {}): Promise<void> {
  const world = newWorld(run.engine, run.guards, run.nodes);
  const system = new System(run, newBackends());
  try {
    await play(world, system, run, onCall);
  } finally {
    await system.end();
  }
}

async function play(world: World, system: System, run: Run, onCall: RunOptions['onCall']): Promise<void> {
  const calls: string[] = [];
  for (const step of run.steps) {
    const call = callOf(world, step);
    if (call === undefined) continue;
    const text = describeCall(call);
    const expected = predict(world, call);
    const got = await system.perform(call);
    if (!isDeepStrictEqual(expected, got)) {
      throw new ModelDifference(run, [...calls, text], describe(expected), describe(got));
    }
    calls.push(`${text} → ${expected.status}`);
    onCall?.(call, got.status);
    await compareBytes(world, system, run, calls);
  }
}

async function compareBytes(world: World, system: System, run: Run, calls: readonly string[]): Promise<void> {
  for (const node of world.nodes) {
    for (const [slot, regions] of readable(node)) {
      const got = await system.bytes(node.index, slot);
      const expected = regions.map(({ bytes }) => bytes);
      if (isDeepStrictEqual(expected, got)) continue;
      const where = `node ${node.index + 1}, slot ${slot}: `;
      throw new ModelDifference(run, calls, where + differing(expected, got), where + differing(got, expected));
    }
  }
}

/** The caches of a node whose memory is there for its owner to read. */
function readable({ life, slots }: NodeRecord) {
  return [...slots.entries()].flatMap(([index, slot]) => {
    if (life === undefined || slot === undefined || slot.regions.some((region) => region.freed)) return [];
    return [[index, slot.regions] as const];
  });
}

/** The tensors that are not alike. */
function differing(these: readonly (readonly number[])[], those: readonly (readonly number[])[]): string {
  const texts = these.flatMap((bytes, i) =>
    isDeepStrictEqual(bytes, those[i]) ? [] : [`tensor ${i} [${bytes.join(' ')}]`],
  );
  return texts.join(', ');
}

function describe({ status, results, cacheId, warnings }: Outcome): string {
  const more = [
    ...(results === undefined ? [] : [`[${results.join(', ')}]`]),
    ...(cacheId === undefined ? [] : [`cache ${cacheId}`]),
    ...(warnings === undefined ? [] : [`${warnings} warnings`]),
  ];
  return [status, ...more].join(' ');
}

/** A call as it would be written down: who does what with which arguments. */
function describeCall({ op, node, ...args }: Call): string {
  const texts = Object.entries(args).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
  return `node ${node + 1} ${op}(${texts.join(', ')})`;
}
