// The vendor's library in this process: opened once, on demand, and never closed.

#ifndef LLM_DATADIST_NODE_VENDOR_H_
#define LLM_DATADIST_NODE_VENDOR_H_

#include <string>
#include <vector>

#include "bridge/bridge.h"

namespace llm_datadist_node {

// A place where the library may be, and where the Ascend runtime that it needs may be. A name without a slash is left
// to the loader's own search path.
struct Place {
  std::string library;
  std::vector<std::string> runtimes;
};

// A file that would not do, in the loader's own words.
struct Attempt {
  std::string path;
  std::string error;
};

struct Vendor {
  const LlmBridge* bridge;
  // The files as the loader knows them.
  std::string library_path;
  std::string runtime_path;
  std::string bridge_path;
};

// The library from the first place that will do, or the one that this process has already; null when there is none.
const Vendor* OpenVendor(const std::vector<Place>& places, const std::string& bridge_path,
                         std::vector<Attempt>* attempts);

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_VENDOR_H_
