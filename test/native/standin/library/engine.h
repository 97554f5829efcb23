// One object of the vendor's class, without what the stand-in adds for tests.

#ifndef LLM_DATADIST_NODE_STANDIN_ENGINE_H_
#define LLM_DATADIST_NODE_STANDIN_ENGINE_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "library/session.h"
#include "library/status.h"
#include "native/abi/llm_datadist.h"

namespace standin {

class Engine {
 public:
  Engine(uint64_t cluster_id, int32_t role) : cluster_id_(cluster_id), role_(role) {}

  Status Initialize(const Options& options);
  void Finalize();
  Status SetRole(int32_t role, const Options& options);

  // Results are appended, one per cluster, unless the call is refused as a whole.
  Status Link(const std::vector<llm_datadist::ClusterInfo>& clusters, std::vector<Status>* results, int32_t timeout_ms);
  Status Unlink(const std::vector<llm_datadist::ClusterInfo>& clusters, std::vector<Status>* results,
                int32_t timeout_ms, bool force);

  Status Register(const llm_datadist::CacheDesc& desc, const std::vector<uint64_t>& addresses, int64_t* cache_id);
  Status Unregister(int64_t cache_id);
  // What a registration leaves behind that the transport refused.
  void KeepRegistered(const llm_datadist::CacheDesc& desc, const std::vector<uint64_t>& addresses);

  // Null, after the thread's error text was set, where the object is not initialised.
  Session* RequireSession();
  // Listens and has no link: SetRole could close the listener.
  bool ListensUnlinked();

 private:
  Status Start(const Options& options);
  void ClearLeftover();

  const uint64_t cluster_id_;
  std::atomic<Session*> session_{nullptr};

  // Guards what follows; Initialize, Finalize and SetRole run one after the other.
  std::mutex mutex_;
  int32_t role_;
  // The port of an Initialize that failed late.
  Binding* leftover_ = nullptr;
};

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_ENGINE_H_
