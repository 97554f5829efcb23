import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { command, control, setCommand } from './control';
import type { StandIn } from './control';
import { decode } from './driver';
import type { Scene as SceneType } from './scene';
import { describeStandIn, P, PULL, Scene } from './scene';

const FAILED = 0xffff_ffff;
const PARAM_INVALID = 0x5010_b005;
const TIMEOUT = 0x5010_b01a;

describeStandIn('the stand-in does as it is told', (build) => {
  let scene: SceneType;

  beforeEach(() => {
    scene = new Scene(build);
  });

  afterEach(async () => {
    await scene.end();
  });

  const errorText = async (thread = 'main') => decode((await scene.call(thread, 'error_text')).words[0] ?? '');

  test('a method returns a status and leaves an error text on its own thread, once', async () => {
    await scene.startLinked();
    await scene.command(setCommand('PullKvCache', { status: TIMEOUT, error: 'stream "7"\nhangs; 冻结' }));
    expect(await scene.main(...PULL)).toBe(TIMEOUT);
    expect(await errorText('other')).toBe('');
    expect(await errorText()).toBe('stream "7"\nhangs; 冻结');
    expect(await errorText()).toBe('');
    await scene.command('unset PullKvCache');
    expect(await scene.main(...PULL)).toBe(0);
  });

  test('the newest error text comes first', async () => {
    await scene.command('set aclrtMalloc status=1 error=older times=1; add aclrtMalloc status=1 error=newer');
    await scene.main('malloc', 1);
    await scene.main('malloc', 1);
    expect(await errorText()).toBe('newer\nolder');
  });

  test('an error text that is too long ends with a whole character', async () => {
    await scene.command(setCommand('aclrtMalloc', { status: 1, error: '冻'.repeat(2000) }));
    await scene.main('malloc', 1);
    expect(await errorText()).toBe('冻'.repeat(1365));
  });

  test('actions pass calls, apply to some and follow each other', async () => {
    await scene.command('set aclrtMalloc status=1 skip=1 times=2; add aclrtMalloc status=2 times=1');
    const statuses: (number | undefined)[] = [];
    for (let i = 0; i < 6; i++) statuses.push(await scene.main('malloc', 1));
    expect(statuses).toEqual([0, 1, 1, 2, 0, 0]);
  });

  test.each([
    ['throw="no more memory"', 'no more memory'],
    ['throw_bad_alloc', 'std::bad_alloc'],
    ['throw_int=42', '42'],
  ])('%s throws out of the library', async (action, threw) => {
    await scene.startLinked();
    await scene.command(`set PullKvCache ${action}`);
    expect(await scene.call('main', ...PULL)).toMatchObject({ status: undefined, threw });
  });

  test('a constructor throws, and there is no object then', async () => {
    await scene.command('set LlmDataDist throw=no');
    expect(await scene.call('main', 'new', 'P', 1, 1)).toMatchObject({ threw: 'no' });
    expect((await scene.counters()).liveObjects).toBe(0);
  });

  test('calls wait until they are released, the oldest first', async () => {
    await scene.startLinked();
    await scene.command('set PullKvCache block status=7');
    const done: string[] = [];
    const pull = async (thread: string) => {
      const { status } = await scene.call(thread, ...PULL);
      done.push(`${thread} ${status}`);
    };
    const first = pull('first');
    await scene.entered('PullKvCache', 1);
    const second = pull('second');
    await scene.entered('PullKvCache', 2);
    const third = pull('third');
    await scene.entered('PullKvCache', 3);
    expect((await scene.counters()).threadsInside).toBe(3);
    expect(done).toEqual([]);
    await scene.command('release PullKvCache 1');
    await first;
    expect(done).toEqual(['first 7']);
    await scene.command('release PullKvCache');
    await Promise.all([second, third]);
    expect(done.slice(1).sort()).toEqual(['second 7', 'third 7']);
    await pull('later');
    expect(done.at(-1)).toBe('later 7');
  });

  test('waiting for calls that do not come ends', async () => {
    expect((await scene.call('control', 'wait', 'PullKvCache', 1, 1)).status).toBe(0);
    expect((await scene.call('control', 'wait', 'Pull', 1, 1)).status).toBe(-1);
  });

  test('a delay is slept', async () => {
    await scene.command('set aclrtMalloc delay=30');
    const start = performance.now();
    await scene.main('malloc', 1);
    expect(performance.now() - start).toBeGreaterThanOrEqual(29);
  });

  test.each([
    ['abort', 'SIGABRT'],
    ['segv', 'SIGSEGV'],
  ])('%s ends the process', async (action, signal) => {
    await scene.command(`set aclrtMalloc ${action}`);
    expect(await scene.call('main', 'malloc', 1)).toMatchObject({ status: undefined, threw: undefined });
    expect(await scene.driver.ended).toMatchObject({ code: null, signal });
  });

  test('a call that hangs does not keep the process', async () => {
    await scene.command('set aclrtMalloc hang');
    const hanging = scene.call('main', 'malloc', 1);
    await scene.entered('aclrtMalloc');
    expect(await scene.driver.end()).toEqual({ code: 0, signal: null, stderr: '' });
    expect((await hanging).status).toBeUndefined();
  });

  test('a cluster’s result of link and unlink is what is asked for', async () => {
    await scene.start();
    await scene.command(`result link 7 ${TIMEOUT}; result unlink 1 0x5010B00A`);
    const clusters = [P.replace('1;', '7;'), P];
    expect(await scene.call('main', 'link', 'D', 1000, ...clusters)).toMatchObject({
      status: TIMEOUT,
      words: [String(TIMEOUT), '0'],
    });
    expect(await scene.unlink()).toBe(0x5010_b00a);
    expect(await scene.main(...PULL)).toBe(0);
    await scene.command('result unlink 1');
    expect(await scene.unlink()).toBe(0);
    expect(await scene.main(...PULL)).toBe(0x5010_b007);
  });

  test('a dead peer answers nobody, until it lives again', async () => {
    await scene.startLinked();
    await scene.command('peer 1 dead');
    expect(await scene.main(...PULL)).toBe(FAILED);
    expect(await scene.link()).toBe(0x5010_b009);
    expect(await scene.unlink()).toBe(0x5010_b00a);
    await scene.command('peer 1 alive');
    expect(await scene.main(...PULL)).toBe(0);
  });

  test('transfers that answer at once look at nothing', async () => {
    await scene.startLinked();
    await scene.command('answer_at_once on');
    expect(await scene.main('pull_cache', 'D', '9,9,9', 9, 9, 9, '-1,-1,-1,-1,0')).toBe(0);
    expect(await scene.main('unregister', 'P', 9)).toBe(0);
    await scene.command('answer_at_once off');
    expect(await scene.main('pull_cache', 'D', '9,9,9', 9, 9, 9, '-1,-1,-1,-1,0')).toBe(PARAM_INVALID);
  });

  test('the host is what it is said to be', async () => {
    await scene.command('device_count 2; soc_name "Ascend 950"; version 9.9.9');
    expect((await scene.call('main', 'device_count')).words).toEqual(['2']);
    expect((await scene.call('main', 'soc_name')).words.map(decode)).toEqual(['Ascend 950']);
    expect((await scene.call('main', 'version')).words).toEqual(['9.9.9']);
    expect(await scene.main('set_device', 2)).toBe(107_001);
    await scene.command('soc_name ""');
    expect((await scene.call('main', 'soc_name')).words).toEqual(['-']);
  });

  test.each([
    ['nonsense', 'there is no such command'],
    ['set', 'words are missing'],
    ['journal on off', '"off" is a word too many'],
    ['set Pull block', '"Pull" is no method'],
    ['set PullKvCache wait', '"wait" is nothing that a call can do'],
    ['set PullKvCache status=-1', '"-1" is no number from 0 to 4294967295'],
    ['set PullKvCache status=4294967296', '"4294967296" is no number from 0 to 4294967295'],
    ['set PullKvCache abort hang', 'an action has one outcome'],
    ['set PullKvCache error="a', 'a quotation mark is not closed'],
    ['result pull 1 1', '"pull" is neither link nor unlink'],
    ['hazard fire on', '"fire" is no hazard'],
  ])('%j is refused: %s', async (text, problem) => {
    await expect(scene.command(text)).rejects.toThrow(`"${text}": ${problem}`);
  });

  test('the commands before a wrong one are run, those after it are not', async () => {
    await expect(scene.command('device_count 2\nnonsense; device_count 3')).rejects.toThrow('no such command');
    expect((await scene.call('main', 'device_count')).words).toEqual(['2']);
  });

  test('a reset forgets everything but objects and memory', async () => {
    await scene.start();
    await scene.command('strict on; journal on; device_count 2; set PullKvCache block status=7; peer 1 dead');
    await scene.main('free', 1);
    const blocked = scene.call('other', ...PULL);
    await scene.entered('PullKvCache');
    await scene.command('reset');
    expect((await blocked).status).toBe(7);
    expect(await scene.link()).toBe(0);
    expect(await scene.main(...PULL)).toBe(0);
    expect(await scene.read('journal')).toBe('');
    expect((await scene.call('main', 'device_count')).words).toEqual(['1024']);
    expect(await scene.counters()).toMatchObject({
      liveObjects: 2,
      initialisedObjects: 2,
      liveAllocations: 4,
      violations: 0,
    });
    expect((await scene.call('control', 'wait', 'PullKvCache', 1, 1)).status).toBe(0);
  });

  test('a call that was under way at a reset writes nothing into the journal of what comes after it', async () => {
    await scene.start();
    await scene.link();
    await scene.command('journal on; set PullKvCache block delay=50 status=7');
    const blocked = scene.call('other', ...PULL);
    await scene.entered('PullKvCache');
    await scene.command('reset');
    await scene.command('journal on');
    expect((await blocked).status).toBe(7);
    expect(await scene.read('journal')).toBe('');
    expect(await scene.main(...PULL)).toBe(0);
    expect((await scene.read('journal')).split('\n')).toHaveLength(3);
  });
});

