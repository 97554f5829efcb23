'use strict';

// Builds the stand-in vendor library, its control addon and its driver with the compiler directly. Never shipped.
//
//   node test/native/standin/build.js [--sanitize=address,undefined] [--out=FOLDER]      (compiler: CXX or g++)
//
// build.d.ts says what it exports and where everything lies.

const { spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const here = __dirname;
const root = path.resolve(here, '../../..');

const COMMON_FLAGS = ['-std=c++17', '-O2', '-g', '-fPIC', '-Wall', '-Wextra', '-Werror', `-I${here}`, `-I${root}`];
/** The vendor's library is built with the old string ABI, a binding with the other one. */
const VENDOR_FLAGS = ['-D_GLIBCXX_USE_CXX11_ABI=0'];
const ADDON_DEFINES = [
  '-DNAPI_VERSION=8',
  '-DNODE_ADDON_API_CPP_EXCEPTIONS_ALL',
  '-DNODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
];

const RUNTIME_SYMBOLS = ['acl*', 'standin_*'];

class StandInBuildError extends Error {
  name = 'StandInBuildError';
}

class NoCompilerError extends StandInBuildError {
  name = 'NoCompilerError';
}

function sourcesIn(folder) {
  return fs
    .readdirSync(path.join(here, folder))
    .filter((name) => name.endsWith('.cc'))
    .sort()
    .map((name) => path.join(here, folder, name));
}

/** The symbols that a library of the vendor's exports. */
function librarySymbols() {
  return fs
    .readFileSync(path.join(root, 'native/abi/symbols.txt'), 'utf8')
    .split('\n')
    .filter((line) => line !== '');
}

/** Everything that the build reads, so that a change of any of it builds anew. */
function inputs() {
  const files = [path.join(root, 'native/abi/symbols.txt'), path.join(here, 'build.js')];
  for (const folder of [here, path.join(here, 'runtime'), path.join(here, 'library'), path.join(root, 'native/abi')]) {
    for (const name of fs.readdirSync(folder)) {
      if (/\.(cc|h)$/.test(name)) files.push(path.join(folder, name));
    }
  }
  return files.sort();
}

/** One build: a compiler with its flags, and the folder that the results go to. */
class Build {
  constructor({ sanitize = wantedSanitizers(), cxx = process.env.CXX ?? 'g++', outDir } = {}) {
    this.cxx = cxx.trim().split(/\s+/);
    this.sanitize = [...sanitize].sort();
    this.target = this.#target();
    const suffix = [...(this.target === hostTarget() ? [] : [this.target]), ...this.sanitize];
    this.outDir = path.resolve(outDir ?? path.join(root, 'build', ['standin', ...suffix].join('-')));
    this.flags = [
      ...COMMON_FLAGS,
      ...(this.sanitize.length > 0 ? [`-fsanitize=${this.sanitize.join(',')}`, '-fno-omit-frame-pointer'] : []),
    ];
  }

  #target() {
    const [program, ...args] = this.cxx;
    const { stdout, error, status } = spawnSync(program, [...args, '-dumpmachine'], { encoding: 'utf8' });
    if (status !== 0) {
      const how = error?.message ?? `exit code ${status}`;
      throw new NoCompilerError(`the compiler ${program} cannot be run (${how}); set CXX to a C++17 compiler`);
    }
    return stdout.trim().split('-')[0];
  }

  at(...names) {
    return path.join(this.outDir, ...names);
  }

  /**
   * Runs the compiler, unless that was done with the same arguments and `files`. The result appears under its name when
   * it is complete.
   */
  compile(output, args, files) {
    fs.mkdirSync(path.dirname(output), { recursive: true });
    const key = this.at('objects', `${path.relative(this.outDir, output).replaceAll(path.sep, '-')}.key`);
    const wanted = fingerprint([this.cxx, this.flags, args], files);
    if (fs.existsSync(output) && isStamped(key, wanted)) return;
    const unfinished = `${output}.${process.pid}`;
    const [program, ...first] = this.cxx;
    const all = [...first, ...this.flags, ...args, '-o', unfinished];
    const { status, stderr, error } = spawnSync(program, all, { encoding: 'utf8' });
    if (status !== 0) {
      fs.rmSync(unfinished, { force: true });
      throw new StandInBuildError(`${program} ${all.join(' ')}\n${error?.message ?? stderr}`);
    }
    fs.renameSync(unfinished, output);
    fs.mkdirSync(path.dirname(key), { recursive: true });
    fs.writeFileSync(key, wanted);
  }

  objectOf(source) {
    return this.at('objects', `${path.relative(here, source).replaceAll(path.sep, '-')}.o`);
  }

  objects(folder) {
    const headers = inputs().filter((file) => file.endsWith('.h'));
    return sourcesIn(folder).map((source) => {
      this.compile(this.objectOf(source), [...VENDOR_FLAGS, '-c', source], [source, ...headers]);
      return this.objectOf(source);
    });
  }

  /** A shared library that exports `symbols` and nothing else. */
  library(output, objects, symbols, flags = []) {
    const script = this.at('objects', `${path.relative(this.outDir, output).replaceAll(path.sep, '-')}.map`);
    fs.mkdirSync(path.dirname(script), { recursive: true });
    const listed = symbols.map((symbol) => `${symbol};`).join('\n');
    fs.writeFileSync(script, `{\nglobal:\n${listed}\nlocal: *;\n};\n`);
    // A sanitizer's own symbols come from the program.
    const complete = this.sanitize.length > 0 ? [] : ['-Wl,-z,defs'];
    const soname = `-Wl,-soname,${path.basename(output)}`;
    const args = ['-shared', soname, `-Wl,--version-script=${script}`, ...complete, ...objects, ...flags, '-pthread'];
    this.compile(output, args, [script, ...objects]);
  }

  runtime(output, without = []) {
    const objects = this.objects('runtime');
    const functions = RUNTIME_SYMBOLS.filter((symbol) => symbol !== 'acl*' || without.length === 0);
    const named = without.length === 0 ? [] : this.runtimeFunctions().filter((symbol) => !without.includes(symbol));
    this.library(output, objects, [...functions, ...named, 'extern "C++" { standin::*; }'], ['-ldl']);
  }

  runtimeFunctions() {
    const header = fs.readFileSync(path.join(root, 'native/abi/acl.h'), 'utf8');
    return Array.from(header.matchAll(/\b(acl\w+)\(/g), ([, name]) => name);
  }

  /** @param runtime the runtime library that it needs, found beside it */
  vendor(output, runtime, without = []) {
    const symbols = librarySymbols().filter((symbol) => !without.some((method) => nameOf(symbol) === method));
    this.library(output, this.objects('library'), symbols, [runtime, '-Wl,-rpath,$ORIGIN']);
  }

  addon(output) {
    const source = path.join(here, 'control_addon.cc');
    const includes = [
      path.dirname(require.resolve('node-addon-api/package.json')),
      require('node-api-headers').include_dir,
    ].flatMap((folder) => ['-isystem', folder]);
    const args = ['-shared', '-fvisibility=hidden', ...ADDON_DEFINES, ...includes, source, '-pthread', '-ldl'];
    this.compile(output, args, [source, path.join(here, 'control.h')]);
  }

  driver(output) {
    const libraries = [this.at('lib64', 'libllm_datadist.so'), this.at('lib64', 'libascendcl.so')];
    const source = path.join(here, 'driver.cc');
    const headers = inputs().filter((file) => file.endsWith('.h'));
    this.compile(output, [source, ...libraries, '-Wl,-rpath,$ORIGIN/lib64', '-pthread'], [source, ...headers]);
  }

  /** Runs `work` unless its results are there already, and not while another process does. */
  once(name, work) {
    const stamp = this.at(`${name}.stamp`);
    const wanted = fingerprint([this.cxx, this.flags, this.target], inputs());
    if (isStamped(stamp, wanted)) return;
    withLock(this.at('lock'), () => {
      if (isStamped(stamp, wanted)) return;
      work();
      fs.writeFileSync(stamp, wanted);
    });
  }

  main() {
    this.once('main', () => {
      this.runtime(this.at('lib64', 'libascendcl.so'));
      this.vendor(this.at('lib64', 'libllm_datadist.so'), this.at('lib64', 'libascendcl.so'));
      this.addon(this.at('standin.node'));
      this.driver(this.at('driver'));
    });
  }
}

/** What a result depends on, in short. */
function fingerprint(words, files) {
  const hash = createHash('sha256').update(JSON.stringify(words));
  for (const file of files) hash.update(`\0${file}\0`).update(fs.readFileSync(file));
  return hash.digest('hex');
}

function isStamped(stamp, wanted) {
  return fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted;
}

/** So that a run of all tests can be one with sanitizers. */
function wantedSanitizers() {
  return (process.env.LLM_STANDIN_SANITIZE ?? '').split(',').filter((name) => name !== '');
}

function hostTarget() {
  return { x64: 'x86_64', arm64: 'aarch64' }[process.arch] ?? process.arch;
}

/** What a mangled name of the vendor's class calls: `_ZN12llm_datadist11LlmDataDist10InitializeE...` is `Initialize`. */
function nameOf(symbol) {
  const [, length, rest] = /^_ZN12llm_datadist11LlmDataDist(\d+)(.*)$/.exec(symbol) ?? [];
  return length === undefined ? undefined : rest.slice(0, Number(length));
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/**
 * The lock saves work: results get their names when they are complete, so that two builds at once do no harm. It is a file
 * with the process id of its holder, which is written before it gets the lock's name.
 */
function withLock(lock, work) {
  fs.mkdirSync(path.dirname(lock), { recursive: true });
  const own = `${lock}.${process.pid}`;
  fs.writeFileSync(own, String(process.pid));
  const clock = new Int32Array(new SharedArrayBuffer(4));
  try {
    while (!tryLink(own, lock)) {
      const holder = holderOf(lock);
      if (holder === undefined) continue;
      if (isAlive(holder)) Atomics.wait(clock, 0, 0, 50);
      else fs.rmSync(lock, { force: true });
    }
    try {
      work();
    } finally {
      fs.rmSync(lock, { force: true });
    }
  } finally {
    fs.rmSync(own);
  }
}

function tryLink(from, to) {
  try {
    fs.linkSync(from, to);
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

/** `undefined` where the lock was given back meanwhile. */
function holderOf(lock) {
  try {
    return Number(fs.readFileSync(lock, 'utf8'));
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** What the library lacked before it could register caches. */
const NOT_IN_OLDER_RELEASES = [
  'SetRole',
  'CopyKvCache',
  'CopyKvBlocks',
  'RegisterKvCache',
  'UnregisterKvCache',
  'PushKvCache',
  'PushKvBlocks',
];

/** Each gets a folder of its own and puts libraries into it; what is in `library` or `runtime` is what it is about. */
const VARIANTS = {
  older: (build, folder) => {
    const runtime = copy(build.at('lib64', 'libascendcl.so'), path.join(folder, 'libascendcl.so'));
    build.vendor(path.join(folder, 'libllm_engine.so'), runtime, NOT_IN_OLDER_RELEASES);
  },
  'no-initialize': (build, folder) => {
    const runtime = copy(build.at('lib64', 'libascendcl.so'), path.join(folder, 'libascendcl.so'));
    build.vendor(path.join(folder, 'libllm_datadist.so'), runtime, ['Initialize']);
  },
  'no-elf': (build, folder) => {
    copy(build.at('lib64', 'libascendcl.so'), path.join(folder, 'libascendcl.so'));
    fs.writeFileSync(path.join(folder, 'libllm_datadist.so'), 'This is no library.\n');
  },
  'other-machine': (build, folder) => {
    copy(build.at('lib64', 'libascendcl.so'), path.join(folder, 'libascendcl.so'));
    const elf = fs.readFileSync(build.at('lib64', 'libllm_datadist.so'));
    elf.writeUInt16LE(OTHER_MACHINE, E_MACHINE);
    fs.writeFileSync(path.join(folder, 'libllm_datadist.so'), elf);
  },
  'acl-rt': (build, folder) => {
    const runtime = path.join(folder, 'libacl_rt.so');
    build.runtime(runtime);
    build.vendor(path.join(folder, 'libllm_datadist.so'), runtime);
  },
  'no-runtime': (build, folder) => {
    copy(build.at('lib64', 'libllm_datadist.so'), path.join(folder, 'libllm_datadist.so'));
  },
  'old-runtime': (build, folder) => {
    const runtime = path.join(folder, 'libascendcl.so');
    build.runtime(runtime, ['aclsysGetVersionStr', 'aclrtGetSocName', 'aclGetRecentErrMsg']);
    build.vendor(path.join(folder, 'libllm_datadist.so'), runtime);
  },
  'no-memcpy': (build, folder) => {
    const runtime = path.join(folder, 'libascendcl.so');
    build.runtime(runtime, ['aclrtMemcpy']);
    build.vendor(path.join(folder, 'libllm_datadist.so'), runtime);
  },
};

/** Where an ELF header says which machine it is for, and one that nobody runs Node on. */
const E_MACHINE = 18;
const OTHER_MACHINE = 2; // SPARC

function copy(from, to) {
  fs.copyFileSync(from, to);
  return to;
}

function buildStandIn(options) {
  const build = new Build(options);
  build.main();
  return {
    outDir: build.outDir,
    libraryFolder: build.at('lib64'),
    library: build.at('lib64', 'libllm_datadist.so'),
    runtime: build.at('lib64', 'libascendcl.so'),
    addon: build.at('standin.node'),
    driver: build.at('driver'),
  };
}

function buildVariant(name, options) {
  if (!Object.hasOwn(VARIANTS, name)) throw new StandInBuildError(`there is no variant ${name}`);
  const build = new Build(options);
  build.main();
  const home = build.at('variants', name);
  const folder = path.join(home, 'lib64');
  build.once(`variant-${name}`, () => {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(folder, { recursive: true });
    VARIANTS[name](build, folder);
  });
  return { home, libraryFolder: folder };
}

module.exports = {
  buildStandIn,
  buildVariant,
  VARIANT_NAMES: Object.keys(VARIANTS),
  StandInBuildError,
  NoCompilerError,
};

function main(args) {
  const options = {};
  for (const arg of args) {
    const [, name, value] = /^--(sanitize|out)=(.+)$/.exec(arg) ?? [];
    if (name === undefined) throw new StandInBuildError(`unknown argument ${arg}; there are --sanitize= and --out=`);
    if (name === 'out') options.outDir = value;
    else options.sanitize = value.split(',');
  }
  console.log(`built ${path.relative(process.cwd(), buildStandIn(options).outDir)}`);
}

if (require.main === module) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof StandInBuildError)) throw error;
    console.error(`stand-in: ${error.message}`);
    process.exitCode = 1;
  }
}
