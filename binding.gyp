# For hosts without CMake: the same sources, defines and flags as CMakeLists.txt, which says what they are for.
{
  'variables': {
    'warnings_as_errors%': 0,
    'sanitize%': '',
  },
  'target_defaults': {
    'configurations': {
      'Release': { 'defines': ['NDEBUG'] },
    },
    # Node's own flags ask for GNU extensions, no exceptions and no RTTI, and silence one warning.
    'cflags!': ['-Wno-unused-parameter'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': [
      '-std=c++17',
      '-fexceptions',
      '-frtti',
      '-fvisibility=hidden',
      '-fvisibility-inlines-hidden',
      '-Wall',
      '-Wextra',
      '-ffunction-sections',
      '-fdata-sections',
    ],
    'ldflags': ['-Wl,-z,nodelete', '-Wl,-z,now', '-Wl,--gc-sections'],
    'conditions': [
      ['warnings_as_errors==1', { 'cflags_cc': ['-Werror'] }],
      ['sanitize!=""', {
        'cflags_cc': ['-fsanitize=<(sanitize)', '-fno-omit-frame-pointer', '-g', '-O1'],
        'ldflags': ['-fsanitize=<(sanitize)'],
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
      'ldflags': ['-Wl,--version-script=<(module_root_dir)/native/exports.map'],
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
      'ldflags': ['-Wl,--version-script=<(module_root_dir)/native/bridge/exports.map'],
    },
  ],
}
