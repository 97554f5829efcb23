// The functions that the stand-in stands in for, by the names that the control commands and the journal use.

#ifndef LLM_DATADIST_NODE_STANDIN_METHOD_H_
#define LLM_DATADIST_NODE_STANDIN_METHOD_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

#define STANDIN_METHODS(V)                       \
  V(kConstruct, "LlmDataDist")                   \
  V(kDestroy, "~LlmDataDist")                    \
  V(kInitialize, "Initialize")                   \
  V(kFinalize, "Finalize")                       \
  V(kSetRole, "SetRole")                         \
  V(kLink, "LinkLlmClusters")                    \
  V(kUnlink, "UnlinkLlmClusters")                \
  V(kAllocateCache, "AllocateCache")             \
  V(kDeallocateCache, "DeallocateCache")         \
  V(kCopyKvCache, "CopyKvCache")                 \
  V(kCopyKvBlocks, "CopyKvBlocks")               \
  V(kRegister, "RegisterKvCache")                \
  V(kUnregister, "UnregisterKvCache")            \
  V(kPullKvCache, "PullKvCache")                 \
  V(kPullKvBlocks, "PullKvBlocks")               \
  V(kPushKvCache, "PushKvCache")                 \
  V(kPushKvBlocks, "PushKvBlocks")               \
  V(kAclInit, "aclInit")                         \
  V(kAclFinalize, "aclFinalize")                 \
  V(kAclrtSetDevice, "aclrtSetDevice")           \
  V(kAclrtResetDevice, "aclrtResetDevice")       \
  V(kAclrtGetDeviceCount, "aclrtGetDeviceCount") \
  V(kAclrtMalloc, "aclrtMalloc")                 \
  V(kAclrtFree, "aclrtFree")                     \
  V(kAclrtMallocHost, "aclrtMallocHost")         \
  V(kAclrtFreeHost, "aclrtFreeHost")             \
  V(kAclrtMemcpy, "aclrtMemcpy")                 \
  V(kAclsysGetVersionStr, "aclsysGetVersionStr")

namespace standin {

enum class Method : uint32_t {
#define STANDIN_MEMBER(member, name) member,
  STANDIN_METHODS(STANDIN_MEMBER)
#undef STANDIN_MEMBER
};

constexpr const char* kMethodNames[] = {
#define STANDIN_NAME(member, name) name,
    STANDIN_METHODS(STANDIN_NAME)
#undef STANDIN_NAME
};

constexpr size_t kMethods = sizeof kMethodNames / sizeof kMethodNames[0];

constexpr size_t IndexOf(Method method) { return static_cast<size_t>(method); }
constexpr const char* NameOf(Method method) { return kMethodNames[IndexOf(method)]; }

constexpr bool IsTransfer(Method method) {
  return method == Method::kPullKvCache || method == Method::kPullKvBlocks || method == Method::kPushKvCache ||
         method == Method::kPushKvBlocks;
}

// Whether `name` is one of the above; `*method` is set then.
inline bool FindMethod(std::string_view name, Method* method) {
  for (size_t i = 0; i < kMethods; ++i) {
    if (name != kMethodNames[i]) continue;
    *method = static_cast<Method>(i);
    return true;
  }
  return false;
}

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_METHOD_H_
