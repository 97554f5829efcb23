// A library of the vendor's ABI that gives what it is asked for, also what the vendor's never gives:
//   Link, Unlink     as many results as the timeout says, 1, 2, 3 ...; the status is the role of the first cluster
//   AllocateCache    the id and the addresses that the shape lists
//   RegisterKvCache  the id that is the first address
// And kDirty from each call whose structs have something in the bytes that are reserved.

#include <algorithm>

#include "native/abi/llm_datadist.h"

namespace llm_datadist {

class LlmDataDist::LlmDataDistImpl {};

namespace {

constexpr Status kDirty = 77;

template <typename T>
bool IsClean(const T& value) {
  return std::all_of(std::begin(value.reserved), std::end(value.reserved), [](uint8_t byte) { return byte == 0; });
}

bool AreClean(const std::vector<ClusterInfo>& clusters) {
  return std::all_of(clusters.begin(), clusters.end(), [](const ClusterInfo& cluster) {
    const auto& local = cluster.local_ip_infos;
    const auto& remote = cluster.remote_ip_infos;
    return IsClean(cluster) && std::all_of(local.begin(), local.end(), IsClean<IpInfo>) &&
           std::all_of(remote.begin(), remote.end(), IsClean<IpInfo>);
  });
}

Status Give(const std::vector<ClusterInfo>& clusters, std::vector<Status>* results, int32_t count) {
  if (!AreClean(clusters)) return kDirty;
  for (int32_t i = 1; i <= count; ++i) results->push_back(static_cast<Status>(i));
  return clusters.empty() ? 0 : static_cast<Status>(clusters[0].remote_role_type);
}

template <typename... T>
Status Check(const T&... values) {
  return (IsClean(values) && ...) ? 0 : kDirty;
}

Status Check(const Cache& cache, const CacheIndex& index, const KvCacheExtParam& param) {
  return Check(cache, cache.cache_desc, index, param);
}

}  // namespace

LlmDataDist::LlmDataDist(uint64_t, LlmRole) {}
LlmDataDist::~LlmDataDist() = default;

Status LlmDataDist::Initialize(const std::map<AscendString, AscendString>&) { return 0; }
void LlmDataDist::Finalize() {}
Status LlmDataDist::SetRole(LlmRole, const std::map<AscendString, AscendString>&) { return 0; }

Status LlmDataDist::LinkLlmClusters(const std::vector<ClusterInfo>& clusters, std::vector<Status>& rets,
                                    int32_t timeout_in_millis) {
  return Give(clusters, &rets, timeout_in_millis);
}

Status LlmDataDist::UnlinkLlmClusters(const std::vector<ClusterInfo>& clusters, std::vector<Status>& rets,
                                      int32_t timeout_in_millis, bool) {
  return Give(clusters, &rets, timeout_in_millis);
}

Status LlmDataDist::AllocateCache(const CacheDesc& cache_desc, Cache& cache) {
  cache.cache_id = cache_desc.shape.at(0);
  cache.tensor_addrs.assign(cache_desc.shape.begin() + 1, cache_desc.shape.end());
  return Check(cache_desc);
}

Status LlmDataDist::DeallocateCache(int64_t) { return 0; }

Status LlmDataDist::CopyKvCache(const Cache& src_cache, const Cache& dst_cache, uint32_t, uint32_t, uint64_t,
                                int64_t) {
  return Check(src_cache, src_cache.cache_desc, dst_cache, dst_cache.cache_desc);
}

Status LlmDataDist::CopyKvBlocks(const Cache& src_cache, const Cache& dst_cache, const std::vector<uint64_t>&,
                                 const std::vector<std::vector<uint64_t>>&) {
  return Check(src_cache, src_cache.cache_desc, dst_cache, dst_cache.cache_desc);
}

Status LlmDataDist::RegisterKvCache(const CacheDesc& cache_desc, const std::vector<uint64_t>& addrs,
                                    const RegisterCfg& cfg, int64_t& cache_id) {
  cache_id = static_cast<int64_t>(addrs.at(0));
  return Check(cache_desc, cfg);
}

Status LlmDataDist::UnregisterKvCache(int64_t) { return 0; }

Status LlmDataDist::PullKvCache(const CacheIndex& src_cache_index, const Cache& dst_cache, uint32_t, int64_t,
                                const KvCacheExtParam& ext_param) {
  return Check(dst_cache, src_cache_index, ext_param);
}

Status LlmDataDist::PullKvBlocks(const CacheIndex& src_cache_index, const Cache& dst_cache,
                                 const std::vector<uint64_t>&, const std::vector<uint64_t>&,
                                 const KvCacheExtParam& ext_param) {
  return Check(dst_cache, src_cache_index, ext_param);
}

Status LlmDataDist::PushKvCache(const Cache& src_cache, const CacheIndex& dst_cache_index, uint32_t, int64_t,
                                const KvCacheExtParam& ext_param) {
  return Check(src_cache, dst_cache_index, ext_param);
}

Status LlmDataDist::PushKvBlocks(const Cache& src_cache, const CacheIndex& dst_cache_index,
                                 const std::vector<uint64_t>&, const std::vector<uint64_t>&,
                                 const KvCacheExtParam& ext_param) {
  return Check(src_cache, dst_cache_index, ext_param);
}

}  // namespace llm_datadist
