// The arguments of the vendor's class as JSON, for the journal.

#ifndef LLM_DATADIST_NODE_STANDIN_ARGUMENTS_H_
#define LLM_DATADIST_NODE_STANDIN_ARGUMENTS_H_

#include <cstdint>
#include <map>
#include <vector>

#include "native/abi/llm_datadist.h"
#include "runtime/json_text.h"

namespace standin {

// Each writes one member.
void Write(JsonText& json, const char* key, const std::map<ge::AscendString, ge::AscendString>& options);
void Write(JsonText& json, const char* key, const std::vector<llm_datadist::ClusterInfo>& clusters);
void Write(JsonText& json, const char* key, const llm_datadist::CacheDesc& desc);
void Write(JsonText& json, const char* key, const llm_datadist::Cache& cache);
void Write(JsonText& json, const char* key, const llm_datadist::CacheIndex& index);
void Write(JsonText& json, const char* key, const llm_datadist::KvCacheExtParam& param);
void Write(JsonText& json, const char* key, const std::vector<uint64_t>& numbers);
void Write(JsonText& json, const char* key, const std::vector<std::vector<uint64_t>>& lists);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_ARGUMENTS_H_
