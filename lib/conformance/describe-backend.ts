import type { BackendFactory } from '../backend/backend';
import { checkArray, checkFields, checkObject, checkString, checkUint32, invalidArgType, outOfRange } from '../check';
import type { Names } from '../check';
import type { BackendSource } from './backends';
import type { Behaviour, BehaviourGroup } from './behaviour/behaviour';
import { life } from './behaviour/life';
import { links } from './behaviour/links';
import { memory } from './behaviour/memory';
import { registrations } from './behaviour/registrations';
import { Stage } from './behaviour/stage';
import { transfers } from './behaviour/transfers';
import { formatDifference } from './difference';
import type { HostSource } from './host';
import { localHosts } from './local-host';
import { hostPorts } from './ports';
import { runScenarioOn } from './runner';
import type { Scenario } from './scenario';
import { shippedScenarios } from './shipped-scenarios';
import type { Expect, TestKit } from './test-kit';
import { TestGroup } from './test-kit';

/** A backend to be tested, where a factory alone does not say enough. */
export interface TestedBackend {
  /**
   * Makes what the instances of one test come from, and is called once per test, so that tests can be kept apart: an
   * isolated network, say, with separate ports.
   */
  readonly source: BackendSource;
  /**
   * Where the nodes of scenarios live; default: in this process, made by `source`. With
   * {@link childHosts} each scenario or each node has a separate process. The behaviour tests are always run here.
   */
  readonly hosts?: HostSource | undefined;
  /** Default: all that come with the package, {@link shippedScenarios}. */
  readonly scenarios?: Iterable<Scenario> | undefined;
  /**
   * How many instances a process can have, 1 or more; default: any number. Behaviours that take more are left out, and so are
   * scenarios with more nodes unless `hosts` says where these live.
   */
  readonly maxNodes?: number | undefined;
  /** What the backend need not do. Each name must be that of a behaviour. */
  readonly leaveOut?: readonly LeftOutBehaviour[] | undefined;
}

/** A behaviour that is not tested. */
export interface LeftOutBehaviour {
  /** Its whole name, without those of its groups. */
  readonly name: string;
  readonly because: string;
}

const TESTED: Names<TestedBackend> = { source: true, hosts: true, scenarios: true, maxNodes: true, leaveOut: true };
const LEFT_OUT: Names<LeftOutBehaviour> = { name: true, because: true };

const GROUPS: readonly BehaviourGroup[] = [life, memory, registrations, links, transfers];

const MOST_NODES = 2 ** 32 - 1;

/** The names of all behaviours that {@link describeBackend} tests, in order. */
export const BEHAVIOUR_NAMES: readonly string[] = Object.freeze(
  GROUPS.flatMap(({ behaviours }) => behaviours.map(({ name }) => name)),
);

/**
 * Registers tests that hold a backend to what the seam ({@link Backend}) promises and to what the vendor's library was
 * recorded to do: one test per behaviour, and one per scenario. What fails is reported with the scenario, the step, what was
 * expected and what came.
 *
 * Behaviours are tested below the public classes, with up to three instances in this process; a source is asked for
 * such as keep from the library what it does not survive. Scenarios go through the public classes, without any guards.
 *
 * @param name - What the tests call the backend.
 * @param backend - A function `(clusterId, role) => Backend`; its instances get free TCP ports of this host. Or an object,
 *   where tests are to be kept apart, or scenarios to be chosen or run in processes.
 * @param kit - `test`, `expect` and maybe `describe`, as jest and vitest have them; see {@link TestKit} for `node:test`.
 * @throws TypeError (`ERR_INVALID_ARG_TYPE`) for arguments of other types, RangeError (`ERR_OUT_OF_RANGE`) when a behaviour
 *   is to be left out that does not exist; no test is registered then.
 */
export function describeBackend(name: string, backend: BackendFactory | TestedBackend, kit: TestKit): void {
  checkString(name, 'name');
  const tested = checkTested(backend);
  checkKit(kit);
  const leftOut = checkLeftOut(tested.leaveOut);
  const scenarios = tested.scenarios ?? shippedScenarios();
  const maxNodes = checkUint32(tested.maxNodes ?? MOST_NODES, 'backend.maxNodes');
  new TestGroup(kit).group(name, (whole) => {
    for (const { subject, behaviours } of GROUPS) {
      whole.group(subject, (group) => {
        for (const behaviour of behaviours) {
          if (leftOut.has(behaviour.name) || behaviour.nodes > maxNodes) continue;
          group.test(behaviour.name, async () => {
            await play(behaviour, new Stage(tested.source({ guards: true })), kit.expect);
          });
        }
      });
    }
    const hosts = tested.hosts ?? localHosts(tested.source);
    whole.group('scenarios', (group) => {
      for (const scenario of scenarios) {
        if (tested.hosts === undefined && scenario.nodes.size > maxNodes) continue;
        group.test(scenario.name, async () => {
          kit.expect((await runScenarioOn(hosts, scenario)).map(formatDifference)).toEqual([]);
        });
      }
    });
  });
}

async function play(behaviour: Behaviour, stage: Stage, expect: Expect): Promise<void> {
  try {
    await behaviour.run(stage, expect);
  } catch (error) {
    // What goes wrong when the stage is cleared after that says less.
    await Promise.allSettled([stage.clear()]);
    throw error;
  }
  await stage.clear();
}

function checkTested(backend: unknown): TestedBackend {
  if (typeof backend === 'function') {
    const createBackend = backend as BackendFactory;
    return { source: () => ({ createBackend, freePorts: hostPorts }) };
  }
  const { source, hosts } = checkFields(backend, 'backend', TESTED);
  checkFunction(source, 'backend.source');
  if (hosts !== undefined) checkFunction(hosts, 'backend.hosts');
  return backend as TestedBackend;
}

function checkKit(kit: unknown): void {
  const { test, expect, describe } = checkObject(kit, 'kit');
  checkFunction(test, 'kit.test');
  checkFunction(expect, 'kit.expect');
  if (describe !== undefined) checkFunction(describe, 'kit.describe');
}

function checkFunction(value: unknown, name: string): void {
  if (typeof value !== 'function') throw invalidArgType(name, 'a function', value);
}

function checkLeftOut(leaveOut: unknown = []): ReadonlySet<string> {
  const names = checkArray(leaveOut, 'backend.leaveOut', (element, place) => {
    const name = checkString(checkFields(element, place, LEFT_OUT).name, `${place}.name`);
    if (!BEHAVIOUR_NAMES.includes(name)) throw outOfRange(`${place}.name`, 'one of BEHAVIOUR_NAMES', name);
    return name;
  });
  return new Set(names);
}
