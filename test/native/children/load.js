'use strict';

// Does what its arguments name, one after the other, and prints what came of each, and which files of the vendor's were
// in the process then.

const fs = require('node:fs');
const { setImmediate } = require('node:timers');

const OF_THE_VENDOR = /\/(lib(?:ascendcl|acl_rt|llm_datadist|llm_engine)\.so|llm_datadist_bridge\.so)$/;

const warnings = [];
process.on('warning', ({ name, message }) => warnings.push({ name, message }));

/** Each once. */
function vendorFiles() {
  const lines = fs.readFileSync('/proc/self/maps', 'utf8').split('\n');
  const paths = lines.map((line) => line.slice(line.indexOf('/'))).filter((path) => OF_THE_VENDOR.test(path));
  return [...new Set(paths)].sort();
}

function attempted(work) {
  try {
    return { value: work() };
  } catch (error) {
    const { name, code, message, attempts } = error;
    return { error: { name, code, message, attempts } };
  }
}

let lib;

const STEPS = {
  require() {
    lib = require(process.env.DATADIST_TEST_COMPILED);
    return Object.keys(lib).includes('LLMDataDist');
  },
  probe: () => lib.probeNative(),
  native: () => new lib.LLMDataDist(lib.LLMRole.PROMPT, 1n, { backend: 'native' }).backendName,
  auto: () => new lib.LLMDataDist(lib.LLMRole.PROMPT, 2n).backendName,
  mock: () => new lib.LLMDataDist(lib.LLMRole.PROMPT, 3n, { backend: 'mock' }).backendName,
};

const done = process.argv.slice(2).map((step) => ({ step, ...attempted(STEPS[step]), files: vendorFiles() }));
setImmediate(() => process.stdout.write(JSON.stringify({ done, warnings })));