describeStandIn('the control addon', (build) => {
  let standIn: StandIn;

  test('finds the stand-in only where it is loaded', () => {
    standIn = control(build.runtime, { load: true });
    expect(() => control(build.runtime)).not.toThrow();
    // Another test file of this process may have loaded the original.
    const copy = join(mkdtempSync(join(tmpdir(), 'stand-in-')), 'libascendcl.so');
    copyFileSync(build.runtime, copy);
    expect(() => control(copy, { addon: build.addon })).toThrow(`${copy} is not loaded`);
    rmSync(dirname(copy), { recursive: true });
  });

  test('reports the loader’s words about anything else', () => {
    expect(() => control(build.driver, { load: true, addon: build.addon })).toThrow(build.driver);
  });

  test('runs commands, and tells of wrong ones', () => {
    standIn.run('journal on; strict on');
    standIn.strict({ abort: false });
    expect(() => {
      standIn.run('nonsense');
    }).toThrow('the stand-in refuses "nonsense": there is no such command');
    expect(() => {
      standIn.set('PullKvCache', { abort: true, hang: true });
    }).toThrow('one outcome');
    standIn.reset();
  });

  test('reads journal, violations and counters', () => {
    expect(standIn.journal()).toEqual([]);
    expect(standIn.violations()).toEqual({ count: 0, first: [] });
    expect(standIn.counters()).toMatchObject({ threadsInside: 0, violations: 0 });
  });

  test('waits for calls, and tells when they do not come', async () => {
    await expect(standIn.waitEntered('PullKvCache', 1, 1)).rejects.toThrow('1 calls of PullKvCache have not come in');
    await expect(standIn.waitEntered('PullKvCache', 0)).resolves.toBeUndefined();
  });

  test('releases calls, of methods that there are', () => {
    standIn.set('PullKvCache', { block: true });
    standIn.release('PullKvCache', 2);
    standIn.release('PullKvCache');
    expect(() => {
      standIn.release('Pull' as 'PullKvCache');
    }).toThrow('no method Pull');
    standIn.unset('PullKvCache');
  });

  test('quotes the words of a command that need it', () => {
    expect(command('set', 'X', 'error=a b', 1n, 'c"d\\', '')).toBe('set X "error=a b" 1 "c\\"d\\\\" ""');
    const all = { block: true, delay: 5, error: 'é\n', status: 7, skip: 1, times: 2 };
    expect(setCommand('Initialize', all)).toBe('set Initialize block delay=5 "error=é\\n" status=7 skip=1 times=2');
    expect(setCommand('Finalize', { throwBadAlloc: true })).toBe('set Finalize throw_bad_alloc');
    expect(setCommand('Finalize', { throw: 'x', throwInt: 3, hang: false })).toBe('set Finalize throw=x throw_int=3');
  });

  test('takes results and further actions', () => {
    standIn.result('link', 1n, TIMEOUT);
    standIn.result('link', 1n);
    standIn.add('PullKvCache', { segv: true, times: 0 });
    standIn.reset();
  });
});
