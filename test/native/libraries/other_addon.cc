// An addon that says it is of another version than the package.

#include <node_api.h>

#include <cstring>

extern "C" __attribute__((visibility("default"))) napi_value napi_register_module_v1(napi_env env, napi_value exports) {
  constexpr char kVersion[] = "99.88.77";
  napi_value version;
  napi_create_string_utf8(env, kVersion, std::strlen(kVersion), &version);
  napi_set_named_property(env, exports, "version", version);
  return exports;
}
