import { bandwidth } from './bandwidth';
import { readCommandLine, USAGE } from './command-line';
import { collectGarbage } from './garbage';
import { describeMachine } from './machine';
import { pullRate } from './pull-rate';
import type { Result } from './result';
import { scale } from './scale';
import type { Suite, SuiteOptions } from './suite';
import { renderMachine, renderTable } from './table';

const SUITES: readonly Suite[] = [bandwidth, pullRate, scale];
const MIB = 2 ** 20;

const FULL: SuiteOptions = { rounds: 15, milliseconds: 150, workingSet: 512 * MIB, collectGarbage };
const QUICK: SuiteOptions = { rounds: 7, milliseconds: 25, workingSet: 256 * MIB, collectGarbage };

async function main(): Promise<void> {
  const { json, quick, check, help, only } = readCommandLine(
    process.argv.slice(2),
    SUITES.map(({ name }) => name),
  );
  if (help) {
    console.log(`${USAGE}\n\nSuites:\n${SUITES.map(({ name, title }) => `  ${name.padEnd(10)} ${title}`).join('\n')}`);
    return;
  }
  const options = quick ? QUICK : FULL;
  const machine = describeMachine();
  if (!json) console.log(renderMachine(machine, options.rounds));
  const results: Result[] = [];
  for (const suite of SUITES) {
    if (only.length > 0 && !only.includes(suite.name)) continue;
    const part = await suite.run(options);
    if (!json) console.log(`\n${renderTable(suite.title, part)}`);
    results.push(...part);
  }
  const { rounds, milliseconds, workingSet } = options;
  if (json) console.log(JSON.stringify({ machine, options: { quick, rounds, milliseconds, workingSet }, results }));
  // A busy machine must not fail a build: what is missed within the noise is for a reader to judge.
  if (check && results.some(({ verdict }) => verdict === 'missed')) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 2;
});
