import { join } from 'node:path';
import { describeBackend, loadScenarios, nativeBackends } from '../../lib/conformance';
import type { Op } from '../../lib/conformance';
import { handWritten, random } from '../fixtures/recordings';
import { standIn } from './fixtures/stand-in';

/** Recorded like the others, where the mock was once found to differ. */
const differential = loadScenarios(join(__dirname, '../conformance/differential.jsonl'));
const all = [...handWritten, ...random, ...differential];

/**
 * What the stand-in cannot answer as the library does. Everything else is made, also calls that the library refuses: the
 * shim has to carry refusals as well as successes.
 */
const LEFT_OUT = new Map([
  ['hixl-backend', 'the stand-in takes the option of the hixl backend, and is the default one all the same'],
  ['hixl', 'the stand-in does not read the options of the hixl backend'],
  ['per-node', 'the stand-in has its peers in one process'],
]);

const chosen = all.filter(({ tags }) => !tags.some((tag) => LEFT_OUT.has(tag)));

/** How often each call is made, so that the choice cannot shrink unnoticed. */
const LEAST = new Map<Op, number>([
  ['init', 1271],
  ['finalize', 188],
  ['setRole', 385],
  ['register', 2124],
  ['unregister', 274],
  ['link', 901],
  ['unlink', 294],
  ['pullCache', 1114],
  ['pullBlocks', 1004],
  ['pushCache', 1023],
  ['pushBlocks', 905],
  ['raw', 18],
]);

test('most of the recordings are made, with every call that there is', () => {
  expect(all.filter(({ tags }) => tags.includes('per-node') && !tags.includes('hixl-backend'))).toEqual([]);
  expect(chosen.length).toBeGreaterThanOrEqual(445);
  for (const [op, least] of LEAST) {
    const made = chosen.flatMap(({ steps }) => steps).filter((step) => step.op === op);
    expect([op, Math.min(made.length, least)]).toEqual([op, least]);
  }
});

describeBackend(
  'the shim over the stand-in',
  { source: nativeBackends, scenarios: chosen },
  {
    test,
    expect,
    describe: (name, body) => {
      describe(name, () => {
        // Scenarios are of the bare library: nobody keeps from it what it does not survive.
        if (name === 'scenarios') {
          beforeEach(() => {
            standIn.run('strict off; journal off');
          });
        }
        body();
      });
    },
  },
);
