// Sizes and offsets that the library was measured to have. Whichever header the bridge is compiled with, ours or the
// vendor's, it does not compile when one of them differs.

#ifndef LLM_DATADIST_NODE_ABI_LAYOUT_H_
#define LLM_DATADIST_NODE_ABI_LAYOUT_H_

#include <cstddef>
#include <type_traits>

#define LLM_SAME_SIZE(type, size, alignment) \
  static_assert(sizeof(type) == (size) && alignof(type) == (alignment), #type " has another size or alignment")
#define LLM_SAME_OFFSET(type, member, offset) \
  static_assert(offsetof(type, member) == (offset), #type "::" #member " is at another offset")

namespace llm_datadist {

LLM_SAME_SIZE(AscendString, 16, 8);

LLM_SAME_SIZE(IpInfo, 152, 8);
LLM_SAME_OFFSET(IpInfo, ip, 0);
LLM_SAME_OFFSET(IpInfo, port, 16);
LLM_SAME_OFFSET(IpInfo, reserved, 18);

LLM_SAME_SIZE(ClusterInfo, 192, 8);
LLM_SAME_OFFSET(ClusterInfo, remote_cluster_id, 0);
LLM_SAME_OFFSET(ClusterInfo, remote_role_type, 8);
LLM_SAME_OFFSET(ClusterInfo, local_ip_infos, 16);
LLM_SAME_OFFSET(ClusterInfo, remote_ip_infos, 40);
LLM_SAME_OFFSET(ClusterInfo, reserved, 64);

LLM_SAME_SIZE(CacheIndex, 152, 8);
LLM_SAME_OFFSET(CacheIndex, cluster_id, 0);
LLM_SAME_OFFSET(CacheIndex, cache_id, 8);
LLM_SAME_OFFSET(CacheIndex, batch_index, 16);
LLM_SAME_OFFSET(CacheIndex, reserved, 20);

LLM_SAME_SIZE(CacheDesc, 168, 8);
LLM_SAME_OFFSET(CacheDesc, placement, 0);
LLM_SAME_OFFSET(CacheDesc, num_tensors, 4);
LLM_SAME_OFFSET(CacheDesc, data_type, 8);
LLM_SAME_OFFSET(CacheDesc, shape, 16);
LLM_SAME_OFFSET(CacheDesc, reserved, 40);

LLM_SAME_SIZE(Cache, 328, 8);
LLM_SAME_OFFSET(Cache, cache_id, 0);
LLM_SAME_OFFSET(Cache, tensor_addrs, 8);
LLM_SAME_OFFSET(Cache, cache_desc, 32);
LLM_SAME_OFFSET(Cache, reserved, 200);

LLM_SAME_SIZE(KvCacheExtParam, 144, 4);
LLM_SAME_OFFSET(KvCacheExtParam, src_layer_range, 0);
LLM_SAME_OFFSET(KvCacheExtParam, dst_layer_range, 8);
LLM_SAME_OFFSET(KvCacheExtParam, tensor_num_per_layer, 16);
LLM_SAME_OFFSET(KvCacheExtParam, reserved, 17);

LLM_SAME_SIZE(RegisterCfg, 128, 1);
LLM_SAME_SIZE(LlmDataDist, 8, 8);

static_assert(sizeof(Status) == 4 && std::is_unsigned<Status>::value, "Status is not a uint32");
static_assert(sizeof(DataType) == 4 && sizeof(LlmRole) == 4, "an enum is not 4 bytes wide");
static_assert(std::is_same<std::underlying_type_t<CachePlacement>, uint32_t>::value, "CachePlacement is not a uint32");
static_assert(!std::is_copy_constructible<LlmDataDist>::value, "LlmDataDist can be copied");

}  // namespace llm_datadist

#undef LLM_SAME_SIZE
#undef LLM_SAME_OFFSET

#endif  // LLM_DATADIST_NODE_ABI_LAYOUT_H_
