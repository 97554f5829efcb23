#include "failure.h"

#include "own_property.h"

namespace llm_datadist_node {
namespace {

Napi::Array ToArray(Napi::Env env, const std::vector<ClusterStatus>& results) {
  Napi::Array array = Napi::Array::New(env, results.size());
  for (uint32_t i = 0; i < results.size(); ++i) {
    Napi::Object result = Napi::Object::New(env);
    SetOwn(result, "remoteClusterId", Napi::BigInt::New(env, results[i].cluster_id));
    SetOwn(result, "statusCode", Napi::Number::New(env, results[i].status));
    SetOwn(array, i, result);
  }
  return array;
}

}  // namespace

Napi::Value ToException(Napi::Env env, Napi::Function exception_class, const CallInfo& call, const Outcome& outcome,
                        const std::vector<ClusterStatus>* results) {
  Napi::Object info = Napi::Object::New(env);
  SetOwn(info, "operation", Napi::String::New(env, call.operation));
  if (!outcome.message.empty()) SetOwn(info, "message", Napi::String::New(env, outcome.message));
  if (!outcome.detail.empty()) SetOwn(info, "detail", Napi::String::New(env, outcome.detail));
  if (call.cluster_id) SetOwn(info, "clusterId", Napi::BigInt::New(env, *call.cluster_id));
  if (call.cache_id) SetOwn(info, "cacheId", Napi::BigInt::New(env, *call.cache_id));
  if (results != nullptr) SetOwn(info, "results", ToArray(env, *results));
  if (!outcome.remedy.empty()) {
    SetOwn(info, "recovery", Napi::String::New(env, "fix-input"));
    SetOwn(info, "remedy", Napi::String::New(env, outcome.remedy));
  }
  if (outcome.fatal) {
    SetOwn(info, "recovery", Napi::String::New(env, "fatal"));
    SetOwn(info, "remedy", Napi::String::New(env, "Restart the process: nothing can be done with this instance any more."));
  }
  return exception_class.New({Napi::Number::New(env, outcome.status), info});
}

}  // namespace llm_datadist_node
