// The table of C functions through which the addon reaches the vendor's library.
//
// The bridge is a separate shared object because it alone names the vendor's symbols: opened after the library it
// binds to it, opened without it fails with a message. An addon that named them could not be loaded on other hosts.
//
// Nothing of C++ crosses the table: plain structs go in, statuses come out, and exceptions end in LlmError.

#ifndef LLM_DATADIST_NODE_BRIDGE_BRIDGE_H_
#define LLM_DATADIST_NODE_BRIDGE_BRIDGE_H_

#include <stddef.h>
#include <stdint.h>

#define LLM_BRIDGE_TABLE_VERSION 1
#define LLM_BRIDGE_ENTRY "llm_datadist_bridge"

extern "C" {

// A C++ object of the vendor's. There is no function to delete one: the library does not survive it.
struct LlmObject;

// What a C++ exception said; `thrown` is set then, and the status is LLM_FAILED.
struct LlmError {
  bool thrown;
  char text[1024];
};

struct LlmText {
  const char* data;
  size_t size;
};

struct LlmOption {
  LlmText key;
  LlmText value;
};

struct LlmOptions {
  const LlmOption* data;
  size_t size;
};

struct LlmAddress {
  LlmText ip;
  uint16_t port;
};

struct LlmCluster {
  uint64_t remote_cluster_id;
  int32_t remote_role_type;
  const LlmAddress* local;
  size_t local_count;
  const LlmAddress* remote;
  size_t remote_count;
};

struct LlmClusters {
  const LlmCluster* data;
  size_t size;
};

struct LlmNumbers {
  const uint64_t* data;
  size_t size;
};

struct LlmCacheDesc {
  uint32_t placement;
  uint32_t num_tensors;
  int32_t data_type;
  const int64_t* shape;
  size_t dimensions;
};

struct LlmCache {
  int64_t cache_id;
  LlmNumbers tensor_addrs;
  LlmCacheDesc desc;
};

struct LlmCacheIndex {
  uint64_t cluster_id;
  int64_t cache_id;
  uint32_t batch_index;
};

struct LlmExtParam {
  int32_t src_layer_range[2];
  int32_t dst_layer_range[2];
  uint8_t tensor_num_per_layer;
};

// Takes numbers that are gone when it returns. It may throw, as for lack of memory.
using LlmTakeNumbers = void (*)(void* context, LlmNumbers);

// A method that the library lacks answers LLM_FEATURE_NOT_ENABLED, and `error` says which one it is.
struct LlmBridge {
  uint32_t version;

  LlmObject* (*create)(uint64_t cluster_id, int32_t role, LlmError* error);
  uint32_t (*initialize)(LlmObject*, LlmOptions, LlmError*);
  void (*finalize)(LlmObject*, LlmError*);
  uint32_t (*set_role)(LlmObject*, int32_t role, LlmOptions, LlmError*);

  // `results` has room for one status per cluster; `*count` says how many the library gave.
  uint32_t (*link)(LlmObject*, LlmClusters, int32_t timeout_ms, uint32_t* results, size_t* count, LlmError*);
  uint32_t (*unlink)(LlmObject*, LlmClusters, int32_t timeout_ms, bool force, uint32_t* results, size_t* count,
                     LlmError*);

  // `take` is called once, with the addresses that the library gave: how many that is, it alone decides.
  uint32_t (*allocate_cache)(LlmObject*, const LlmCacheDesc*, int64_t* cache_id, LlmTakeNumbers take, void* context,
                             LlmError*);
  uint32_t (*deallocate_cache)(LlmObject*, int64_t cache_id, LlmError*);
  uint32_t (*copy_cache)(LlmObject*, const LlmCache* src, const LlmCache* dst, uint32_t src_batch_index,
                         uint32_t dst_batch_index, uint64_t offset, int64_t size, LlmError*);
  uint32_t (*copy_blocks)(LlmObject*, const LlmCache* src, const LlmCache* dst, LlmNumbers src_blocks,
                          const LlmNumbers* dst_blocks_list, size_t lists, LlmError*);

  uint32_t (*register_cache)(LlmObject*, const LlmCacheDesc*, LlmNumbers addrs, int64_t* cache_id, LlmError*);
  uint32_t (*unregister_cache)(LlmObject*, int64_t cache_id, LlmError*);

  uint32_t (*pull_cache)(LlmObject*, const LlmCacheIndex* src, int64_t dst_cache_id, uint32_t batch_index, int64_t size,
                         const LlmExtParam*, LlmError*);
  uint32_t (*pull_blocks)(LlmObject*, const LlmCacheIndex* src, int64_t dst_cache_id, LlmNumbers src_blocks,
                          LlmNumbers dst_blocks, const LlmExtParam*, LlmError*);
  uint32_t (*push_cache)(LlmObject*, const LlmCache* src, const LlmCacheIndex* dst, uint32_t src_batch_index,
                         int64_t size, const LlmExtParam*, LlmError*);
  uint32_t (*push_blocks)(LlmObject*, const LlmCache* src, const LlmCacheIndex* dst, LlmNumbers src_blocks,
                          LlmNumbers dst_blocks, const LlmExtParam*, LlmError*);

  // The Ascend runtime: 0 is success, everything else an aclError.
  int32_t (*acl_init)();
  int32_t (*set_device)(int32_t device);
  int32_t (*device_count)(uint32_t* count);
  int32_t (*malloc_device)(void** address, size_t size);
  int32_t (*free_device)(void* address);
  int32_t (*malloc_host)(void** address, size_t size);
  int32_t (*free_host)(void* address);
  int32_t (*copy)(void* destination, const void* source, size_t size, int32_t kind);
  // Text of the calling thread's last error, or null.
  const char* (*recent_error)();
  // Null where the runtime does not say.
  const char* (*soc_name)();
  const char* (*runtime_version)();
};

// What LLM_BRIDGE_ENTRY names.
using LlmBridgeEntry = const LlmBridge* (*)();
}

#endif  // LLM_DATADIST_NODE_BRIDGE_BRIDGE_H_
