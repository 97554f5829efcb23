#include <algorithm>
#include <cinttypes>
#include <limits>

#include "library/transfer.h"

namespace standin {
namespace {

using llm_datadist::CacheIndex;
using llm_datadist::KvCacheExtParam;

// Destination tensors plus twice the runs that fit in a request.
constexpr uint64_t kMaxRequest = 131064;

// The library writes a list of 8-byte numbers for a range; beyond this one it asks for gigabytes.
constexpr int64_t kLongestRange = 1LL << 27;

struct TensorRange {
  int64_t start = 0;
  int64_t count = 0;
};

struct TensorRanges {
  // Either range starts at -1: the library ignores both then.
  bool all = true;
  TensorRange src;
  TensorRange dst;
};

Status ToTensors(const std::pair<int32_t, int32_t>& layers, uint8_t per_layer, TensorRange* range) {
  range->start = static_cast<int64_t>(layers.first) * per_layer;
  range->count = (static_cast<int64_t>(layers.second) - layers.first + 1) * per_layer;
  const int64_t max = std::numeric_limits<int32_t>::max();
  if (range->start <= max && range->count <= kLongestRange) return kSuccess;
  return RefuseFatal("layers [%d, %d] of %u tensors", layers.first, layers.second, per_layer);
}

Status ReadRanges(const KvCacheExtParam& param, TensorRanges* ranges) {
  ranges->all = param.src_layer_range.first < 0 || param.dst_layer_range.first < 0;
  if (ranges->all) return kSuccess;
  const Status status = ToTensors(param.src_layer_range, param.tensor_num_per_layer, &ranges->src);
  return status == kSuccess ? ToTensors(param.dst_layer_range, param.tensor_num_per_layer, &ranges->dst) : status;
}

Status CheckRanges(const TensorRanges& ranges, const CacheEntry& local, uint8_t per_layer) {
  if (ranges.all) return kSuccess;
  const int64_t tensors = static_cast<int64_t>(local.tensors.size());
  if (tensors % per_layer != 0) return Refuse(kParamInvalid, "%" PRId64 " tensors, %u per layer", tensors, per_layer);
  if (ranges.dst.start + ranges.dst.count > tensors) {
    return Refuse(kParamInvalid, "destination tensors %" PRId64 " to %" PRId64 " of %" PRId64, ranges.dst.start,
                  ranges.dst.start + ranges.dst.count - 1, tensors);
  }
  if (ranges.src.count == ranges.dst.count) return kSuccess;
  return Refuse(kParamInvalid, "%" PRId64 " source tensors, %" PRId64 " destination tensors", ranges.src.count,
                ranges.dst.count);
}

Status PairTensors(const TensorRanges& ranges, const CacheEntry& local, const CacheEntry& remote, TensorPairs* pairs) {
  const TensorRange src = ranges.all ? TensorRange{0, static_cast<int64_t>(remote.tensors.size())} : ranges.src;
  const TensorRange dst = ranges.all ? TensorRange{0, static_cast<int64_t>(local.tensors.size())} : ranges.dst;
  if (src.count != dst.count) {
    return Refuse(kParamInvalid, "%" PRId64 " remote tensors, %" PRId64 " local ones", src.count, dst.count);
  }
  if (src.start + src.count > static_cast<int64_t>(remote.tensors.size())) {
    return Refuse(kParamInvalid, "source tensors %" PRId64 " to %" PRId64 " of %zu", src.start,
                  src.start + src.count - 1, remote.tensors.size());
  }
  *pairs = {static_cast<uint64_t>(dst.start), static_cast<uint64_t>(src.start), static_cast<uint64_t>(src.count)};
  return kSuccess;
}

Status FindLocal(Session* session, const CacheIndex& src, int64_t dst_id, std::shared_ptr<const CacheEntry>* local) {
  if (src.cluster_id == session->cluster_id()) {
    return Refuse(kParamInvalid, "cluster %" PRIu64 " cannot pull from itself", src.cluster_id);
  }
  *local = session->FindCache(dst_id);
  return *local == nullptr ? NoSuchCache(dst_id) : kSuccess;
}

Status CheckDestinations(const std::vector<BlockRun>& runs, const CacheEntry& local) {
  for (const BlockRun& run : runs) {
    if (run.dst < local.rows && run.dst + run.length - 1 < local.rows) continue;
    return Refuse(kParamInvalid, "destination blocks from %" PRIu64 " on are outside of %u", run.dst, local.rows);
  }
  return kSuccess;
}

// Both sides are addressed with the local block size; the last run is cut to the remote tensor's remainder.
Status PullSpans(const std::vector<BlockRun>& runs, const CacheEntry& local, const CacheEntry& remote,
                 std::vector<Span>* spans) {
  const uint64_t remainder = remote.tensor_bytes % local.stride;
  const uint64_t remote_blocks = remote.tensor_bytes / local.stride + (remainder > 0 ? 1 : 0);
  for (const BlockRun& run : runs) {
    if (run.src >= remote_blocks) {
      return Refuse(kParamInvalid, "source block %" PRIu64 " of %" PRIu64, run.src, remote_blocks);
    }
    const Offset bytes = static_cast<Offset>(run.length) * local.stride;
    if (bytes > remote.tensor_bytes) return Refuse(kParamInvalid, "%" PRIu64 " blocks exceed the tensor", run.length);
    const bool cut = &run == &runs.back() && remainder > 0;
    spans->push_back({static_cast<Offset>(run.dst) * local.stride, static_cast<Offset>(run.src) * local.stride,
                      cut ? remainder : bytes});
  }
  return kSuccess;
}

Status PullRow(Link* link, const CacheIndex& src, const CacheEntry& local, const TensorRanges& ranges,
               uint32_t batch_index, int64_t size) {
  std::shared_ptr<const CacheEntry> remote;
  Status status = RemoteCache(link, src.cache_id, &remote);
  if (status != kSuccess) return status;
  if (remote->stride == 0) return RefuseFatal("rows of remote cache %" PRId64 " have no bytes", src.cache_id);
  TensorPairs pairs;
  status = PairTensors(ranges, local, *remote, &pairs);
  if (status != kSuccess) return status;
  const uint64_t wanted = size > 0 ? static_cast<uint64_t>(size) : local.stride;
  if (wanted > remote->stride) {
    return Refuse(kParamInvalid, "%" PRIu64 " bytes exceed the remote row of %" PRIu64, wanted, remote->stride);
  }
  // The library uses the local row size on both sides, and the remainder rule even when `size` asks for less.
  const uint64_t remainder = remote->tensor_bytes % remote->stride;
  const Span span{static_cast<Offset>(batch_index) * local.stride, static_cast<Offset>(src.batch_index) * local.stride,
                  remainder > 0 ? remainder : wanted};
  return Move(Method::kPullKvCache, *link, local, *remote, pairs, {span});
}

Status PullRuns(Link* link, const CacheIndex& src, const CacheEntry& local, const TensorRanges& ranges,
                const std::vector<BlockRun>& runs) {
  const uint64_t tensors = ranges.all ? local.tensors.size() : static_cast<uint64_t>(ranges.dst.count);
  if (tensors + 2 * runs.size() > kMaxRequest) {
    return Refuse(kParamInvalid, "%" PRIu64 " tensors and %zu runs of blocks are too many", tensors, runs.size());
  }
  Status status = CheckDestinations(runs, local);
  if (status != kSuccess) return status;
  std::shared_ptr<const CacheEntry> remote;
  status = RemoteCache(link, src.cache_id, &remote);
  if (status != kSuccess) return status;
  if (local.stride == 0) return Refuse(kParamInvalid, "blocks of cache %" PRId64 " have no bytes", local.id);
  TensorPairs pairs;
  status = PairTensors(ranges, local, *remote, &pairs);
  if (status != kSuccess) return status;
  std::vector<Span> spans;
  status = PullSpans(runs, local, *remote, &spans);
  return status == kSuccess ? Move(Method::kPullKvBlocks, *link, local, *remote, pairs, spans) : status;
}

}  // namespace

// In the library's order of checks (specification 4.8).
Status PullCache(Session* session, const CacheIndex& src, int64_t dst_id, uint32_t batch_index, int64_t size,
                 const KvCacheExtParam& param) {
  if (size != -1 && size <= 0) return Refuse(kParamInvalid, "size %" PRId64, size);
  Status status = CheckExtParam(param, false);
  TensorRanges ranges;
  if (status == kSuccess) status = ReadRanges(param, &ranges);
  std::shared_ptr<const CacheEntry> local;
  if (status == kSuccess) status = FindLocal(session, src, dst_id, &local);
  if (status != kSuccess) return status;
  if (batch_index >= local->rows) return Refuse(kParamInvalid, "row %u of %u", batch_index, local->rows);
  if (size > 0 && static_cast<uint64_t>(size) > local->stride) {
    return Refuse(kParamInvalid, "size %" PRId64 " exceeds the row of %" PRIu64 " bytes", size, local->stride);
  }
  status = CheckRanges(ranges, *local, param.tensor_num_per_layer);
  if (status != kSuccess) return status;
  const std::shared_ptr<Link> link = session->FindLink(src.cluster_id);
  if (link == nullptr) return NotLinked(src.cluster_id);
  const std::lock_guard<std::mutex> lock(link->mutex);
  if (link->closed) return NotLinked(src.cluster_id);
  return PullRow(link.get(), src, *local, ranges, batch_index, size);
}

// In the library's order of checks (specification 4.9).
Status PullBlocks(Session* session, const CacheIndex& src, int64_t dst_id, const std::vector<uint64_t>& src_blocks,
                  const std::vector<uint64_t>& dst_blocks, const KvCacheExtParam& param) {
  if (src.batch_index != 0) return Refuse(kParamInvalid, "remote row %u, block calls take 0 only", src.batch_index);
  Status status = CheckExtParam(param, false);
  TensorRanges ranges;
  if (status == kSuccess) status = ReadRanges(param, &ranges);
  if (status == kSuccess) status = CheckBlockLists(src_blocks, dst_blocks);
  std::shared_ptr<const CacheEntry> local;
  if (status == kSuccess) status = FindLocal(session, src, dst_id, &local);
  if (status == kSuccess) status = CheckRanges(ranges, *local, param.tensor_num_per_layer);
  if (status != kSuccess) return status;
  const std::shared_ptr<Link> link = session->FindLink(src.cluster_id);
  if (link == nullptr) return NotLinked(src.cluster_id);
  const std::lock_guard<std::mutex> lock(link->mutex);
  if (link->closed) return NotLinked(src.cluster_id);
  std::vector<BlockRun> runs;
  status = BlockRuns(src_blocks, dst_blocks, &runs);
  return status == kSuccess ? PullRuns(link.get(), src, *local, ranges, runs) : status;
}

}  // namespace standin
