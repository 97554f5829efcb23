// The promises of calls. JavaScript makes and settles them; a call knows the number of its promise.

#ifndef LLM_DATADIST_NODE_SETTLER_H_
#define LLM_DATADIST_NODE_SETTLER_H_

#include <napi.h>

#include <cstdint>
#include <vector>

namespace llm_datadist_node {

// JavaScript thread. Where hooks are installed, as AsyncLocalStorage installs them, V8 calls them in the middle of making a
// promise. It ends the process when a hook is stopped by the timeout of a `vm` script while C++ makes that promise; while
// JavaScript makes it, the script ends and nothing else.
class Settler {
 public:
  // (call: number, how?: number, value?: unknown) => Promise<void> | undefined
  explicit Settler(Napi::Function settle) : settle_(Napi::Persistent(settle)) {}
  Settler(const Settler&) = delete;
  Settler& operator=(const Settler&) = delete;

  Napi::Env Env() const { return settle_.Env(); }

  // A number for a call; it may be used again once the call is settled.
  uint32_t Take();
  void GiveBack(uint32_t call) { free_.push_back(call); }

  // Each settles once. None leaves an exception behind or throws one: only the end of the environment is in its way.
  // A null value is `undefined`.
  void Resolve(uint32_t call, napi_value value);
  void Reject(uint32_t call, napi_value reason);
  // As a call that never got to the library.
  void Withdraw(uint32_t call, napi_value exception);
  // As a call that goes on there, and is settled again. Gives the promise of that, or null.
  napi_value Part(uint32_t call, napi_value exception);

  // What JavaScript threw.
  napi_value ValueOf(const Napi::Error& error);
  // An Error of this text.
  napi_value ErrorOf(const char* text);

 private:
  // As JavaScript knows them.
  enum How : uint32_t { kResolved = 0, kRejected = 1, kWithdrawn = 2, kParted = 3 };

  napi_value Settle(uint32_t call, How how, napi_value value);

  const Napi::FunctionReference settle_;
  // Has room for all numbers.
  std::vector<uint32_t> free_;
  uint32_t count_ = 0;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_SETTLER_H_
