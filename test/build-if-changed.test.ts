import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { PLAIN_ENVIRONMENT, temporaryFolder } from './fixtures/package-copy';

const TIMEOUT = 120_000;
const ANNOUNCED = 'Compiling the package, which takes some seconds; it is done again only when a source has changed.\n';

/** A package whose build notes that it ran, with the announcement that must come before it. */
function smallPackage(build = `node build.js`): string {
  const folder = temporaryFolder();
  for (const name of ['lib/inner', 'scripts', 'test/conformance']) {
    fs.mkdirSync(path.join(folder, name), { recursive: true });
  }
  const files = {
    'package.json': JSON.stringify({ name: 'small', scripts: { build } }),
    'build.js': `console.error('built');
      require('node:fs').mkdirSync('dist', { recursive: true });
      require('node:fs').writeFileSync('dist/index.mjs', '');`,
    'lib/index.ts': 'one',
    'lib/inner/other.ts': 'two',
    'test/conformance/scenario.json': '{}',
  };
  for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text);
  const script = 'scripts/build-if-changed.js';
  fs.copyFileSync(path.join(__dirname, '..', script), path.join(folder, script));
  return folder;
}

function build(folder: string, env: NodeJS.ProcessEnv = {}) {
  const script = path.join(folder, 'scripts', 'build-if-changed.js');
  const options = { encoding: 'utf8', env: { ...PLAIN_ENVIRONMENT, ...env } } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], options);
  return { status, output: stdout + stderr };
}

const BUILT = { status: 0, output: `${ANNOUNCED}built\n` };
const LEFT = { status: 0, output: '' };

test(
  'the package is compiled once, after it was said; and again when a source changes, comes, goes, or dist/ is gone',
  () => {
    const folder = smallPackage();
    const at = (name: string) => path.join(folder, name);
    expect(build(folder)).toEqual(BUILT);
    expect(build(folder)).toEqual(LEFT);
    const changes = [
      () => {
        fs.writeFileSync(at('lib/inner/other.ts'), 'three');
      },
      () => {
        fs.writeFileSync(at('lib/new.ts'), '');
      },
      () => {
        fs.rmSync(at('lib/new.ts'));
      },
      () => {
        fs.writeFileSync(at('test/conformance/scenario.json'), '[]');
      },
      () => {
        fs.rmSync(at('dist'), { recursive: true });
      },
    ];
    for (const change of changes) {
      change();
      expect(build(folder)).toEqual(BUILT);
    }
    fs.utimesSync(at('lib/index.ts'), new Date(), new Date());
    expect(build(folder)).toEqual(LEFT);
  },
  TIMEOUT,
);

test(
  'a build that fails is reported, and tried again the next time',
  () => {
    const folder = smallPackage('node build.js && node -e "process.exit(3)"');
    for (let attempt = 1; attempt <= 2; attempt += 1) {
      const { status, output } = build(folder);
      expect(output).toContain(ANNOUNCED);
      expect(output).toContain('build-if-changed: the package could not be compiled\n');
      expect(status).toBe(1);
    }
  },
  TIMEOUT,
);

test('without npm it says so', () => {
  const { status, output } = build(smallPackage(), { PATH: temporaryFolder() });
  expect(output).toBe(`${ANNOUNCED}build-if-changed: the package could not be compiled: spawnSync npm ENOENT\n`);
  expect(status).toBe(1);
});

test.each(['demo', 'conformance'])('`npm run %s` compiles only what has changed', (name) => {
  const manifest = JSON.parse(fs.readFileSync(path.join(__dirname, '..', 'package.json'), 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>;
  };
  expect(manifest.scripts[name]).toBe(`node scripts/build-if-changed.js && node dist/cli/${name}.js`);
});
