// The memory of the runtime: host memory that is kept account of. Freed blocks are filled with 0xDB and kept for a
// while, so that whoever still uses them is noticed and does no harm.

#ifndef LLM_DATADIST_NODE_STANDIN_DEVICE_MEMORY_H_
#define LLM_DATADIST_NODE_STANDIN_DEVICE_MEMORY_H_

#include <atomic>
#include <cstdint>
#include <memory>

namespace standin {

constexpr unsigned char kPoison = 0xDB;

struct Allocation {
  Allocation(uint64_t address, uint64_t size, bool host) : address(address), size(size), host(host) {}

  const uint64_t address;
  const uint64_t size;
  const bool host;
  std::atomic<bool> freed{false};
};

// Null where there is no memory for it.
void* Allocate(uint64_t size, bool host);
// False, and a violation, for anything but the start of a live allocation of that kind.
bool Free(void* address, bool host);

// What a copy is allowed to touch on one of its ends.
enum class Place { kDevice, kHost };
// False, and a violation, where the bytes are not the caller's to copy.
bool CheckCopy(const char* end, const void* address, uint64_t size, Place place);

// The live allocation that the bytes lie in, or null.
std::shared_ptr<Allocation> FindAllocation(uint64_t address, uint64_t size);

// Memory that a registration or a link still needs: freeing it meanwhile is a violation. `owner` says whose it is.
void PinMemory(uint64_t pin, uint64_t address, uint64_t size, const char* owner);
void RenamePin(uint64_t pin, const char* owner);
void UnpinMemory(uint64_t pin);
// A number that no other pin has.
uint64_t NextPin();

// Looks whether freed blocks were written to since.
void CheckQuarantine();

uint64_t LiveAllocations();
uint64_t LiveBytes();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_DEVICE_MEMORY_H_
