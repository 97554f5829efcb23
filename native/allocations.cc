#include "allocations.h"

#include <cstdio>

#include "abi/acl.h"

namespace llm_datadist_node {
namespace {

std::string Hex(uint64_t address) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
  return text;
}

void* ToPointer(uint64_t address) { return reinterpret_cast<void*>(static_cast<uintptr_t>(address)); }

}  // namespace

Outcome Allocations::Allocate(uint64_t size, bool on_host, uint64_t* address) {
  void* pointer = nullptr;
  const int32_t error = on_host ? bridge_.malloc_host(&pointer, size) : bridge_.malloc_device(&pointer, size);
  if (error == kAclMemoryAllocation || error == kAclBadAlloc) {
    // The library's own statuses for it, as from its own allocations.
    Outcome outcome = ToOutcome(error, on_host ? "aclrtMallocHost" : "aclrtMalloc");
    outcome.message += " with " + std::to_string(error) + " for " + std::to_string(size) + " bytes";
    outcome.status = on_host ? kOutOfMemory : kDeviceOutOfMemory;
    return outcome;
  }
  if (error != 0) return ToOutcome(error, on_host ? "aclrtMallocHost" : "aclrtMalloc");
  if (pointer == nullptr) return Outcome::Failure(kOutOfMemory, "the runtime gave no memory and no reason");
  *address = reinterpret_cast<uintptr_t>(pointer);
  const std::lock_guard<std::mutex> lock(mutex_);
  blocks_[*address] = {size, on_host, false};
  return {};
}

Outcome Allocations::Free(uint64_t address) {
  Block block;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto found = blocks_.find(address);
    if (found == blocks_.end() || found->second.lent) {
      return Outcome::Failure(kParamInvalid, "no memory of this instance begins at " + Hex(address));
    }
    block = found->second;
    blocks_.erase(found);
  }
  const int32_t error = Release(address, block);
  if (error != 0) {
    // It is still there, to be freed again.
    const std::lock_guard<std::mutex> lock(mutex_);
    blocks_[address] = block;
  }
  return ToOutcome(error, block.on_host ? "aclrtFreeHost" : "aclrtFree");
}

Outcome Allocations::Write(uint64_t address, const void* data, size_t size) {
  const std::optional<Block> block = Find(address, size);
  if (!block) return Refuse(address, size);
  if (size == 0) return {};
  const int32_t kind = block->on_host ? kAclHostToHost : kAclHostToDevice;
  return ToOutcome(bridge_.copy(ToPointer(address), data, size, kind), "aclrtMemcpy");
}

Outcome Allocations::Read(uint64_t address, void* data, size_t size) {
  const std::optional<Block> block = Find(address, size);
  if (!block) return Refuse(address, size);
  if (size == 0) return {};
  const int32_t kind = block->on_host ? kAclHostToHost : kAclDeviceToHost;
  return ToOutcome(bridge_.copy(data, ToPointer(address), size, kind), "aclrtMemcpy");
}

Outcome Allocations::Copy(uint64_t destination, uint64_t source, size_t size) {
  const std::optional<Block> to = Find(destination, size);
  if (!to) return Refuse(destination, size);
  const std::optional<Block> from = Find(source, size);
  if (!from) return Refuse(source, size);
  if (size == 0) return {};
  const int32_t kind = from->on_host ? (to->on_host ? kAclHostToHost : kAclHostToDevice)
                                     : (to->on_host ? kAclDeviceToHost : kAclDeviceToDevice);
  return ToOutcome(bridge_.copy(ToPointer(destination), ToPointer(source), size, kind), "aclrtMemcpy");
}

void Allocations::Lend(int64_t cache_id, const std::vector<uint64_t>& addresses, uint64_t size, bool on_host) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const uint64_t address : addresses) blocks_[address] = {size, on_host, true};
  lent_[cache_id] = addresses;
}

void Allocations::TakeBack(int64_t cache_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = lent_.find(cache_id);
  if (found == lent_.end()) return;
  for (const uint64_t address : found->second) blocks_.erase(address);
  lent_.erase(found);
}

void Allocations::ForgetLent() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& entry : lent_) {
    for (const uint64_t address : entry.second) blocks_.erase(address);
  }
  lent_.clear();
}

void Allocations::FreeAll() {
  ForgetLent();
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [address, block] : blocks_) Release(address, block);
  blocks_.clear();
}

bool Allocations::IsEmpty() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return blocks_.empty();
}

// All memory calls of an instance share a lane, so that what it allocated lives as long as the copy takes. The library's
// caches live as long for TypeScript: it deallocates none that a call uses.
std::optional<Allocations::Block> Allocations::Find(uint64_t address, uint64_t size) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto after = blocks_.upper_bound(address);
  if (after == blocks_.begin()) return std::nullopt;
  const auto& [start, block] = *--after;
  const uint64_t offset = address - start;
  if (offset > block.size || size > block.size - offset) return std::nullopt;
  return block;
}

int32_t Allocations::Release(uint64_t address, const Block& block) {
  return block.on_host ? bridge_.free_host(ToPointer(address)) : bridge_.free_device(ToPointer(address));
}

Outcome Allocations::Refuse(uint64_t address, uint64_t size) const {
  return Outcome::Failure(kParamInvalid, std::to_string(size) + " bytes at " + Hex(address) +
                                             " are not inside memory that this instance allocated");
}

Outcome Allocations::ToOutcome(int32_t error, const char* what) const {
  if (error == 0) return {};
  const char* detail = bridge_.recent_error();
  return {static_cast<uint32_t>(error), std::string(what) + " of the Ascend runtime failed",
          detail == nullptr ? "" : detail, false};
}

}  // namespace llm_datadist_node
