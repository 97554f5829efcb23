// From the plain structs of the table to those of the vendor's class.

#ifndef LLM_DATADIST_NODE_BRIDGE_VENDOR_TYPES_H_
#define LLM_DATADIST_NODE_BRIDGE_VENDOR_TYPES_H_

// The vendor's header forgets the first three.
#include <map>
#include <memory>
#include <utility>
#include <vector>

#ifdef LLM_DATADIST_CANN_HEADERS
#include <llm_datadist/llm_datadist.h>
#else
#include "../abi/llm_datadist.h"
#endif
#include "../abi/layout.h"
#include "bridge.h"

namespace llm_bridge {

using Options = std::map<llm_datadist::AscendString, llm_datadist::AscendString>;

inline llm_datadist::AscendString ToString(const LlmText& text) { return {text.data, text.size}; }

inline Options ToOptions(const LlmOptions& options) {
  Options result;
  for (size_t i = 0; i < options.size; ++i) {
    result[ToString(options.data[i].key)] = ToString(options.data[i].value);
  }
  return result;
}

inline std::vector<llm_datadist::IpInfo> ToIpInfos(const LlmAddress* addresses, size_t count) {
  // The vendor leaves `reserved` as it finds it: `{}` makes it zero, here and below.
  std::vector<llm_datadist::IpInfo> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    llm_datadist::IpInfo info{};
    info.ip = ToString(addresses[i].ip);
    info.port = addresses[i].port;
    result.push_back(std::move(info));
  }
  return result;
}

inline std::vector<llm_datadist::ClusterInfo> ToClusters(const LlmClusters& clusters) {
  std::vector<llm_datadist::ClusterInfo> result;
  result.reserve(clusters.size);
  for (size_t i = 0; i < clusters.size; ++i) {
    const LlmCluster& cluster = clusters.data[i];
    llm_datadist::ClusterInfo info{};
    info.remote_cluster_id = cluster.remote_cluster_id;
    info.remote_role_type = cluster.remote_role_type;
    info.local_ip_infos = ToIpInfos(cluster.local, cluster.local_count);
    info.remote_ip_infos = ToIpInfos(cluster.remote, cluster.remote_count);
    result.push_back(std::move(info));
  }
  return result;
}

inline std::vector<uint64_t> ToVector(const LlmNumbers& numbers) {
  return {numbers.data, numbers.data + numbers.size};
}

// A vector of this thread's, filled anew: those of a stream of transfers would be given back to the kernel and brought in
// again page by page. `list` distinguishes the lists of one call.
template <int list>
const std::vector<uint64_t>& ToReusedVector(const LlmNumbers& numbers) {
  // Longer ones are not kept: 512 KiB.
  constexpr size_t kKept = 65536;
  thread_local std::vector<uint64_t> vector;
  if (vector.capacity() > kKept) vector = std::vector<uint64_t>();
  vector.assign(numbers.data, numbers.data + numbers.size);
  return vector;
}

inline llm_datadist::CacheDesc ToCacheDesc(const LlmCacheDesc& desc) {
  llm_datadist::CacheDesc result{};
  result.placement = static_cast<llm_datadist::CachePlacement>(desc.placement);
  result.num_tensors = desc.num_tensors;
  result.data_type = static_cast<llm_datadist::DataType>(desc.data_type);
  result.shape.assign(desc.shape, desc.shape + desc.dimensions);
  return result;
}

inline llm_datadist::Cache ToCache(const LlmCache& cache) {
  llm_datadist::Cache result{};
  result.cache_id = cache.cache_id;
  result.tensor_addrs.assign(cache.tensor_addrs.data, cache.tensor_addrs.data + cache.tensor_addrs.size);
  result.cache_desc = ToCacheDesc(cache.desc);
  return result;
}

// Of the destination of a pull the library reads nothing but the id.
inline llm_datadist::Cache ToBareCache(int64_t cache_id) {
  llm_datadist::Cache result{};
  result.cache_id = cache_id;
  return result;
}

inline llm_datadist::CacheIndex ToCacheIndex(const LlmCacheIndex& index) {
  llm_datadist::CacheIndex result{};
  result.cluster_id = index.cluster_id;
  result.cache_id = index.cache_id;
  result.batch_index = index.batch_index;
  return result;
}

inline llm_datadist::KvCacheExtParam ToExtParam(const LlmExtParam& param) {
  llm_datadist::KvCacheExtParam result{};
  result.src_layer_range = {param.src_layer_range[0], param.src_layer_range[1]};
  result.dst_layer_range = {param.dst_layer_range[0], param.dst_layer_range[1]};
  result.tensor_num_per_layer = param.tensor_num_per_layer;
  return result;
}

}  // namespace llm_bridge

#endif  // LLM_DATADIST_NODE_BRIDGE_VENDOR_TYPES_H_
