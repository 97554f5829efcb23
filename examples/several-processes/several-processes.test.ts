/**
 * An orchestrator as several processes: a prompt and a decoder, each in a separate process on this machine.
 *
 * `LLM_DATADIST_MOCK_FABRIC=tcp` lets mock instances of different processes link and transfer. The orchestrator hands
 * the key of the prompt's cache and the prompt's life over, kills the prompt (SIGKILL), sees what the decoder reports, starts the prompt
 * again and has the decoder link to it anew.
 */
import type { ChildProcess } from 'node:child_process';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { hostPorts } from 'llm-datadist/conformance';
import type { Answer, Request, Started } from './worker';

// Runs TypeScript in the workers, as `--import tsx` does in a project that has it.
const TYPESCRIPT = ['--require', join(__dirname, '../../test/fixtures/typescript-hook.js')];

const workers = new Set<ChildProcess>();

afterEach(() => {
  for (const worker of workers) worker.kill('SIGKILL');
});

function startWorker(role: 'prompt' | 'decoder', clusterId: number): ChildProcess {
  const worker = fork(join(__dirname, 'worker.ts'), [role, String(clusterId)], {
    execArgv: TYPESCRIPT,
    env: { ...process.env, LLM_DATADIST_MOCK_FABRIC: 'tcp' },
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

/** Starts a prompt whose first block has this value in every byte. @returns the process, and what it reports */
async function startPrompt(port: number, value: number) {
  const prompt = startWorker('prompt', 1);
  const { value: started } = (await ask(prompt, { call: 'start', port })) as { value: Started };
  await ask(prompt, { call: 'fill', value });
  return { prompt, ...started };
}

test('a decoder goes on with a new prompt when the old one was killed', async () => {
  const [port = 0, decoderPort = 0] = await hostPorts(2);
  const { prompt, key, life } = await startPrompt(port, 11);
  const decoder = startWorker('decoder', 2);
  await ask(decoder, { call: 'start', port: decoderPort });
  expect(await ask(decoder, { call: 'link', port, life })).toEqual({ value: undefined });
  await ask(decoder, { call: 'pull', key });
  expect(await ask(decoder, { call: 'read' })).toEqual({ value: 11 });

  prompt.kill('SIGKILL');
  await once(prompt, 'exit');
  expect(await ask(decoder, { call: 'pull', key })).toEqual({ code: 'LLM_FAILED', recovery: 'relink' });

  const next = await startPrompt(port, 22);
  expect(await ask(decoder, { call: 'relink', port, life: next.life })).toEqual({ value: undefined });
  expect(await ask(decoder, { call: 'pull', key })).toEqual({ code: 'LLM_PARAM_INVALID', recovery: 'stale-key' });
  await ask(decoder, { call: 'pull', key: next.key });
  expect(await ask(decoder, { call: 'read' })).toEqual({ value: 22 });

  for (const worker of [decoder, next.prompt]) {
    await ask(worker, { call: 'stop' });
    worker.disconnect();
    expect(await once(worker, 'exit')).toEqual([0, null]);
  }
}, 60_000);
