import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatDifference, loadScenarios, runScenario } from '../../lib/conformance';
import type { BackendSource } from '../../lib/conformance';
import { handWritten, random } from '../fixtures/recordings';
import { Driver, encode } from './standin/driver';
import { DriverBackend } from './standin/driver-backend';
import { describeStandIn, P, PULL, Scene, WHOLE } from './standin/scene';

const ABI = join(__dirname, '../../native/abi');

/** The symbols that a library exports. */
function exportsOf(library: string): string[] {
  const { stdout } = spawnSync('nm', ['--dynamic', '--defined-only', '--format=posix', library], { encoding: 'utf8' });
  return stdout
    .split('\n')
    .map((line) => line.split(' ')[0] ?? '')
    .filter((symbol) => symbol !== '')
    .sort();
}

describeStandIn('the stand-in is made like the vendor’s libraries', (build) => {
  test('the library exports the symbols of the ABI and nothing else', () => {
    const listed = readFileSync(join(ABI, 'symbols.txt'), 'utf8').split('\n').filter(Boolean).sort();
    expect(listed.length).toBeGreaterThanOrEqual(35);
    expect(exportsOf(build.library)).toEqual(listed);
  });

  test('the runtime exports the functions of the ABI', () => {
    const header = readFileSync(join(ABI, 'acl.h'), 'utf8');
    const declared = Array.from(header.matchAll(/\b(acl\w+)\(/g), ([, name]) => name!).sort();
    expect(declared).toContain('aclrtMemcpy');
    expect(exportsOf(build.runtime).filter((symbol) => symbol.startsWith('acl'))).toEqual(declared);
  });

  test('the library has the old string ABI, as the vendor’s has', () => {
    const { stdout } = spawnSync('nm', ['--dynamic', '--undefined-only', build.library], { encoding: 'utf8' });
    expect(stdout).toMatch(/ U _ZNSs/);
    expect(stdout).not.toContain('__cxx11');
  });

  test('the library finds its runtime beside it', () => {
    const { stdout } = spawnSync('readelf', ['--dynamic', build.library], { encoding: 'utf8' });
    expect(stdout).toMatch(/NEEDED.*\[libascendcl\.so\]/);
    expect(stdout).toMatch(/RUNPATH.*\[\$ORIGIN\]/);
    expect(stdout).toMatch(/SONAME.*\[libllm_datadist\.so\]/);
  });
});

describeStandIn('the runtime of the stand-in', (build) => {
  test('is initialised once', async () => {
    const scene = new Scene(build);
    const statuses: unknown[] = [];
    for (const call of ['acl_init', 'acl_init', 'acl_finalize', 'acl_finalize', 'acl_init']) {
      statuses.push(await scene.main(call));
    }
    expect(statuses).toEqual([0, 100_002, 0, 100_001, 0]);
    await scene.end();
  });

  test('refuses what it cannot do', async () => {
    const scene = new Scene(build);
    const statusOf = async (...words: (string | number)[]) => (await scene.call('main', ...words)).status;
    expect(await statusOf('malloc', 0)).toBe(107_000);
    expect(await statusOf('malloc', '9223372036854775807')).toBe(207_001);
    expect(await statusOf('malloc', '18446744073709551615')).toBe(207_001);
    expect(await statusOf('set_device', -1)).toBe(107_001);
    expect(await statusOf('reset_device', 5000)).toBe(107_001);
    expect(await statusOf('copy_in', 4096, 4, 'aa')).toBe(107_000);
    expect(await statusOf('copy_in', 4096, 1, 'aa')).toBe(107_000);
    await scene.end();
  });

  test('gives memory that holds what was copied into it', async () => {
    const scene = new Scene(build);
    for (const [malloc, to, from] of [
      ['malloc', 1, 2],
      ['malloc_host', 0, 0],
    ] as const) {
      const [address = ''] = await scene.ok(malloc, 4);
      await scene.ok('copy_in', address, to, 'a1b2c3d4');
      expect(await scene.ok('copy_out', BigInt(address) + 1n, from, 2)).toEqual(['b2c3']);
    }
    await scene.end();
  });
});

describeStandIn('the stand-in answers as the recordings of the library do', (build) => {
  let driver: Driver;
  let port = 20_000;

  beforeAll(() => {
    driver = new Driver(build);
  });

  afterAll(async () => {
    expect(await driver.end()).toEqual({ code: 0, signal: null, stderr: '' });
  });

  // Ports of their own: an Initialize that fails late keeps its port.
  const source: BackendSource = () => ({
    createBackend: (clusterId, role) => new DriverBackend(driver, clusterId, role),
    freePorts: (count) => Promise.resolve(Array.from({ length: count }, () => port++)),
  });

  // With the backend hixl it does as with the default one.
  const own = loadScenarios(join(__dirname, '../conformance/differential.jsonl'));
  const ofDefaultBackend = [...handWritten, ...random, ...own].filter(
    ({ tags }) => !tags.includes('hixl-backend') && !tags.includes('hixl'),
  );
  const perTest = 50;
  const batches = Array.from({ length: Math.ceil(ofDefaultBackend.length / perTest) }, (_, i) => {
    const scenarios = ofDefaultBackend.slice(i * perTest, (i + 1) * perTest);
    return { first: scenarios[0]!.name, last: scenarios.at(-1)!.name, scenarios };
  });

  test.each(batches)(
    '$first to $last',
    async ({ scenarios }) => {
      const differences: string[] = [];
      for (const scenario of scenarios)
        differences.push(...(await runScenario(scenario, source)).map(formatDifference));
      expect(differences).toEqual([]);
    },
    60_000,
  );

  test('are most of those that there are', () => {
    expect(ofDefaultBackend.length).toBeGreaterThanOrEqual(300);
  });
});

describeStandIn('a transfer reaches memory that its link knows', (build) => {
  const pull = (dst: string) => ['pull_cache', 'D', '1,1,0', dst, 0, -1, WHOLE];

  test('not what was registered after the link was made', async () => {
    const scene = await new Scene(build).startLinked();
    const late = await scene.register('D');
    expect(await scene.main(...pull(late))).toBe(0xffff_ffff);
    expect(await scene.main(...pull('1'))).toBe(0);
    await scene.unlink();
    await scene.link();
    expect(await scene.main(...pull(late))).toBe(0);
    await scene.end();
  });

  test('not what the peer has unregistered since, although its table still names it', async () => {
    const scene = await new Scene(build).startLinked();
    expect(await scene.main(...PULL)).toBe(0);
    await scene.ok('unregister', 'P', 1);
    expect(await scene.main(...PULL)).toBe(0xffff_ffff);
    await scene.end();
  });

  test('not what is nobody’s memory', async () => {
    const scene = await new Scene(build).start();
    const [id = ''] = await scene.ok('register', 'D', '1;2;3;4,16', '1,18446744073709551615');
    await scene.link();
    expect(await scene.main(...pull(id))).toBe(0xffff_ffff);
    await scene.end();
  });
});

describeStandIn('what no recording shows of the stand-in', (build) => {
  test('a failed Initialize keeps its port when it failed behind the listener, and gives it back before that', async () => {
    const scene = new Scene(build);
    const listen = `llm.ListenIpInfo=${encode('127.0.0.1:26000')}`;
    for (const object of ['A', 'B', 'C']) await scene.ok('new', object, 1, 1);
    expect(await scene.main('init', 'A', 'llm.DeviceId=0', listen, 'llm.LinkRetryCount=0')).toBe(0x5010_b005);
    expect(await scene.main('init', 'B', 'llm.DeviceId=0', listen, 'llm.SyncKvCacheWaitTime=x')).toBe(0x5010_b005);
    expect(await scene.main('init', 'C', 'llm.DeviceId=0', listen)).toBe(0xffff_ffff);
    await scene.end();
  });

  test('the port of an Initialize that failed late is free again when the object is initialised again', async () => {
    const scene = new Scene(build);
    const listen = `llm.ListenIpInfo=${encode('127.0.0.1:26000')}`;
    await scene.ok('new', 'P', 1, 1);
    expect(await scene.main('init', 'P', 'llm.DeviceId=0', listen, 'llm.SyncKvCacheWaitTime=x')).toBe(0x5010_b005);
    expect(await scene.main('init', 'P', 'llm.DeviceId=0', listen)).toBe(0);
    await scene.end();
  });

  test('a registration that does not fit the table is not seen by peers, those before it are', async () => {
    const scene = await new Scene(build).start();
    const addresses = new Array<string>(131_062).fill('4096').join(',');
    expect(await scene.main('register', 'P', '1;131062;2;1', addresses)).toBe(0x5010_b005);
    await scene.link();
    expect(await scene.main('pull_cache', 'D', '1,2,0', 1, 0, -1, WHOLE)).toBe(0x5010_b002);
    expect(await scene.main(...PULL)).toBe(0);
    await scene.end();
  });

  test('who links to the any-address reaches this host', async () => {
    const scene = await new Scene(build).start();
    expect(await scene.main('link', 'D', 1000, P.replace(encode('127.0.0.1'), '0.0.0.0'))).toBe(0);
    await scene.end();
  });
});

describeStandIn('the stand-in is as safe for threads as the library', (build) => {
  test('transfers, links and registrations of many threads at once end with answers of the library', async () => {
    const scene = await new Scene(build).startLinked();
    const threads = Array.from({ length: 8 }, async (_, i) => {
      const statuses = new Set<number | undefined>();
      for (let n = 0; n < 50; n++) {
        const words = [
          PULL,
          ['push_cache', 'P', 1, '1;2;3;4,16', '2,1,0', 0, -1, '-1,-1,-1,-1,1'],
          ['unlink', 'D', 1000, 0, '1;0;127.0.0.1/26000;-'],
          ['link', 'D', 1000, '1;0;127.0.0.1/26000;127.0.0.1/26999'],
        ][(i + n) % 4]!;
        statuses.add((await scene.call(`thread${i}`, ...words)).status);
      }
      return statuses;
    });
    const seen = new Set((await Promise.all(threads)).flatMap((statuses) => [...statuses]));
    // Success, not yet linked, already linked.
    for (const status of seen) expect([0, 0x5010_b007, 0x5010_b008]).toContain(status);
    expect(seen.has(0)).toBe(true);
    await scene.end();
  });
});
