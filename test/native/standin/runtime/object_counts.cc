#include "runtime/object_counts.h"

#include <atomic>

namespace standin {
namespace {

std::atomic<int64_t> g_objects{0};
std::atomic<int64_t> g_initialised{0};

}  // namespace

void CountObject(int change) { g_objects += change; }
void CountInitialised(int change) { g_initialised += change; }

uint64_t LiveObjects() { return static_cast<uint64_t>(g_objects); }
uint64_t InitialisedObjects() { return static_cast<uint64_t>(g_initialised); }

}  // namespace standin
