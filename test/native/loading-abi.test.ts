import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { built } from './fixtures/built';
import { temporaryFolder, tryToCompile } from './fixtures/compiler';

const ABI = join(__dirname, '../../native/abi');
const bridge = join(dirname(built().addon), 'llm_datadist_bridge.so');

interface DynamicSymbol {
  readonly name: string;
  readonly defined: boolean;
}

/** What a binary exports and needs; readelf, unlike nm, reads those of other machines. */
function dynamicSymbols(file: string): DynamicSymbol[] {
  const { stdout } = spawnSync('readelf', ['--dyn-syms', '--wide', file], { encoding: 'utf8' });
  // Num: Value Size Type Bind Vis Ndx Name[@version]
  return Array.from(stdout.matchAll(/^ *\d+: (?:\S+ +){5}(\S+) +(\S+)/gm), ([, index = '', name = '']) => ({
    name: name.replace(/@.*/, ''),
    defined: index !== 'UND',
  }));
}

const vendorSymbols = readFileSync(join(ABI, 'symbols.txt'), 'utf8')
  .split('\n')
  .filter((line) => line !== '');
const runtimeFunctions = Array.from(
  readFileSync(join(ABI, 'acl.h'), 'utf8').matchAll(/\b(acl\w+)\(/g),
  ([, name]) => name!,
);

const isOfTheVendor = (name: string) => /llm_datadist|AscendString|^acl/.test(name);

describe('the bridge', () => {
  test('needs of the vendor nothing but what the ABI lists', () => {
    const needed = dynamicSymbols(bridge).filter(({ name, defined }) => !defined && isOfTheVendor(name));
    const known = [...vendorSymbols, ...runtimeFunctions];
    expect(needed.map(({ name }) => name).filter((name) => !known.includes(name))).toEqual([]);
    // All methods, a constructor, two functions of the string, and the runtime's.
    expect(needed.length).toBeGreaterThan(25);
  });

  test('exports its entry and nothing else', () => {
    // Templates of the standard library and what sanitizers add are weak, and in every binary that has them.
    const own = dynamicSymbols(bridge).filter(
      ({ name, defined }) => defined && !/^_ZNK?S|^_(init|fini)$|^__|^\./.test(name),
    );
    expect(own.map(({ name }) => name)).toEqual(['llm_datadist_bridge']);
  });

  test('uses no string of the standard library in what it needs', () => {
    const strings = dynamicSymbols(bridge).filter(
      ({ name }) => isOfTheVendor(name) && /cxx11|SsSt|basic_string/.test(name),
    );
    expect(strings).toEqual([]);
  });
});

test('the addon needs nothing of the vendor', () => {
  const needed = dynamicSymbols(built().addon).filter(({ defined }) => !defined);
  expect(needed.length).toBeGreaterThan(10);
  expect(needed.filter(({ name }) => isOfTheVendor(name))).toEqual([]);
});

test('neither binary names a library of the vendor as needed', () => {
  for (const file of [built().addon, bridge]) {
    const { stdout } = spawnSync('readelf', ['--dynamic', '--wide', file], { encoding: 'utf8' });
    expect(stdout).toContain('libstdc++.so.6');
    expect(stdout).not.toMatch(/NEEDED.*(llm_|ascend|acl|hixl|metadef)/);
  }
});

describe('the layout', () => {
  const layout = readFileSync(join(ABI, 'layout.h'), 'utf8');
  const header = readFileSync(join(ABI, 'llm_datadist.h'), 'utf8');

  /** Compiles a header and a layout, which need not be those of the package. */
  function compile(own: { header?: string; layout?: string }): { succeeded: boolean; stderr: string } {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'header.h'), own.header ?? header);
    writeFileSync(join(folder, 'layout.h'), own.layout ?? layout);
    writeFileSync(join(folder, 'both.cc'), '#include "header.h"\n#include "layout.h"\n');
    return tryToCompile(['-fsyntax-only', join(folder, 'both.cc')]);
  }

  test('is that of the header', () => {
    expect(compile({})).toEqual({ succeeded: true, stderr: '' });
  });

  test('does not compile when one number of it is another', () => {
    const changed = layout
      .replace(
        /^(LLM_SAME_(?:SIZE|OFFSET)\(\w+, (?:\w+, )?)(\d+)\);$/gm,
        (_, before: string, number: string) => `${before}${Number(number) + 8});`,
      )
      .replace(/^(LLM_SAME_SIZE\(\w+, )(\d+)(, \d+\);)$/gm, (_, before: string, number: string, after: string) => {
        return `${before}${Number(number) + 8}${after}`;
      });
    const { succeeded, stderr } = compile({ layout: changed });
    expect(succeeded).toBe(false);
    const named = [
      ...Array.from(layout.matchAll(/^LLM_SAME_SIZE\((\w+)/gm), ([, type]) => `${type} has another size or alignment`),
      ...Array.from(layout.matchAll(/^LLM_SAME_OFFSET\((\w+), (\w+)/gm), ([, type, member]) => {
        return `${type}::${member} is at another offset`;
      }),
    ];
    expect(named).toHaveLength(34);
    expect(named.filter((message) => !stderr.includes(message))).toEqual([]);
  });

  test('does not compile when a struct has one member more', () => {
    const structs = ['IpInfo', 'ClusterInfo', 'CacheIndex', 'CacheDesc', 'Cache', 'KvCacheExtParam', 'RegisterCfg'];
    const changed = structs.reduce((text, struct) => {
      return text.replace(`struct ${struct} {\n`, `struct ${struct} {\n  uint64_t stranger = 0;\n`);
    }, header);
    expect(changed.match(/stranger/g)).toHaveLength(structs.length);
    const { succeeded, stderr } = compile({ header: changed });
    expect(succeeded).toBe(false);
    expect(structs.filter((struct) => !stderr.includes(`: ${struct} has another size or alignment`))).toEqual([]);
  });

  test('does not compile when a number has another type', () => {
    const types = [
      ['using Status = uint32_t', 'using Status = int32_t', 'Status is not a uint32'],
      ['enum DataType : int32_t', 'enum DataType : int64_t', 'an enum is not 4 bytes wide'],
      ['enum class CachePlacement : uint32_t', 'enum class CachePlacement : int32_t', 'CachePlacement is not a uint32'],
    ] as const;
    const changed = types.reduce((text, [from, to]) => text.replace(from, to), header);
    const { succeeded, stderr } = compile({ header: changed });
    expect(succeeded).toBe(false);
    for (const [, to, message] of types) {
      expect(changed).toContain(to);
      expect(stderr).toContain(message);
    }
  });
});
