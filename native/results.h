// What calls give besides their status, and how JavaScript sees it.

#ifndef LLM_DATADIST_NODE_RESULTS_H_
#define LLM_DATADIST_NODE_RESULTS_H_

#include <napi.h>

#include <cstdint>
#include <vector>

#include "failure.h"

namespace llm_datadist_node {

struct Nothing {};
Napi::Value ToValue(Napi::Env env, const Nothing&);

// A cache id: a signed bigint.
struct CacheId {
  int64_t value = -1;
};
Napi::Value ToValue(Napi::Env env, const CacheId& id);

// Of a link or unlink. JavaScript asks for the statuses alone when the call succeeds; the failure needs the clusters too.
struct ClusterResults {
  std::vector<ClusterStatus> statuses;
};
Napi::Value ToValue(Napi::Env env, const ClusterResults& results);

// Statuses of the library, in a list of numbers.
struct Statuses {
  std::vector<uint32_t> value;
};
Napi::Value ToValue(Napi::Env env, const Statuses& statuses);

struct AllocatedCache {
  int64_t cache_id = -1;
  std::vector<uint64_t> tensor_addrs;
};
Napi::Value ToValue(Napi::Env env, const AllocatedCache& cache);

// An address: an unsigned bigint.
struct Address {
  uint64_t value = 0;
};
Napi::Value ToValue(Napi::Env env, const Address& address);

struct Bytes {
  std::vector<uint8_t> value;
};
Napi::Value ToValue(Napi::Env env, const Bytes& bytes);

template <typename Result>
const std::vector<ClusterStatus>* StatusesOf(const Result&) {
  return nullptr;
}
inline const std::vector<ClusterStatus>* StatusesOf(const ClusterResults& results) { return &results.statuses; }

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_RESULTS_H_
