import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readJournal } from './control';
import type { StandInCall } from './control';
import { encode } from './driver';
import type { Scene as SceneType } from './scene';
import { describeStandIn, PULL, Scene } from './scene';

const FAILED = 0xffff_ffff;

describeStandIn('the journal', (build) => {
  const folder = mkdtempSync(join(tmpdir(), 'stand-in-'));
  const file = join(folder, 'journal');

  afterEach(() => {
    rmSync(file, { force: true });
  });

  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  /** What is written of the calls that `work` makes. */
  const journalOf = async (work: (scene: SceneType) => Promise<unknown>): Promise<StandInCall[]> => {
    const scene = new Scene(build, { LLM_STANDIN_JOURNAL: file });
    await work(scene);
    await scene.end();
    return readJournal(file);
  };

  test('holds all arguments as C++ received them', async () => {
    const most = '18446744073709551615';
    const index = { cluster_id: most, cache_id: '-9223372036854775808', batch_index: 4_294_967_295 };
    const range = {
      src_layer_range: [-2_147_483_648, 2_147_483_647],
      dst_layer_range: [0, 1],
      tensor_num_per_layer: 255,
    };
    const words = '-2147483648,2147483647,0,1,255';
    const calls = await journalOf(async (scene) => {
      await scene.main('new', 'X', most, -5);
      await scene.main('init', 'X', `${encode('llm.冻')}=${encode('a "b"\n')}`, 'empty=');
      await scene.main('link', 'X', -1, `${most};-7;1.2.3.4/65535,-/0;-`);
      await scene.main('unlink', 'X', 5, 1);
      await scene.main('register', 'X', '2;3;43;-1,9223372036854775807', `0,1,${most}`);
      await scene.main('pull_cache', 'X', `${most},-9223372036854775808,4294967295`, -1, 4294967295, -2, words);
      await scene.main('push_blocks', 'X', -1, '0;0;0;-', `${most},-9223372036854775808,4294967295`, most, '-', words);
    });
    const [created, initialised, linked, unlinked, registered, pulled, pushed] = calls;
    expect(created).toEqual({
      method: 'LlmDataDist',
      thread: 1,
      object: 1,
      args: { cluster_id: most, role: -5 },
      returned: 0,
      results: {},
    });
    expect(initialised?.args).toEqual({ options: { 'llm.冻': 'a "b"\n', empty: '' } });
    expect(linked?.args).toEqual({
      clusters: [
        {
          remote_cluster_id: most,
          remote_role_type: -7,
          remote_ip_infos: [
            { ip: '1.2.3.4', port: 65_535 },
            { ip: '', port: 0 },
          ],
          local_ip_infos: [],
        },
      ],
      timeout_in_millis: -1,
    });
    expect(unlinked?.args).toEqual({ clusters: [], timeout_in_millis: 5, force_flag: true });
    const desc = { placement: 2, num_tensors: 3, data_type: 43, shape: ['-1', '9223372036854775807'] };
    expect(registered?.args).toEqual({ cache_desc: desc, addrs: ['0', '1', most] });
    expect(pulled).toMatchObject({
      args: { src_cache_index: index, batch_index: 4_294_967_295, size: '-2', ext_param: range },
      returned: FAILED,
    });
    expect(pushed?.args).toMatchObject({
      dst_cache_index: index,
      src_blocks: [most],
      dst_blocks: [],
      ext_param: range,
    });
  });

  test('holds long lists in full', async () => {
    const blocks = Array.from({ length: 100_000 }, (_, i) => String(i));
    const list = blocks.join(',');
    const calls = await journalOf(async (scene) => {
      await scene.main('new', 'X', 1, 1);
      await scene.main('pull_blocks', 'X', '1,1,0', 1, list, list, '-1,-1,-1,-1,2');
    });
    expect(calls[1]?.args).toMatchObject({ src_blocks: blocks, dst_blocks: blocks });
  });

  test('tells what was given back, by which object on which thread', async () => {
    const calls = await journalOf(async (scene) => {
      await scene.startLinked();
      await scene.call('other', ...PULL);
    });
    const last = (method: string) => calls.findLast((call) => call.method === method);
    expect(last('RegisterKvCache')).toMatchObject({ object: 2, thread: 1, returned: 0, results: { cache_id: '1' } });
    expect(last('LinkLlmClusters')).toMatchObject({ returned: 0, results: { rets: [0] } });
    expect(last('PullKvCache')).toMatchObject({ object: 2, thread: 2, returned: 0, results: {} });
    expect(last('aclrtMalloc')).toMatchObject({ args: { size: '256', policy: 0 }, results: { address: /^\d+$/ } });
    expect(last('aclrtMalloc')).not.toHaveProperty('object');
  });

  test('keeps what a process did that died, and the call that it died in', async () => {
    const scene = new Scene(build, { LLM_STANDIN_JOURNAL: file, LLM_STANDIN: 'set aclrtFree segv' });
    await scene.main('malloc', 1);
    void scene.call('main', 'free', 1);
    await scene.driver.ended;
    const calls = readJournal(file);
    expect(calls.map(({ method, returned }) => [method, returned])).toEqual([
      ['aclrtMalloc', 0],
      ['aclrtFree', undefined],
    ]);
  });

  test('tells of exceptions and of hazards', async () => {
    const calls = await journalOf(async (scene) => {
      await scene.command('set aclrtMalloc throw_int=3; hazard foreign-free on');
      await scene.main('malloc', 1);
      await scene.main('free', 1);
    });
    expect(calls[0]).toMatchObject({ method: 'aclrtMalloc', threw: 'no std::exception' });
    const text = '{"violation":"foreign-free","text":"0x1 is not the start of an allocation","thread":1}\n';
    expect(readFileSync(file, 'utf8')).toContain(text);
  });

  test('of bytes that are no UTF-8 can be told from others', async () => {
    const calls = await journalOf((scene) =>
      scene.main('new', 'X', 1, 1).then(() => scene.main('init', 'X', 'k=%ffz%c3%a9')),
    );
    expect(calls[1]?.args).toEqual({ options: { k: '\udcffzé' } });
  });

  test('is cleared by a command', async () => {
    const scene = new Scene(build, { LLM_STANDIN: 'journal on' });
    await scene.main('malloc', 1);
    expect(await scene.read('journal')).toContain('aclrtMalloc');
    await scene.command('journal clear');
    expect(await scene.read('journal')).toBe('');
    await scene.end();
  });

  test.each([
    [{ LLM_STANDIN: 'strict on; nonsense' }, 'stand-in: LLM_STANDIN: " nonsense": there is no such command\n'],
    [{ LLM_STANDIN_JOURNAL: folder }, 'stand-in: LLM_STANDIN_JOURNAL: the file cannot be opened\n'],
  ])('with a wrong environment %j the process ends at once', async (env, stderr) => {
    expect(await new Scene(build, env).driver.ended).toEqual({ code: 97, signal: null, stderr });
  });
});
