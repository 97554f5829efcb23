'use strict';

// The process is at the limit of its threads: each needs address space, of which there is little left. Prints what the
// callers are told, and what comes of the same calls without the limit.
//
//   headroom.js limited|free

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { PROMPT_CLUSTER, decoder, listeningNode } = require('./nodes');
const { outcomeOf } = require('./outcome');

const MIB = 1024 * 1024;
/** Of a thread, as the parent has set it: so much that there is room for everything else where there is none for one more. */
const STACK = 64 * MIB;

function limit(bytes) {
  const { status, stderr } = spawnSync('prlimit', [`--pid=${process.pid}`, `--as=${bytes}:`]);
  if (status !== 0) throw new Error(`prlimit failed: ${stderr}`);
}

/** No more than so many threads fit into what is left. */
function leaveRoomFor(threads) {
  const [, kib] = /VmSize:\s*(\d+) kB/.exec(fs.readFileSync('/proc/self/status', 'utf8'));
  limit(Number(kib) * 1024 + threads * STACK + STACK / 2);
}

/** What comes of a call with room for so many threads, and then without a limit. */
async function inBoth(threads, call) {
  if (process.argv[2] === 'free') return { unlimited: await outcomeOf(call()) };
  leaveRoomFor(threads);
  const limited = await outcomeOf(call());
  limit('unlimited');
  return { limited, unlimited: await outcomeOf(call()) };
}

async function main() {
  const answer = {};
  // First: stacks of threads that have ended are kept for the next ones.
  const other = decoder();
  answer.thread = await inBoth(0, () => other.init({ deviceId: 2 }));
  await other.finalize();
  const { prompt, decoder: dist } = await listeningNode();
  answer.init = await inBoth(20, () => dist.init({ deviceId: 1 }));
  answer.linkClusters = await inBoth(8, () => dist.linkClusters([PROMPT_CLUSTER]));
  answer.unlinkClusters = await inBoth(8, () => dist.unlinkClusters([PROMPT_CLUSTER]));
  answer.switchRole = await inBoth(8, () => dist.switchRole(3));
  await dist.finalize();
  await prompt.finalize();
  process.stdout.write(JSON.stringify(answer));
}

void main();
