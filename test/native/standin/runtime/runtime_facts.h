// What the runtime says of the host, as a test wants it to be.

#ifndef LLM_DATADIST_NODE_STANDIN_RUNTIME_FACTS_H_
#define LLM_DATADIST_NODE_STANDIN_RUNTIME_FACTS_H_

#include <cstdint>
#include <string>

namespace standin {

uint32_t DeviceCount();
void SetDeviceCount(uint32_t count);

// Null where it is set to the empty text. The text lives for ever.
const char* SocName();
void SetSocName(const std::string& name);

std::string Version();
void SetVersion(const std::string& version);

// Whether aclInit was called, and aclFinalize was not called since.
bool RuntimeIsInitialised();
// False where it is so already.
bool MarkRuntime(bool initialised);

// Whether the library is the older engine, which allocates, deallocates and copies caches and registers none.
bool IsOlderEngine();
void SetOlderEngine(bool older);

void ResetRuntimeFacts();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_RUNTIME_FACTS_H_
