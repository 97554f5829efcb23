import type { CacheKeyByIdAndIndex } from '../../cache';
import { LLMException } from '../../exception';
import type { Recovery } from '../../status';
import type { CacheContents } from './contents';
import { fill } from './flow';
import type { Caches, Parties } from './flow';
import { FULL_BLOCK_BYTES } from './geometry';
import type { Pattern } from './pattern';
import { receiveKey, verify } from './transfers';
import type { Show } from './transfers';

/** What should have failed did not, or in a way that has another recovery. */
export class UnexpectedOutcome extends Error {}

/** Each pull of a recovery goes into a separate block, so that none can profit from the one before. */
const TARGET = { notLinked: 0, late: 1, gone: 2 };

const KIND = 'pullBlocks, after a recovery';

/** Three failures as a user meets them, each followed by what the exception says is to be done. */
export async function runFailures(show: Show, parties: Parties, caches: Caches, pattern: Pattern): Promise<void> {
  await pullBeforeLinking(show, parties, caches);
  await lateCache(show, parties, caches, pattern);
  await peerGone(show, parties, caches, pattern);
}

async function pullBeforeLinking(show: Show, { prompt, decoder1 }: Parties, caches: Caches): Promise<void> {
  const { screen } = show;
  screen.heading('Failure 1: a pull before linking');
  const pull = pullOf(caches.prompt, caches.decoder1, TARGET.notLinked);
  attempt(show, 'Decoder 1 has unlinked, and pulls a block:', pull);
  await expectException(show, 'relink', pull.run);
  recovery(show, 'relink', 'linkClusters(), then the same pull');
  await decoder1.link(prompt);
  await repeat(show, pull);
}

async function lateCache(show: Show, { prompt, decoder1 }: Parties, caches: Caches, pattern: Pattern): Promise<void> {
  const { screen } = show;
  screen.heading('Failure 2: a cache that was registered after linking');
  screen.text('Decoder 1 is linked when the prompt allocates a second, small cache:', { indent: 3 });
  const late = await prompt.allocate(1);
  await fill(show, late, pattern, 1);
  const pull = pullOf(late, caches.decoder1, TARGET.late);
  attempt(show, 'Decoder 1 pulls from it over the link that it has:', pull);
  await expectException(show, 'relink', pull.run);
  recovery(show, 'relink', 'unlinkClusters(), linkClusters(), then the same pull');
  await decoder1.unlink(prompt);
  await decoder1.link(prompt);
  await repeat(show, pull);
}

async function peerGone(show: Show, { prompt, decoder1 }: Parties, caches: Caches, pattern: Pattern): Promise<void> {
  const { screen } = show;
  screen.heading('Failure 3: a peer that went away');
  screen.text('The prompt calls finalize(), in place of a process that ends without a word.', { indent: 3 });
  const stale = pullOf(caches.prompt, caches.decoder1, TARGET.gone);
  await prompt.stop();
  attempt(show, 'Decoder 1 knows nothing of it, and pulls:', stale);
  await expectException(show, 'relink', stale.run);
  screen.text('It unlinks as usual, which asks the peer:', { indent: 3 });
  screen.text('unlinkClusters([prompt])', { indent: 5 });
  await expectException(show, 'unlink-first', () => decoder1.unlink(prompt));
  recovery(show, 'unlink-first', 'unlinkClusters([prompt], { force: true })');
  await decoder1.unlink(prompt, { force: true });
  succeeded(show, 'unlinked by force');
  screen.text('The prompt starts again, with a cache of one block:', { indent: 3 });
  await prompt.start();
  const anew = await prompt.allocate(1);
  await fill(show, anew, pattern, 2);
  recovery(show, 'relink', 'linkClusters(), then a pull with the new key');
  await decoder1.link(prompt);
  await repeat(show, pullOf(anew, caches.decoder1, TARGET.gone));
  await decoder1.unlink(prompt);
}

/** A pull of block 0 of a cache, to be tried more than once. */
interface Pull {
  readonly from: CacheContents;
  readonly to: CacheContents;
  readonly block: number;
  readonly run: () => Promise<void>;
}

function pullOf(from: CacheContents, to: CacheContents, block: number): Pull {
  const key: CacheKeyByIdAndIndex = receiveKey(from);
  return { from, to, block, run: () => to.owner.manager.pullBlocks(key, to.cache, [0], [block]) };
}

function attempt({ screen }: Show, text: string, { from, block }: Pull): void {
  screen.text(text, { indent: 3 });
  screen.text(`pullBlocks(key of cache ${from.cache.cacheId}, own cache, [0], [${block}])`, { indent: 5 });
}

/** Runs what has to fail, prints the exception as its text has it, and checks that it names this way out. */
export async function expectException({ screen }: Show, wayOut: Recovery, work: () => Promise<void>): Promise<void> {
  const error = await exceptionOf(work);
  screen.blank();
  screen.text(String(error), { indent: 5, style: 'red' });
  screen.text(`code: '${error.code}', recovery: '${error.recovery}'`, { indent: 5 });
  screen.blank();
  if (error.recovery !== wayOut) {
    throw new UnexpectedOutcome(`The recovery of ${error.code} should be '${wayOut}' here, not '${error.recovery}'.`);
  }
}

/** @throws UnexpectedOutcome when there is none; whatever is no LLMException is passed on */
async function exceptionOf(work: () => Promise<void>): Promise<LLMException> {
  try {
    await work();
  } catch (error) {
    if (error instanceof LLMException) return error;
    throw error;
  }
  throw new UnexpectedOutcome('The call should have failed, and it succeeded.');
}

export function recovery({ screen }: Show, name: Recovery, steps: string): void {
  screen.text(`recovery '${name}': ${steps}`, { indent: 3 });
}

/** The pull again, which has to work now, and has to bring what was sent. */
async function repeat(show: Show, { from, to, block, run }: Pull): Promise<void> {
  await show.tally.measure(KIND, FULL_BLOCK_BYTES, run);
  to.expect(from, [[0, block]]);
  await verify(show, to, [block]);
  succeeded(show, `pulled and verified: block 0 of the prompt is in block ${block} of ${to.owner.name}`);
}

export function succeeded({ screen }: Show, text: string): void {
  screen.text(text, { indent: 3, style: 'green' });
}
