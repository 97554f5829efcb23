import type { ChildProcess } from 'node:child_process';
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { LLMRole } from '../lib';
import { VerificationError } from '../lib/cli/demo/contents';
import { BLOCK_BYTES, MIN_BLOCKS } from '../lib/cli/demo/geometry';
import { parseOptions } from '../lib/cli/demo/options';
import { compileLib } from './fixtures/compiled-lib';

// Each run moves some hundred megabytes between processes, and the machine may have other work.
jest.setTimeout(120_000);

const compiled = compileLib('cli/demo');
const party = createRequire(__filename)(
  join(dirname(compiled.path), 'demo/party-process.js'),
) as typeof import('../lib/cli/demo/party-process');

const open = new Set<ChildProcess>();

afterAll(() => {
  for (const child of open) child.kill('SIGKILL');
  compiled.remove();
});

/** An address of this machine that nobody else uses: the demo's ports are fixed. */
function ownAddress(): string {
  return `127.${randomInt(1, 255)}.${randomInt(1, 255)}.${randomInt(1, 255)}`;
}

/** The demo, with its output piped. */
function start(ip = ownAddress(), env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [compiled.path, '--processes', '--blocks', String(MIN_BLOCKS), '--ip', ip], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  open.add(child);
  const output = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text));
  // The parties have the same standard error, so that this comes when they have ended too.
  const ended = once(child, 'close').then(([code, signal]) => {
    open.delete(child);
    return { ...output, code: code as number | null, signal: signal as NodeJS.Signals | null };
  });
  /** Resolves when the demo has printed something. */
  const printed = async (pattern: RegExp): Promise<RegExpExecArray> => {
    for (;;) {
      const found = pattern.exec(output.stdout);
      if (found !== null) return found;
      await Promise.race([
        once(child.stdout, 'data'),
        ended.then((end) => Promise.reject(new Error(JSON.stringify(end)))),
      ]);
    }
  };
  return { child, ended, printed };
}

describe('the demo as processes', () => {
  test('kills its prompt, recovers, verifies everything and ends well', async () => {
    const { code, stdout, stderr } = await start().ended;
    expect(stderr).toBe('');
    expect(code).toBe(0);
    const text = stdout.replace(/\s+/g, ' ');
    const told = [
      'mock over TCP: no NPU is involved',
      'prompt process',
      'decoder 1: linked, 64 MiB pulled, every byte verified',
      'decoder 2: linked, 64 MiB pulled, every byte verified',
      '4. The prompt is killed while decoder 1 pulls - SIGKILL',
      'LLMException: pullBlocks failed: LLM_FAILED',
      'pulls had ended before, and what they brought is as it was sent',
      'LLMException: unlinkClusters failed: LLM_UNLINK_FAILED',
      'unlinked by force',
      '5. The prompt is started again',
      'decoder 1: linked, 64 MiB pulled, every byte verified',
      '7. Decoder 2 knows nothing yet, and pulls',
      'decoder 2: linked, 64 MiB pulled, every byte verified',
      'three processes ended by themselves, one was killed',
      'Every transferred byte was verified. Backend mock over TCP',
    ];
    let place = 0;
    for (const each of told) {
      const found = text.indexOf(each, place);
      if (found < 0) throw new Error(`"${each}" is missing after "${text.slice(0, place).slice(-200)}"`);
      place = found + each.length;
    }
  });

  test('has four processes of its own, and neither colours nor bars where it is piped', async () => {
    const { stdout } = await start(ownAddress(), { NO_COLOR: '1', TERM: 'xterm' }).ended;
    const pids = [...stdout.matchAll(/ process (\d+) /g)].map(([, pid]) => pid);
    expect(new Set(pids).size).toBe(4);
    expect(stdout).not.toContain('\x1b');
    expect(stdout).not.toContain('\r');
  });

  test.each(['SIGINT', 'SIGTERM'] as const)('leaves no process behind when it is ended by %s', async (signal) => {
    const { child, ended, printed } = start();
    await printed(/^2\. /m);
    child.kill(signal);
    expect(await ended).toMatchObject({ code: null, signal, stderr: '' });
  });

  test('leaves no process behind when it is killed itself', async () => {
    const { child, ended, printed } = start();
    await printed(/^3\. /m);
    child.kill('SIGKILL');
    expect(await ended).toMatchObject({ signal: 'SIGKILL' });
  });

  test('fails when a process dies that it has not killed', async () => {
    const { ended, printed } = start();
    const [, pid] = await printed(/decoder 2 +process (\d+) /);
    process.kill(Number(pid), 'SIGKILL');
    const { code, stderr } = await ended;
    expect(code).toBe(1);
    expect(stderr).toContain('process "decoder 2" was ended by SIGKILL');
  });

  test('fails where a port is taken, and says which', async () => {
    const ip = ownAddress();
    const server = createServer().listen(26_001, ip);
    await once(server, 'listening');
    const { code, stderr } = await start(ip).ended;
    server.close();
    expect(code).toBe(1);
    expect(stderr).toContain('LLMException: init failed: LLM_FAILED');
    expect(stderr.replace(/\s+/g, ' ')).toContain(`${ip}:26001`);
  });

  test.each([
    [['--backend', 'native'], '--processes --backend native: the processes are a rehearsal, with the mock'],
    [['--backend', 'auto'], '--processes --backend auto: the processes are a rehearsal, with the mock'],
    [['--ip', '10.0.0.1'], '--processes --ip 10.0.0.1: not an address of this machine alone (127.x.x.x)'],
  ])('refuses %j', (args, message) => {
    expect(() => parseOptions(['--processes', ...args])).toThrow(message);
  });
});

