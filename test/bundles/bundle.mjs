// Bundles one program with one bundler; runs where the bundlers are installed.
//
//   node bundle.mjs '{"bundler", "entry", "folder", "file", "external"}'

import { builtinModules } from 'node:module';
import { join } from 'node:path';

const { bundler, entry, folder, file, external } = JSON.parse(process.argv[2]);
const isBuiltin = (id) => id.startsWith('node:') || builtinModules.includes(id);

const BUNDLERS = {
  'esbuild, CommonJS': async () => esbuild('cjs'),
  'esbuild, ES module': async () => esbuild('esm'),
  'webpack, CommonJS': async () => webpack('commonjs', {}),
  'webpack, ES module': async () => webpack('module', { experiments: { outputModule: true } }),
  'rollup, ES module': async () => rollup('es'),
  'rollup, CommonJS': async () => rollup('cjs'),
  'vite, SSR': async () => {
    const { build } = await import('vite');
    await build({
      configFile: false,
      logLevel: 'error',
      root: join(entry, '..'),
      build: {
        ssr: entry,
        outDir: folder,
        emptyOutDir: false,
        rollupOptions: { external, output: { entryFileNames: file } },
      },
      ssr: { noExternal: external.length > 0 ? [] : true, external },
    });
  },
};

async function esbuild(format) {
  const { build } = await import('esbuild');
  const outfile = join(folder, file);
  await build({ entryPoints: [entry], bundle: true, platform: 'node', format, outfile, external, logLevel: 'warning' });
}

async function webpack(type, options) {
  const { default: bundle } = await import('webpack');
  const output = { path: folder, filename: file, ...(type === 'module' && { module: true, chunkFormat: 'module' }) };
  const externals = Object.fromEntries(external.map((name) => [name, `${type} ${name}`]));
  await new Promise((resolve, reject) => {
    bundle({ mode: 'production', target: 'node', entry, output, externals, ...options }, (error, stats) => {
      if (error) reject(error);
      else if (stats.hasErrors()) reject(new Error(stats.toString()));
      else resolve();
    });
  });
}

async function rollup(format) {
  const { rollup: bundle } = await import('rollup');
  const { default: commonjs } = await import('@rollup/plugin-commonjs');
  const { nodeResolve } = await import('@rollup/plugin-node-resolve');
  const bundled = await bundle({
    input: entry,
    external: (id) => external.includes(id) || isBuiltin(id),
    plugins: [nodeResolve({ exportConditions: ['node'] }), commonjs()],
  });
  await bundled.write({ file: join(folder, file), format });
}

await BUNDLERS[bundler]();
