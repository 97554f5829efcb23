import { execFileSync, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { LLMBackendError, LLMDataDist, LLMRole, probeNative } from '../lib';
import type { Backend, BackendFactory } from '../lib';
import { hostPorts } from '../lib/conformance';
import { Fabric, MockBackend } from '../lib/testing';
import { compileLib } from './fixtures/compiled-lib';

const lib = compileLib('index');
afterAll(() => {
  lib.remove();
});

const saved = process.env.LLM_DATADIST_BACKEND;
afterEach(() => {
  if (saved === undefined) delete process.env.LLM_DATADIST_BACKEND;
  else process.env.LLM_DATADIST_BACKEND = saved;
});

const create = (backend: unknown) => new LLMDataDist(LLMRole.PROMPT, 1n, { backend } as never);

// An addon that is not there: tests of the native backend may have opened a library in this process, where it stays.
beforeEach(() => {
  process.env.LLM_DATADIST_ADDON = join(__dirname, 'no-addon.node');
});

afterEach(() => {
  delete process.env.LLM_DATADIST_ADDON;
});

test('mock never touches the addon', () => {
  expect(create('mock').backendName).toBe('mock');
});

test("a backend of the user's own is used as it is, under its own name", async () => {
  const backend = new MockBackend(1n, LLMRole.PROMPT, { fabric: new Fabric() });
  Object.defineProperty(backend, 'name', { value: 'mine' });
  const dist = create(backend);
  expect(dist.backendName).toBe('mine');
  await dist.init({ deviceId: 0 });
  await dist.finalize();
});

test('a factory makes the backend from the arguments of the constructor', () => {
  const made: [bigint, number][] = [];
  const factory: BackendFactory = (clusterId, role) => {
    made.push([clusterId, role]);
    return new MockBackend(clusterId, role, { fabric: new Fabric() });
  };
  new LLMDataDist(LLMRole.MIX, 2n ** 64n - 1n, { backend: factory });
  expect(made).toEqual([[2n ** 64n - 1n, 3]]);
});

test('a backend that lacks a method is refused when it is given, and the method is named', () => {
  const incomplete: Partial<Backend> = { name: 'x', initialize: async () => undefined };
  expect(() => create(incomplete)).toThrow(
    expect.objectContaining({
      code: 'ERR_INVALID_ARG_TYPE',
      message: expect.stringContaining('options.backend.finalize') as string,
    }) as Error,
  );
  expect(() => create(() => undefined)).toThrow(TypeError);
  expect(() => create({})).toThrow(/options\.backend\.name/);
  expect(() => create(null)).toThrow(TypeError);
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  expect(() => create(proxy)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }) as Error);
});

test.each(['hccl', '', 1, true])('%p is no backend', (backend) => {
  expect(() => create(backend)).toThrow(expect.objectContaining({ code: 'ERR_INVALID_ARG_TYPE' }) as Error);
});

describe('LLM_DATADIST_MOCK_FABRIC', () => {
  afterEach(() => {
    delete process.env.LLM_DATADIST_MOCK_FABRIC;
  });

  /** Whether a port of this host is taken by an instance that listens on it. */
  async function takesPort(fabric: string | undefined): Promise<boolean> {
    if (fabric !== undefined) process.env.LLM_DATADIST_MOCK_FABRIC = fabric;
    const [port = 0] = await hostPorts(1);
    const dist = create('mock');
    await dist.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
    const server = createServer();
    const taken = await new Promise<boolean>((resolve) => {
      server.once('error', () => {
        resolve(true);
      });
      server.listen(port, '127.0.0.1', () => {
        server.close(() => {
          resolve(false);
        });
      });
    });
    await dist.finalize();
    return taken;
  }

  test.each([
    ['tcp', true],
    ['memory', false],
    ['', false],
    [undefined, false],
  ])('%p lets mock instances listen on ports of this host: %p', async (fabric, expected) => {
    expect(await takesPort(fabric)).toBe(expected);
  });

  test('that is something else is refused', () => {
    process.env.LLM_DATADIST_MOCK_FABRIC = 'udp';
    expect(() => create('mock')).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_ARG_TYPE',
        message: expect.stringContaining('LLM_DATADIST_MOCK_FABRIC') as string,
      }) as Error,
    );
  });

  test.each([
    ['tcp', 'all processes of this machine find each other'],
    ['memory', 'this process only find each other'],
  ])('is told with the warning of the mock: %s', (fabric, words) => {
    const program = `new (require('./index.js').LLMDataDist)(1, 1n)`;
    const { stderr } = spawnSync(process.execPath, ['-e', program], {
      cwd: dirname(lib.path),
      encoding: 'utf8',
      env: { ...process.env, LLM_DATADIST_ADDON: '', LLM_DATADIST_BACKEND: 'auto', LLM_DATADIST_MOCK_FABRIC: fabric },
    });
    expect(stderr).toContain(words);
  });
});

