import { bandwidth } from './bandwidth';
import { readCommandLine, USAGE } from './command-line';
import { collectYoung } from './garbage';
import { kit } from './kit';
import { describeMachine } from './machine';
import { NATIVE_SUITES } from './native-suites';
import { pullRate } from './pull-rate';
import { missesGoal } from './result';
import type { Line } from './result';
import { scale } from './scale';
import type { Suite, SuiteOptions } from './suite';
import { renderMachine, renderTable } from './table';
import { tcp } from './tcp';

const SUITES: readonly Suite[] = [pullRate, kit, scale, bandwidth, tcp, ...NATIVE_SUITES];
const MIB = 2 ** 20;

const FULL: SuiteOptions = { rounds: 11, milliseconds: 100, workingSet: 512 * MIB, collectGarbage: collectYoung };
const QUICK: SuiteOptions = { rounds: 7, milliseconds: 15, workingSet: 64 * MIB, collectGarbage: collectYoung };

async function main(): Promise<void> {
  const { json, quick, check, help, suites, rounds, milliseconds } = readCommandLine(process.argv.slice(2), SUITES);
  if (help) {
    console.log(`${USAGE}\n\nSuites:\n${SUITES.map(({ name, title }) => `  ${name.padEnd(12)} ${title}`).join('\n')}`);
    return;
  }
  const preset = quick ? QUICK : FULL;
  const options = {
    ...preset,
    rounds: rounds ?? preset.rounds,
    milliseconds: milliseconds ?? preset.milliseconds,
  };
  const machine = describeMachine();
  if (!json) console.log(renderMachine(machine, options.rounds));
  const results: Line[] = [];
  for (const suite of suites) {
    const part = await suite.run(options);
    if (!json) console.log(`\n${renderTable(suite.title, part)}`);
    results.push(...part);
  }
  const { workingSet } = options;
  const measured = { rounds: options.rounds, milliseconds: options.milliseconds, workingSet };
  if (json) console.log(JSON.stringify({ machine, options: measured, results }, undefined, 2));
  if (check && missesGoal(results)) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 2;
});
