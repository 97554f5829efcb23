// Copies between caches of one object, as the older engine makes them.

#ifndef LLM_DATADIST_NODE_STANDIN_COPY_H_
#define LLM_DATADIST_NODE_STANDIN_COPY_H_

#include <cstdint>
#include <vector>

#include "library/status.h"
#include "native/abi/llm_datadist.h"

namespace standin {

// The caches are described by the caller. Host memory is the source of no copy of a row.
Status CopyCache(const llm_datadist::Cache& src, const llm_datadist::Cache& dst, uint32_t src_batch_index,
                 uint32_t dst_batch_index, uint64_t offset, int64_t size);
// Each list of destinations takes a copy of all sources: `src_blocks[k]` goes to block `k` of every list.
Status CopyBlocks(const llm_datadist::Cache& src, const llm_datadist::Cache& dst,
                  const std::vector<uint64_t>& src_blocks, const std::vector<std::vector<uint64_t>>& dst_blocks_list);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_COPY_H_
