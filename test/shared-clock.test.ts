import { inFlight, linkedNodes, pull, rehearse, sleepers, startNode } from './fixtures/rehearsal';
import { clusterAt } from './fixtures/tcp-node';

jest.setTimeout(120_000);

test('time is the same in three processes, and passes for all of them', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  const third = await startNode(fabric, 3n);
  await third.node.call('link', [clusterAt(1n, prompt.port)]);
  for (const [node, delayMs] of [
    [2n, 30],
    [3n, 20],
  ] as const) {
    await fabric.inject({ op: 'pullBlocks', node, delayMs });
  }
  // Each begins when the one before has ended, with messages between processes after each delay.
  const pulls = [decoder, third].map(({ node }) => node.call('pulls', 4, prompt.key, 0));
  await sleepers(fabric, 2);
  expect(await prompt.node.call('advance', 60)).toBe(60);
  const times = async (id: bigint) =>
    (await fabric.history).filter(({ op, node }) => op === 'pullBlocks' && node === id).map(({ startMs }) => startMs);
  expect(await times(2n)).toEqual([0, 30, 60]);
  expect(await times(3n)).toEqual([0, 20, 40, 60]);
  expect(fabric.clock.now()).toBe(60);
  expect(await third.node.call('advance', 0)).toBe(60);
  // Calls one after the other need not be awaited.
  await Promise.all([decoder.node.call('advance', 20), fabric.clock.advance(40)]);
  expect(await Promise.all(pulls)).toEqual([Array(4).fill('done'), Array(4).fill('done')]);
  expect(fabric.clock.now()).toBe(120);
});

test('runAll lets time pass until nothing sleeps, or says that something sleeps again and again', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: 'pullBlocks', delayMs: 100 });
  const pulls = decoder.node.call('pulls', 20, prompt.key, 0);
  await sleepers(fabric, 1);
  await expect(fabric.clock.runAll(3)).rejects.toThrow('1 still sleep after 3 were woken');
  expect(fabric.clock.now()).toBe(300);
  await fabric.clock.runAll();
  expect(await pulls).toEqual(Array(20).fill('done'));
  expect(fabric.clock.now()).toBe(2000);
  expect(await fabric.clock.nextDueMs).toBeUndefined();
});

test('an unlink that waits in another process for a transfer there keeps the time from nothing', async () => {
  const { fabric, prompt, decoder } = await linkedNodes();
  await fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 100 });
  const pulling = pull(decoder, prompt);
  await sleepers(fabric, 1);
  const unlinking = prompt.node.call('unlink', [clusterAt(2n, decoder.port)], { timeout: 60_000 });
  await inFlight(fabric, 2);
  await fabric.clock.advance(100);
  await Promise.all([pulling, unlinking]);
});

test('what is no time is refused, and changes nothing', async () => {
  const { clock } = await rehearse();
  await expect(clock.advance(-1)).rejects.toThrow(RangeError);
  await expect(clock.advance('1' as never)).rejects.toThrow(TypeError);
  await expect(clock.runAll(0)).rejects.toThrow(RangeError);
  expect(clock.now()).toBe(0);
});

test('with the real clock delays pass by themselves, and time cannot be advanced', async () => {
  const { fabric, prompt, decoder } = await linkedNodes({ clock: 'real' }, { hangTimeout: 60_000 });
  await fabric.inject({ op: 'pullBlocks', times: 1, delayMs: 50 });
  const before = fabric.clock.now();
  await pull(decoder, prompt);
  expect(fabric.clock.now() - before).toBeGreaterThanOrEqual(49);
  await expect(fabric.clock.advance(1)).rejects.toThrow("it was made with { clock: 'real' }");
  await expect(fabric.clock.runAll()).rejects.toThrow('real');
  await expect(fabric.clock.sleeping).rejects.toThrow('real');
  await fabric.partition(1n, 2n);
  await expect(pull(decoder, prompt)).rejects.toThrow('LLM_TIMEOUT');
});

test('a wait of the test is one of the rehearsal, and may be called off', async () => {
  const fabric = await rehearse();
  const woken: string[] = [];
  void fabric.clock.sleep(20).then(() => woken.push('sleep'));
  const callOff = fabric.clock.deadline(10, () => woken.push('called off'));
  fabric.clock.deadline(20, () => woken.push('deadline'));
  callOff();
  callOff();
  await fabric.clock.advance(20);
  expect(woken).toEqual(['sleep', 'deadline']);
});
