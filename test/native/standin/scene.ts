import type { StandInBuild } from './build';
import { buildStandIn, NoCompilerError } from './build';
import type { StandInCounters, StandInViolations } from './control';
import type { Answer } from './driver';
import { decode, Driver, encode } from './driver';

/** Builds the stand-in for the tests of a file; where there is no compiler one test says so in place of them. */
export function describeStandIn(name: string, tests: (build: StandInBuild) => void): void {
  let build: StandInBuild;
  try {
    build = buildStandIn();
  } catch (error) {
    if (!(error instanceof NoCompilerError)) throw error;
    const { message } = error;
    test(`NOT CHECKED HERE: ${name}, because this host has no compiler`, () => {
      process.stdout.write(`the stand-in vendor library is not built: ${message}\n`);
      expect(message).toContain('cannot be run');
    });
    return;
  }
  describe(name, () => {
    afterEach(async () => {
      // A test that has failed leaves its driver behind, and jest would wait for it.
      for (const scene of running) await scene.driver.end();
      running.clear();
    });
    tests(build);
  });
}

const running = new Set<Scene>();

type Word = string | number | bigint;

/** Two tensors of 256 bytes each in device memory: INT32, shape 4 x 16. */
export const DESC = '1;2;3;4,16';
const TENSOR_BYTES = 256;

export const WHOLE = '-1,-1,-1,-1,2';

/** A driver with the usual two instances: P, cluster 1, listens; D, cluster 2, links to it. */
export class Scene {
  readonly driver: Driver;
  /** Addresses of the tensors of each cache that was registered, by object. */
  readonly memory = new Map<string, readonly string[]>();

  constructor(build: StandInBuild, env?: NodeJS.ProcessEnv) {
    this.driver = new Driver(build, env);
    running.add(this);
  }

  /** Ends the driver, which must have nothing to complain of, unless a signal has ended it. */
  async end(): Promise<void> {
    const { code, signal, stderr } = await this.driver.end();
    if (signal === null && (code !== 0 || stderr !== '')) throw new Error(`the driver ended with ${code}: ${stderr}`);
  }

  call(thread: string, ...words: readonly Word[]): Promise<Answer> {
    return this.driver.call(thread, ...words);
  }

  /** A call on the thread `main`, for its status. */
  async main(...words: readonly Word[]): Promise<number | undefined> {
    return (await this.call('main', ...words)).status;
  }

  /** A call on the thread `main` that must succeed. */
  async ok(...words: readonly Word[]): Promise<readonly string[]> {
    const answer = await this.call('main', ...words);
    if (answer.status !== 0) throw new Error(`${words.join(' ')}: ${answer.threw ?? answer.status}`);
    return answer.words;
  }

  async command(text: string): Promise<void> {
    const { status, words } = await this.call('control', 'control', encode(text));
    if (status !== 0) throw new Error(decode(words[0] ?? ''));
  }

  /** Objects and memory, the runtime initialised as a binding has to do it. */
  async start(): Promise<this> {
    await this.ok('acl_init');
    await this.ok('set_device', 0);
    await this.ok('new', 'P', 1, 1);
    await this.ok('new', 'D', 2, 2);
    await this.ok('init', 'P', 'llm.DeviceId=0', `llm.ListenIpInfo=${encode('127.0.0.1:26000')}`);
    await this.ok('init', 'D', 'llm.DeviceId=1');
    await this.register('P');
    await this.register('D');
    return this;
  }

  /** @returns the cache id */
  async register(object: string): Promise<string> {
    const [first = ''] = await this.ok('malloc', TENSOR_BYTES);
    const [second = ''] = await this.ok('malloc', TENSOR_BYTES);
    this.memory.set(object, [first, second]);
    const [id = ''] = await this.ok('register', object, DESC, `${first},${second}`);
    return id;
  }

  link(): Promise<number | undefined> {
    return this.main('link', 'D', 1000, P);
  }

  unlink(): Promise<number | undefined> {
    return this.main('unlink', 'D', 1000, 0, P);
  }

  async startLinked(): Promise<this> {
    await this.start();
    await this.ok('link', 'D', 1000, P);
    return this;
  }

  async read(what: 'counters' | 'violations' | 'journal'): Promise<string> {
    const { words } = await this.call('control', 'read', what);
    return decode(words[0] ?? '');
  }

  async violations(): Promise<StandInViolations> {
    return JSON.parse(await this.read('violations')) as StandInViolations;
  }

  async counters(): Promise<StandInCounters> {
    return JSON.parse(await this.read('counters')) as StandInCounters;
  }

  /** The names of the hazards that were seen, each once. */
  async hazards(): Promise<readonly string[]> {
    return [...new Set((await this.violations()).first.map(({ hazard }) => hazard))];
  }

  /** Waits until so many calls of a method are held by an action at a time. */
  async held(method: string, count = 1): Promise<void> {
    const { status } = await this.call('control', 'wait_held', method, count, 10_000);
    if (status !== 1) throw new Error(`${count} calls of ${method} were not held`);
  }

  /** Waits until so many calls of a method have come in. */
  async entered(method: string, count = 1): Promise<void> {
    const { status } = await this.call('control', 'wait', method, count, 10_000);
    if (status !== 1) throw new Error(`${count} calls of ${method} have not come in`);
  }
}

/** P as D links to it. */
export const P = `1;0;${encode('127.0.0.1')}/26000;${encode('127.0.0.1')}/26999`;
/** What D pulls with: the cache 1 of P into its own cache 1. */
export const PULL = ['pull_cache', 'D', '1,1,0', 1, 0, -1, WHOLE] as const;
