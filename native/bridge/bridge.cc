#include "bridge.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <exception>

#include "../abi/acl.h"
#include "optional_symbols.h"
#include "vendor_types.h"

using llm_datadist::LlmDataDist;
using llm_datadist::Status;

namespace llm_bridge {
namespace {

constexpr Status kFailed = 0xFFFFFFFFU;
constexpr Status kFeatureNotEnabled = 0x5010B019U;

void Explain(LlmError* error, const char* text) { std::snprintf(error->text, sizeof error->text, "%s", text); }

// Every call of the library: an exception of any type becomes a failure with a text.
template <typename Work>
auto Guarded(LlmError* error, decltype(std::declval<Work>()()) failure, Work work) {
  try {
    return work();
  } catch (const std::exception& exception) {
    Explain(error, exception.what());
  } catch (...) {
    Explain(error, "the library threw something that is no std::exception");
  }
  error->thrown = true;
  return failure;
}

// As above, for a method that older releases lack. `symbol` is null then.
template <typename Work>
Status GuardedIf(const char* symbol, const char* method, LlmError* error, Work work) {
  if (symbol == nullptr) {
    std::snprintf(error->text, sizeof error->text, "this release of the library has no %s", method);
    return kFeatureNotEnabled;
  }
  return Guarded(error, kFailed, work);
}

LlmDataDist& ObjectOf(LlmObject* object) { return *reinterpret_cast<LlmDataDist*>(object); }

// The library appends to what it finds, and gives nothing when it refuses the call as a whole.
void GiveResults(const std::vector<Status>& results, size_t room, uint32_t* out, size_t* count) {
  *count = results.size() < room ? results.size() : room;
  std::copy_n(results.begin(), *count, out);
}

// The library does not survive that an object is deleted, so each stays until the process ends. The list keeps them in
// sight of leak checkers: an object that nothing points to any more would look lost.
struct Kept {
  LlmDataDist* object;
  Kept* next;
};
std::atomic<Kept*> g_kept{nullptr};

void Keep(LlmDataDist* object) {
  Kept* const kept = new Kept{object, g_kept.load(std::memory_order_relaxed)};
  while (!g_kept.compare_exchange_weak(kept->next, kept)) {
  }
}

LlmObject* Create(uint64_t cluster_id, int32_t role, LlmError* error) {
  return Guarded(error, static_cast<LlmObject*>(nullptr), [&] {
    LlmDataDist* const object = new LlmDataDist(cluster_id, static_cast<llm_datadist::LlmRole>(role));
    Keep(object);
    return reinterpret_cast<LlmObject*>(object);
  });
}

Status Initialize(LlmObject* object, LlmOptions options, LlmError* error) {
  return Guarded(error, kFailed, [&] { return ObjectOf(object).Initialize(ToOptions(options)); });
}

void Finalize(LlmObject* object, LlmError* error) {
  Guarded(error, kFailed, [&] {
    ObjectOf(object).Finalize();
    return Status{0};
  });
}

Status SetRole(LlmObject* object, int32_t role, LlmOptions options, LlmError* error) {
  return GuardedIf(&kSetRole, "SetRole", error, [&] {
    return ObjectOf(object).SetRole(static_cast<llm_datadist::LlmRole>(role), ToOptions(options));
  });
}

Status Link(LlmObject* object, LlmClusters clusters, int32_t timeout_ms, uint32_t* results, size_t* count,
            LlmError* error) {
  return Guarded(error, kFailed, [&] {
    std::vector<Status> given;
    const Status status = ObjectOf(object).LinkLlmClusters(ToClusters(clusters), given, timeout_ms);
    GiveResults(given, clusters.size, results, count);
    return status;
  });
}

Status Unlink(LlmObject* object, LlmClusters clusters, int32_t timeout_ms, bool force, uint32_t* results,
              size_t* count, LlmError* error) {
  return Guarded(error, kFailed, [&] {
    std::vector<Status> given;
    const Status status = ObjectOf(object).UnlinkLlmClusters(ToClusters(clusters), given, timeout_ms, force);
    GiveResults(given, clusters.size, results, count);
    return status;
  });
}

Status AllocateCache(LlmObject* object, const LlmCacheDesc* desc, int64_t* cache_id, LlmTakeNumbers take, void* context,
                     LlmError* error) {
  return GuardedIf(&kAllocateCache, "AllocateCache", error, [&] {
    llm_datadist::Cache cache{};
    const Status status = ObjectOf(object).AllocateCache(ToCacheDesc(*desc), cache);
    *cache_id = cache.cache_id;
    take(context, {cache.tensor_addrs.data(), cache.tensor_addrs.size()});
    return status;
  });
}

Status DeallocateCache(LlmObject* object, int64_t cache_id, LlmError* error) {
  return GuardedIf(&kDeallocateCache, "DeallocateCache", error,
                   [&] { return ObjectOf(object).DeallocateCache(cache_id); });
}

Status CopyCache(LlmObject* object, const LlmCache* src, const LlmCache* dst, uint32_t src_batch_index,
                 uint32_t dst_batch_index, uint64_t offset, int64_t size, LlmError* error) {
  return GuardedIf(&kCopyKvCache, "CopyKvCache", error, [&] {
    return ObjectOf(object).CopyKvCache(ToCache(*src), ToCache(*dst), src_batch_index, dst_batch_index, offset, size);
  });
}

Status CopyBlocks(LlmObject* object, const LlmCache* src, const LlmCache* dst, LlmNumbers src_blocks,
                  const LlmNumbers* dst_blocks_list, size_t lists, LlmError* error) {
  return GuardedIf(&kCopyKvBlocks, "CopyKvBlocks", error, [&] {
    std::vector<std::vector<uint64_t>> destinations;
    destinations.reserve(lists);
    for (size_t i = 0; i < lists; ++i) destinations.push_back(ToVector(dst_blocks_list[i]));
    return ObjectOf(object).CopyKvBlocks(ToCache(*src), ToCache(*dst), ToVector(src_blocks), destinations);
  });
}

Status RegisterCache(LlmObject* object, const LlmCacheDesc* desc, LlmNumbers addrs, int64_t* cache_id,
                     LlmError* error) {
  return GuardedIf(&kRegisterKvCache, "RegisterKvCache", error, [&] {
    return ObjectOf(object).RegisterKvCache(ToCacheDesc(*desc), ToVector(addrs), llm_datadist::RegisterCfg{},
                                            *cache_id);
  });
}

Status UnregisterCache(LlmObject* object, int64_t cache_id, LlmError* error) {
  return GuardedIf(&kUnregisterKvCache, "UnregisterKvCache", error,
                   [&] { return ObjectOf(object).UnregisterKvCache(cache_id); });
}

Status PullCache(LlmObject* object, const LlmCacheIndex* src, int64_t dst_cache_id, uint32_t batch_index, int64_t size,
                 const LlmExtParam* ext, LlmError* error) {
  return GuardedIf(&kPullKvCache, "PullKvCache", error, [&] {
    return ObjectOf(object).PullKvCache(ToCacheIndex(*src), ToBareCache(dst_cache_id), batch_index, size,
                                        ToExtParam(*ext));
  });
}

Status PullBlocks(LlmObject* object, const LlmCacheIndex* src, int64_t dst_cache_id, LlmNumbers src_blocks,
                  LlmNumbers dst_blocks, const LlmExtParam* ext, LlmError* error) {
  return GuardedIf(&kPullKvBlocks, "PullKvBlocks", error, [&] {
    return ObjectOf(object).PullKvBlocks(ToCacheIndex(*src), ToBareCache(dst_cache_id), ToReusedVector<0>(src_blocks),
                                         ToReusedVector<1>(dst_blocks), ToExtParam(*ext));
  });
}

Status PushCache(LlmObject* object, const LlmCache* src, const LlmCacheIndex* dst, uint32_t src_batch_index,
                 int64_t size, const LlmExtParam* ext, LlmError* error) {
  return GuardedIf(&kPushKvCache, "PushKvCache", error, [&] {
    return ObjectOf(object).PushKvCache(ToCache(*src), ToCacheIndex(*dst), src_batch_index, size, ToExtParam(*ext));
  });
}

Status PushBlocks(LlmObject* object, const LlmCache* src, const LlmCacheIndex* dst, LlmNumbers src_blocks,
                  LlmNumbers dst_blocks, const LlmExtParam* ext, LlmError* error) {
  return GuardedIf(&kPushKvBlocks, "PushKvBlocks", error, [&] {
    return ObjectOf(object).PushKvBlocks(ToCache(*src), ToCacheIndex(*dst), ToReusedVector<0>(src_blocks),
                                         ToReusedVector<1>(dst_blocks), ToExtParam(*ext));
  });
}

// Calls of the runtime: C functions that are written in C++.
template <typename Work>
auto GuardedRuntime(decltype(std::declval<Work>()()) failure, Work work) {
  try {
    return work();
  } catch (...) {
    return failure;
  }
}

template <auto function, typename... Arguments>
int32_t Runtime(Arguments... arguments) {
  return GuardedRuntime(static_cast<int32_t>(kFailed), [&] { return function(arguments...); });
}

const char* RecentError() {
  if (&kAclGetRecentErrMsg == nullptr) return nullptr;
  return GuardedRuntime(static_cast<const char*>(nullptr), [] { return aclGetRecentErrMsg(); });
}

const char* SocName() {
  if (&kAclrtGetSocName == nullptr) return nullptr;
  return GuardedRuntime(static_cast<const char*>(nullptr), [] { return aclrtGetSocName(); });
}

// Bigger than ACL_PKG_VERSION_MAX_SIZE of any release.
thread_local char version_text[256];

const char* RuntimeVersion() {
  if (&kAclsysGetVersionStr == nullptr) return nullptr;
  char package[] = "runtime";
  return Runtime<aclsysGetVersionStr>(package, version_text) == 0 ? version_text : nullptr;
}

// Without a configuration file.
int32_t Init() { return Runtime<aclInit, const char*>(nullptr); }

int32_t MallocDevice(void** address, size_t size) {
  return Runtime<aclrtMalloc>(address, size, static_cast<int>(kAclHugeFirst));
}

int32_t Copy(void* destination, const void* source, size_t size, int32_t kind) {
  return Runtime<aclrtMemcpy>(destination, size, source, size, kind);
}

constexpr LlmBridge kTable = {
    LLM_BRIDGE_TABLE_VERSION,
    Create,
    Initialize,
    Finalize,
    SetRole,
    Link,
    Unlink,
    AllocateCache,
    DeallocateCache,
    CopyCache,
    CopyBlocks,
    RegisterCache,
    UnregisterCache,
    PullCache,
    PullBlocks,
    PushCache,
    PushBlocks,
    Init,
    Runtime<aclrtSetDevice>,
    Runtime<aclrtGetDeviceCount>,
    MallocDevice,
    Runtime<aclrtFree>,
    Runtime<aclrtMallocHost>,
    Runtime<aclrtFreeHost>,
    Copy,
    RecentError,
    SocName,
    RuntimeVersion,
};

}  // namespace
}  // namespace llm_bridge

extern "C" __attribute__((visibility("default"))) const LlmBridge* llm_datadist_bridge() {
  return &llm_bridge::kTable;
}
