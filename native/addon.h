// The native side of llm-datadist. It links nothing of CANN, so that require() works on every host.

#ifndef LLM_DATADIST_NODE_ADDON_H_
#define LLM_DATADIST_NODE_ADDON_H_

#include <napi.h>

#include <memory>

#include "environment.h"
#include "vendor.h"

namespace llm_datadist_node {

// One instance per environment: the main thread and each worker have their own.
class Addon final : public Napi::Addon<Addon> {
 public:
  Addon(Napi::Env env, Napi::Object exports);
  ~Addon();

  static const std::shared_ptr<Environment>& EnvironmentOf(Napi::Env env);
  // Null until openLibrary() has succeeded.
  static const Vendor* VendorOf(Napi::Env env);

 private:
  // (closeLimitMs): before any instance is made. The last one counts.
  void Configure(const Napi::CallbackInfo& info);
  // (libraries: string[], runtimes: string[][], bridge: string): what was opened, and what was tried in vain before.
  Napi::Value OpenLibrary(const Napi::CallbackInfo& info);
  // (limitMs): the process exits, and no clean-up hook is going to run.
  void Close(const Napi::CallbackInfo& info);

  static void OnCleanUp(void* data);

  Napi::Env env_;
  bool is_hooked_ = true;
  std::shared_ptr<Environment> environment_;
  const Vendor* vendor_ = nullptr;
  // How long the end of the environment may take when the library does not come back.
  int64_t close_limit_ms_ = 5000;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_ADDON_H_
