#include "deferred.h"

#include <utility>

namespace llm_datadist_node {
namespace {

// Node-API runs nothing while an exception is pending.
void DropException(napi_env env) {
  bool is_pending = false;
  napi_value dropped = nullptr;
  if (napi_is_exception_pending(env, &is_pending) == napi_ok && is_pending) {
    napi_get_and_clear_last_exception(env, &dropped);
  }
}

napi_value UndefinedIn(napi_env env) {
  napi_value undefined = nullptr;
  napi_get_undefined(env, &undefined);
  return undefined;
}

}  // namespace

Deferred::Deferred(Napi::Env env) : env_(env) {
  if (napi_create_promise(env, &deferred_, &promise_) != napi_ok) throw Napi::Error::New(env);
}

void Deferred::Swap(Deferred& other) {
  std::swap(promise_, other.promise_);
  std::swap(deferred_, other.deferred_);
}

void Deferred::Settle(Conclude conclude, napi_value value) {
  const napi_deferred deferred = std::exchange(deferred_, nullptr);
  if (deferred == nullptr) return;
  DropException(env_);
  conclude(env_, deferred, value == nullptr ? UndefinedIn(env_) : value);
  // Of a getter `then`: the promise is rejected with it.
  DropException(env_);
}

void Deferred::Reject(const Napi::Error& error) {
  try {
    Reject(static_cast<napi_value>(error.Value()));
  } catch (const Napi::Error&) {
    // What was thrown does not even let itself be looked at.
    Reject("an exception was thrown that cannot be read");
  }
}

void Deferred::Reject(const char* text) {
  // Before strings are made: they can be made while an exception is pending, an Error cannot.
  DropException(env_);
  napi_value message = nullptr;
  napi_value error = nullptr;
  napi_create_string_utf8(env_, text, NAPI_AUTO_LENGTH, &message);
  napi_create_error(env_, nullptr, message, &error);
  Reject(error);
}

}  // namespace llm_datadist_node
