import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { LLMDataDist, LLMRole } from '../lib';
import { createFabric } from '../lib/testing';
import { PROTOCOL_VERSION } from '../lib/testing/shared/protocol';
import type { SharedFabric, SharedFabricOptions } from '../lib/testing';
import { rejection, track } from './fixtures/cluster';
import {
  DESC,
  firstBlock,
  inFlight,
  linkedNodes,
  originalBlock,
  pull,
  rehearse,
  startNode,
} from './fixtures/rehearsal';
import { clusterAt, freePort, TcpNode } from './fixtures/tcp-node';

jest.setTimeout(120_000);

const VARIABLES = ['LLM_DATADIST_MOCK_CONTROL', 'LLM_DATADIST_MOCK_FABRIC'] as const;
const saved = VARIABLES.map((name) => [name, process.env[name]] as const);

afterEach(() => {
  for (const [name, value] of saved) {
    if (value === undefined) Reflect.deleteProperty(process.env, name);
    else process.env[name] = value;
  }
});

const TOKEN = '0123456789abcdef0123456789abcdef';

test('a fabric of several processes shows itself without the secret of its address', async () => {
  const { fabric } = await linkedNodes();
  const [place, secret = ''] = fabric.controlAddress.split('#');
  for (const text of [inspect(fabric), JSON.stringify(fabric)]) {
    expect(text).toContain(place);
    expect(text).not.toContain(secret);
  }
  expect(inspect(fabric)).toMatch(/^SharedFabric \{\s*control: '127\.0\.0\.1:\d+',\s*isHub: true/);
  const json = JSON.parse(JSON.stringify({ history: await fabric.history, topology: await fabric.topology() })) as {
    history: { op: string; node: unknown }[];
    topology: { nodes: { node: unknown }[] };
  };
  expect(json.history.find(({ op }) => op === 'linkClusters')?.node).toMatch(/^\d+$/);
  expect(json.topology.nodes.map(({ node }) => typeof node)).toEqual(['string', 'string']);
  expect((await fabric.topology()).nodes.map(({ node }) => typeof node)).toEqual(['bigint', 'bigint']);
  expect((await fabric.history).every(({ node }) => typeof node === 'bigint')).toBe(true);
});

describe('joining', () => {
  test('a process that joins late has the faults and the time that there are', async () => {
    const { fabric, prompt, decoder } = await linkedNodes();
    await fabric.inject({ op: 'pullBlocks', skip: 1, times: 2, status: 'LLM_LINK_BUSY' });
    await pull(decoder, prompt);
    await expect(pull(decoder, prompt)).rejects.toThrow('LLM_LINK_BUSY');
    await fabric.clock.advance(5000);
    const late = await startNode(fabric, 3n);
    await late.node.call('link', [clusterAt(1n, prompt.port)]);
    expect(await late.node.call('pulls', 2, prompt.key, 0)).toEqual(['LLM_LINK_BUSY', 'done']);
    const pulls = (await fabric.history).filter(({ node, op }) => node === 3n && op === 'pullBlocks');
    expect(pulls.map(({ startMs }) => startMs)).toEqual([5000, 5000]);
  });

  test('with a wrong token, or where nothing listens, init fails and says why', async () => {
    const fabric = await rehearse();
    const [place] = fabric.controlAddress.split('#');
    process.env.LLM_DATADIST_MOCK_CONTROL = `${place}#${TOKEN}`;
    const stranger = track(new LLMDataDist(LLMRole.MIX, 1n, { backend: 'mock' }));
    expect(await rejection(stranger.init({ deviceId: 0 }))).toMatchObject({
      code: 'LLM_FAILED',
      message: expect.stringMatching(/cannot join the rehearsal at 127\.0\.0\.1:\d+: .*token is of another/) as string,
    });
    await stranger.finalize();
    const nowhere = `127.0.0.1:${await freePort()}#${TOKEN}`;
    await expect(createFabric({ network: 'tcp', control: { connect: nowhere } })).rejects.toThrow(/ECONNREFUSED/);
  });

  test.each([
    ['LLM_DATADIST_MOCK_CONTROL', '127.0.0.1:1234', 'tcp'],
    ['LLM_DATADIST_MOCK_CONTROL', `127.0.0.1:0#${TOKEN}`, 'tcp'],
    ['LLM_DATADIST_MOCK_CONTROL', `127.0.0.1:70000#${TOKEN}`, 'tcp'],
    ['LLM_DATADIST_MOCK_CONTROL', `10.0.0.1:1234#${TOKEN}`, 'tcp'],
    ['LLM_DATADIST_MOCK_CONTROL', 'true', 'tcp'],
    ['LLM_DATADIST_MOCK_CONTROL', ` 127.0.0.1:1234#${TOKEN}`, 'tcp'],
    ['LLM_DATADIST_MOCK_CONTROL', `${TOKEN}#127.0.0.1:1234`, 'tcp'],
    ['LLM_DATADIST_MOCK_FABRIC', `127.0.0.1:1234#${TOKEN}`, 'memory'],
  ])('a wrong %s (%s, fabric %s) is an error that names it', (name, control, fabric) => {
    process.env.LLM_DATADIST_MOCK_CONTROL = control;
    process.env.LLM_DATADIST_MOCK_FABRIC = fabric;
    const make = () => new LLMDataDist(LLMRole.MIX, 1n, { backend: 'mock' });
    expect(make).toThrow(name);
    // The value has a secret.
    expect(make).not.toThrow(TOKEN.slice(0, 8));
    if (name === 'LLM_DATADIST_MOCK_CONTROL') {
      expect(make).not.toThrow(control);
      expect(make).toThrow(RangeError);
    }
  });

  test.each([
    [{ network: 'udp' }, RangeError],
    [{ wire: 'A3_HCCS' }, RangeError],
    [{ clock: 'instant' }, RangeError],
    [{ control: {} }, TypeError],
    [{ control: { listen: '127.0.0.1:0', connect: `127.0.0.1:1#${TOKEN}` } }, TypeError],
    [{ control: { listen: '0.0.0.0:0' } }, RangeError],
    [{ control: { listen: 'localhost' } }, RangeError],
    [{ control: { listen: 1 } }, TypeError],
    [{ control: { connect: 1 } }, TypeError],
    [{ control: { connect: `127.0.0.1:1#${TOKEN}` }, seed: 7 }, RangeError],
    [{ control: `127.0.0.1:1#${TOKEN}` }, TypeError],
    [{ control: 5 }, TypeError],
    [{ control: { conect: '127.0.0.1:1' } }, RangeError],
    [{ controlTimeout: 0 }, RangeError],
    [{ tcp: { patience: 0 } }, RangeError],
  ])('options %o are refused', async (options, error) => {
    const make = async () => createFabric({ network: 'tcp', ...options } as SharedFabricOptions);
    const refusal = await make().catch((reason: unknown) => reason);
    expect(refusal).toBeInstanceOf(error);
    expect(String(refusal)).not.toContain(TOKEN.slice(0, 8));
  });

  test('an address that is taken is an error', async () => {
    const [place = ''] = (await rehearse()).controlAddress.split('#');
    await expect(createFabric({ network: 'tcp', control: { listen: place } })).rejects.toThrow(
      /cannot listen .*EADDRINUSE/,
    );
  });
});

describe('the end of the hub', () => {
  /** A process that hosts a rehearsal: node 9 is its own. */
  async function startHub(more: { clock?: 'real' } = {}, timeout?: { controlTimeout: number }) {
    const program = `
      const { createSharedFabric } = require(${JSON.stringify(join(TcpNode.lib, 'testing/shared/create-shared-fabric.js'))});
      createSharedFabric(${JSON.stringify({ network: 'tcp', ...more })}).then((fabric) => process.send(fabric.controlAddress));
      process.on('message', () => {});`;
    const hub = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const [connectTo] = (await once(hub, 'message')) as [string];
    return { hub, fabric: await createFabric({ network: 'tcp', control: { connect: connectTo }, ...timeout }) };
  }

  test('ends what it held up with LLM_FAILED, and the instances work on', async () => {
    const { hub, fabric } = await startHub();
    const prompt = await startNode(fabric, 1n, { base: 10 });
    const decoder = await startNode(fabric, 2n, { base: 100 });
    await decoder.node.call('link', [clusterAt(1n, prompt.port)]);
    await fabric.inject({ op: 'pullBlocks', node: 2n, times: 1, delayMs: 1000, hold: 'call' });
    await fabric.inject({ op: 'pullBlocks', node: 2n, times: 1, hang: true, hold: 'call' });
    await fabric.inject({ op: 'pullBlocks', status: 'LLM_LINK_BUSY' });
    const calls = [rejection(pull(decoder, prompt)), rejection(pull(decoder, prompt))];
    await inFlight(fabric, 2);
    await fabric.partition(1n, 2n);
    const sleeping = rejection(fabric.clock.sleep(10));
    let isOver = false;
    fabric.clock.deadline(10, () => (isOver = true));
    hub.kill('SIGKILL');
    for (const call of calls) {
      expect(await call).toMatchObject({
        message: 'LLM_FAILED',
        cause: expect.stringMatching(/hub .* has gone/) as string,
      });
    }
    expect(await sleeping).toMatchObject({ message: expect.stringMatching(/has gone/) as string });
    await pull(decoder, prompt);
    expect(await firstBlock(decoder)).toEqual(originalBlock(10));
    await expect(fabric.inject({ op: 'pullBlocks', status: 1 })).rejects.toThrow(/the hub .* has gone/);
    await expect(fabric.clock.advance(1)).rejects.toThrow('has gone');
    // What waits now does so in real time.
    await fabric.clock.sleep(10);
    expect(isOver).toBe(true);
    await fabric.close();
  });

  /** Nodes of this process: node 2 is linked to node 1, from which it pulls. */
  async function localPair(fabric: SharedFabric) {
    const port = await freePort();
    const [one, two] = [1n, 2n].map((id) => track(new LLMDataDist(LLMRole.MIX, id, { backend: fabric.backend })));
    await one!.init({ deviceId: 1, listenIpInfo: `127.0.0.1:${port}` });
    await two!.init({ deviceId: 2 });
    const from = await one!.kvCacheManager.allocateCache(DESC);
    const to = await two!.kvCacheManager.allocateCache(DESC);
    await two!.linkClusters([clusterAt(1n, port)]);
    return { one: one!, pull: () => two!.kvCacheManager.pullBlocks(from.key(), to, [0], [0]) };
  }

  test('ends what a delay holds in real time, and what waits behind it goes on', async () => {
    const { hub, fabric } = await startHub({ clock: 'real' });
    const { pull } = await localPair(fabric);
    await fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 2 ** 30 });
    const held = rejection(pull());
    await inFlight(fabric, 1);
    const next = pull();
    hub.kill('SIGKILL');
    expect(await held).toMatchObject({ code: 'LLM_FAILED', message: expect.stringMatching(/has gone/) as string });
    await next;
    await fabric.close();
  });

  test.each([['manual'], ['real']] as const)('one that is stopped counts as gone, with a %s clock', async (clock) => {
    const { hub, fabric } = await startHub(clock === 'real' ? { clock } : {}, { controlTimeout: 1000 });
    const { pull } = await localPair(fabric);
    await fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 2 ** 30 });
    const held = rejection(pull());
    await inFlight(fabric, 1);
    await fabric.inject({ op: 'pullBlocks', status: 'LLM_LINK_BUSY' });
    hub.kill('SIGSTOP');
    const next = pull();
    const asked = rejection(fabric.topology());
    expect(await held).toMatchObject({
      code: 'LLM_FAILED',
      message: expect.stringMatching(/hub .* did not answer within 1000 ms/) as string,
    });
    await next;
    expect(await asked).toMatchObject({ message: expect.stringMatching(/did not answer/) as string });
    await fabric.close();
    hub.kill('SIGKILL');
  });

  test('one that is busy with a process which does not answer is there all the same', async () => {
    const { hub, fabric } = await startHub({}, { controlTimeout: 200 });
    const third = await startNode(fabric, 3n);
    third.node.signal('SIGSTOP');
    const injecting = fabric.inject({ op: 'pullBlocks', status: 'LLM_LINK_BUSY' });
    // Longer than the limit of this process, shorter than that of the hub.
    await sleep(1000);
    third.node.signal('SIGCONT');
    await injecting;
    await fabric.close();
    hub.kill('SIGKILL');
  });

  test('close() of the process that hosts ends all nodes; of another one its own', async () => {
    const { fabric, prompt, decoder } = await linkedNodes();
    const other = await createFabric({ network: 'tcp', control: { connect: fabric.controlAddress } });
    const own = track(new LLMDataDist(LLMRole.MIX, 7n, { backend: other.backend }));
    await own.init({ deviceId: 7 });
    await other.close();
    expect(await rejection(own.switchRole(LLMRole.PROMPT))).toMatchObject({ code: 'LLM_FAILED' });
    await pull(decoder, prompt);
    await fabric.close();
    await expect(pull(decoder, prompt)).rejects.toMatchObject({
      message: 'LLM_FAILED',
      cause: expect.stringMatching(/the fabric was closed/) as string,
    });
  });
});

