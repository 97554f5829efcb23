import type { Cluster } from './cluster';
import { CHECKSUM } from './contents';
import type { CacheContents } from './contents';
import { BLOCK_BYTES, TENSORS } from './geometry';
import type { Pattern } from './pattern';
import { withProgress } from './progress';
import { inMiB, inMs } from './quantity';
import {
  planBlocks,
  pullLayers,
  pullRows,
  pullScattered,
  pushBlocksByLayer,
  pushRowsByLayer,
  verify,
} from './transfers';
import type { Show } from './transfers';

/** The three parties. */
export interface Parties {
  readonly prompt: Cluster;
  readonly decoder1: Cluster;
  readonly decoder2: Cluster;
}

/** Their caches. */
export interface Caches {
  readonly prompt: CacheContents;
  readonly decoder1: CacheContents;
  readonly decoder2: CacheContents;
}

/** From the start of three clusters to blocks that arrived, were verified, and links that are closed again. */
export async function runFlow(show: Show, parties: Parties, blocks: number, pattern: Pattern): Promise<Caches> {
  const { screen } = show;
  screen.heading('1. Three clusters start - init()');
  await startAll(show, parties);

  screen.heading('2. Each allocates and registers its cache - allocateCache()');
  const caches = await allocateAll(show, parties, blocks);

  screen.heading('3. The prompt computes its KV cache');
  await fill(show, caches.prompt, pattern, 0);

  screen.heading('4. Each decoder links to the prompt - linkClusters()');
  await linkAll(show, parties, caches.prompt);

  screen.heading('5. Decoder 1 pulls the cache row by row - pullCache()');
  await pullRows(show, caches.prompt, caches.decoder1);
  await verifyAll(show, caches.decoder1);

  const plan = planBlocks(blocks);
  screen.heading('6. Decoder 2 pulls scattered blocks - pullBlocks()');
  screen.text(`from blocks ${plan.scattered.map(([src]) => src).join(', ')}`, { indent: 3, hang: 2 });
  screen.text(`into blocks ${plan.scattered.map(([, dst]) => dst).join(', ')}`, { indent: 3, hang: 2 });
  await pullScattered(show, caches.prompt, caches.decoder2, plan.scattered);

  screen.heading('7. Decoder 2 pulls more blocks, some layers at a time - pullBlocks()');
  await pullLayers(show, caches.prompt, caches.decoder2, plan.byLayers);

  screen.heading('8. The prompt pushes more blocks, layer by layer - pushCache(), pushBlocks()');
  screen.text('As a layer-wise prefill does. One link serves both directions.', { indent: 3 });
  await pushRowsByLayer(show, caches.prompt, caches.decoder2, plan.rows);
  await pushBlocksByLayer(show, caches.prompt, caches.decoder2, plan.pushed);
  await verifyAll(show, caches.decoder2);

  screen.heading('9. The decoders unlink - unlinkClusters()');
  await parties.decoder1.unlink(parties.prompt);
  await parties.decoder2.unlink(parties.prompt);
  screen.text('The prompt is told, so its ends of the links are gone as well.', { indent: 3 });
  return caches;
}

/** Writes what a run of the prompt computes. */
export async function fill({ screen }: Show, contents: CacheContents, pattern: Pattern, run: number): Promise<void> {
  await withProgress(screen, 'filling', contents.byteLength, (progress) => contents.fill(pattern, run, progress));
  const pieces = contents.blocks * TENSORS;
  screen.text(
    `${inMiB(contents.byteLength)} MiB in ${pieces} different pieces of ${BLOCK_BYTES / 1024} KiB; the ${CHECKSUM} of each is kept`,
    { indent: 3 },
  );
}

async function startAll({ screen }: Show, { prompt, decoder1, decoder2 }: Parties): Promise<void> {
  for (const cluster of [prompt, decoder1, decoder2]) {
    await cluster.start();
    const { name, clusterId, deviceId, ip, port } = cluster.plan;
    screen.text(`${name.padEnd(9)}  cluster ${clusterId}  device ${deviceId}  listens on ${ip}:${port}`, { indent: 3 });
  }
}

async function allocateAll({ screen }: Show, parties: Parties, blocks: number): Promise<Caches> {
  const prompt = await parties.prompt.allocate(blocks);
  const decoder1 = await parties.decoder1.allocate(blocks);
  const decoder2 = await parties.decoder2.allocate(blocks);
  await withProgress(screen, 'clearing', decoder1.byteLength + decoder2.byteLength, async (progress) => {
    for (const contents of [decoder1, decoder2]) await contents.clear(progress);
  });
  screen.text(
    `${TENSORS} tensors, ${inMiB(prompt.byteLength)} MiB each; the decoders clear theirs. Allocate first, then link: a peer ` +
      'copies the list of caches once per link.',
    { indent: 3 },
  );
  return { prompt, decoder1, decoder2 };
}

async function linkAll({ screen }: Show, parties: Parties, contents: CacheContents): Promise<void> {
  for (const decoder of [parties.decoder1, parties.decoder2]) {
    const start = performance.now();
    await decoder.link(parties.prompt);
    screen.text(`${decoder.name} -> prompt: linked in ${inMs(performance.now() - start)} ms`, { indent: 3 });
  }
  screen.text('The application tells them which cache is meant, in JSON:', { indent: 3 });
  screen.text(JSON.stringify(contents.cache.key()), { indent: 3, hang: 2, style: 'dim' });
}

async function verifyAll(show: Show, contents: CacheContents): Promise<void> {
  await verify(show, contents);
  const pieces = contents.blocks * TENSORS;
  show.screen.text(
    `verified by ${CHECKSUM}: all ${pieces} pieces of ${contents.owner.name}, ${inMiB(contents.byteLength)} MiB`,
    { indent: 3, style: 'green' },
  );
}
