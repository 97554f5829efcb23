import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { built } from './fixtures/built';
import { runChild } from './fixtures/child';
import type { ChildEnd } from './fixtures/child';
import { compileLibrary, temporaryFolder } from './fixtures/compiler';
import { buildVariant } from './standin/build';

const VENDOR_CLASS = /^[A-Z~]/;

/** What became of a call of each method, by its C++ name. */
type Outcomes = Readonly<Record<string, string>>;

async function eachMethod(library: string): Promise<{ outcomes: Outcomes; child: ChildEnd }> {
  const child = await runChild('each-method.js', [], { env: { LLM_DATADIST_LIBRARY: library } });
  expect(child).toMatchObject({ code: 0, signal: null, stderr: '' });
  return { outcomes: JSON.parse(child.stdout) as Outcomes, child };
}

/** The methods that the library is said not to have. */
function missingIn(outcomes: Outcomes): string[] {
  return Object.entries(outcomes).flatMap(([method, outcome]) => {
    if (!outcome.startsWith('LLM_FEATURE_NOT_ENABLED: ') || !outcome.includes('this release')) return [];
    expect(outcome).toContain(`this release of the library has no ${method}`);
    return [method];
  });
}

const CAME_LATER = [
  'CopyKvBlocks',
  'CopyKvCache',
  'PushKvBlocks',
  'PushKvCache',
  'RegisterKvCache',
  'SetRole',
  'UnregisterKvCache',
];

describe('an older libllm_engine.so', () => {
  test('serves the methods that it has, and each of the others alone fails and is named', async () => {
    const { home } = buildVariant('older');
    const { outcomes, child } = await eachMethod(join(home, 'lib64', 'libllm_engine.so'));
    expect(missingIn(outcomes).sort()).toEqual(CAME_LATER);
    expect(outcomes).toMatchObject({
      Initialize: 'LLM_SUCCESS',
      // Nobody listens there, and nothing is registered.
      LinkLlmClusters: expect.stringMatching(/^LLM_LINK_FAILED: /) as string,
      PullKvCache: expect.stringMatching(/^LLM_/) as string,
      UnlinkLlmClusters: 'LLM_SUCCESS',
      Finalize: 'LLM_SUCCESS',
    });
    const called = child.calls.map(({ method }) => method).filter((method) => VENDOR_CLASS.test(method));
    expect(called).toEqual(['LlmDataDist', ...Object.keys(outcomes).filter((method) => !CAME_LATER.includes(method))]);
    expect(child.violations).toEqual([]);
  });
});

describe('a library with nothing but what it must have', () => {
  test('loads, and every other method fails and is named', async () => {
    const folder = temporaryFolder();
    const library = join(folder, 'libllm_datadist.so');
    compileLibrary(
      library,
      ['libraries/obliging.cc', 'standin/library/ascend_string.cc'],
      ['-D_GLIBCXX_USE_CXX11_ABI=0', `-Wl,--version-script=${join(__dirname, 'libraries', 'required.map')}`],
    );
    copyFileSync(built().runtime, join(folder, 'libascendcl.so'));
    const { outcomes } = await eachMethod(library);
    const required = ['Initialize', 'LinkLlmClusters', 'UnlinkLlmClusters', 'Finalize'];
    expect(missingIn(outcomes)).toEqual(Object.keys(outcomes).filter((method) => !required.includes(method)));
    for (const method of required) expect(outcomes[method]).toBe('LLM_SUCCESS');
  });
});

describe('an older runtime', () => {
  test('says nothing of its version, of the SoC and of what went wrong', async () => {
    const { libraryFolder } = buildVariant('old-runtime');
    const library = join(libraryFolder, 'libllm_datadist.so');
    const { outcomes } = await eachMethod(library);
    expect(missingIn(outcomes)).toEqual([]);
    expect(outcomes.LinkLlmClusters).not.toContain('nobody listens');
    const probing = await runChild('load.js', ['require', 'probe'], { env: { LLM_DATADIST_LIBRARY: library } });
    expect(JSON.parse(probing.stdout)).toMatchObject({
      done: [{}, { value: { available: true, runtimeVersion: null, socName: null } }],
    });
  });

  test('whose successor says it', async () => {
    const { outcomes } = await eachMethod(built().library);
    expect(outcomes.LinkLlmClusters).toContain('nobody listens');
  });
});
