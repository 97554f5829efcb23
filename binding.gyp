# For hosts without CMake: the same sources, defines and flags as CMakeLists.txt.
{
  'variables': {
    'warnings_as_errors%': 0,
  },
  'target_defaults': {
    # Node's own flags ask for GNU extensions, no exceptions and no RTTI, and silence one warning.
    'cflags!': ['-Wno-unused-parameter'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': [
      '-std=c++17',
      '-fexceptions',
      '-fvisibility=hidden',
      '-fvisibility-inlines-hidden',
      '-Wall',
      '-Wextra',
    ],
    'conditions': [
      ['warnings_as_errors==1', { 'cflags_cc': ['-Werror'] }],
      ['OS=="linux"', { 'ldflags': ['-Wl,-z,nodelete', '-Wl,-z,now'] }],
      ['OS=="mac"', {
        'xcode_settings': {
          'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
          'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
          'GCC_ENABLE_CPP_RTTI': 'YES',
          'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
        },
      }],
    ],
  },
  'targets': [
    {
      'target_name': 'llm_datadist',
      'sources': [
        '<!@(node -p "require(\'node:fs\').readFileSync(\'native/sources.txt\', \'utf8\')")',
      ],
      'include_dirs': [
        '<!(node -p "require(\'node-addon-api\').include_dir")',
      ],
      'defines': [
        'NAPI_VERSION=8',
        'NODE_ADDON_API_CPP_EXCEPTIONS_ALL',
        'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
        'LLM_DATADIST_VERSION="<!(node -p "require(\'./package.json\').version")"',
      ],
    },
    {
      'target_name': 'llm_datadist_bridge',
      # Not a loadable_module, which node-gyp would call .node.
      'type': 'shared_library',
      'product_prefix': '',
      'product_extension': 'so',
      'product_dir': '<(PRODUCT_DIR)',
      'sources': [
        '<!@(node -p "require(\'node:fs\').readFileSync(\'native/bridge/sources.txt\', \'utf8\')")',
      ],
    },
  ],
}
