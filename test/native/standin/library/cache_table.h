// The caches of one instance, the memory behind them, and the table of them that peers copy.

#ifndef LLM_DATADIST_NODE_STANDIN_CACHE_TABLE_H_
#define LLM_DATADIST_NODE_STANDIN_CACHE_TABLE_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "library/status.h"
#include "runtime/device_memory.h"

namespace standin {

// One registration of a range with the transport.
struct MemoryHandle {
  uint64_t address;
  uint64_t size;
  // A link knows what was registered before it was made.
  uint64_t time;
  // Null for memory that is not the runtime's.
  std::shared_ptr<Allocation> allocation;
  // False once it is deregistered.
  std::atomic<bool> live{true};

  MemoryHandle(uint64_t address, uint64_t size, uint64_t time);
};

struct CacheEntry {
  int64_t id;
  std::vector<std::shared_ptr<MemoryHandle>> tensors;
  uint64_t tensor_bytes;
  // Which are blocks as well.
  uint32_t rows;
  // Bytes of a row, rounded down.
  uint64_t stride;
};

using Snapshot = std::map<int64_t, std::shared_ptr<const CacheEntry>>;

// What a cache of so many rows is made of.
struct Registration {
  const std::vector<uint64_t>& addresses;
  uint64_t tensor_bytes;
  uint32_t rows;
};

// Not thread-safe: a session guards its own.
class CacheTable {
 public:
  explicit CacheTable(uint64_t cluster_id) : cluster_id_(cluster_id) {}

  // Every registration that gets as far as the engine takes one, whatever becomes of it.
  int64_t TakeId() { return next_id_++; }

  std::shared_ptr<const CacheEntry> Find(int64_t id) const;

  // A cache that does not fit the table stays, although it is refused, and nothing is published meanwhile.
  Status Add(int64_t id, const Registration& registration);
  // `links` are those that still know the cache's memory: it stays pinned until all of them were forgotten.
  Status Remove(int64_t id, const std::set<uint64_t>& links);
  // Memory that a failed registration has left registered, until the end.
  void Keep(const Registration& registration);

  // When the cache was registered, 0 where there is none.
  uint64_t TimeOf(int64_t id) const;
  void ForgetLink(uint64_t link);

  // Null before the first change: peers look again then.
  std::shared_ptr<const Snapshot> Publish();

  // A time that nothing else has.
  uint64_t Tick() { return ++time_; }

  // What Finalize does.
  void Clear();

 private:
  using Range = std::pair<uint64_t, uint64_t>;

  struct Cache {
    std::shared_ptr<const CacheEntry> entry;
    // Handles that came with this cache and go with it.
    std::vector<Range> owned;
    uint64_t time;
    uint64_t pin;
  };

  uint64_t Bytes() const;
  Status Change(bool fits);
  uint64_t PinTensors(const Registration& registration, const char* owner);

  const uint64_t cluster_id_;
  int64_t next_id_ = 1;
  uint64_t time_ = 0;
  uint64_t version_ = 0;
  uint64_t tensors_ = 0;
  std::map<int64_t, Cache> caches_;
  std::map<Range, std::shared_ptr<MemoryHandle>> handles_;
  // Pins of caches that are gone, and the links that they wait for.
  std::map<uint64_t, std::set<uint64_t>> waiting_pins_;
  std::vector<uint64_t> kept_pins_;
  // Null while it equals the caches and nobody has asked.
  std::shared_ptr<const Snapshot> published_;
};

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_CACHE_TABLE_H_
