import { hostPorts } from '../lib/conformance';
import { compileLib } from './fixtures/compiled-lib';
import { detectOpenHandles } from './fixtures/open-handles';

jest.setTimeout(120_000);

const testing = compileLib('testing/index');
const index = compileLib('index');
afterAll(() => {
  testing.remove();
  index.remove();
});

/** Two instances link, move a block and end. */
const flow = (backend: string, port: number) => `
  const { LLMDataDist } = require(${JSON.stringify(index.path)});
  const { createFabric, createTcpFabric } = require(${JSON.stringify(testing.path)});
  const backend = ${backend};
  const prompt = new LLMDataDist(1, 1n, { backend });
  const decoder = new LLMDataDist(2, 2n, { backend });
  await prompt.init({ deviceId: 0, listenIpInfo: '127.0.0.1:${port}' });
  await decoder.init({ deviceId: 1 });
  const peer = {
    remoteClusterId: 1n,
    remoteIpInfos: [{ ip: '127.0.0.1', port: ${port} }],
    localIpInfos: [{ ip: '127.0.0.1' }],
  };
  const cache = await prompt.kvCacheManager.allocateCache({ numTensors: 1, dataType: 2, shape: [4, 16] });
  const target = await decoder.kvCacheManager.allocateCache({ numTensors: 1, dataType: 2, shape: [4, 16] });
  await decoder.linkClusters([peer]);
  await decoder.kvCacheManager.pullBlocks(cache.key(), target, [0], [1]);
  await decoder.unlinkClusters([peer]);
  await decoder.kvCacheManager.deallocateCache(target);
  await prompt.kvCacheManager.deallocateCache(cache);
  await decoder.finalize();
  await prompt.finalize();
`;

test.each([
  ['the mock', `'mock'`],
  ['a test fabric', 'createFabric().backend'],
  ['a TCP fabric', 'createTcpFabric().backend'],
])('after finalize() %s keeps nothing open', async (_, backend) => {
  const [port = 0] = await hostPorts(1);
  const { code, output } = await detectOpenHandles(flow(backend, port));
  expect(output).not.toMatch(/open handle/i);
  expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining('1 passed') as string });
});

test('what is left open is seen in the same way', async () => {
  const { output } = await detectOpenHandles(`require('node:net').createServer().listen(0, '127.0.0.1');`);
  expect(output).toMatch(/detected the following 1 open handle/);
});
