// What describes one end of a link to the other: `llm.LocalCommRes`, or what is generated in its place.

#ifndef LLM_DATADIST_NODE_STANDIN_COMM_RESOURCE_H_
#define LLM_DATADIST_NODE_STANDIN_COMM_RESOURCE_H_

#include <cstdint>
#include <string>

#include "library/status.h"

namespace standin {

struct CommResource {
  bool present = false;
  // The option's text; empty where it is generated.
  std::string text;
  // The host address that it was generated from.
  std::string host;
  int32_t device = 0;

  bool IsGenerated() const { return present && text.empty(); }
};

CommResource GivenResource(const std::string& text, int32_t device);
CommResource GeneratedResource(const std::string& host, int32_t device);

// Whether the two make a table of ranks, as the end that owns `own` sees it.
Status CheckResources(const CommResource& own, const CommResource& peer);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_COMM_RESOURCE_H_
