import eslint from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'coverage/', 'prebuilds/', 'node_modules/'] },
  eslint.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
      '@typescript-eslint/prefer-literal-enum-member': ['error', { allowBitwiseExpressions: true }],
      '@typescript-eslint/no-non-null-assertion': 'error',
      // Enums are the library's int32: any number may be handed to it, and it answers for itself.
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
    },
  },
  {
    // V8 gives an error the frames of what awaits it; a promise that is returned without is a step behind.
    files: ['lib/*.ts'],
    rules: { '@typescript-eslint/return-await': ['error', 'always'] },
  },
  {
    // Fake timers of a test hold up nothing but what follows them on purpose.
    files: ['lib/**/*.ts'],
    ignores: ['lib/node-timers.ts', 'lib/backend/mock/clock.ts'],
    rules: {
      'no-restricted-imports': ['error', { name: 'node:timers', message: 'Use nodeTimers.' }],
      'no-restricted-globals': [
        'error',
        ...['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate'].map(
          (name) => ({
            name,
            message: 'Use nodeTimers.',
          }),
        ),
      ],
    },
  },
  {
    // Tests hand the library what the types forbid, on purpose.
    files: ['test/**/*.ts'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    // What is merged with an interface of somebody else's has its shape: its namespace and its type parameters.
    files: ['lib/testing/jest/index.ts', 'lib/testing/jest-globals.ts'],
    rules: {
      '@typescript-eslint/no-namespace': ['error', { allowDeclarations: true }],
      '@typescript-eslint/no-empty-object-type': ['error', { allowInterfaces: 'with-single-extends' }],
      '@typescript-eslint/no-unused-vars': ['error', { varsIgnorePattern: '^T$' }],
    },
  },
  {
    files: ['**/*.js', '**/*.mjs', '**/*.cjs'],
    languageOptions: {
      globals: {
        require: 'readonly',
        module: 'writable',
        process: 'readonly',
        console: 'readonly',
        __dirname: 'readonly',
        Buffer: 'readonly',
      },
    },
  },
);
