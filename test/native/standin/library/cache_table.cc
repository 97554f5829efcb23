#include "library/cache_table.h"

#include <string>

namespace standin {
namespace {

constexpr uint64_t kLimit = 1ULL << 20;
constexpr uint64_t kHeader = 24;
constexpr uint64_t kPerCache = 64;
constexpr uint64_t kPerTensor = 8;

}  // namespace

MemoryHandle::MemoryHandle(uint64_t address, uint64_t size, uint64_t time)
    : address(address), size(size), time(time), allocation(FindAllocation(address, size)) {}

std::shared_ptr<const CacheEntry> CacheTable::Find(int64_t id) const {
  const auto found = caches_.find(id);
  return found == caches_.end() ? nullptr : found->second.entry;
}

uint64_t CacheTable::TimeOf(int64_t id) const {
  const auto found = caches_.find(id);
  return found == caches_.end() ? 0 : found->second.time;
}

Status CacheTable::Add(int64_t id, const Registration& registration) {
  Cache cache;
  cache.time = Tick();
  auto entry = std::make_shared<CacheEntry>();
  entry->id = id;
  entry->tensor_bytes = registration.tensor_bytes;
  entry->rows = registration.rows;
  entry->stride = registration.tensor_bytes / registration.rows;
  for (const uint64_t address : registration.addresses) {
    const Range range{address, registration.tensor_bytes};
    std::shared_ptr<MemoryHandle>& handle = handles_[range];
    // A range is registered once; the cache that came first owns the handle.
    const bool reusable = handle != nullptr && (handle->allocation == nullptr || !handle->allocation->freed);
    if (!reusable) {
      handle = std::make_shared<MemoryHandle>(address, registration.tensor_bytes, cache.time);
      cache.owned.push_back(range);
    }
    entry->tensors.push_back(handle);
  }
  const std::string owner = "cache " + std::to_string(id) + " of cluster " + std::to_string(cluster_id_);
  cache.pin = PinTensors(registration, owner.c_str());
  cache.entry = entry;
  const uint64_t bytes = Bytes() + kPerCache + kPerTensor * entry->tensors.size();
  if (bytes > kLimit && published_ == nullptr) published_ = Publish();
  tensors_ += entry->tensors.size();
  caches_.emplace(id, std::move(cache));
  return Change(bytes <= kLimit);
}

Status CacheTable::Remove(int64_t id, const std::set<uint64_t>& links) {
  const auto found = caches_.find(id);
  if (found == caches_.end()) return kSuccess;
  const Cache& cache = found->second;
  for (const Range& range : cache.owned) {
    handles_[range]->live = false;
    handles_.erase(range);
  }
  if (links.empty()) {
    UnpinMemory(cache.pin);
  } else {
    const std::string owner = "cache " + std::to_string(id) + " of cluster " + std::to_string(cluster_id_) +
                              ", which is unregistered but known to a link";
    RenamePin(cache.pin, owner.c_str());
    waiting_pins_.emplace(cache.pin, links);
  }
  tensors_ -= cache.entry->tensors.size();
  caches_.erase(found);
  return Change(Bytes() <= kLimit);
}

void CacheTable::Keep(const Registration& registration) {
  const std::string owner = "a failed registration of cluster " + std::to_string(cluster_id_);
  kept_pins_.push_back(PinTensors(registration, owner.c_str()));
}

void CacheTable::ForgetLink(uint64_t link) {
  for (auto pin = waiting_pins_.begin(); pin != waiting_pins_.end();) {
    pin->second.erase(link);
    if (!pin->second.empty()) {
      ++pin;
      continue;
    }
    UnpinMemory(pin->first);
    pin = waiting_pins_.erase(pin);
  }
}

std::shared_ptr<const Snapshot> CacheTable::Publish() {
  if (version_ == 0) return nullptr;
  if (published_ == nullptr) {
    auto snapshot = std::make_shared<Snapshot>();
    for (const auto& [id, cache] : caches_) snapshot->emplace(id, cache.entry);
    published_ = snapshot;
  }
  return published_;
}

void CacheTable::Clear() {
  for (const auto& entry : handles_) entry.second->live = false;
  handles_.clear();
  for (const auto& entry : caches_) UnpinMemory(entry.second.pin);
  for (const auto& entry : waiting_pins_) UnpinMemory(entry.first);
  for (const uint64_t pin : kept_pins_) UnpinMemory(pin);
  caches_.clear();
  waiting_pins_.clear();
  kept_pins_.clear();
}

uint64_t CacheTable::Bytes() const { return kHeader + kPerCache * caches_.size() + kPerTensor * tensors_; }

Status CacheTable::Change(bool fits) {
  if (!fits) return Refuse(kParamInvalid, "the table of caches holds %lu bytes", kLimit);
  ++version_;
  published_ = nullptr;
  return kSuccess;
}

uint64_t CacheTable::PinTensors(const Registration& registration, const char* owner) {
  const uint64_t pin = NextPin();
  for (const uint64_t address : registration.addresses) PinMemory(pin, address, registration.tensor_bytes, owner);
  return pin;
}

}  // namespace standin
