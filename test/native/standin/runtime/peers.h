// What a test wants clusters to be like, for the calls of others that name them.

#ifndef LLM_DATADIST_NODE_STANDIN_PEERS_H_
#define LLM_DATADIST_NODE_STANDIN_PEERS_H_

#include <cstdint>

namespace standin {

// `link` or unlink.
void SetResult(bool link, uint64_t cluster_id, uint32_t status);
void ForgetResult(bool link, uint64_t cluster_id);
bool FindResult(bool link, uint64_t cluster_id, uint32_t* status);

void SetDead(uint64_t cluster_id, bool dead);
bool IsDead(uint64_t cluster_id);

void ForgetPeers();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_PEERS_H_
