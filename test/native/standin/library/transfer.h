// What pulls and pushes have in common: layers, runs of blocks, and the copy itself.

#ifndef LLM_DATADIST_NODE_STANDIN_TRANSFER_H_
#define LLM_DATADIST_NODE_STANDIN_TRANSFER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "library/session.h"
#include "library/status.h"
#include "native/abi/llm_datadist.h"
#include "runtime/method.h"

namespace standin {

// Wide enough for any row or block number times any row size.
using Offset = unsigned __int128;

// Bytes to copy in every pair of tensors, as offsets from the start of the local and of the remote tensor.
struct Span {
  Offset local;
  Offset remote;
  Offset length;
};

// Neighbouring pairs of blocks whose source and destination both rise by one: one copy.
struct BlockRun {
  uint64_t src;
  uint64_t dst;
  uint64_t length;
};

// Tensors of both sides that are copied pairwise.
struct TensorPairs {
  uint64_t local_start;
  uint64_t remote_start;
  uint64_t count;
};

// The checks that every transfer begins with.
Status CheckExtParam(const llm_datadist::KvCacheExtParam& param, bool equal_spans);
Status CheckBlockLists(const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks);
Status BlockRuns(const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks,
                 std::vector<BlockRun>* runs);

// A number that is no cache of this instance, or a cluster that it is not linked to.
Status NoSuchCache(int64_t cache_id);
Status NotLinked(uint64_t cluster_id);

// The peer's cache as this side sees it. The caller holds the link's mutex.
Status RemoteCache(Link* link, int64_t cache_id, std::shared_ptr<const CacheEntry>* remote);

// Copies the spans in each pair of tensors, all of them or none. The caller holds the link's mutex, and of a push that of
// all pushes.
Status Move(Method method, const Link& link, const CacheEntry& local, const CacheEntry& remote,
            const TensorPairs& pairs, const std::vector<Span>& spans);

Status PullCache(Session* session, const llm_datadist::CacheIndex& src, int64_t dst_id, uint32_t batch_index,
                 int64_t size, const llm_datadist::KvCacheExtParam& param);
Status PullBlocks(Session* session, const llm_datadist::CacheIndex& src, int64_t dst_id,
                  const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks,
                  const llm_datadist::KvCacheExtParam& param);
Status PushCache(Session* session, const llm_datadist::Cache& src, const llm_datadist::CacheIndex& dst,
                 uint32_t src_batch_index, int64_t size, const llm_datadist::KvCacheExtParam& param);
Status PushBlocks(Session* session, const llm_datadist::Cache& src, const llm_datadist::CacheIndex& dst,
                  const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks,
                  const llm_datadist::KvCacheExtParam& param);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_TRANSFER_H_