describe('the process of a party', () => {
  const plan = (ip: string) => ({ name: 'prompt', role: LLMRole.PROMPT, clusterId: 1n, deviceId: 0, ip, port: 26_000 });

  test('tells a byte that is not what was sent', async () => {
    const process = new party.PartyProcess(plan(ownAddress()));
    await process.call('start', process.plan);
    await process.call('allocate', 2);
    await process.call('fill', 0);
    await process.call('verify', 0, [
      [0, 0],
      [1, 1],
    ]);
    const wrong = await process.call('verify', 0, [[0, 1]]).catch((error: unknown) => error);
    // Its module was compiled for itself, so that it has a class of its own.
    expect((wrong as Error).constructor.name).toBe(VerificationError.name);
    expect((wrong as Error).message).toBe('prompt does not hold block 0 of the prompt in block 1 of layer 0, K');
    await process.stop();
    await process.stop();
  });

  test('hands exceptions over, and other errors with their text', async () => {
    const process = new party.PartyProcess(plan(ownAddress()));
    await expect(process.call('allocate', 1)).rejects.toThrow('process "prompt": Error: this party was not started');
    await process.call('start', process.plan);
    await expect(process.call('fill', 0)).rejects.toThrow('process "prompt": Error: this party has no cache');
    const key = await process.call('allocate', 1);
    expect(key.layout).toEqual({ numTensors: 64, rows: 1, rowBytes: BigInt(BLOCK_BYTES) });
    await expect(process.call('pull', { ...key, clusterId: 9n }, [0, 0])).rejects.toMatchObject({
      code: 'LLM_NOT_YET_LINK',
      clusterId: 9n,
      operation: 'pullBlocks',
    });
    await process.kill();
    await process.kill();
    await expect(process.call('stop')).rejects.toThrow('process "prompt" was ended by SIGKILL');
  });

  test('is nothing to be started by hand', async () => {
    const child = spawn(process.execPath, [join(dirname(compiled.path), 'demo/party-program.js')]);
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    expect(await once(child, 'close')).toEqual([2, null]);
    expect(stderr).toBe('This program is a part of the demo, which starts it: npm run demo -- --processes\n');
  });
});
