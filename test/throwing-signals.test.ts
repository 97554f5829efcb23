import { linkedPair, rejection } from './fixtures/cluster';
import { hold } from './fixtures/held-calls';
import { warningTextsDuring } from './fixtures/warnings';

// A polyfill of AbortSignal may throw: the call settles as it would without the signal, and nothing escapes.

type Part = 'aborted' | 'reason' | 'addEventListener' | 'removeEventListener';

/** A signal that throws at one place, and an abort of it. */
function throwing(part: Part): { signal: AbortSignal; abort: () => void } {
  const listeners = new Set<() => void>();
  let asked = 0;
  let isAborted = false;
  const fail = (at: Part) => {
    // The check of the options reads it first.
    if (at === part && (at !== 'aborted' || ++asked > 1)) throw new Error(`no ${at}`);
  };
  const signal = {
    get aborted() {
      fail('aborted');
      return isAborted;
    },
    get reason() {
      fail('reason');
      return 'why';
    },
    addEventListener: (_: string, listener: () => void) => {
      fail('addEventListener');
      listeners.add(listener);
    },
    removeEventListener: (_: string, listener: () => void) => {
      fail('removeEventListener');
      listeners.delete(listener);
    },
  };
  const abort = () => {
    isAborted = true;
    for (const listener of listeners) listener();
  };
  return { signal: signal as unknown as AbortSignal, abort };
}

const pull = ({ decoder, decoderCache, promptCache }: Awaited<ReturnType<typeof linkedPair>>, signal: AbortSignal) =>
  decoder.dist.kvCacheManager.pullBlocks(promptCache.key(), decoderCache, [0], [0], { signal });

test.each<Part>(['aborted', 'addEventListener', 'removeEventListener'])(
  'a call succeeds whose signal throws in %s, with a warning',
  async (part) => {
    const nodes = await linkedPair();
    const warnings = await warningTextsDuring(() => pull(nodes, throwing(part).signal));
    expect(warnings.length).toBeGreaterThan(0);
    for (const warning of warnings) {
      expect(warning).toContain('a signal cannot end its call, because it has thrown');
      expect(warning).toContain(`no ${part}`);
    }
  },
);

test.each<Part>(['aborted', 'addEventListener', 'removeEventListener'])(
  'a call fails as it would whose signal throws in %s',
  async (part) => {
    const nodes = await linkedPair();
    await warningTextsDuring(async () => {
      const { kvCacheManager } = nodes.decoder.dist;
      const { signal } = throwing(part);
      const call = kvCacheManager.pullBlocks({ clusterId: 77n, cacheId: 1n }, nodes.decoderCache, [0], [0], { signal });
      expect(await rejection(call)).toMatchObject({ code: 'LLM_NOT_YET_LINK' });
    });
  },
);

test.each<Part>(['reason', 'removeEventListener'])('a call is aborted whose signal throws in %s', async (part) => {
  const nodes = await linkedPair();
  const held = hold(nodes.decoder.backend, 'pullKvBlocks');
  const warnings = await warningTextsDuring(async () => {
    const { signal, abort } = throwing(part);
    const call = rejection(pull(nodes, signal));
    await held.hasEntered(1);
    abort();
    const error = await call;
    expect(error).toMatchObject({ name: 'AbortError' });
    held.open();
    await (error as { released: Promise<void> }).released;
  });
  // Its listener is removed by the abort already.
  expect(warnings).toHaveLength(part === 'reason' ? 1 : 0);
});
