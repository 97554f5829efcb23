import { basename } from 'node:path';
import { MAX_LIST_LENGTH } from '../check';
import { LLMStatusCode } from '../status';
import { Fields, flag, list, object, record, ScenarioError, shown, text, uint64 } from './fields';
import { portNames } from './ports';
import type { RegisterStep, Step } from './step';
import { namedCaches } from './step';
import { readRole, readStep } from './step-reader';

/** An instance of a scenario. */
export interface ScenarioNode {
  /** int32, a role or not. */
  readonly role: number;
  readonly clusterId: bigint;
}

/** Calls on one or more instances, with the statuses, ids and data that must come out. */
export interface Scenario {
  readonly name: string;
  /** What it shows, in one sentence. */
  readonly about: string;
  readonly tags: readonly string[];
  /** Whether it waits for a time-out. */
  readonly slow: boolean;
  readonly nodes: ReadonlyMap<string, ScenarioNode>;
  readonly steps: readonly Step[];
  /** The names of all its `${port:NAME}`. */
  readonly ports: readonly string[];
  /** Where it was read. */
  readonly place: string;
}

/** Nobody has memory for more, and only such registrations can be listed. */
const MAX_TENSORS = MAX_LIST_LENGTH;

const readNode = object<ScenarioNode>((fields) => ({
  role: fields.get('role', readRole),
  clusterId: fields.get('clusterId', uint64),
}));

/**
 * A scenario from its JSON.
 *
 * @param json what `JSON.parse` gave
 * @param place what errors call it, such as the path of the file
 * @throws ScenarioError for anything that is no scenario, with the step and the field that are at fault
 */
export function parseScenario(json: unknown, place = 'scenario'): Scenario {
  const fields = new Fields(json, place);
  const name = fields.get('name', text);
  const here = basename(place, '.json') === name ? place : `${place}: ${name}`;
  const inside = new Fields(json, here);
  const nodes = inside.get('nodes', record(readNode));
  const steps = inside
    .get(
      'steps',
      list((value) => value),
    )
    .map((step, i) => readStep(step, i, here));
  checkSteps(steps, nodes, here);
  return {
    name,
    about: inside.optional('about', text, ''),
    tags: inside.optional('tags', list(text), []),
    slow: inside.optional('slow', flag, false),
    nodes,
    steps,
    ports: portNames(json),
    place: here,
  };
}

/** What steps must know of each other. */
function checkSteps(steps: readonly Step[], nodes: Scenario['nodes'], scenario: string): void {
  const caches = new Set<string>();
  for (const [i, step] of steps.entries()) {
    const fail = (problem: string): never => {
      throw new ScenarioError(`${scenario}: step ${i} (${step.op})`, problem);
    };
    if (!nodes.has(step.node)) fail(`unknown node ${shown(step.node)}; there are ${[...nodes.keys()].join(', ')}`);
    const named = namedCaches(step);
    for (const cache of named) {
      if (!caches.has(cache)) fail(`cache ${shown(cache)} is not registered by any step before`);
    }
    if ('crc' in step) {
      for (const cache of named) if (!step.crc.has(cache)) fail(`crc of cache ${shown(cache)} is missing`);
      for (const cache of step.crc.keys())
        if (!named.includes(cache)) fail(`crc of cache ${shown(cache)}, which is not named`);
    }
    if (step.op === 'register') {
      checkRegistration(step, fail);
      if (step.status === LLMStatusCode.LLM_SUCCESS) caches.add(step.cache);
    }
  }
}

function checkRegistration(step: RegisterStep, fail: (problem: string) => never): void {
  const succeeds = step.status === LLMStatusCode.LLM_SUCCESS;
  if (succeeds !== (step.cacheId !== undefined)) {
    fail(succeeds ? 'the field "cacheId" is missing' : 'a registration that fails has no cacheId');
  }
  const addresses = step.addrCount ?? step.desc.numTensors;
  if (addresses > MAX_TENSORS) fail(`${addresses} tensors without addrCount: at most ${MAX_TENSORS} can be allocated`);
  if (step.nullAddr !== undefined && step.nullAddr >= addresses) {
    fail(`nullAddr ${step.nullAddr} is not below the number of addresses, ${addresses}`);
  }
}
