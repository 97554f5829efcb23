#include "results.h"

#include <algorithm>

#include "own_property.h"

namespace llm_datadist_node {

Napi::Value ToValue(Napi::Env env, const Nothing&) { return env.Undefined(); }

Napi::Value ToValue(Napi::Env env, const CacheId& id) { return Napi::BigInt::New(env, id.value); }

Napi::Value ToValue(Napi::Env env, const ClusterResults& results) {
  Napi::Array statuses = Napi::Array::New(env, results.statuses.size());
  for (uint32_t i = 0; i < results.statuses.size(); ++i) {
    SetOwn(statuses, i, Napi::Number::New(env, results.statuses[i].status));
  }
  return statuses;
}

Napi::Value ToValue(Napi::Env env, const Statuses& statuses) {
  Napi::Array list = Napi::Array::New(env, statuses.value.size());
  for (uint32_t i = 0; i < statuses.value.size(); ++i) list[i] = Napi::Number::New(env, statuses.value[i]);
  return list;
}

Napi::Value ToValue(Napi::Env env, const AllocatedCache& cache) {
  Napi::Object value = Napi::Object::New(env);
  SetOwn(value, "cacheId", Napi::BigInt::New(env, cache.cache_id));
  auto addrs = Napi::TypedArrayOf<uint64_t>::New(env, cache.tensor_addrs.size(), napi_biguint64_array);
  std::copy(cache.tensor_addrs.begin(), cache.tensor_addrs.end(), addrs.Data());
  SetOwn(value, "tensorAddrs", addrs);
  return value;
}

Napi::Value ToValue(Napi::Env env, const Address& address) { return Napi::BigInt::New(env, address.value); }

Napi::Value ToValue(Napi::Env env, const Bytes& bytes) {
  auto array = Napi::Uint8Array::New(env, bytes.value.size());
  std::copy(bytes.value.begin(), bytes.value.end(), array.Data());
  return array;
}

}  // namespace llm_datadist_node
