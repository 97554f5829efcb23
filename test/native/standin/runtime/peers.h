// What a test wants clusters to be like, for the calls of others that name them.

#ifndef LLM_DATADIST_NODE_STANDIN_PEERS_H_
#define LLM_DATADIST_NODE_STANDIN_PEERS_H_

#include <cstdint>
#include <string>

namespace standin {

// `link` or unlink.
void SetResult(bool link, uint64_t cluster_id, uint32_t status);
void ForgetResult(bool link, uint64_t cluster_id);
bool FindResult(bool link, uint64_t cluster_id, uint32_t* status);

void SetDead(uint64_t cluster_id, bool dead);
bool IsDead(uint64_t cluster_id);

// How long the engine hixl tries to disconnect from a peer that does not answer.
constexpr uint32_t kDisconnectLimitMs = 30000;
void SetDisconnectLimit(uint32_t ms);
// Until that time is up; a change of it counts at once.
void WaitForDisconnect();

// Requests and disconnects that keep the table of all links of an object locked.
void CountLockedTable(int change);
int64_t LockedTables();

// Has the processes that are linked to the cluster receive its unlink, or the forced link of its next life, each on a
// thread of its own. Empty, or why nothing is sent. The library says what is done then.
std::string RequestOf(uint64_t cluster_id, bool links);
using PeerRequest = std::string (*)(uint64_t cluster_id, bool links);
void OnPeerRequest(PeerRequest request);

void ForgetPeers();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_PEERS_H_
