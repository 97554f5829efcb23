// The memory that one instance allocated: what may be freed and copied, and which way a copy goes.

#ifndef LLM_DATADIST_NODE_ALLOCATIONS_H_
#define LLM_DATADIST_NODE_ALLOCATIONS_H_

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

#include "bridge/bridge.h"
#include "outcome.h"

namespace llm_datadist_node {

class Allocations {
 public:
  explicit Allocations(const LlmBridge& bridge) : bridge_(bridge) {}

  Outcome Allocate(uint64_t size, bool on_host, uint64_t* address);
  Outcome Free(uint64_t address);
  Outcome Write(uint64_t address, const void* data, size_t size);
  Outcome Read(uint64_t address, void* data, size_t size);
  Outcome Copy(uint64_t destination, uint64_t source, size_t size);
  // Tensors of a cache that the library has allocated: they can be copied, and are its own to free.
  void Lend(int64_t cache_id, const std::vector<uint64_t>& addresses, uint64_t size, bool on_host);
  // The library has freed them, or is about to free all that it has.
  void TakeBack(int64_t cache_id);
  void ForgetLent();
  // At the end of an instance that nobody frees any more.
  void FreeAll();
  bool IsEmpty() const;

 private:
  struct Block {
    uint64_t size;
    bool on_host;
    // Belongs to the library.
    bool lent;
  };

  // The block that holds all these bytes, if there is one.
  std::optional<Block> Find(uint64_t address, uint64_t size);
  int32_t Release(uint64_t address, const Block& block);
  Outcome Refuse(uint64_t address, uint64_t size) const;
  Outcome ToOutcome(int32_t error, const char* what) const;

  const LlmBridge& bridge_;
  mutable std::mutex mutex_;
  std::map<uint64_t, Block> blocks_;
  // Where the tensors of the library's caches begin.
  std::map<int64_t, std::vector<uint64_t>> lent_;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_ALLOCATIONS_H_
