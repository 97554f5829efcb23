import { LLMDataDist, LLMRole } from '../lib';
import { createFabric, createTcpFabric, Fabric, MockBackend } from '../lib/testing';
import { rejection } from './fixtures/cluster';
import { freePort } from './fixtures/tcp-node';
import { warningsDuring } from './fixtures/warnings';

const MOMENTS = Array.from({ length: 12 }, (_, i) => i);

const NETWORKS = [
  ['in memory', () => new Fabric()],
  ['over TCP', () => createTcpFabric()],
] as const;

const microtask = () => Promise.resolve();
const macrotask = () => new Promise((resolve) => setImmediate(resolve));

async function after(moments: number, pause: () => Promise<unknown>): Promise<void> {
  for (let i = 0; i < moments; i++) await pause();
}

describe.each(NETWORKS)('%s', (_where, networkOf) => {
  const CALLS = [
    ['initialize', (backend: MockBackend, listen: string) => ({ running: backend.initialize(optionsOf(listen)) })],
    [
      'setRole',
      async (backend: MockBackend, listen: string) => {
        await backend.initialize({ 'llm.DeviceId': '0' });
        return { running: backend.setRole(LLMRole.MIX, { 'llm.ListenIpInfo': listen }) };
      },
    ],
  ] as const;

  test.each(CALLS)('a node that dies during %s does not listen, whenever it dies', async (_method, call) => {
    for (const pause of [microtask, macrotask]) {
      for (const moments of MOMENTS) {
        const network = networkOf();
        const backend = new MockBackend(1n, LLMRole.MIX, { fabric: network });
        const listen = `127.0.0.1:${await freePort()}`;
        const called = await call(backend, listen);
        await after(moments, pause);
        backend.die();
        await Promise.allSettled([called.running]);
        expect([backend.session, backend.hasEnded]).toEqual([undefined, true]);
        // Another one gets the address.
        const next = new MockBackend(1n, LLMRole.MIX, { fabric: network });
        await next.initialize(optionsOf(listen));
        await next.finalize();
      }
    }
  });
});

test('one that has died is not initialised again', async () => {
  const backend = new MockBackend(1n, LLMRole.MIX, { fabric: new Fabric() });
  backend.die();
  expect(await rejection(backend.initialize(optionsOf('127.0.0.1:26000')))).toMatchObject({ code: 'LLM_FAILED' });
});

test.each(['init', 'switchRole'] as const)('a node that is killed during %s does not listen', async (operation) => {
  for (const moments of MOMENTS) {
    const fabric = createFabric();
    const options = { deviceId: 0, listenIpInfo: '10.0.0.1:26000' };
    const dist = new LLMDataDist(LLMRole.MIX, 1n, { backend: fabric.backend });
    if (operation === 'switchRole') await dist.init({ deviceId: 0, listenIpInfo: '10.0.0.1:26001' });
    const warnings = await warningsDuring(async () => {
      const called = operation === 'init' ? dist.init(options) : dist.switchRole(LLMRole.MIX, options);
      await after(moments, microtask);
      fabric.kill(dist);
      await Promise.allSettled([called]);
    });
    expect(warnings).toEqual([]);
    fabric.restart(dist);
    const next = new LLMDataDist(LLMRole.MIX, 1n, { backend: fabric.backend });
    await next.init(options);
    await next.finalize();
    fabric.close();
  }
});

function optionsOf(listen: string) {
  return { 'llm.DeviceId': '0', 'llm.ListenIpInfo': listen };
}
