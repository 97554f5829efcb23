#include "runtime/device_memory.h"

#include <algorithm>
#include <cinttypes>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/hazards.h"

namespace standin {
namespace {

constexpr uint64_t kAlignment = 64;
// More than any device has.
constexpr uint64_t kLargest = (1ULL << 40) - kAlignment;
constexpr uint64_t kQuarantineBytes = 64ULL << 20;
constexpr size_t kQuarantineBlocks = 4096;

struct Pin {
  uint64_t address;
  uint64_t size;
  std::string owner;
};

struct Memory {
  std::mutex mutex;
  std::map<uint64_t, std::shared_ptr<Allocation>> live;
  uint64_t live_bytes = 0;
  std::deque<std::shared_ptr<Allocation>> quarantine;
  uint64_t quarantine_bytes = 0;
  std::map<uint64_t, std::vector<Pin>> pins;
  uint64_t last_pin = 0;

  // The allocation whose first byte is the last one at or before `address`.
  std::shared_ptr<Allocation> At(uint64_t address) const {
    auto next = live.upper_bound(address);
    return next == live.begin() ? nullptr : std::prev(next)->second;
  }

  std::shared_ptr<Allocation> Holding(uint64_t address, uint64_t size) const {
    std::shared_ptr<Allocation> found = At(address);
    if (found == nullptr || address - found->address > found->size) return nullptr;
    return size <= found->size - (address - found->address) ? found : nullptr;
  }
};

Memory& TheMemory() {
  static Memory& memory = *new Memory;
  return memory;
}

bool Overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) { return a - b < b_size || b - a < a_size; }

unsigned char* BytesOf(const Allocation& block) { return reinterpret_cast<unsigned char*>(block.address); }

// Tells of each write once.
void CheckPoison(const Allocation& block) {
  unsigned char* bytes = BytesOf(block);
  uint64_t i = 0;
  while (i < block.size && bytes[i] == kPoison) ++i;
  if (i == block.size) return;
  Violate(Hazard::kUseAfterFree, "byte %" PRIu64 " of the %" PRIu64 " bytes at 0x%" PRIx64 " was written after free", i,
          block.size, block.address);
  std::memset(bytes, kPoison, block.size);
}

// Once for each owner.
void CheckPins(const Memory& memory, const Allocation& block) {
  for (const auto& entry : memory.pins) {
    for (const Pin& pin : entry.second) {
      if (!Overlap(pin.address, pin.size, block.address, block.size)) continue;
      Violate(Hazard::kFreeRegistered, "the %" PRIu64 " bytes at 0x%" PRIx64 " are freed and belong to %s", block.size,
              block.address, pin.owner.c_str());
      break;
    }
  }
}

void Evict(Memory& memory) {
  const std::shared_ptr<Allocation> oldest = memory.quarantine.front();
  memory.quarantine.pop_front();
  memory.quarantine_bytes -= oldest->size;
  CheckPoison(*oldest);
  std::free(reinterpret_cast<void*>(oldest->address));
}

void Quarantine(Memory& memory, const std::shared_ptr<Allocation>& block) {
  block->freed = true;
  std::memset(BytesOf(*block), kPoison, block->size);
  memory.quarantine.push_back(block);
  memory.quarantine_bytes += block->size;
  while (memory.quarantine.size() > kQuarantineBlocks || memory.quarantine_bytes > kQuarantineBytes) Evict(memory);
}

}  // namespace

void* Allocate(uint64_t size, bool host) {
  if (size > kLargest) return nullptr;
  void* block = std::aligned_alloc(kAlignment, (size + kAlignment - 1) / kAlignment * kAlignment);
  if (block == nullptr) return nullptr;
  const uint64_t address = reinterpret_cast<uint64_t>(block);
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  memory.live.emplace(address, std::make_shared<Allocation>(address, size, host));
  memory.live_bytes += size;
  return block;
}

bool Free(void* address, bool host) {
  const uint64_t start = reinterpret_cast<uint64_t>(address);
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  const auto found = memory.live.find(start);
  if (found == memory.live.end() || found->second->host != host) {
    const bool freed = std::any_of(memory.quarantine.begin(), memory.quarantine.end(),
                                   [&](const auto& block) { return block->address == start; });
    Violate(Hazard::kForeignFree, "0x%" PRIx64 " %s", start,
            freed                               ? "was freed before"
            : found == memory.live.end()        ? "is not the start of an allocation"
            : host                              ? "is device memory, freed as host memory"
                                                : "is host memory, freed as device memory");
    return false;
  }
  const std::shared_ptr<Allocation> block = found->second;
  if (IsWatched(Hazard::kFreeRegistered)) CheckPins(memory, *block);
  memory.live.erase(found);
  memory.live_bytes -= block->size;
  Quarantine(memory, block);
  return true;
}

bool CheckCopy(const char* end, const void* address, uint64_t size, Place place) {
  const uint64_t start = reinterpret_cast<uint64_t>(address);
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  const std::shared_ptr<Allocation> block = memory.Holding(start, size);
  if (place == Place::kDevice) {
    if (block != nullptr && !block->host) return true;
    Violate(Hazard::kForeignCopy, "the %s of a copy, %" PRIu64 " bytes at 0x%" PRIx64 ", is %s", end, size, start,
            block == nullptr ? "not inside of one live allocation" : "host memory, copied as device memory");
    return false;
  }
  // Host memory may be anybody's; what is known of it must be right all the same.
  const std::shared_ptr<Allocation> at = memory.At(start);
  const bool runs_out = block == nullptr && at != nullptr && start - at->address < at->size;
  const bool freed = std::any_of(memory.quarantine.begin(), memory.quarantine.end(), [&](const auto& old) {
    return size > 0 && Overlap(old->address, old->size, start, size);
  });
  const bool device = block != nullptr && !block->host;
  if (!runs_out && !freed && !device) return true;
  Violate(Hazard::kForeignCopy, "the %s of a copy, %" PRIu64 " bytes at 0x%" PRIx64 ", %s", end, size, start,
          runs_out ? "runs out of its allocation" : freed ? "was freed" : "is device memory, copied as host memory");
  return false;
}

std::shared_ptr<Allocation> FindAllocation(uint64_t address, uint64_t size) {
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  return memory.Holding(address, size);
}

void PinMemory(uint64_t pin, uint64_t address, uint64_t size, const char* owner) {
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  memory.pins[pin].push_back({address, size, owner});
}

void RenamePin(uint64_t pin, const char* owner) {
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  const auto found = memory.pins.find(pin);
  if (found == memory.pins.end()) return;
  for (Pin& each : found->second) each.owner = owner;
}

void UnpinMemory(uint64_t pin) {
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  memory.pins.erase(pin);
}

uint64_t NextPin() {
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  return ++memory.last_pin;
}

void CheckQuarantine() {
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  for (const auto& block : memory.quarantine) CheckPoison(*block);
}

uint64_t LiveAllocations() {
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  return memory.live.size();
}

uint64_t LiveBytes() {
  Memory& memory = TheMemory();
  const std::lock_guard<std::mutex> lock(memory.mutex);
  return memory.live_bytes;
}

}  // namespace standin
