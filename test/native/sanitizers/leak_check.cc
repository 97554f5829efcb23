// Has LeakSanitizer look for leaks when Node has taken its environment down, and only then. It does not look into V8's
// heap: where Node ends at once, by process.exit or an uncaught exception, all that JavaScript still holds would pass for
// lost.

#include <dlfcn.h>
#include <node_api.h>

#include <cstdlib>

#include "crash_stack.h"

namespace {

void Check() {
  const auto check = reinterpret_cast<void (*)()>(dlsym(RTLD_DEFAULT, "__lsan_do_leak_check"));
  // No leak check would be no finding.
  if (check == nullptr) std::abort();
  check();
}

// Node is still to free what it has itself, and does so before the process calls what is registered here.
void AtEndOfEnvironment(void*) { std::atexit(Check); }

}  // namespace

NAPI_MODULE_INIT() {
  PrintStackOfCrashes();
  napi_add_env_cleanup_hook(env, AtEndOfEnvironment, nullptr);
  return exports;
}
