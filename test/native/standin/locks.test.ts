import type { Answer } from './driver';
import { encode } from './driver';
import type { Scene as SceneType } from './scene';
import { DESC, describeStandIn, P, PULL, Scene, WHOLE } from './scene';

/** A second peer of D, cluster 3, as D links to it. */
const Q = `3;0;${encode('127.0.0.1')}/26001;${encode('127.0.0.1')}/26998`;
const PULL_OF_Q = ['pull_cache', 'D', '3,1,0', 1, 1, -1, WHOLE] as const;
const PUSH = ['push_cache', 'D', 1, DESC, '1,1,0', 0, -1, '-1,-1,-1,-1,1'] as const;
const PUSH_TO_Q = ['push_cache', 'D', 1, DESC, '3,1,0', 0, -1, '-1,-1,-1,-1,1'] as const;

const SUCCESS = 0;
const NOT_YET_LINK = 0x5010_b007;
const ALREADY_LINK = 0x5010_b008;
const PARAM_INVALID = 0x5010_b005;

describeStandIn('the stand-in has the locks of the library', (build) => {
  let scene: SceneType;
  let returned: string[];

  beforeEach(async () => {
    scene = new Scene(build);
    returned = [];
    await scene.start();
    await scene.ok('new', 'Q', 3, 1);
    await scene.ok('init', 'Q', 'llm.DeviceId=2', `llm.ListenIpInfo=${encode('127.0.0.1:26001')}`);
    await scene.register('Q');
    await scene.ok('link', 'D', 1000, P, Q);
  });

  afterEach(async () => {
    await scene.end();
  });

  /** A call on a thread of that name, which is written down when it returns. */
  const call = async (thread: string, words: readonly (string | number)[]): Promise<Answer> => {
    const answer = await scene.call(thread, ...words);
    returned.push(thread);
    return answer;
  };

  /** A transfer with P that is held where it moves its bytes; the object keeps the promise from being awaited. */
  const hold = async (method: string, words: readonly (string | number)[]) => {
    await scene.command(`set ${method} block in_transport cluster=1 times=1`);
    const answer = call('held', words);
    await scene.held(method);
    return { answer };
  };

  const untilTableLocked = async () => {
    while ((await scene.counters()).lockedTables === 0);
  };

  /** A call that could return has the time to. */
  const turns = async () => {
    for (let i = 0; i < 100; i++) await scene.counters();
  };

  const expectStatuses = async (answers: readonly Promise<Answer>[], ...statuses: number[]) => {
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(statuses);
  };

  test('a pull holds its link until its bytes are moved, and no other link', async () => {
    const held = await hold('PullKvCache', PULL);
    const next = call('next', PULL);
    await expectStatuses([call('other', PULL_OF_Q)], SUCCESS);
    await turns();
    expect(returned).toEqual(['other']);
    await scene.command('release PullKvCache');
    await expectStatuses([held.answer, next], SUCCESS, SUCCESS);
  });

  test('a push holds the one lock of all pushes of its object, and pulls go on', async () => {
    const held = await hold('PushKvCache', PUSH);
    const next = call('next', PUSH_TO_Q);
    await expectStatuses([call('other', PULL_OF_Q)], SUCCESS);
    await turns();
    expect(returned).toEqual(['other']);
    await scene.command('release PushKvCache');
    await expectStatuses([held.answer, next], SUCCESS, SUCCESS);
  });

  test('a transfer that is let go moves its bytes then', async () => {
    const [theirs = ''] = scene.memory.get('P')!;
    const [ours = ''] = scene.memory.get('D')!;
    const first = async () => (await scene.ok('copy_out', ours, 2, 1))[0];
    await scene.ok('poke', theirs, 0x5a);
    await scene.ok('poke', ours, 0);
    const held = await hold('PullKvCache', PULL);
    expect(await first()).toBe('00');
    await scene.command('release PullKvCache');
    await held.answer;
    expect(await first()).toBe('5a');
  });

  test('memory that was freed meanwhile is not touched, and the hazard is seen', async () => {
    await scene.command('hazard use-after-free on');
    const held = await hold('PullKvCache', PULL);
    for (const address of scene.memory.get('D')!) await scene.ok('free', address);
    await scene.command('release PullKvCache');
    await expectStatuses([held.answer], 0xffff_ffff);
    expect(await scene.hazards()).toEqual(['use-after-free']);
  });

  test('a push fails between its layers, and what moved before stays moved', async () => {
    const [first = '', second = ''] = scene.memory.get('D')!;
    for (const address of [first, second]) await scene.ok('poke', address, 0x77);
    for (const address of scene.memory.get('P')!) await scene.ok('poke', address, 0);
    await scene.command(`set PushKvCache status=${PARAM_INVALID} in_transport skip=1`);
    expect(await scene.main(...PUSH)).toBe(PARAM_INVALID);
    const bytes = await Promise.all(scene.memory.get('P')!.map((address) => scene.ok('copy_out', address, 2, 1)));
    expect(bytes).toEqual([['77'], ['00']]);
  });

  test('an own unlink waits for the transfer, and the table of all links is free meanwhile', async () => {
    const held = await hold('PullKvCache', PULL);
    await scene.command('set UnlinkLlmClusters delay=0');
    const unlink = call('unlink', ['unlink', 'D', 1000, 0, P]);
    await scene.entered('UnlinkLlmClusters');
    await expectStatuses([call('other', PULL_OF_Q)], SUCCESS);
    await turns();
    expect(returned).toEqual(['other']);
    await scene.command('release PullKvCache');
    await expectStatuses([held.answer, unlink], SUCCESS, SUCCESS);
  });

  test('an unlink of the peer waits for the transfer, and the table of all links is locked meanwhile', async () => {
    const held = await hold('PullKvCache', PULL);
    await scene.command('peer 1 unlinks');
    await untilTableLocked();
    const other = call('other', PULL_OF_Q);
    const unlink = call('unlink', ['unlink', 'D', 1000, 0, Q]);
    const role = call('role', ['set_role', 'D', 2]);
    await turns();
    expect(returned).toEqual([]);
    await scene.command('release PullKvCache');
    await held.answer;
    await other;
    await expectStatuses([unlink], SUCCESS);
    await role;
    expect(await scene.main(...PULL)).toBe(NOT_YET_LINK);
  });

  test('a forced link of the peer does the same, and is a new link', async () => {
    const held = await hold('PullKvCache', PULL);
    await scene.command('peer 1 links');
    await untilTableLocked();
    const other = call('other', PULL_OF_Q);
    await turns();
    expect(returned).toEqual([]);
    await scene.command('release PullKvCache');
    await expectStatuses([held.answer, other], SUCCESS, SUCCESS);
    // When the request has left the table it is still to store the link.
    let status: number | undefined;
    do status = await scene.main(...PULL);
    while (status === NOT_YET_LINK);
    expect(status).toBe(SUCCESS);
    expect(await scene.link()).toBe(ALREADY_LINK);
  });

  test('a link that another object makes with the one whose table is locked waits, and links elsewhere do not', async () => {
    await scene.ok('new', 'E', 4, 2);
    await scene.ok('init', 'E', 'llm.DeviceId=3');
    const held = await hold('PullKvCache', PULL);
    await scene.command('peer 1 unlinks');
    await untilTableLocked();
    await expectStatuses([call('elsewhere', ['link', 'E', 1000, Q])], SUCCESS);
    await scene.command('release PullKvCache');
    await expectStatuses([held.answer], SUCCESS);
  });

  test('a peer that is linked to nobody requests nothing', async () => {
    await expect(scene.command('peer 77 unlinks')).rejects.toThrow('nobody is linked to cluster 77');
    await expect(scene.command('peer 2 leaves')).rejects.toThrow('"leaves" is none of dead, alive, unlinks, links');
    await scene.command('peer 1 dead');
    await expect(scene.command('peer 1 links')).rejects.toThrow('no instance of cluster 1 is alive');
  });

  test('only transfers are in the transport', async () => {
    await expect(scene.command('set Finalize block in_transport')).rejects.toThrow('"Finalize" moves no bytes');
  });

  test('an action is for the calls with one cluster', async () => {
    await scene.command('set PullKvCache status=7 cluster=3');
    expect([await scene.main(...PULL), await scene.main(...PULL_OF_Q)]).toEqual([SUCCESS, 7]);
  });

  test('an unlink of hixl keeps the table locked while it tries to reach a dead peer', async () => {
    const hixl = ['llm.TransferBackend=hixl', `llm.ListenIpInfo=${encode('127.0.0.1:26002')}`];
    await scene.ok('new', 'H', 5, 2);
    await scene.ok('init', 'H', 'llm.DeviceId=4', ...hixl);
    await scene.register('H');
    await scene.ok('link', 'H', 1000, P, Q);
    await scene.command('peer 1 dead; disconnect_ms 600000');
    const unlink = call('unlink', ['unlink', 'H', 1000, 1, P]);
    await untilTableLocked();
    const pull = call('pull', ['pull_cache', 'H', '3,1,0', 1, 1, -1, WHOLE]);
    await turns();
    expect(returned).toEqual([]);
    await scene.command('disconnect_ms 0');
    await expectStatuses([unlink, pull], SUCCESS, SUCCESS);
  });
});
