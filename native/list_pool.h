// Memory for lists of blocks, used again and again: given back to the allocator, a stream of pulls would have the kernel
// take it away and bring it in again page by page.

#ifndef LLM_DATADIST_NODE_LIST_POOL_H_
#define LLM_DATADIST_NODE_LIST_POOL_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

namespace llm_datadist_node {

class ListPool {
 public:
  // Of this process, for all threads; never destroyed.
  static ListPool& Get();

  // An empty list, with room where there is one to use again.
  std::vector<uint64_t> Take();
  void Give(std::vector<uint64_t> list);

 private:
  // As many as calls are in flight in a burst, and no longer than a burst of ordinary ones has them: 8 MiB in all.
  static constexpr size_t kLists = 128;
  static constexpr size_t kLength = 8192;

  std::mutex mutex_;
  std::vector<std::vector<uint64_t>> lists_;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_LIST_POOL_H_
