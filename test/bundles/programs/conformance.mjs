import { childHosts, mockBackends, shippedScenarios } from 'llm-datadist/conformance';

// What needs files of the package, or a process that runs one, says so when it is asked for.
function main() {
  for (const [name, ask] of [
    ['scenarios', () => shippedScenarios().length > 100],
    ['processes', () => typeof childHosts({ backend: 'mock', processes: 'node' })],
  ]) {
    try {
      console.log(`${name}: ${ask()}`);
    } catch (error) {
      console.log(`${name}: names external: ${error.message.includes('external')}`);
    }
  }
  console.log(`backends: ${typeof mockBackends().createBackend}`);
}

main();