describe('native', () => {
  test('where it cannot be loaded throws, and says where it looked', () => {
    const probe = probeNative();
    expect(probe.available).toBe(false);
    expect(probe.attempts.length).toBeGreaterThan(0);
    let error: unknown;
    try {
      create('native');
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(LLMBackendError);
    expect(error).toMatchObject({ code: 'ERR_LLM_BACKEND_UNAVAILABLE' });
    for (const { path, error: reason } of probe.attempts) {
      expect((error as Error).message).toContain(path);
      expect((error as Error).message).toContain(reason);
    }
    for (const advice of ['set_env.sh', 'ASCEND_HOME_PATH', 'LLM_DATADIST_LIBRARY', "backend: 'mock'"]) {
      expect((error as Error).message).toContain(advice);
    }
  });
});

describe('LLM_DATADIST_BACKEND', () => {
  test('decides where auto was asked for, or nothing', () => {
    process.env.LLM_DATADIST_BACKEND = 'mock';
    expect(create('auto').backendName).toBe('mock');
    expect(create(undefined).backendName).toBe('mock');
    process.env.LLM_DATADIST_BACKEND = 'native';
    expect(() => create('auto')).toThrow(LLMBackendError);
  });

  test('does not overrule what was asked for by name', () => {
    process.env.LLM_DATADIST_BACKEND = 'native';
    expect(create('mock').backendName).toBe('mock');
  });

  test('that names no backend is an error that names it', () => {
    process.env.LLM_DATADIST_BACKEND = 'hccl';
    expect(() => create('auto')).toThrow(/LLM_DATADIST_BACKEND.*hccl/s);
  });
});

describe('auto', () => {
  // The warning comes once per process, and so needs one of its own.
  const program = `
    const { LLMDataDist, LLMRole } = require(process.argv[1]);
    const warnings = [];
    process.on('warning', (warning) => warnings.push({ name: warning.name, message: warning.message }));
    const names = [1n, 2n].map((id) => new LLMDataDist(LLMRole.PROMPT, id).backendName);
    setImmediate(() => console.log(JSON.stringify({ names, warnings })));
  `;

  test('falls back to the mock with one warning that says why', () => {
    const env = { ...process.env, LLM_DATADIST_ADDON: '', LLM_DATADIST_BACKEND: '', FORCE_COLOR: undefined };
    const output = execFileSync(process.execPath, ['-e', program, lib.path], { env, encoding: 'utf8', stdio: 'pipe' });
    const { names, warnings } = JSON.parse(output) as {
      names: string[];
      warnings: { name: string; message: string }[];
    };
    expect(names).toEqual(['mock', 'mock']);
    expect(warnings.map(({ name }) => name)).toEqual(['LLMDataDistMockWarning']);
    expect(warnings[0]?.message).toContain('mock');
    expect(warnings[0]?.message).toMatch(/llm_datadist\.node: no such file: the package brings no addon/);
  });
});

describe('an instance that is not finalized', () => {
  const program = `
    const { LLMDataDist, LLMRole } = require(process.argv[1]);
    process.on('warning', (warning) => console.log(warning.name + ': ' + warning.message));
    const make = () => new LLMDataDist(LLMRole.PROMPT, 7n, { backend: 'mock' });
    const options = { deviceId: 0 };
    const collect = async () => {
      // Collection is the engine's business: ask until the warning has come.
      for (let i = 0; i < 100; i++) { gc(); await new Promise((resolve) => setImmediate(resolve)); }
    };
    (async () => { %BODY% })();
  `;
  const run = (body: string) =>
    spawnSync(process.execPath, ['--expose-gc', '-e', program.replace('%BODY%', body), lib.path], {
      encoding: 'utf8',
      env: { ...process.env, FORCE_COLOR: undefined },
    });

  test('is finalized when it is garbage-collected, with a warning', () => {
    const { stdout, status } = run(`
      await (async () => {
        const dist = make();
        await dist.init(options);
        await dist.allocateMemory(64);
      })();
      await collect();
      await make().init(options);
      console.log('another one is initialised');
    `);
    expect(stdout).toMatch(
      /^LLMDataDistLeakWarning: an LLMDataDist of cluster 7 was garbage-collected[^\n]*\nanother one is initialised\n$/,
    );
    expect(status).toBe(0);
  });

  test('is nobody’s business when its process has died', () => {
    const testing = compileLib('testing/index');
    const { stdout, status } = run(`
      const { createFabric } = require(${JSON.stringify(testing.path)});
      const fabric = createFabric();
      const ends = [];
      const registry = new FinalizationRegistry((name) => ends.push(name));
      await (async () => {
        for (const [id, name] of [[7n, 'killed'], [8n, 'left']]) {
          const dist = new LLMDataDist(LLMRole.PROMPT, id, { backend: fabric.backend });
          await dist.init({ deviceId: 0, listenIpInfo: '10.0.0.' + id + ':26000' });
          registry.register(dist, name);
        }
      })();
      const held = globalThis[Symbol.for('llm-datadist.heldInstances')];
      console.log(held.size + ' held');
      fabric.kill(7n);
      console.log(held.size + ' held');
      await collect();
      console.log(ends.sort().join());
    `);
    testing.remove();
    // The instances themselves: what a program has of them may go at any time.
    expect(stdout).toBe('2 held\n1 held\nkilled,left\n');
    expect(status).toBe(0);
  });

  test('is not taken for abandoned while its cache manager, a handle or a region is in use', () => {
    const { stdout, stderr } = run(`
      const desc = { numTensors: 1, dataType: 2, shape: [4] };
      const manager = await (async () => { const d = make(); await d.init(options); return d.kvCacheManager; })();
      await collect();
      const cache = await manager.allocateCache(desc);
      console.log('manager: cache ' + cache.cacheId);
      await collect();
      await cache.regions[0].write(new Uint8Array([1, 2, 3, 4]));
      console.log('region: ' + (await cache.regions[0].read()).join());
      await manager.deallocateCache(cache);
      process.exit();
    `);
    expect(stderr).toBe('');
    expect(stdout).toBe('manager: cache 1\nregion: 1,2,3,4\n');
  });

  describe('and that peers may be using', () => {
    const scene = `
      const desc = { numTensors: 1, dataType: 2, shape: [1, 4] };
      const listening = { deviceId: 0, listenIpInfo: '127.0.0.1:26000' };
      const peer = { remoteClusterId: 7n, remoteIpInfos: [{ ip: '127.0.0.1', port: 26000 }], localIpInfos: [{ ip: '127.0.0.1' }] };
      const serve = async () => {
        const prompt = make();
        await prompt.init(listening);
        const cache = await prompt.kvCacheManager.allocateCache(desc);
        await cache.regions[0].write(new Uint8Array(4).fill(9));
        return JSON.stringify(cache.key());
      };
      const decode = async (lib = require(process.argv[1])) => {
        const decoder = new lib.LLMDataDist(LLMRole.DECODER, 8n, { backend: 'mock' });
        await decoder.init({ deviceId: 1 });
        const target = await decoder.kvCacheManager.allocateCache(desc);
        await decoder.linkClusters([peer]);
        return { decoder, target };
      };
      const pull = async ({ decoder, target }, key) => {
        await decoder.kvCacheManager.pullCache(require(process.argv[1]).cacheKeyFromJSON(key), target);
        return (await target.regions[0].read()).join();
      };
    `;

    test('is kept while it listens, if only a key is left of it', () => {
      const { stdout, status } = run(`${scene}
        const key = await serve();
        await collect();
        const decoder = await decode();
        await collect();
        console.log(await pull(decoder, key));
        await collect();
        console.log(await pull(decoder, key));
      `);
      expect(stdout).toBe('9,9,9,9\n9,9,9,9\n');
      expect(status).toBe(0);
    });

    test('is kept while it has links of its own, and no longer', () => {
      const { stdout } = run(`${scene}
        await serve();
        await decode();
        await collect();
        console.log('linked');
        await (async () => {
          const decoder = make();
          await decoder.init({ deviceId: 2 });
          await decoder.linkClusters([peer]);
          await decoder.unlinkClusters([peer]);
        })().catch((error) => console.log(error.message));
        await collect();
        console.log('the end');
      `);
      expect(stdout).toMatch(/^linked\nLLMDataDistLeakWarning: an LLMDataDist of cluster 7 [^\n]*\nthe end\n$/);
    });

    test('is not kept when a role switch has ended its listening', () => {
      const { stdout } = run(`${scene}
        await (async () => {
          const prompt = make();
          await prompt.init(listening);
          await prompt.switchRole(LLMRole.MIX);
        })();
        await collect();
      `);
      expect(stdout).toMatch(/^LLMDataDistLeakWarning: an LLMDataDist of cluster 7 [^\n]*\n$/);
    });

    test('is kept when the package is loaded again and the copy that made it is gone', () => {
      const { stdout, status } = run(`${scene}
        const key = await serve();
        for (const file of Object.keys(require.cache)) delete require.cache[file];
        await collect();
        console.log(await pull(await decode(), key));
      `);
      expect(stdout).toBe('9,9,9,9\n');
      expect(status).toBe(0);
    });

    test('is not kept when init has failed, or finalize has ended it', () => {
      const { stdout } = run(`${scene}
        const held = globalThis[Symbol.for('llm-datadist.heldInstances')];
        const dist = make();
        await dist.init({ ...listening, syncKvTimeout: 0 }).catch((error) => console.log(error.code));
        console.log(held.size);
        await dist.init(listening);
        console.log(held.size);
        await dist.finalize();
        console.log(held.size);
      `);
      expect(stdout).toBe('LLM_PARAM_INVALID\n0\n1\n0\n');
    });

    test('ends with its worker', () => {
      const { stdout, stderr, status } = run(`
        const { Worker } = require('node:worker_threads');
        const body = \`
          const { LLMDataDist } = require(process.argv[2]);
          new LLMDataDist(1, 7n, { backend: 'mock' }).init({ deviceId: 0, listenIpInfo: '127.0.0.1:26000' });
        \`;
        const worker = new Worker(body, { eval: true, argv: [process.argv[1]] });
        worker.on('error', (error) => console.log(error));
        worker.on('exit', (code) => console.log('worker ' + code));
      `);
      expect({ stdout, stderr, status }).toEqual({ stdout: 'worker 0\n', stderr: '', status: 0 });
    });
  });

  test("and a finalized one is nobody's business", () => {
    const { stdout } = run(`
      await (async () => { const d = make(); await d.init(options); await d.finalize(); })();
      await collect();
    `);
    expect(stdout).toBe('');
  });

  test('that was left at the end of the program ends with it', () => {
    const { stdout, stderr, status } = run('globalThis.kept = make(); await kept.init(options);');
    expect({ stdout, stderr, status }).toEqual({ stdout: '', stderr: '', status: 0 });
  });
});

describe('the addon', () => {
  const addonPath = join(__dirname, '..', 'build', 'Release', 'llm_datadist.node');

  /** The package as it would be with this addon in the place of the built one. */
  function withAddon(load: () => unknown, use: (lib: typeof import('../lib')) => void): void {
    delete process.env.LLM_DATADIST_ADDON;
    jest.isolateModules(() => {
      jest.doMock('../lib/backend/native/binary-file', () => ({
        fileProblem: (path: string) => (path === addonPath ? undefined : { kind: 'missing', text: 'no such file' }),
      }));
      jest.doMock(addonPath, load, { virtual: true });
      use(jest.requireActual('../lib'));
    });
    jest.dontMock('../lib/backend/native/binary-file');
    jest.dontMock(addonPath);
  }

  const { version } = jest.requireActual<{ version: string }>('../package.json');

  test('whose library opens serves native and auto', () => {
    const DataDist = jest.fn();
    const opened = { library: {}, attempts: [] };
    withAddon(
      () => ({ version, configure: jest.fn(), openLibrary: () => opened, close: jest.fn(), DataDist }),
      (lib) => {
        const options = { backend: 'native', allowMultipleInstances: true, guards: false, threads: 3 } as const;
        expect(new lib.LLMDataDist(LLMRole.PROMPT, 1n, options).backendName).toBe('native');
        expect(new lib.LLMDataDist(LLMRole.PROMPT, 2n).backendName).toBe('native');
        // Cluster, role, several instances, failed objects again, threads, class of exceptions, what settles promises.
        expect(DataDist.mock.calls).toEqual([
          [1n, LLMRole.PROMPT, true, true, 3, lib.LLMException, expect.any(Function)],
          [2n, LLMRole.PROMPT, false, false, 64, lib.LLMException, expect.any(Function)],
        ]);
      },
    );
  });

  test('of another version than the package is refused', () => {
    withAddon(
      () => ({ version: '1.2.3' }),
      (lib) => {
        const [attempt] = lib.probeNative().attempts;
        expect(attempt).toEqual({
          path: addonPath,
          error: `the addon is version 1.2.3, the package ${version}: build it anew`,
        });
      },
    );
  });

  test("that does not load is reported in the loader's own words", () => {
    withAddon(
      () => {
        throw new Error('GLIBC_2.99 not found');
      },
      (lib) => {
        const attempts = lib.probeNative().attempts.filter(({ path }) => path === addonPath);
        expect(attempts).toEqual([{ path: addonPath, error: 'GLIBC_2.99 not found' }]);
        expect(() => new lib.LLMDataDist(LLMRole.PROMPT, 1n, { backend: 'native' })).toThrow(/GLIBC_2\.99 not found/);
      },
    );
  });
});
