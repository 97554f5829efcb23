import { expectNoTimers, GRACE, initialised, pass } from './fixtures/hangs';
import { byAwait, byCatch, expectCaller } from './fixtures/stack-callers';

const NOBODY = { remoteClusterId: 7n, remoteIpInfos: [{ ip: '127.0.0.1', port: 9 }] };

describe('a call that is lost', () => {
  expectNoTimers();

  test('names its caller, and so does each that waits behind it', async () => {
    const { dist } = await initialised({}, { linkLlmClusters: () => new Promise(() => undefined) });
    const first = byAwait(() => dist.linkClusters([NOBODY], { timeout: 1000 }));
    const second = byCatch(() => dist.unlinkClusters([NOBODY]));
    await pass(GRACE + 1000);
    for (const caught of [await first, await second]) {
      expect(caught.error).toMatchObject({ recovery: 'fatal' });
      expectCaller(caught);
    }
  });
});
