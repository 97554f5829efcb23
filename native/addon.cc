// The native side of llm-datadist. It links nothing of CANN, so that require() works on every host.

#include <napi.h>

// Two builds compile this file; a define that one of them lost would show only when something
// throws.
#if !defined(NAPI_VERSION) || NAPI_VERSION != 8
#error "The addon is built against Node-API 8: define NAPI_VERSION=8."
#endif
#ifndef NODE_ADDON_API_CPP_EXCEPTIONS_ALL
#error "Define NODE_ADDON_API_CPP_EXCEPTIONS_ALL, or a std::exception ends the process."
#endif
#ifndef NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#error "Define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS, or worker.terminate() ends the process."
#endif

namespace llm_datadist_node {

// One instance per environment: the main thread and each worker have their own. No static state.
class Addon final : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports) {
    const auto version = Napi::String::New(env, LLM_DATADIST_VERSION);
    const auto napi_version = Napi::Number::New(env, NAPI_VERSION);
    DefineAddon(exports, {InstanceValue("version", version, napi_enumerable),
                          InstanceValue("napiVersion", napi_version, napi_enumerable)});
  }
};

NODE_API_ADDON(Addon)

}  // namespace llm_datadist_node
