import { LLMBackendError, LLMDataDist, LLMRole, probeNative } from 'llm-datadist';
import { setImmediate } from 'node:timers';

// Asks for the native backend in every way. What it prints depends on whether the addon's files are there.
async function main() {
  process.on('warning', ({ name, message }) => console.log(`${name} names external: ${message.includes('external')}`));
  const auto = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: 'auto' });
  // Warnings come a turn later.
  await new Promise((resolve) => setImmediate(resolve));
  await auto.init({ deviceId: 0 });
  await auto.finalize();
  console.log(`auto: ${auto.backendName}`);
  try {
    new LLMDataDist(LLMRole.PROMPT, 1n, { backend: 'native' });
  } catch (error) {
    console.log(`native: ${error instanceof LLMBackendError}, names external: ${error.message.includes('external')}`);
  }
  const { available, addonPath } = probeNative();
  console.log(`probe: ${available}, addon: ${addonPath !== undefined}`);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
