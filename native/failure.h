// From a failed outcome to the LLMException that JavaScript sees.

#ifndef LLM_DATADIST_NODE_FAILURE_H_
#define LLM_DATADIST_NODE_FAILURE_H_

#include <napi.h>

#include <optional>
#include <vector>

#include "outcome.h"

namespace llm_datadist_node {

struct ClusterStatus {
  uint64_t cluster_id;
  uint32_t status;
};

// What a call is about, as far as its failure says it.
struct CallInfo {
  // The public method.
  const char* operation;
  std::optional<uint64_t> cluster_id;
  std::optional<int64_t> cache_id;
};

// `exception_class` is what TypeScript handed over: an error that C++ made would be no Error in another realm, and could
// not be cloned. `results` are those of a link or unlink.
Napi::Value ToException(Napi::Env env, Napi::Function exception_class, const CallInfo& call, const Outcome& outcome,
                        const std::vector<ClusterStatus>* results);

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_FAILURE_H_
