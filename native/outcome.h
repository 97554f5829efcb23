// What came of a call of the library.

#ifndef LLM_DATADIST_NODE_OUTCOME_H_
#define LLM_DATADIST_NODE_OUTCOME_H_

#include <cstdint>
#include <string>

namespace llm_datadist_node {

// The only statuses that the shim gives itself; all others are passed on as the library gave them.
constexpr uint32_t kSuccess = 0;
constexpr uint32_t kFailed = 0xFFFFFFFFU;
constexpr uint32_t kParamInvalid = 0x5010B005U;
constexpr uint32_t kDeviceOutOfMemory = 0x5010B00EU;
constexpr uint32_t kOutOfMemory = 0x5010B01CU;

// Of a call that was refused before it got to the library: the links are as they were.
constexpr char kRaiseLimit[] =
    "Raise the limit of processes (ulimit -u) or of the container's pids, then repeat the call; leave all links as they are.";

struct Outcome {
  uint32_t status = kSuccess;
  // What happened, where more is known than the status.
  std::string message;
  // The runtime's own last error text, of the thread that made the call.
  std::string detail;
  // No later call of this instance can succeed in this process.
  bool fatal = false;
  // What to do, where the table of statuses does not know.
  std::string remedy{};

  static Outcome Failure(uint32_t status, std::string message, std::string remedy = {}) {
    return {status, std::move(message), {}, false, std::move(remedy)};
  }
  static Outcome Fatal(std::string message) { return {kFailed, std::move(message), {}, true, {}}; }
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_OUTCOME_H_
