'use strict';

// A pull does not come back from the library, and finalize(), which waits for it, loses the instance. Prints how its
// calls end.

const nodes = require('./nodes');
const { OPERATIONS } = require('./operations');
const { outcomeOf } = require('./outcome');

/** Far more than the calls take that are not given up, also where everything is twenty times as slow. */
const HANG_TIMEOUT_MS = 2000;

async function main() {
  const standin = nodes.standIn();
  const { decoder, ...all } = await nodes.linkedNodes({ hangTimeout: HANG_TIMEOUT_MS });
  standin.set('PullKvBlocks', { times: 1, hang: true });
  standin.set('PushKvBlocks', { times: 1, block: true });
  const pull = () => outcomeOf(OPERATIONS.pullBlocks.call({ decoder, ...all }));
  const push = () => outcomeOf(OPERATIONS.pushBlocks.call({ decoder, ...all }));
  const hanging = pull();
  const behind = pull();
  const slow = push();
  await nodes.inside(standin, 'PullKvBlocks');
  await nodes.inside(standin, 'PushKvBlocks');
  const finalize = await outcomeOf(decoder.finalize());
  const answer = { finalize, hanging: await hanging, behind: await behind, slow: await slow };
  // It comes back to an instance that is lost.
  standin.release('PushKvBlocks');
  answer.isLost = decoder.isLost;
  answer.later = await pull();
  answer.second = await outcomeOf(nodes.decoder({ allowMultipleInstances: false }).init({ deviceId: 2 }));
  process.stdout.write(JSON.stringify(answer));
}

void main();
