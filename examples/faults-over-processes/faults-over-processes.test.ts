/**
 * Rehearsing failures of an orchestrator that runs as several processes: its workers are started as they are, and join the
 * rehearsal by their environment.
 *
 * The test hosts the rehearsal and has no instance. Faults that it injects count the calls of all workers, a partition is one
 * for both ends, and time stands still in all processes until it is advanced.
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { hostPorts } from 'llm-datadist/conformance';
import { createFabric } from 'llm-datadist/testing';
import type { SharedFabric } from 'llm-datadist/testing';
import type { Answer, Request, Started } from '../several-processes/worker';

// Runs TypeScript in the workers, as `--import tsx` does in a project that has it.
const TYPESCRIPT = ['--require', join(__dirname, '../../test/fixtures/typescript-hook.js')];

const workers = new Set<ChildProcess>();

afterEach(() => {
  for (const worker of workers) worker.kill('SIGKILL');
});

function startWorker(fabric: SharedFabric, role: 'prompt' | 'decoder', clusterId: number): ChildProcess {
  const worker = fork(join(__dirname, '../several-processes/worker.ts'), [role, String(clusterId)], {
    execArgv: TYPESCRIPT,
    env: { ...process.env, ...fabric.environment },
    // Keys have bigints in them, which JSON has none of.
    serialization: 'advanced',
  });
  workers.add(worker);
  return worker;
}

async function ask(worker: ChildProcess, request: Request): Promise<Answer> {
  const answer = once(worker, 'message');
  worker.send(request);
  return ((await answer) as [Answer])[0];
}

test('a decoder whose pulls fail, and whose prompt is out of reach, goes on when that is over', async () => {
  await using fabric = await createFabric({ network: 'tcp' });
  const [port = 0, decoderPort = 0] = await hostPorts(2);
  const prompt = startWorker(fabric, 'prompt', 1);
  const { value } = (await ask(prompt, { call: 'start', port })) as { value: Started };
  const { key, life } = value;
  await ask(prompt, { call: 'fill', value: 11 });
  const decoder = startWorker(fabric, 'decoder', 2);
  await ask(decoder, { call: 'start', port: decoderPort });
  await ask(decoder, { call: 'link', port, life });

  await fabric.inject({ op: 'pullBlocks', peer: 1n, skip: 1, times: 1, status: 'LLM_LINK_BUSY' });
  expect(await ask(decoder, { call: 'pull', key })).toEqual({ value: undefined });
  expect(await ask(decoder, { call: 'pull', key })).toMatchObject({ code: 'LLM_LINK_BUSY' });
  await fabric.assertNoPendingFaults();

  await fabric.partition(1n, 2n);
  const pulling = ask(decoder, { call: 'pull', key });
  // The request goes another way than those of the rehearsal: it is under way when its pull waits.
  while ((await fabric.clock.sleeping) === 0);
  await fabric.clock.advance(1000);
  expect(await pulling).toMatchObject({ code: 'LLM_TIMEOUT' });

  await fabric.heal();
  expect(await ask(decoder, { call: 'pull', key })).toEqual({ value: undefined });
  expect(await ask(decoder, { call: 'read' })).toEqual({ value: 11 });
  const codes = (await fabric.history).filter(({ op }) => op === 'pullBlocks').map(({ code }) => code);
  expect(codes).toEqual(['LLM_SUCCESS', 'LLM_LINK_BUSY', 'LLM_TIMEOUT', 'LLM_SUCCESS']);
}, 60_000);
