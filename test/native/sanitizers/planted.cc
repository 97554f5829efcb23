// Faults that a sanitizer must find: an addon whose one function commits the one that it is told by name.

#include <node_api.h>

#include <climits>
#include <cstddef>
#include <cstring>
#include <thread>

namespace {

// Volatile, so that no fault is computed away.
volatile int zero = 0;
char* volatile bytes = nullptr;
int shared = 0;

void HeapOverflow() {
  bytes = new char[8];
  bytes[8 + zero] = 1;
}

void UseAfterFree() {
  bytes = new char[8];
  delete[] bytes;
  bytes[zero] = 1;
}

void SignedOverflow() {
  volatile int number = INT_MAX;
  number = number + 1;
}

void Leak() {
  // More than one, because a forgotten register may still hold the last.
  for (int i = 0; i < 100; ++i) bytes = new char[1000];
  bytes = nullptr;
}

void Race() {
  const auto count = [] {
    for (int i = 0; i < 1000; ++i) shared += 1 + zero;
  };
  std::thread first(count);
  std::thread second(count);
  first.join();
  second.join();
}

struct Fault {
  const char* name;
  void (*commit)();
};

constexpr Fault kFaults[] = {{"heap-overflow", HeapOverflow},
                             {"use-after-free", UseAfterFree},
                             {"signed-overflow", SignedOverflow},
                             {"leak", Leak},
                             {"race", Race}};

// commit(name): whether there is such a fault, and it did not end the process.
napi_value Commit(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value argument;
  char name[32] = "";
  bool known = false;
  napi_get_cb_info(env, info, &count, &argument, nullptr, nullptr);
  napi_get_value_string_utf8(env, argument, name, sizeof name, nullptr);
  for (const Fault& fault : kFaults) {
    if (std::strcmp(fault.name, name) != 0) continue;
    fault.commit();
    known = true;
  }
  napi_value result;
  napi_get_boolean(env, known, &result);
  return result;
}

}  // namespace

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "commit", NAPI_AUTO_LENGTH, Commit, nullptr, &function);
  napi_set_named_property(env, exports, "commit", function);
  return exports;
}
