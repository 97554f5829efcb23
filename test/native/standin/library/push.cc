#include <cinttypes>
#include <functional>
#include <limits>

#include "library/transfer.h"

namespace standin {
namespace {

using llm_datadist::Cache;
using llm_datadist::CacheIndex;
using llm_datadist::CachePlacement;
using llm_datadist::KvCacheExtParam;

// What differs between a row and blocks, once both caches are known.
struct Payload {
  Method method;
  std::function<Status(const CacheEntry& remote)> check_remote;
  std::function<Status(const CacheEntry& local, const CacheEntry& remote, std::vector<Span>* spans)> spans;
};

// First source and destination layer and last source layer.
struct Layers {
  int64_t first = 0;
  int64_t dst_first = 0;
  int64_t last = 0;
};

Status CheckPlacement(const Cache& src) {
  if (src.cache_desc.placement == CachePlacement::kDevice) return kSuccess;
  return Refuse(kParamInvalid, "the source of a push must be device memory");
}

Status CheckLayers(const Cache& src, const KvCacheExtParam& param) {
  const Status status = CheckExtParam(param, true);
  if (status != kSuccess) return status;
  if (param.src_layer_range.first >= 0 || src.cache_desc.num_tensors > 0) return kSuccess;
  return Refuse(kParamInvalid, "the default source range needs the number of tensors");
}

Status LayersOf(const Cache& src, const KvCacheExtParam& param, Layers* layers) {
  if (param.src_layer_range.first >= 0) {
    *layers = {param.src_layer_range.first, param.dst_layer_range.first, param.src_layer_range.second};
    return kSuccess;
  }
  // The destination range is ignored, and the description says how many layers there are. What is left over is tried as
  // one more layer, and a cache of less than a layer as one.
  const int64_t tensors = src.cache_desc.num_tensors;
  const int64_t whole = tensors / param.tensor_num_per_layer;
  const int64_t count = whole == 0 ? 1 : whole + (tensors % param.tensor_num_per_layer == 0 ? 0 : 1);
  const int64_t int32_values = 1LL << 31;
  if (whole == int32_values) return RefuseFatal("%" PRId64 " tensors with one per layer", tensors);
  // Layers are counted in 32 bits: beyond that nothing is pushed.
  *layers = {0, 0, count > int32_values ? -1 : count - 1};
  return kSuccess;
}

Status PushLayer(Session* session, int64_t src_id, const CacheIndex& dst, int64_t per_layer, int64_t src_layer,
                 int64_t dst_layer, const Payload& payload) {
  const std::shared_ptr<const CacheEntry> local = session->FindCache(src_id);
  if (local == nullptr) return NoSuchCache(src_id);
  const std::shared_ptr<Link> link = session->FindLink(dst.cluster_id);
  if (link == nullptr) return NotLinked(dst.cluster_id);
  const std::lock_guard<std::mutex> lock(link->mutex);
  if (link->closed) return NotLinked(dst.cluster_id);
  std::shared_ptr<const CacheEntry> remote;
  Status status = RemoteCache(link.get(), dst.cache_id, &remote);
  if (status != kSuccess) return status;
  const int64_t remote_layers = static_cast<int64_t>(remote->tensors.size()) / per_layer;
  if (dst_layer < 0 || dst_layer >= remote_layers) {
    return Refuse(kParamInvalid, "destination layer %" PRId64 " of %" PRId64, dst_layer, remote_layers);
  }
  status = payload.check_remote(*remote);
  if (status != kSuccess) return status;
  const int64_t local_layers = static_cast<int64_t>(local->tensors.size()) / per_layer;
  if (src_layer >= local_layers) {
    return Refuse(kParamInvalid, "source layer %" PRId64 " of %" PRId64, src_layer, local_layers);
  }
  if (local->tensors.size() % static_cast<size_t>(per_layer) != 0) {
    return Refuse(kParamInvalid, "%zu tensors, %" PRId64 " per layer", local->tensors.size(), per_layer);
  }
  std::vector<Span> spans;
  status = payload.spans(*local, *remote, &spans);
  if (status != kSuccess) return status;
  const TensorPairs pairs{static_cast<uint64_t>(src_layer * per_layer), static_cast<uint64_t>(dst_layer * per_layer),
                          static_cast<uint64_t>(per_layer)};
  return Move(payload.method, *link, *local, *remote, pairs, spans);
}

// Layers go one after the other, and those that went stay written when a later one fails.
Status PushLayers(Session* session, const Cache& src, const CacheIndex& dst, const KvCacheExtParam& param,
                  const Payload& payload) {
  Layers layers;
  Status status = LayersOf(src, param, &layers);
  const std::lock_guard<std::mutex> lock(session->push_mutex());
  for (int64_t layer = layers.first; status == kSuccess && layer <= layers.last; ++layer) {
    status = PushLayer(session, src.cache_id, dst, param.tensor_num_per_layer, layer,
                       layers.dst_first + layer - layers.first, payload);
  }
  return status;
}

}  // namespace

// In the library's order of checks (specification 4.10).
Status PushCache(Session* session, const Cache& src, const CacheIndex& dst, uint32_t src_batch_index, int64_t size,
                 const KvCacheExtParam& param) {
  Status status = CheckPlacement(src);
  if (status != kSuccess) return status;
  if (size != -1) return Refuse(kParamInvalid, "size %" PRId64 ", a push takes -1 only", size);
  status = CheckLayers(src, param);
  if (status != kSuccess) return status;
  Payload payload{Method::kPushKvCache, {}, {}};
  payload.check_remote = [&](const CacheEntry& remote) {
    if (dst.batch_index < remote.rows) return kSuccess;
    return Refuse(kParamInvalid, "remote row %u of %u", dst.batch_index, remote.rows);
  };
  payload.spans = [&](const CacheEntry& local, const CacheEntry& remote, std::vector<Span>* spans) {
    if (src_batch_index >= local.rows) return Refuse(kParamInvalid, "row %u of %u", src_batch_index, local.rows);
    spans->push_back({static_cast<Offset>(src_batch_index) * local.stride,
                      static_cast<Offset>(dst.batch_index) * remote.stride, local.stride});
    return kSuccess;
  };
  return PushLayers(session, src, dst, param, payload);
}

// In the library's order of checks (specification 4.11).
Status PushBlocks(Session* session, const Cache& src, const CacheIndex& dst, const std::vector<uint64_t>& src_blocks,
                  const std::vector<uint64_t>& dst_blocks, const KvCacheExtParam& param) {
  Status status = CheckPlacement(src);
  if (status == kSuccess) status = CheckBlockLists(src_blocks, dst_blocks);
  if (status != kSuccess) return status;
  if (dst.batch_index != 0) return Refuse(kParamInvalid, "remote row %u, block calls take 0 only", dst.batch_index);
  status = CheckLayers(src, param);
  if (status != kSuccess) return status;
  Payload payload{Method::kPushKvBlocks, {}, {}};
  payload.check_remote = [&](const CacheEntry& remote) {
    for (const uint64_t block : dst_blocks) {
      if (block >= remote.rows) return Refuse(kParamInvalid, "destination block %" PRIu64 " of %u", block, remote.rows);
    }
    return kSuccess;
  };
  payload.spans = [&](const CacheEntry& local, const CacheEntry&, std::vector<Span>* spans) {
    std::vector<BlockRun> runs;
    const Status bad_runs = BlockRuns(src_blocks, dst_blocks, &runs);
    if (bad_runs != kSuccess) return bad_runs;
    for (const BlockRun& run : runs) {
      if (run.src >= local.rows || run.src + run.length - 1 >= local.rows) {
        return Refuse(kParamInvalid, "source blocks from %" PRIu64 " on are outside of %u", run.src, local.rows);
      }
      // The library addresses both sides with the local block size.
      spans->push_back({static_cast<Offset>(run.src) * local.stride, static_cast<Offset>(run.dst) * local.stride,
                        static_cast<Offset>(run.length) * local.stride});
    }
    return kSuccess;
  };
  return PushLayers(session, src, dst, param, payload);
}

}  // namespace standin