describe('connections to the hub', () => {
  /** What a connection has received when the hub has closed it. */
  async function closedAfter(address: string, text: string): Promise<string> {
    const [host, port] = address.split('#')[0]!.split(':');
    const socket = connect(Number(port), host);
    let received = '';
    socket.on('data', (chunk) => (received += String(chunk)));
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.write(text);
    await once(socket, 'close');
    return received;
  }

  const JOIN = { token: TOKEN, version: PROTOCOL_VERSION, pid: 1 };

  test.each([
    ['rubbish', 'GET / HTTP/1.1\r\n\r\n'],
    ['a wrong token', `${JSON.stringify({ ask: 1, call: 'join', args: JOIN })}\n`],
    ['a token that is none', `${JSON.stringify({ ask: 1, call: 'join', args: { ...JOIN, token: {} } })}\n`],
    ['a call before it has joined', `${JSON.stringify({ ask: 1, call: 'kill', args: { node: 1 } })}\n`],
    ['JSON of another kind', 'null\n'],
    ['a line without end', 'x'.repeat(2000)],
    ['an error of its own making', '{"$error":{"name":"__proto__"}}\n'],
  ])('%s costs that connection', async (_, text) => {
    const fabric = await rehearse();
    expect(await closedAfter(fabric.controlAddress, text)).toBe('');
    const other = await createFabric({ network: 'tcp', control: { connect: fabric.controlAddress } });
    await fabric.inject({ op: 'init', status: 'LLM_FAILED' });
    await other.close();
  });

  test('one that says nothing is closed after a while, and the oldest of too many at once', async () => {
    const fabric = await rehearse({ controlTimeout: 300 });
    expect(await closedAfter(fabric.controlAddress, '')).toBe('');
    const long = await rehearse();
    const all = Array.from({ length: 65 }, () => closedAfter(long.controlAddress, '{'));
    await Promise.race(all);
    await long.close();
    await Promise.all(all);
  });

  test('what a process of another version asks for is an error there', async () => {
    const fabric = await rehearse();
    const token = fabric.controlAddress.split('#')[1]!;
    const lines = [
      { ask: 1, call: 'join', args: { ...JOIN, token } },
      { ask: 2, call: 'dance', args: {} },
      { ask: 3, call: 'forward', args: { seat: 1, call: 'kill', args: {} } },
    ];
    const text = lines.map((line) => JSON.stringify(line)).join('\n');
    const received = closedAfter(fabric.controlAddress, `${text}\nnull\n`);
    expect((await received).match(/a process of another version asks the hub for/g)).toHaveLength(2);
  });

  const NODE = { $bigint: '1' };

  test.each<[string, object]>([
    ['advance', { ms: 'x' }],
    ['advance', { ms: -1 }],
    ['runAll', { mostWakes: 0 }],
    ['announce', { node: {} }],
    ['inject', { id: 5, fault: { op: 'pullBlocks', status: 1 } }],
    ['inject', { id: 'x', fault: {} }],
    ['hits', { id: 'y' }],
    ['remove', { id: {} }],
    ['hit', { target: null }],
    ['hit', { target: { operation: 'dance', node: NODE } }],
    ['hit', { target: { operation: 'pullBlocks', node: 'x' } }],
    ['hitClusters', { target: { operation: 'linkClusters', node: NODE }, clusters: 5 }],
    ['hitClusters', { target: { operation: 'linkClusters', node: NODE }, clusters: [{}] }],
    ['kill', { node: { $bigint: '999' } }],
    ['restart', { node: 'x' }],
    ['part', { a: 'x', b: NODE }],
    ['part', { a: NODE, b: NODE }],
    ['isolate', {}],
    ['heal', { b: NODE }],
    ['heal', { a: 'x' }],
    ['forward', { seat: 'x', call: 'history', args: { after: 0 } }],
    ['forward', { seat: 1, call: 'history', args: { after: 'x' } }],
    ['forward', { seat: 1, call: 'history' }],
    ['constructor', {}],
    ['toString', {}],
    ['hasOwnProperty', {}],
    ['__proto__', {}],
  ])('%s with %j is an error to the process that asks, and changes nothing', async (call, args) => {
    const fabric = await rehearse();
    const token = fabric.controlAddress.split('#')[1]!;
    const socket = connect(Number(fabric.controlAddress.split(/[:#]/)[1]), '127.0.0.1');
    const lines = [
      { ask: 1, call: 'join', args: { ...JOIN, token } },
      { answer: 1, value: null },
      { ask: 2, call, args },
    ];
    socket.write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    let answer: unknown;
    for await (const line of createInterface(socket)) {
      answer = JSON.parse(line);
      if ((answer as { answer?: number }).answer === 2) break;
    }
    socket.destroy();
    expect(answer).toMatchObject({ error: { $error: { message: expect.any(String) as string } } });
    await fabric.clock.advance(10);
    expect(fabric.clock.now()).toBe(10);
    await fabric.assertNoPendingFaults();
  });

  test('a process that does not answer is named, and answers later', async () => {
    const { fabric, prompt, decoder } = await linkedNodes({ controlTimeout: 2000 });
    decoder.node.signal('SIGSTOP');
    const fault = { op: 'pullBlocks', times: 1, status: 'LLM_LINK_BUSY' } as const;
    await expect(fabric.inject(fault)).rejects.toThrow(/process \d+ of the rehearsal did not answer within 2000 ms/);
    await expect(fabric.clock.advance(1)).rejects.toThrow('did not answer');
    decoder.node.signal('SIGCONT');
    await fabric.clock.advance(1);
    await expect(pull(decoder, prompt)).rejects.toThrow('LLM_LINK_BUSY');
  });

  test('a process that dies is waited for no longer', async () => {
    const { fabric, prompt, decoder } = await linkedNodes();
    decoder.node.signal('SIGSTOP');
    const injecting = fabric.inject({ op: 'pullBlocks', status: 'LLM_LINK_BUSY' });
    await decoder.node.kill();
    await injecting;
    await fabric.clock.advance(10);
    expect((await fabric.topology()).nodes.map(({ node }) => node)).toEqual([1n]);
    expect(prompt.key.clusterId).toBe(1n);
  });
});

test.each([true, false])('a process keeps the rules that the host chose (strict: %s)', async (strict) => {
  const { prompt } = await linkedNodes({ strict });
  const outcome = await prompt.node.call('cache', DESC, 7).then(
    () => 'registered',
    (error: unknown) => (error as Error).message,
  );
  expect(outcome).toMatch(strict ? /^LLM_PARAM_INVALID$/ : /^registered$/);
});

test('what chance decides follows the seed that the host chose', async () => {
  const corrupted = async (seed: number | undefined) => {
    await using fabric = await createFabric({ network: 'tcp', ...(seed !== undefined && { seed }) });
    const dist = new LLMDataDist(LLMRole.MIX, 1n, { backend: fabric.backend });
    await dist.init({ deviceId: 0 });
    const region = await dist.allocateMemory(64);
    await fabric.inject({ op: 'read', corrupt: 8 });
    return Buffer.from(await region.read()).toString('hex');
  };
  const [first, again, other, preset, one] = [
    await corrupted(7),
    await corrupted(7),
    await corrupted(8),
    await corrupted(undefined),
    await corrupted(1),
  ];
  expect(again).toBe(first);
  expect(other).not.toBe(first);
  expect([preset === first, preset === one]).toEqual([false, true]);
});
