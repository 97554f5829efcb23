import { LLMRole } from '../lib';
import type { LLMException } from '../lib';
import { DECODER_PORT, node, pair, PROMPT_CLUSTER, PROMPT_PORT, rejection } from './fixtures/cluster';
import { warningTextsDuring } from './fixtures/warnings';

describe('a role switch whose new address is taken', () => {
  const listen = (port: number) => ({ listenIpInfo: `127.0.0.1:${port}` });

  test('leaves the old listener where peers find it', async () => {
    const { prompt, decoder } = await pair();
    const error = await rejection(prompt.dist.switchRole(LLMRole.MIX, listen(DECODER_PORT)));
    expect(error).toMatchObject({ code: 'LLM_FAILED', operation: 'switchRole' });
    expect((error as LLMException).remedy).toContain('with guards this package listens on the old address again');
    expect(prompt.dist.role).toBe(LLMRole.PROMPT);
    await expect(decoder.dist.linkClusters([PROMPT_CLUSTER])).resolves.toHaveLength(1);
  });

  test('says so where the old address is taken meanwhile', async () => {
    const { fabric, prompt } = await pair();
    const other = node(LLMRole.PROMPT, 3n, { fabric });
    const setRole = prompt.backend.setRole.bind(prompt.backend);
    jest.spyOn(prompt.backend, 'setRole').mockImplementationOnce(async (...args) => {
      try {
        await setRole(...args);
      } finally {
        await other.dist.init({ deviceId: 2, ...listen(PROMPT_PORT) });
      }
    });
    const [warning] = await warningTextsDuring(() =>
      rejection(prompt.dist.switchRole(LLMRole.MIX, listen(DECODER_PORT))),
    );
    expect(warning).toContain(`cluster 1 no longer listens on 127.0.0.1:${PROMPT_PORT}`);
  });

  test('without guards is as the library leaves it', async () => {
    const { prompt, decoder } = await pair({ guards: false });
    const { remedy } = (await rejection(prompt.dist.switchRole(LLMRole.MIX, listen(DECODER_PORT)))) as LLMException;
    expect(remedy).toContain('After a failed switch the library does not listen any more');
    expect(await rejection(decoder.dist.linkClusters([PROMPT_CLUSTER]))).toMatchObject({ code: 'LLM_LINK_FAILED' });
  });
});
