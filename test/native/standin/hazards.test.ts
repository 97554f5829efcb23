import type { Scene as SceneType } from './scene';
import { DESC, describeStandIn, P, PULL, Scene } from './scene';

describeStandIn('the stand-in watches for what the library does not survive', (build) => {
  let scene: SceneType;

  beforeEach(() => {
    scene = new Scene(build, { LLM_STANDIN: 'strict on' });
  });

  afterEach(async () => {
    await scene.end();
  });

  const expectHazards = async (...hazards: string[]) => {
    expect(await scene.hazards()).toEqual(hazards);
  };

  /** Makes a call that waits inside of the library until `meanwhile` has been done. */
  const during = async (method: string, words: readonly (string | number)[], meanwhile: () => Promise<unknown>) => {
    await scene.command(`set ${method} block times=1`);
    const pending = scene.call('other', ...words);
    await scene.entered(method);
    await meanwhile();
    await scene.command(`release ${method}`);
    return pending;
  };

  test('nothing is seen in a life cycle as the library wants it', async () => {
    await scene.startLinked();
    await scene.ok(...PULL);
    await scene.ok('push_blocks', 'P', 1, DESC, '2,1,0', '0,1', '2,3', '-1,-1,-1,-1,1');
    await scene.ok('unlink', 'D', 1000, 0, P);
    await scene.ok('unregister', 'D', 1);
    await scene.ok('unregister', 'P', 1);
    await scene.ok('set_role', 'P', 2);
    for (const address of [...scene.memory.get('P')!, ...scene.memory.get('D')!]) await scene.ok('free', address);
    await scene.ok('finalize', 'P');
    await scene.ok('finalize', 'D');
    await expectHazards();
    expect(await scene.counters()).toEqual({
      liveObjects: 2,
      initialisedObjects: 0,
      threadsInside: 0,
      lockedTables: 0,
      liveAllocations: 0,
      liveBytes: 0,
      violations: 0,
    });
  });

  test('an object is destroyed', async () => {
    await scene.ok('new', 'P', 1, 1);
    await scene.ok('delete', 'P');
    await expectHazards('destructor');
  });

  test('an object is destroyed while another one lives', async () => {
    await scene.ok('new', 'P', 1, 1);
    await scene.ok('new', 'D', 2, 2);
    await scene.ok('delete', 'D');
    await expectHazards('destructor', 'delete-while-others-live');
  });

  test('a call is made on an object that was destroyed', async () => {
    await scene.ok('new', 'P', 1, 1);
    await scene.command('hazard destructor off');
    await scene.ok('delete', 'P');
    expect(await scene.main('unregister', 'P', 1)).toBe(0xffff_ffff);
    await expectHazards('call-after-destruction');
  });

  test('an object is destroyed while a call is inside', async () => {
    await scene.startLinked();
    await scene.command('hazard destructor off; hazard delete-while-others-live off');
    await during('PullKvCache', PULL, () => scene.main('delete', 'D'));
    await expectHazards('call-after-destruction');
  });

  test.each([
    ['after success', 'llm.DeviceId=0'],
    ['after failure', 'llm.DeviceId=x'],
  ])('an object is initialised again %s', async (_when, option) => {
    await scene.ok('acl_init');
    await scene.ok('new', 'P', 1, 1);
    await scene.main('init', 'P', option);
    await scene.main('finalize', 'P');
    await expectHazards();
    await scene.ok('init', 'P', 'llm.DeviceId=0');
    await expectHazards('initialize-twice');
  });

  test('an object is initialised before the runtime', async () => {
    await scene.ok('new', 'P', 1, 1);
    await scene.ok('init', 'P', 'llm.DeviceId=0');
    await expectHazards('runtime-not-initialised');
  });

  test.each(['Initialize', 'Finalize', 'LinkLlmClusters', 'UnlinkLlmClusters'])(
    'an object links while another one is in %s',
    async (method) => {
      await scene.start();
      await scene.ok('set_role', 'P', 1);
      await scene.ok('new', 'M', 3, 3);
      const words = {
        Initialize: ['init', 'M', 'llm.DeviceId=2'],
        Finalize: ['finalize', 'P'],
        LinkLlmClusters: ['link', 'P', 1000, P],
        UnlinkLlmClusters: ['unlink', 'P', 1000, 1, P],
      }[method]!;
      await during(method, words, () => scene.call('third', 'unlink', 'D', 1000, 1, P));
      await expectHazards('concurrent-control');
    },
  );

  test('an object links and unlinks in two threads at once', async () => {
    await scene.start();
    await during('LinkLlmClusters', ['link', 'D', 1000, P], () => scene.main('unlink', 'D', 1000, 1, P));
    await expectHazards();
  });

  test('an object is finalized while a call is inside', async () => {
    await scene.startLinked();
    await during('PullKvCache', PULL, () => scene.main('finalize', 'D'));
    await expectHazards('finalize-with-calls');
  });

  test('a call is made while the object is being finalized', async () => {
    await scene.startLinked();
    await during('Finalize', ['finalize', 'D'], () => scene.main(...PULL));
    await expectHazards('finalize-with-calls');
  });

  test('a peer is unlinked during a transfer with it', async () => {
    await scene.startLinked();
    await during('PullKvCache', PULL, () => scene.unlink());
    await expectHazards('transfer-during-unlink');
  });

  test('a transfer begins while its peer is being unlinked', async () => {
    await scene.startLinked();
    await during('UnlinkLlmClusters', ['unlink', 'D', 1000, 0, P], () => scene.main(...PULL));
    await expectHazards('transfer-during-unlink');
  });

  test('another peer is unlinked during a transfer', async () => {
    await scene.startLinked();
    await during('PullKvCache', PULL, () => scene.main('unlink', 'D', 1000, 1, P.replace('1;', '7;')));
    await expectHazards();
  });

  test('a cache is unregistered during a transfer that uses it', async () => {
    await scene.startLinked();
    await scene.command('hazard unregister-while-linked off');
    await during('PullKvCache', PULL, () => scene.main('unregister', 'D', 1));
    await expectHazards('unregister-in-use');
  });

  test('a transfer begins while its cache is being unregistered', async () => {
    await scene.startLinked();
    await scene.command('hazard unregister-while-linked off');
    await during('UnregisterKvCache', ['unregister', 'D', 1], () => scene.main(...PULL));
    await expectHazards('unregister-in-use');
  });

  test('a cache is unregistered while its object is linking', async () => {
    await scene.start();
    await during('LinkLlmClusters', ['link', 'D', 1000, P], () => scene.main('unregister', 'D', 1));
    await expectHazards('unregister-during-link');
  });

  test.each(['P', 'D'])('a cache of %s is unregistered while a link knows it', async (object) => {
    await scene.startLinked();
    await scene.ok('unregister', object, 1);
    await expectHazards('unregister-while-linked');
  });

  test('a cache that was registered after the link was made is unregistered', async () => {
    await scene.startLinked();
    await scene.ok('unregister', 'D', await scene.register('D'));
    await expectHazards();
  });

  describe('memory is freed', () => {
    const free = (object: string) => scene.main('free', scene.memory.get(object)![0]!);

    test('while it is registered', async () => {
      await scene.start();
      expect(await free('D')).toBe(0);
      await expectHazards('free-registered');
    });

    test('while a link knows it that was made before it was unregistered', async () => {
      await scene.startLinked();
      await scene.command('hazard unregister-while-linked off');
      await scene.ok('unregister', 'D', 1);
      await free('D');
      await expectHazards('free-registered');
    });

    test('after it was unregistered and that link is gone', async () => {
      await scene.startLinked();
      await scene.command('hazard unregister-while-linked off');
      await scene.ok('unregister', 'D', 1);
      await scene.unlink();
      await free('D');
      await expectHazards();
    });

    test('after its object was finalized', async () => {
      await scene.startLinked();
      await scene.ok('finalize', 'D');
      await scene.ok('set_device', 1);
      await free('D');
      await expectHazards();
    });

    test('that a failed registration has left with the transport', async () => {
      await scene.start();
      const [address = ''] = await scene.ok('malloc', 256);
      await scene.command('set RegisterKvCache status=0xffffffff');
      expect(await scene.main('register', 'D', '1;1;3;4,16', address)).toBe(0xffff_ffff);
      await scene.main('free', address);
      await expectHazards('free-registered');
    });

    test('that a registration has refused for its arguments', async () => {
      await scene.start();
      const [address = ''] = await scene.ok('malloc', 256);
      expect(await scene.main('register', 'D', '1;2;3;4,16', address)).toBe(0x5010_b005);
      await scene.ok('free', address);
      await expectHazards();
    });

    test('twice', async () => {
      await scene.ok('set_device', 0);
      const [address = ''] = await scene.ok('malloc', 256);
      await scene.ok('free', address);
      expect(await scene.main('free', address)).toBe(107_000);
      expect((await scene.violations()).first).toEqual([
        { hazard: 'foreign-free', text: expect.stringMatching(/^0x[0-9a-f]+ was freed before$/) as string },
      ]);
    });

    test('as what it is not', async () => {
      await scene.ok('set_device', 0);
      const [device = ''] = await scene.ok('malloc', 256);
      const [host = ''] = await scene.ok('malloc_host', 256);
      expect(await scene.main('free', BigInt(device) + 1n)).toBe(107_000);
      expect(await scene.main('free_host', device)).toBe(107_000);
      expect(await scene.main('free', host)).toBe(107_000);
      const texts = (await scene.violations()).first.map(({ text }) => text.replace(/^0x[0-9a-f]+ /, ''));
      expect(texts).toEqual([
        'is not the start of an allocation',
        'is device memory, freed as host memory',
        'is host memory, freed as device memory',
      ]);
    });

    test('and a transfer still uses it', async () => {
      await scene.startLinked();
      await scene.command('hazard free-registered off');
      await free('P');
      expect(await scene.main(...PULL)).toBe(0xffff_ffff);
      await expectHazards('use-after-free');
    });

    test('and written to afterwards', async () => {
      await scene.ok('set_device', 0);
      const [address = ''] = await scene.ok('malloc', 256);
      await scene.ok('free', address);
      await scene.ok('poke', BigInt(address) + 7n, 1);
      expect((await scene.violations()).first[0]?.text).toMatch(/^byte 7 of the 256 bytes at 0x/);
      expect((await scene.violations()).count).toBe(1);
    });
  });

  test('a copy leaves its allocation', async () => {
    await scene.ok('set_device', 0);
    const [address = ''] = await scene.ok('malloc', 4);
    const [host = ''] = await scene.ok('malloc_host', 4);
    expect(await scene.main('copy_in', address, 1, 'aabbccdd')).toBe(0);
    expect(await scene.main('copy_in', address, 1, 'aabbccddee')).toBe(107_000);
    expect(await scene.main('copy_out', BigInt(address) + 2n, 2, 3)).toBe(107_000);
    expect(await scene.main('copy_in', host, 1, 'aa')).toBe(107_000);
    expect(await scene.main('copy_in', host, 0, 'aabbccddee')).toBe(107_000);
    expect(await scene.main('copy_out', address, 0, 1)).toBe(107_000);
    await expectHazards('foreign-copy');
    expect((await scene.violations()).count).toBe(5);
  });

  test('memory is used on a thread without a device', async () => {
    expect(await scene.main('malloc', 256)).toBe(107_002);
    await expectHazards('no-device');
    await scene.ok('set_device', 0);
    await scene.ok('malloc', 256);
    expect((await scene.call('other', 'malloc', 256)).status).toBe(107_002);
  });

  test('an address is registered that is nobody’s memory', async () => {
    await scene.start();
    await scene.ok('register', 'D', '1;1;3;4,16', '18446744073709551615');
    await expectHazards('foreign-registration');
  });

  test('a listening object without links is finalized without closing its listener', async () => {
    await scene.start();
    await scene.ok('finalize', 'D');
    await scene.ok('finalize', 'P');
    await expectHazards('finalize-listening');
  });

  test('a listening object with a link is finalized, which SetRole could not have helped', async () => {
    await scene.startLinked();
    await scene.ok('finalize', 'P');
    await expectHazards();
  });

  test.each([
    ['register', ['register', 'D', '1;1;2;4294967296', '4096']],
    ['register', ['register', 'D', '1;1;29;1,536870912', '4096']],
    ['pull_cache', ['pull_cache', 'D', '1,1,0', 1, 0, -1, '0,2147483647,0,2147483647,2']],
    ['pull_cache', ['pull_cache', 'D', '1,1,0', 1, 0, -1, '1073741824,1073741824,0,0,4']],
    ['pull_blocks', ['pull_blocks', 'D', '1,1,0', 1, '9223372036854775807,0', '0,1', '-1,-1,-1,-1,2']],
    ['push_cache', ['push_cache', 'D', 1, DESC, '1,1,0', 0, -1, '-1,2147483647,-1,2147483647,2']],
    ['push_cache', ['push_cache', 'D', 1, '1;2147483648;3;4,16', '1,1,0', 0, -1, '-1,-1,-1,-1,1']],
    ['push_blocks', ['push_blocks', 'D', 1, DESC, '1,1,0', '9223372036854775807,0', '0,1', '-1,-1,-1,-1,2']],
  ])('%s with a value that the library does not survive', async (_call, words) => {
    await scene.startLinked();
    await scene.command('hazard foreign-registration off');
    expect(await scene.main(...words)).toBe(0x5010_b005);
    await expectHazards('fatal-value');
  });

  test('a pull from rows of no bytes, which the library divides by', async () => {
    await scene.start();
    const [address = ''] = await scene.ok('malloc', 2);
    const [id = ''] = await scene.ok('register', 'P', '1;1;30;16', address);
    await scene.link();
    await scene.ok('malloc', 1);
    expect(await scene.main('pull_cache', 'D', `1,${id},0`, 1, 0, -1, '-1,-1,-1,-1,2')).toBe(0x5010_b005);
    await expectHazards('fatal-value');
  });

  test('a hazard that is not watched for is not told', async () => {
    await scene.command('strict off');
    await scene.ok('new', 'P', 1, 1);
    await scene.ok('delete', 'P');
    await expectHazards();
    await scene.command('hazard destructor on');
    await scene.ok('new', 'D', 1, 1);
    await scene.ok('new', 'E', 1, 1);
    await scene.ok('delete', 'D');
    await expectHazards('destructor');
  });

  test('the first 20 are told, all are counted', async () => {
    await scene.ok('set_device', 0);
    for (let i = 0; i < 25; i++) await scene.main('free', 4096 + i);
    const { count, first } = await scene.violations();
    expect([count, first.length]).toEqual([25, 20]);
  });

  test('a hazard ends the process where that is asked for, and says which it was', async () => {
    await scene.command('abort on');
    await scene.ok('new', 'P', 1, 1);
    void scene.call('main', 'delete', 'P');
    expect(await scene.driver.ended).toEqual({
      code: null,
      signal: 'SIGABRT',
      stderr: 'stand-in: destructor: object 1 is destroyed\n',
    });
  });
});
