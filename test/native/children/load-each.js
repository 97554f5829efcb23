'use strict';

// Asks for native backends in each of several environments, one after the other, and prints what came of each. First it
// becomes another user where its second argument asks for it: root may read everything.

const ANOTHER_USER = 65534;

const { LLMDataDist, probeNative } = require(process.env.DATADIST_TEST_COMPILED);

function attempted(backend) {
  try {
    return { backend: new LLMDataDist(1, 1n, { backend }).backendName };
  } catch (error) {
    const { name, message, attempts, notes, signs } = error;
    return { error: { name, message, attempts, notes, signs } };
  }
}

const [environments, user] = process.argv.slice(2);
if (user === 'another' && process.getuid() === 0) {
  process.setgroups([]);
  process.setgid(ANOTHER_USER);
  process.setuid(ANOTHER_USER);
}
const before = { ...process.env };
const found = JSON.parse(environments).map(({ env, cwd, asks = ['native', 'auto', 'probe'] }) => {
  Object.assign(process.env, before, env);
  if (cwd !== undefined) process.chdir(cwd);
  const answers = asks.map((ask) => [ask, ask === 'probe' ? probeNative() : attempted(ask)]);
  return Object.fromEntries(answers);
});
process.stdout.write(JSON.stringify(found));
