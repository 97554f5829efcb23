import { copyFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { NativeProbe } from '../../lib';
import { built } from './fixtures/built';
import { runChild } from './fixtures/child';
import type { ChildEnd, ChildOptions } from './fixtures/child';
import { compileLibrary, temporaryFolder } from './fixtures/compiler';
import { command, setCommand } from './standin/control';

/** What probeNative() says in a process of its own, which then makes an instance of the mock. */
async function probe(options: ChildOptions = {}): Promise<{ answer: NativeProbe; child: ChildEnd }> {
  const child = await runChild('load.js', ['require', 'probe', 'mock'], options);
  expect(child).toMatchObject({ code: 0, signal: null, stderr: '' });
  const { done } = JSON.parse(child.stdout) as { done: { value: unknown; files: string[] }[] };
  const [, { value, files } = { value: undefined, files: [] }, mock] = done;
  // Whatever became of the other process, nothing happened to this one.
  expect(files).toEqual([]);
  expect(mock).toMatchObject({ value: 'mock' });
  return { answer: value as NativeProbe, child };
}

const { addon, library, runtime } = built();
const { version } = jest.requireActual<{ version: string }>('../../package.json');

test('tells what would be loaded, from where, and in which versions', async () => {
  const commands = [command('version', '8.5.RC1'), command('soc_name', 'Ascend910_9391')];
  const { answer } = await probe({ commands });
  expect(answer).toEqual({
    available: true,
    addonPath: addon,
    addonVersion: version,
    libraryPath: library,
    runtimePath: runtime,
    bridgePath: join(dirname(addon), 'llm_datadist_bridge.so'),
    runtimeVersion: '8.5.RC1',
    socName: 'Ascend910_9391',
    limitMs: 30_000,
    attempts: [],
    notes: [],
    signs: [],
  });
});

test('asks the runtime for nothing but its version, and the library for nothing', async () => {
  const { child } = await probe();
  expect(child.calls.map(({ method }) => method)).toEqual(['aclsysGetVersionStr']);
});

test.each([
  [
    'a runtime that does not tell its version',
    setCommand('aclsysGetVersionStr', { status: 1 }),
    { runtimeVersion: null },
  ],
  ['a host without an NPU', command('soc_name', ''), { socName: null }],
])('says null of %s', async (_, told, expected) => {
  const { answer } = await probe({ commands: [told] });
  expect(answer).toMatchObject({ available: true, ...expected });
});

describe('a library that does more than it should when it is opened', () => {
  let env: Readonly<Record<string, string>>;

  beforeAll(() => {
    const folder = temporaryFolder();
    const own = join(folder, 'libllm_datadist.so');
    const sources = ['libraries/obliging.cc', 'libraries/at_load.cc', 'standin/library/ascend_string.cc'];
    compileLibrary(own, sources, ['-D_GLIBCXX_USE_CXX11_ABI=0']);
    copyFileSync(runtime, join(folder, 'libascendcl.so'));
    env = { LLM_DATADIST_LIBRARY: own };
  });

  test('and prints: the answer comes all the same, and the print does not', async () => {
    const { answer } = await probe({ env: { ...env, AT_LOAD: 'print' } });
    expect(answer).toMatchObject({ available: true, attempts: [] });
  });

  test.each([
    ['ends the process by a signal', 'abort', /ended with signal SIGABRT\. terminate called without an active device/],
    ['ends the process as if all were well', 'exit', /ended with exit code 0\./],
  ])('and %s: that is reported', async (_, atLoad, words) => {
    const { answer } = await probe({ env: { ...env, AT_LOAD: atLoad } });
    expect(answer).toMatchObject({ available: false, addonPath: addon, addonVersion: version });
    expect(answer.attempts.map(({ error }) => error)).toEqual([expect.stringMatching(words)]);
  });
});

test('a library that ends the process when it is asked for its version is reported', async () => {
  for (const [action, words] of [
    [{ abort: true }, /signal SIGABRT/],
    [{ segv: true }, /signal SIGSEGV/],
  ] as const) {
    const { answer } = await probe({ commands: [setCommand('aclsysGetVersionStr', action)] });
    expect(answer.available).toBe(false);
    expect(answer.attempts.map(({ error }) => error)).toEqual([expect.stringMatching(words)]);
  }
});
