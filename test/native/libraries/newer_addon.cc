// An addon of a package to come, which shares the library in the process in another way.

#include <node_api.h>

#include "native/process.h"

extern "C" __attribute__((visibility("default"))) const LlmProcess* llm_datadist_process() {
  static constexpr LlmProcess kTable = {LLM_PROCESS_TABLE_VERSION + 1, "99.88.77", {}, {}, {}, {}, {}, {}, {}, {}};
  return &kTable;
}

extern "C" __attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env, napi_value exports) {
  return exports;
}
