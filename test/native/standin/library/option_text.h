// The texts of the options as the library reads them.

#ifndef LLM_DATADIST_NODE_STANDIN_OPTION_TEXT_H_
#define LLM_DATADIST_NODE_STANDIN_OPTION_TEXT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "library/status.h"

namespace standin {

using Options = std::map<std::string, std::string>;

struct ListenAddress {
  // Without brackets.
  std::string ip;
  // As given; SetRole compares this number, binding keeps 16 bits of it.
  int64_t port = 0;
};

// What Initialize reads, in the order in which it does. `has_listen` tells whether `listen` means anything.
struct DevicesAndListener {
  std::vector<int32_t> devices;
  bool has_listen = false;
  ListenAddress listen;
};

bool IsIpv4(const std::string& text);
Status ParseListenAddress(const std::string& text, ListenAddress* listen);

Status ReadDevicesAndListener(const Options& options, DevicesAndListener* out);
Status CheckBackend(const Options& options, const DevicesAndListener& before);
// What precedes the listener.
Status CheckEarlyOptions(const Options& options);
// What is looked at when the listener is up already.
Status CheckLateOptions(const Options& options);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_OPTION_TEXT_H_
