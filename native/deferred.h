// The promise of a call, settled once.

#ifndef LLM_DATADIST_NODE_DEFERRED_H_
#define LLM_DATADIST_NODE_DEFERRED_H_

#include <napi.h>

namespace llm_datadist_node {

// JavaScript thread. Node-API frees its own deferred in the first attempt to settle it, whatever comes of the attempt: a
// getter `then` of the value that throws has rejected the promise, and is reported as a failure all the same. A second
// attempt would use freed memory, so that there is none, and no exception is left behind or thrown.
class Deferred {
 public:
  // Throws a Napi::Error.
  explicit Deferred(Napi::Env env);
  Deferred(const Deferred&) = delete;
  Deferred& operator=(const Deferred&) = delete;

  Napi::Env Env() const { return env_; }
  // In the scope in which this was made.
  Napi::Promise Promise() const { return {env_, promise_}; }

  // Changes promises with another one.
  void Swap(Deferred& other);

  void Resolve(napi_value value) { Settle(napi_resolve_deferred, value); }
  void Reject(napi_value reason) { Settle(napi_reject_deferred, reason); }
  // With what JavaScript threw.
  void Reject(const Napi::Error& error);
  // With an Error of this text.
  void Reject(const char* text);

 private:
  using Conclude = napi_status (*)(napi_env, napi_deferred, napi_value);
  void Settle(Conclude conclude, napi_value value);

  const Napi::Env env_;
  napi_value promise_ = nullptr;
  // Null once the promise is settled.
  napi_deferred deferred_ = nullptr;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_DEFERRED_H_
