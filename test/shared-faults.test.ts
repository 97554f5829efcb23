import { firstBlock, linkedNodes, originalBlock, pull } from './fixtures/rehearsal';

jest.setTimeout(120_000);

test('a status hits the call of another process', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const fault = await fabric.inject({ op: 'pullBlocks', node: 2n, peer: 1n, times: 1, status: 'LLM_LINK_BUSY' });
  await expect(fabric.assertNoPendingFaults()).rejects.toThrow(/pullBlocks of cluster 2 with cluster 1.*0 of 1 hits/);
  await expect(pull(decoder, prompt)).rejects.toThrow('LLM_LINK_BUSY');
  expect(await fault.hits).toBe(1);
  await fabric.assertNoPendingFaults();
  await pull(decoder, prompt);
  expect(await firstBlock(decoder)).toEqual(originalBlock(10));
});
