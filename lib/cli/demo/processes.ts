import type { CacheKeyByIdAndIndex } from '../../cache';
import type { ClusterPlan } from './cluster';
import type { BlockPair } from './contents';
import { expectException, recovery, succeeded, UnexpectedOutcome } from './failures';
import { FULL_BLOCK_BYTES, TENSORS } from './geometry';
import { PartyProcess } from './party-process';
import { withProgress } from './progress';
import { inMiB } from './quantity';
import { inWords } from './tally';
import type { Show } from './transfers';

/** What the three processes are to be. */
export interface PartyPlans {
  readonly prompt: ClusterPlan;
  readonly decoder1: ClusterPlan;
  readonly decoder2: ClusterPlan;
}

const KIND = { before: 'pullBlocks over TCP', after: 'pullBlocks over TCP, after the restart' };

/**
 * A prompt and two decoders as processes. The prompt is killed while a decoder pulls, and everything that an application
 * has to do then is done.
 */
export async function runProcesses(show: Show, plans: PartyPlans, blocks: number): Promise<void> {
  const { screen } = show;
  const processes = new Set<PartyProcess>();
  const launch = async (plan: ClusterPlan): Promise<PartyProcess> => {
    const party = new PartyProcess(plan);
    processes.add(party);
    await party.start();
    const { name, clusterId, deviceId, ip, port } = plan;
    screen.text(
      `${name.padEnd(9)}  process ${party.pid}  cluster ${clusterId}  device ${deviceId}  listens on ${ip}:${port}`,
      { indent: 3 },
    );
    return party;
  };
  try {
    screen.heading('1. Three processes start - init()');
    const prompt = await launch(plans.prompt);
    const decoder1 = await launch(plans.decoder1);
    const decoder2 = await launch(plans.decoder2);
    const key = await prepare(show, prompt, [decoder1, decoder2], blocks);
    await death(show, { prompt, decoder1, key }, blocks);

    screen.heading('5. The prompt is started again');
    const next = await launch(plans.prompt);
    const newKey = await fillCache(show, next, blocks, 1);

    screen.heading('6. Decoder 1 links again - linkClusters(), pullBlocks()');
    await linkAndPull(show, decoder1, next, newKey, blocks);

    screen.heading('7. Decoder 2 knows nothing yet, and pulls - pullBlocks()');
    await expectException(show, 'relink', () => decoder2.call('pull', key, [0, 0]));
    recovery(show, 'relink', 'unlinkClusters([prompt], { force: true }), linkClusters([prompt])');
    await decoder2.call('unlink', next.info, { force: true });
    await linkAndPull(show, decoder2, next, newKey, blocks);

    screen.heading('8. The decoders unlink, and all processes end - finalize()');
    for (const decoder of [decoder1, decoder2]) await decoder.call('unlink', next.info, { force: false });
    for (const party of [decoder2, decoder1, next]) await party.stop();
    screen.text('three processes ended by themselves, one was killed', { indent: 3 });
  } finally {
    for (const party of processes) await party.kill();
  }
}

/** Caches, links, and a first pull of everything. @returns the key of the prompt's cache */
async function prepare(
  show: Show,
  prompt: PartyProcess,
  decoders: readonly PartyProcess[],
  blocks: number,
): Promise<CacheKeyByIdAndIndex> {
  const { screen } = show;
  screen.heading('2. Each allocates its cache, and the prompt computes - allocateCache()');
  const key = await fillCache(show, prompt, blocks, 0);
  for (const decoder of decoders) await decoder.call('allocate', blocks);

  screen.heading('3. The decoders link and pull, each over a connection of its own - linkClusters(), pullBlocks()');
  for (const decoder of decoders) {
    await decoder.call('link', prompt.info, prompt.life);
    await pullAll(show, KIND.before, decoder, key, 0, blocks);
  }
  screen.text(inWords(show.tally.row(KIND.before)), { indent: 3 });
  return key;
}

async function fillCache(show: Show, prompt: PartyProcess, blocks: number, run: number): Promise<CacheKeyByIdAndIndex> {
  const key = await prompt.call('allocate', blocks);
  await prompt.call('fill', run);
  show.screen.text(`the prompt's cache: ${inMiB(blocks * FULL_BLOCK_BYTES)} MiB in ${TENSORS} tensors`, { indent: 3 });
  return key;
}

interface Scene {
  readonly prompt: PartyProcess;
  readonly decoder1: PartyProcess;
  readonly key: CacheKeyByIdAndIndex;
}

/** The prompt is killed when half a cache has been pulled. */
async function death(show: Show, { prompt, decoder1, key }: Scene, blocks: number): Promise<void> {
  const { screen } = show;
  screen.heading('4. The prompt is killed while decoder 1 pulls - SIGKILL');
  let pulled = 0;
  let killed: Promise<void> | undefined;
  await expectException(show, 'relink', () =>
    decoder1.stream(key, (count) => {
      pulled = count;
      if (count >= blocks / 2) killed ??= prompt.kill();
    }),
  );
  if (killed === undefined) throw new UnexpectedOutcome('The pulls failed before the prompt was killed.');
  await killed;
  const arrived = pairs(Math.min(pulled, blocks));
  await decoder1.call('verify', 0, arrived);
  succeeded(show, `${pulled} pulls had ended before, and what they brought is as it was sent`);
  screen.text('It unlinks as usual, which asks the peer:', { indent: 3 });
  await expectException(show, 'unlink-first', () => decoder1.call('unlink', prompt.info, { force: false }));
  recovery(show, 'unlink-first', 'unlinkClusters([prompt], { force: true })');
  await decoder1.call('unlink', prompt.info, { force: true });
  succeeded(show, 'unlinked by force');
}

async function linkAndPull(
  show: Show,
  decoder: PartyProcess,
  prompt: PartyProcess,
  key: CacheKeyByIdAndIndex,
  blocks: number,
): Promise<void> {
  await decoder.call('link', prompt.info, prompt.life);
  await pullAll(show, KIND.after, decoder, key, 1, blocks);
}

/** Pulls a whole cache block by block, each into another place, and verifies every byte. */
async function pullAll(
  { screen, tally }: Show,
  kind: string,
  decoder: PartyProcess,
  key: CacheKeyByIdAndIndex,
  run: number,
  blocks: number,
): Promise<void> {
  const all = pairs(blocks).map(([src], i): BlockPair => [src, blocks - 1 - i]);
  await withProgress(screen, 'pulling', blocks * FULL_BLOCK_BYTES, async (progress) => {
    for (const pair of all) {
      await tally.measure(kind, FULL_BLOCK_BYTES, () => decoder.call('pull', key, pair));
      progress.advance(FULL_BLOCK_BYTES);
    }
  });
  await decoder.call('verify', run, all);
  screen.text(`${decoder.name}: linked, ${inMiB(blocks * FULL_BLOCK_BYTES)} MiB pulled, every byte verified`, {
    indent: 3,
    style: 'green',
  });
}

function pairs(blocks: number): BlockPair[] {
  return Array.from({ length: blocks }, (_, block) => [block, block]);
}
