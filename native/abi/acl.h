// The C functions of the Ascend runtime (libascendcl.so or libacl_rt.so) that the bridge calls.

#ifndef LLM_DATADIST_NODE_ABI_ACL_H_
#define LLM_DATADIST_NODE_ABI_ACL_H_

#include <cstddef>
#include <cstdint>

extern "C" {

using aclError = int;

// Errors that mean something to the shim; all others are passed on.
enum AclError : int { kAclRepeatInitialize = 100002, kAclBadAlloc = 200000, kAclMemoryAllocation = 207001 };

// `kind` of aclrtMemcpy
enum AclMemcpyKind : int {
  kAclHostToHost = 0,
  kAclHostToDevice = 1,
  kAclDeviceToHost = 2,
  kAclDeviceToDevice = 3,
};

// `policy` of aclrtMalloc
enum AclMallocPolicy : int { kAclHugeFirst = 0, kAclHugeOnly = 1, kAclNormalOnly = 2 };

aclError aclInit(const char* config_path);
aclError aclFinalize();
const char* aclGetRecentErrMsg();

aclError aclrtSetDevice(int32_t device);
aclError aclrtResetDevice(int32_t device);
aclError aclrtGetDeviceCount(uint32_t* count);
const char* aclrtGetSocName();
// Newer releases only. `version` has room for 128 bytes at least.
aclError aclsysGetVersionStr(char* package, char* version);

aclError aclrtMalloc(void** address, size_t size, int policy);
aclError aclrtFree(void* address);
aclError aclrtMallocHost(void** address, size_t size);
aclError aclrtFreeHost(void* address);
aclError aclrtMemcpy(void* destination, size_t destination_size, const void* source, size_t count, int kind);
}

#endif  // LLM_DATADIST_NODE_ABI_ACL_H_
