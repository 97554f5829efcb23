// Links of the default backend: one serves both directions and is stored on both sides, each time under the id that the
// other side declares, whatever id the caller gave.

#ifndef LLM_DATADIST_NODE_STANDIN_LINKS_H_
#define LLM_DATADIST_NODE_STANDIN_LINKS_H_

#include <vector>

#include "library/session.h"
#include "library/status.h"
#include "native/abi/llm_datadist.h"

namespace standin {

// What refuses a call of link or unlink as a whole.
Status CheckClusters(const std::vector<llm_datadist::ClusterInfo>& clusters, int32_t timeout_ms);

// One status per cluster; the last failure is the status of the call.
std::vector<Status> LinkClusters(Session* session, const std::vector<llm_datadist::ClusterInfo>& clusters);
std::vector<Status> UnlinkClusters(Session* session, const std::vector<llm_datadist::ClusterInfo>& clusters,
                                   bool force);

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_LINKS_H_
