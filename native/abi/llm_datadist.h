// The public class of the vendor's library as the linker and the memory see it: names, sizes and offsets of the
// specification, no more. layout.h proves the sizes, symbols.txt lists what must be found in the library.
//
// Where CANN is installed the bridge can be compiled with its header instead (LLM_DATADIST_CANN_INCLUDE).

#ifndef LLM_DATADIST_NODE_ABI_LLM_DATADIST_H_
#define LLM_DATADIST_NODE_ABI_LLM_DATADIST_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ge {

using Status = uint32_t;

// Any int32 may be handed over; the library refuses what it does not know.
enum DataType : int32_t { DT_UNDEFINED = 28 };

// A shared string that only the library makes and reads: std::string has two incompatible ABIs, and the library is
// built with the old one. Copies and destruction are inline, through the control block, in both.
class AscendString {
 public:
  AscendString() = default;
  AscendString(const char* text);
  AscendString(const char* text, size_t length);

  const char* GetString() const;
  size_t GetLength() const;
  size_t Find(const AscendString& part) const;
  size_t Hash() const;

  bool operator<(const AscendString& other) const;
  bool operator>(const AscendString& other) const;
  bool operator<=(const AscendString& other) const;
  bool operator>=(const AscendString& other) const;
  bool operator==(const AscendString& other) const;
  bool operator!=(const AscendString& other) const;
  bool operator==(const char* text) const;
  bool operator!=(const char* text) const;

 private:
  std::shared_ptr<std::string> text_;
};

}  // namespace ge

namespace llm_datadist {

using ge::AscendString;
using ge::DataType;
using ge::Status;

struct IpInfo {
  AscendString ip;
  uint16_t port = 0;
  uint8_t reserved[128];
};

struct ClusterInfo {
  uint64_t remote_cluster_id = 0;
  int32_t remote_role_type = 0;
  std::vector<IpInfo> local_ip_infos;
  std::vector<IpInfo> remote_ip_infos;
  uint8_t reserved[128];
};

enum class LlmRole : int32_t { kPrompt = 1, kDecoder = 2, kMix = 3 };

struct CacheIndex {
  uint64_t cluster_id;
  int64_t cache_id;
  uint32_t batch_index;
  uint8_t reserved[128];
};

enum class CachePlacement : uint32_t { kHost = 0, kDevice = 1 };

struct CacheDesc {
  CachePlacement placement = CachePlacement::kDevice;
  uint32_t num_tensors = 0;
  DataType data_type = ge::DT_UNDEFINED;
  std::vector<int64_t> shape;
  uint8_t reserved[128];
};

struct Cache {
  int64_t cache_id = -1;
  std::vector<uintptr_t> tensor_addrs;
  CacheDesc cache_desc;
  uint8_t reserved[128];
};

struct KvCacheExtParam {
  std::pair<int32_t, int32_t> src_layer_range = {-1, -1};
  std::pair<int32_t, int32_t> dst_layer_range = {-1, -1};
  uint8_t tensor_num_per_layer = 2;
  uint8_t reserved[127];
};

struct RegisterCfg {
  uint8_t reserved[128] = {0};
};

class LlmDataDist {
 public:
  LlmDataDist(uint64_t cluster_id, LlmRole role);
  ~LlmDataDist();

  Status Initialize(const std::map<AscendString, AscendString>& options);
  void Finalize();
  Status SetRole(LlmRole role, const std::map<AscendString, AscendString>& options);

  Status LinkLlmClusters(const std::vector<ClusterInfo>& clusters, std::vector<Status>& rets, int32_t timeout_in_millis);
  Status UnlinkLlmClusters(const std::vector<ClusterInfo>& clusters, std::vector<Status>& rets,
                           int32_t timeout_in_millis, bool force_flag);

  Status AllocateCache(const CacheDesc& cache_desc, Cache& cache);
  Status DeallocateCache(int64_t cache_id);
  Status CopyKvCache(const Cache& src_cache, const Cache& dst_cache, uint32_t src_batch_index,
                     uint32_t dst_batch_index, uint64_t offset, int64_t size);
  Status CopyKvBlocks(const Cache& src_cache, const Cache& dst_cache, const std::vector<uint64_t>& src_blocks,
                      const std::vector<std::vector<uint64_t>>& dst_blocks_list);

  Status RegisterKvCache(const CacheDesc& cache_desc, const std::vector<uint64_t>& addrs, const RegisterCfg& cfg,
                         int64_t& cache_id);
  Status UnregisterKvCache(int64_t cache_id);

  Status PullKvCache(const CacheIndex& src_cache_index, const Cache& dst_cache, uint32_t batch_index, int64_t size,
                     const KvCacheExtParam& ext_param);
  Status PullKvBlocks(const CacheIndex& src_cache_index, const Cache& dst_cache,
                      const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks,
                      const KvCacheExtParam& ext_param);
  Status PushKvCache(const Cache& src_cache, const CacheIndex& dst_cache_index, uint32_t src_batch_index, int64_t size,
                     const KvCacheExtParam& ext_param);
  Status PushKvBlocks(const Cache& src_cache, const CacheIndex& dst_cache_index,
                      const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks,
                      const KvCacheExtParam& ext_param);

 private:
  class LlmDataDistImpl;
  std::unique_ptr<LlmDataDistImpl> impl_;
};

}  // namespace llm_datadist

#endif  // LLM_DATADIST_NODE_ABI_LLM_DATADIST_H_
