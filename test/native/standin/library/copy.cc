#include "library/copy.h"

#include <algorithm>
#include <cinttypes>
#include <cstring>

#include "library/tensor_size.h"
#include "runtime/device_memory.h"

namespace standin {
namespace {

using llm_datadist::Cache;
using llm_datadist::CachePlacement;

// Rows, which are blocks as well, of one end of a copy.
struct Rows {
  uint64_t count = 0;
  uint64_t bytes = 0;
};

bool IsOnHost(const Cache& cache) { return cache.cache_desc.placement != CachePlacement::kDevice; }

Status ReadRows(const Cache& cache, const char* side, Rows* rows) {
  const llm_datadist::CacheDesc& desc = cache.cache_desc;
  if (desc.shape.empty()) return Refuse(kParamInvalid, "the %s has no dimensions", side);
  uint64_t bytes = 0;
  const Status status = TensorSize(desc.shape, desc.data_type, &bytes);
  if (status != kSuccess) return status;
  if (cache.tensor_addrs.size() != desc.num_tensors) {
    return Refuse(kParamInvalid, "%zu addresses for the %u tensors of the %s", cache.tensor_addrs.size(),
                  desc.num_tensors, side);
  }
  for (const uint64_t address : cache.tensor_addrs) {
    const std::shared_ptr<Allocation> memory = FindAllocation(address, bytes);
    if (memory == nullptr || memory->host != IsOnHost(cache)) {
      return Refuse(kParamInvalid, "a tensor of the %s is not in memory of its kind", side);
    }
  }
  rows->count = static_cast<uint64_t>(desc.shape[0]);
  rows->bytes = bytes / rows->count;
  return kSuccess;
}

Status ReadBoth(const Cache& src, const Cache& dst, Rows* from, Rows* to) {
  Status status = ReadRows(src, "source", from);
  if (status == kSuccess) status = ReadRows(dst, "destination", to);
  if (status != kSuccess) return status;
  if (src.tensor_addrs.size() == dst.tensor_addrs.size()) return kSuccess;
  return Refuse(kParamInvalid, "%zu source tensors, %zu destination tensors", src.tensor_addrs.size(),
                dst.tensor_addrs.size());
}

void CopyInTensors(const Cache& src, const Cache& dst, uint64_t from, uint64_t to, uint64_t bytes) {
  for (size_t i = 0; i < src.tensor_addrs.size(); ++i) {
    std::memmove(reinterpret_cast<void*>(dst.tensor_addrs[i] + to),
                 reinterpret_cast<const void*>(src.tensor_addrs[i] + from), bytes);
  }
}

Status CheckBlocks(const std::vector<uint64_t>& blocks, const Rows& rows, const char* side) {
  for (const uint64_t block : blocks) {
    if (block >= rows.count) return Refuse(kParamInvalid, "%s block %" PRIu64 " of %" PRIu64, side, block, rows.count);
  }
  return kSuccess;
}

}  // namespace

Status CopyCache(const Cache& src, const Cache& dst, uint32_t src_batch_index, uint32_t dst_batch_index,
                 uint64_t offset, int64_t size) {
  if (IsOnHost(src)) return Refuse(kParamInvalid, "the source is in host memory");
  Rows from;
  Rows to;
  const Status status = ReadBoth(src, dst, &from, &to);
  if (status != kSuccess) return status;
  if (size != -1 && size <= 0) return Refuse(kParamInvalid, "size %" PRId64, size);
  if (src_batch_index >= from.count || dst_batch_index >= to.count) {
    return Refuse(kParamInvalid, "rows %u of %" PRIu64 " and %u of %" PRIu64, src_batch_index, from.count,
                  dst_batch_index, to.count);
  }
  const uint64_t least = std::min(from.bytes, to.bytes);
  const uint64_t bytes = size > 0 ? static_cast<uint64_t>(size) : from.bytes - std::min(offset, from.bytes);
  if (offset >= least || bytes > least - offset) {
    return Refuse(kParamInvalid, "%" PRIu64 " bytes from %" PRIu64 " on in rows of %" PRIu64, bytes, offset, least);
  }
  CopyInTensors(src, dst, src_batch_index * from.bytes + offset, dst_batch_index * to.bytes + offset, bytes);
  return kSuccess;
}

Status CopyBlocks(const Cache& src, const Cache& dst, const std::vector<uint64_t>& src_blocks,
                  const std::vector<std::vector<uint64_t>>& dst_blocks_list) {
  if (src_blocks.empty() || dst_blocks_list.empty()) return Refuse(kParamInvalid, "no blocks");
  Rows from;
  Rows to;
  Status status = ReadBoth(src, dst, &from, &to);
  if (status != kSuccess) return status;
  if (from.bytes != to.bytes) {
    return Refuse(kParamInvalid, "blocks of %" PRIu64 " and %" PRIu64 " bytes", from.bytes, to.bytes);
  }
  if (IsOnHost(src) && IsOnHost(dst)) return Refuse(kParamInvalid, "both caches are in host memory");
  status = CheckBlocks(src_blocks, from, "source");
  for (const std::vector<uint64_t>& dst_blocks : dst_blocks_list) {
    if (status == kSuccess && dst_blocks.size() != src_blocks.size()) {
      status = Refuse(kParamInvalid, "%zu source blocks, %zu destination blocks", src_blocks.size(), dst_blocks.size());
    }
    if (status == kSuccess) status = CheckBlocks(dst_blocks, to, "destination");
    if (status != kSuccess) return status;
    for (size_t k = 0; k < src_blocks.size(); ++k) {
      CopyInTensors(src, dst, src_blocks[k] * from.bytes, dst_blocks[k] * to.bytes, from.bytes);
    }
  }
  return kSuccess;
}

}  // namespace standin
