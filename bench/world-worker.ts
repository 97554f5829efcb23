import { parentPort } from 'node:worker_threads';
import { collectYoung, usedHeap } from './garbage';
import { timed } from './rounds';
import { World } from './world';
import type { WorldSize } from './world';
import type { Built, WorldReport, WorldRequest } from './world-messages';

// A world has a heap and a compiler of its own, so that a small one does not pay for the garbage of a large one.
let world: World | undefined;

async function answer(request: WorldRequest): Promise<WorldReport> {
  switch (request.kind) {
    case 'build': {
      const built = await build(request.size);
      return { milliseconds: 0, built };
    }
    case 'run':
      if (world === undefined) throw new Error('the world was not built');
      collectYoung();
      return { milliseconds: await world.run(request.measurement, request.operations) };
    case 'close':
      await world?.close();
      return { milliseconds: 0 };
  }
}

async function build(size: WorldSize): Promise<Built> {
  let made: World | undefined;
  const starting = await timed(async () => {
    made = await World.build(size);
  });
  if (made === undefined) throw new Error('no world was built');
  world = made;
  const before = usedHeap();
  const linking = await timed(() => world?.linkAll());
  return {
    links: made.links,
    secondsToStart: starting / 1000,
    secondsToLink: linking / 1000,
    heapBytes: usedHeap() - before,
  };
}

if (parentPort === null) throw new Error('this file is run by a worker thread only');
const port = parentPort;
port.on('message', (request: WorldRequest) => {
  answer(request).then(
    (report) => {
      port.postMessage(report);
    },
    // As an uncaught exception it reaches whoever started the worker.
    (error: unknown) => {
      queueMicrotask(() => {
        throw error;
      });
    },
  );
});
