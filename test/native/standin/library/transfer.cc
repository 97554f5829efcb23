#include "library/transfer.h"

#include <cinttypes>
#include <cstring>
#include <limits>

#include "runtime/actions.h"
#include "runtime/hazards.h"

namespace standin {
namespace {

using llm_datadist::KvCacheExtParam;
using Range = std::pair<int32_t, int32_t>;

constexpr uint64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

Status CheckRange(const Range& range, const char* side) {
  if (range.first >= -1 && range.second >= -1 && range.first <= range.second) return kSuccess;
  return Refuse(kParamInvalid, "%s layers [%d, %d]", side, range.first, range.second);
}

int64_t LengthOf(const Range& range) { return static_cast<int64_t>(range.second) - range.first; }

// The library computes it in 32 bits and aborts on overflow.
bool Overflows(const Range& range) { return LengthOf(range) > std::numeric_limits<int32_t>::max(); }

Status CheckInside(Offset offset, Offset length, const CacheEntry& entry, const char* side) {
  if (offset + length <= entry.tensor_bytes) return kSuccess;
  return Refuse(kParamInvalid, "bytes outside of the %s tensor of %" PRIu64 " bytes (cache %" PRId64 ")", side,
                entry.tensor_bytes, entry.id);
}

Status CheckNotFreed(const MemoryHandle& handle) {
  if (!handle.allocation->freed) return kSuccess;
  Violate(Hazard::kUseAfterFree, "a transfer uses the %" PRIu64 " bytes at 0x%" PRIx64 ", which are freed", handle.size,
          handle.address);
  return Refuse(kFailed, "memory of the transfer was freed");
}

// Memory that the link does not know, that is freed, or that nobody has allocated.
Status CheckReach(const MemoryHandle& handle, uint64_t link_time, const char* side) {
  if (!handle.live || handle.time > link_time) {
    return Refuse(kFailed, "the %s memory was not registered when the link was made, or is no longer", side);
  }
  if (handle.allocation == nullptr) {
    return Refuse(kFailed, "the %s memory at 0x%" PRIx64 " is no memory of this runtime", side, handle.address);
  }
  return CheckNotFreed(handle);
}

}  // namespace

Status CheckExtParam(const KvCacheExtParam& param, bool equal_spans) {
  Status status = CheckRange(param.src_layer_range, "source");
  if (status == kSuccess) status = CheckRange(param.dst_layer_range, "destination");
  if (status != kSuccess) return status;
  if (param.tensor_num_per_layer == 0) return Refuse(kParamInvalid, "no tensors per layer");
  if (!equal_spans) return kSuccess;
  if (Overflows(param.src_layer_range) || Overflows(param.dst_layer_range)) {
    return RefuseFatal("layers [-1, 2147483647]");
  }
  if (LengthOf(param.src_layer_range) == LengthOf(param.dst_layer_range)) return kSuccess;
  return Refuse(kParamInvalid, "source and destination layers differ in number");
}

Status CheckBlockLists(const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks) {
  if (src_blocks.empty()) return Refuse(kParamInvalid, "no source blocks");
  if (src_blocks.size() == dst_blocks.size()) return kSuccess;
  return Refuse(kParamInvalid, "%zu source blocks, %zu destination blocks", src_blocks.size(), dst_blocks.size());
}

Status BlockRuns(const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks,
                 std::vector<BlockRun>* runs) {
  for (size_t i = 0; i < src_blocks.size(); ++i) {
    if (i > 0) {
      const bool follows = src_blocks[i - 1] != UINT64_MAX && src_blocks[i] == src_blocks[i - 1] + 1;
      // The library adds one to an int64 and aborts on overflow.
      if (src_blocks[i - 1] == kMaxInt64 || (follows && dst_blocks[i - 1] == kMaxInt64)) {
        return RefuseFatal("block %" PRIu64 " is followed by another one", kMaxInt64);
      }
      if (follows && dst_blocks[i - 1] != UINT64_MAX && dst_blocks[i] == dst_blocks[i - 1] + 1) {
        ++runs->back().length;
        continue;
      }
    }
    runs->push_back({src_blocks[i], dst_blocks[i], 1});
  }
  return kSuccess;
}

Status NoSuchCache(int64_t cache_id) {
  return Refuse(kKvCacheNotExist, "this instance has no cache %" PRId64, cache_id);
}

Status NotLinked(uint64_t cluster_id) {
  return Refuse(kNotYetLink, "this instance holds no link to cluster %" PRIu64, cluster_id);
}

Status RemoteCache(Link* link, int64_t cache_id, std::shared_ptr<const CacheEntry>* remote) {
  if (link->table == nullptr) {
    if (!link->peer->IsAlive()) return Refuse(kFailed, "cluster %" PRIu64 " is gone", link->peer->cluster_id());
    link->table = link->peer->PublishCaches();
  }
  if (link->table != nullptr) {
    const auto found = link->table->find(cache_id);
    if (found != link->table->end()) {
      *remote = found->second;
      return kSuccess;
    }
  }
  return Refuse(kKvCacheNotExist, "cluster %" PRIu64 " had no cache %" PRId64 " when its table was copied",
                link->peer->cluster_id(), cache_id);
}

Status Move(Method method, const Link& link, const CacheEntry& local, const CacheEntry& remote,
            const TensorPairs& pairs, const std::vector<Span>& spans) {
  for (const Span& span : spans) {
    Status status = CheckInside(span.local, span.length, local, "local");
    if (status == kSuccess) status = CheckInside(span.remote, span.length, remote, "remote");
    if (status != kSuccess) return status;
  }
  if (!link.peer->IsAlive()) return Refuse(kFailed, "cluster %" PRIu64 " is gone", link.peer->cluster_id());
  for (uint64_t i = 0; i < pairs.count; ++i) {
    Status status = CheckReach(*local.tensors[pairs.local_start + i], link.local_time, "local");
    if (status == kSuccess) status = CheckReach(*remote.tensors[pairs.remote_start + i], link.peer_time, "remote");
    if (status != kSuccess) return status;
  }
  Status decided = kSuccess;
  if (InterfereInTransport(method, link.peer->cluster_id(), &decided)) return decided;
  for (uint64_t i = 0; i < pairs.count; ++i) {
    Status status = CheckNotFreed(*local.tensors[pairs.local_start + i]);
    if (status == kSuccess) status = CheckNotFreed(*remote.tensors[pairs.remote_start + i]);
    if (status != kSuccess) return status;
  }
  const bool pulls = method == Method::kPullKvCache || method == Method::kPullKvBlocks;
  for (uint64_t i = 0; i < pairs.count; ++i) {
    const uint64_t mine = local.tensors[pairs.local_start + i]->address;
    const uint64_t theirs = remote.tensors[pairs.remote_start + i]->address;
    for (const Span& span : spans) {
      void* const here = reinterpret_cast<void*>(mine + static_cast<uint64_t>(span.local));
      void* const there = reinterpret_cast<void*>(theirs + static_cast<uint64_t>(span.remote));
      const size_t length = static_cast<size_t>(span.length);
      // One buffer may be registered on both sides.
      std::memmove(pulls ? here : there, pulls ? there : here, length);
    }
  }
  return kSuccess;
}

}  // namespace standin
