import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compileLib } from './fixtures/compiled-lib';

jest.setTimeout(120_000);

const lib = compileLib('index', 'testing/index');
afterAll(() => {
  lib.remove();
});

/** Fake timers of a process of their own: Jest gives the tests globals that are not those of `node:timers`. */
const INSTALL = {
  'that replace node:timers and the clocks': `
    const timers = require('node:timers');
    for (const name of ['setTimeout', 'setInterval', 'setImmediate']) {
      globalThis[name] = timers[name] = () => ({ ref() {}, unref() {} });
    }
    for (const name of ['clearTimeout', 'clearInterval', 'clearImmediate']) {
      globalThis[name] = timers[name] = () => undefined;
    }
    performance.now = () => 0;
    process.hrtime.bigint = () => 0n;`,
  'of node:test': `
    require('node:test').mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] });`,
};

/** What a fabric makes of a node that listens and one that links to it. */
const NODES = `
  const node = async (id, port, backend, deviceId = id) => {
    const dist = new LLMDataDist(LLMRole.MIX, BigInt(id), { backend, hangTimeout: 500 });
    await dist.init({ deviceId, ...(port && { listenIpInfo: '127.0.0.1:' + port }) });
    return dist;
  };
  const cluster = (id, port) => ({
    remoteClusterId: BigInt(id),
    remoteIpInfos: [{ ip: '127.0.0.1', port }],
    localIpInfos: [{ ip: '127.0.0.1' }],
  });
  const desc = { numTensors: 1, dataType: DataType.DT_INT8, shape: [2, 8] };
  const linked = async (backend) => {
    const one = await node(1, 27001, backend);
    const two = await node(2, undefined, backend);
    const from = await one.kvCacheManager.allocateCache(desc);
    const to = await two.kvCacheManager.allocateCache(desc);
    await two.linkClusters([cluster(1, 27001)]);
    return { one, two, pull: () => two.kvCacheManager.pullBlocks(from.key(), to, [0], [0]) };
  };`;

/** Each waits in its own way; what it returns is what comes of it. */
const WAITS: Readonly<Record<string, { readonly wait: string; readonly expected: string }>> = {
  'a link of two instances on one device': {
    expected: 'LLM_TIMEOUT',
    wait: `
    const one = await node(1, 27001, 'mock');
    const two = await node(2, undefined, 'mock', 1);
    install();
    return statusOf(two.linkClusters([cluster(1, 27001)]));`,
  },
  'a pull over a partition on an instant clock': {
    expected: 'LLM_TIMEOUT',
    wait: `
    const fabric = createFabric({ clock: 'instant' });
    const { one, two, pull } = await linked(fabric.backend);
    fabric.partition(one, two);
    install();
    return statusOf(pull());`,
  },
  'a delay on an instant clock': {
    expected: 'LLM_TIMEOUT',
    wait: `
    const fabric = createFabric({ clock: 'instant' });
    const { pull } = await linked(fabric.backend);
    fabric.inject({ op: 'pullBlocks', delayMs: 10, status: 'LLM_TIMEOUT' });
    install();
    return statusOf(pull());`,
  },
  'a link to a silent peer over TCP': {
    expected: 'LLM_TIMEOUT',
    wait: `
    const server = require('node:net').createServer(() => undefined).listen(0, '127.0.0.1');
    await require('node:events').once(server, 'listening');
    const two = await node(2, undefined, createTcpFabric().backend);
    install();
    return statusOf(two.linkClusters([cluster(1, server.address().port)], { timeout: 100 }));`,
  },
  'a call that hangs for longer than hangTimeout': {
    expected: 'LLM_TIMEOUT',
    wait: `
    const fabric = createFabric({ clock: 'instant' });
    fabric.inject({ op: 'linkClusters', hang: true });
    const two = await node(2, undefined, fabric.backend);
    install();
    return statusOf(two.linkClusters([cluster(1, 27001)], { timeout: 1 }));`,
  },
  ...Object.fromEntries(
    ['instant', 'real'].map((clock) => [
      `a call that takes longer than its own timeout, on the ${clock} clock`,
      {
        expected: 'caller',
        wait: `
    const fabric = createFabric({ clock: '${clock}' });
    fabric.inject({ op: 'allocateMemory', hang: true });
    const two = await node(2, undefined, fabric.backend);
    install();
    return two.allocateMemory(8, { timeout: 1 }).then(() => 'LLM_SUCCESS', (error) => error.deadline);`,
      },
    ]),
  ),
  'an advance of a rehearsal over several processes': {
    expected: 'advanced',
    wait: `
    const fabric = await createFabric({ network: 'tcp' });
    const slept = fabric.clock.sleep(10);
    install();
    await fabric.clock.advance(10);
    await slept;
    return 'advanced';`,
  },
};

describe.each(Object.entries(INSTALL))('fake timers %s', (_, install) => {
  test.each(Object.entries(WAITS))('do not hold up %s', (_name, { wait, expected }) => {
    const program = join(dirname(lib.path), 'program.js');
    writeFileSync(
      program,
      `const { LLMDataDist, LLMRole, DataType } = require('./index.js');
       const { createFabric, createTcpFabric } = require('./testing/index.js');
       const install = () => {${install}};
       const statusOf = (call) => call.then(() => 'LLM_SUCCESS', (error) => error.code ?? error.stack);
       ${NODES}
       (async () => {${wait}})().then((status) => {
         console.log(status);
         process.exit();
       });`,
    );
    const { stdout, stderr } = spawnSync(process.execPath, ['--no-warnings', program], {
      encoding: 'utf8',
      timeout: 20_000,
    });
    expect(`${stdout}${stderr}`).toBe(`${expected}\n`);
  });
});
