'use strict';

// Two copies of the package in one process, of which the first spoils something for the second. Prints what that one says.
//
//   two-copies.js hang|newer LIB ADDON
//
// LIB is the second copy. ADDON is its addon (hang: the first copy's call does not come back), or one that another version
// of the package has loaded before (newer).

const [what, lib, addon] = process.argv.slice(2);
const { LLMDataDist, LLMRole } = require(process.env.DATADIST_TEST_COMPILED);

const FIRST = {
  /** The stand-in is told to keep the first init. */
  hang: async () => {
    const dist = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: 'native', hangTimeout: 50 });
    await dist.init({ deviceId: 0 }).catch(() => undefined);
    process.env.LLM_DATADIST_ADDON = addon;
  },
  newer: () => process.dlopen({ exports: {} }, addon),
};

async function main() {
  await FIRST[what]();
  try {
    const second = require(lib);
    await new second.LLMDataDist(LLMRole.DECODER, 2n, { backend: 'native' }).init({ deviceId: 1 });
  } catch ({ name, message, recovery, attempts }) {
    console.log(JSON.stringify({ name, message, recovery, attempts }));
  }
  process.exit();
}

void main();
