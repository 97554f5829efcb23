import { compileLib } from '../fixtures/compiled-lib';
import { detectOpenHandles } from '../fixtures/open-handles';
import { built } from './fixtures/built';

jest.setTimeout(300_000);

const lib = compileLib('index');
afterAll(() => {
  lib.remove();
});

test('after finalize() an instance of the library keeps nothing open', async () => {
  const body = `
    const { LLMDataDist } = require(${JSON.stringify(lib.path)});
    const dist = new LLMDataDist(1, 1n, { backend: 'native' });
    await dist.init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
    const region = await dist.allocateMemory(64);
    await region.write(new Uint8Array(64));
    await region.free();
    await dist.finalize();
  `;
  const { code, output } = await detectOpenHandles(body, built().env);
  expect(output).not.toMatch(/open handle/i);
  expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining('1 passed') as string });
});
