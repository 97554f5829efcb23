// Methods that older releases of the library lack, and functions that older runtimes lack. Weak, so that the bridge
// opens without them; the names are mangled because both our header and the vendor's must do.

#ifndef LLM_DATADIST_NODE_BRIDGE_OPTIONAL_SYMBOLS_H_
#define LLM_DATADIST_NODE_BRIDGE_OPTIONAL_SYMBOLS_H_

// A reference that is compared with null: the compiler takes a method to be always there.
#define LLM_OPTIONAL(name, symbol) extern "C" const char name __asm__(symbol) __attribute__((weak))

#define LLM_METHOD "_ZN12llm_datadist11LlmDataDist"
#define LLM_OPTION_MAP "ERKSt3mapIN2ge12AscendStringES4_St4lessIS4_ESaISt4pairIKS4_S4_EEE"

LLM_OPTIONAL(kSetRole, LLM_METHOD "7SetRoleENS_7LlmRole" LLM_OPTION_MAP);
LLM_OPTIONAL(kAllocateCache, LLM_METHOD "13AllocateCacheERKNS_9CacheDescERNS_5CacheE");
LLM_OPTIONAL(kDeallocateCache, LLM_METHOD "15DeallocateCacheEl");
LLM_OPTIONAL(kCopyKvCache, LLM_METHOD "11CopyKvCacheERKNS_5CacheES3_jjml");
LLM_OPTIONAL(kCopyKvBlocks, LLM_METHOD "12CopyKvBlocksERKNS_5CacheES3_RKSt6vectorImSaImEERKS4_IS6_SaIS6_EE");
LLM_OPTIONAL(kRegisterKvCache, LLM_METHOD "15RegisterKvCacheERKNS_9CacheDescERKSt6vectorImSaImEERKNS_11RegisterCfgERl");
LLM_OPTIONAL(kUnregisterKvCache, LLM_METHOD "17UnregisterKvCacheEl");
LLM_OPTIONAL(kPullKvCache, LLM_METHOD "11PullKvCacheERKNS_10CacheIndexERKNS_5CacheEjlRKNS_15KvCacheExtParamE");
LLM_OPTIONAL(kPullKvBlocks,
             LLM_METHOD "12PullKvBlocksERKNS_10CacheIndexERKNS_5CacheERKSt6vectorImSaImEESB_RKNS_15KvCacheExtParamE");
LLM_OPTIONAL(kPushKvCache, LLM_METHOD "11PushKvCacheERKNS_5CacheERKNS_10CacheIndexEjlRKNS_15KvCacheExtParamE");
LLM_OPTIONAL(kPushKvBlocks,
             LLM_METHOD "12PushKvBlocksERKNS_5CacheERKNS_10CacheIndexERKSt6vectorImSaImEESB_RKNS_15KvCacheExtParamE");

LLM_OPTIONAL(kAclGetRecentErrMsg, "aclGetRecentErrMsg");
LLM_OPTIONAL(kAclrtGetSocName, "aclrtGetSocName");
LLM_OPTIONAL(kAclsysGetVersionStr, "aclsysGetVersionStr");

#undef LLM_OPTION_MAP
#undef LLM_METHOD
#undef LLM_OPTIONAL

#endif  // LLM_DATADIST_NODE_BRIDGE_OPTIONAL_SYMBOLS_H_
