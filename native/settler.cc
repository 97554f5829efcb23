#include "settler.h"

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

}  // namespace

uint32_t Settler::Take() {
  if (free_.empty()) {
    if (free_.capacity() <= count_) free_.reserve(2 * (size_t{count_} + 1));
    return count_++;
  }
  const uint32_t call = free_.back();
  free_.pop_back();
  return call;
}

napi_value Settler::Settle(uint32_t call, How how, napi_value value) {
  const napi_env env = Env();
  DropException(env);
  napi_value undefined = nullptr;
  napi_value result = nullptr;
  napi_value arguments[3] = {nullptr, nullptr, value};
  napi_get_undefined(env, &undefined);
  napi_create_uint32(env, call, &arguments[0]);
  // The common case, in few crossings: nothing but the number.
  const bool is_plain = how == kResolved && value == nullptr;
  if (!is_plain) {
    napi_create_uint32(env, how, &arguments[1]);
    if (value == nullptr) arguments[2] = undefined;
  }
  napi_call_function(env, undefined, settle_.Value(), is_plain ? 1 : 3, arguments, &result);
  // Of an environment that ends.
  DropException(env);
  return result;
}

void Settler::Resolve(uint32_t call, napi_value value) {
  Settle(call, kResolved, value);
  GiveBack(call);
}

void Settler::Reject(uint32_t call, napi_value reason) {
  Settle(call, kRejected, reason);
  GiveBack(call);
}

void Settler::Withdraw(uint32_t call, napi_value exception) {
  Settle(call, kWithdrawn, exception);
  GiveBack(call);
}

napi_value Settler::Part(uint32_t call, napi_value exception) { return Settle(call, kParted, exception); }

napi_value Settler::ValueOf(const Napi::Error& error) {
  try {
    return error.Value();
  } catch (const Napi::Error&) {
    // What was thrown does not even let itself be looked at.
    return ErrorOf("an exception was thrown that cannot be read");
  }
}

napi_value Settler::ErrorOf(const char* text) {
  const napi_env env = Env();
  // Before strings are made: they can be made while an exception is pending, an Error cannot.
  DropException(env);
  napi_value message = nullptr;
  napi_value error = nullptr;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message);
  napi_create_error(env, nullptr, message, &error);
  return error;
}

}  // namespace llm_datadist_node
