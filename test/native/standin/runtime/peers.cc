#include "runtime/peers.h"

#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace standin {
namespace {

struct Peers {
  std::mutex mutex;
  std::map<std::pair<bool, uint64_t>, uint32_t> results;
  std::set<uint64_t> dead;
};

Peers& ThePeers() {
  static Peers& peers = *new Peers;
  return peers;
}

}  // namespace

void SetResult(bool link, uint64_t cluster_id, uint32_t status) {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  peers.results[{link, cluster_id}] = status;
}

void ForgetResult(bool link, uint64_t cluster_id) {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  peers.results.erase({link, cluster_id});
}

bool FindResult(bool link, uint64_t cluster_id, uint32_t* status) {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  const auto found = peers.results.find({link, cluster_id});
  if (found == peers.results.end()) return false;
  *status = found->second;
  return true;
}

void SetDead(uint64_t cluster_id, bool dead) {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  if (dead) {
    peers.dead.insert(cluster_id);
  } else {
    peers.dead.erase(cluster_id);
  }
}

bool IsDead(uint64_t cluster_id) {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  return peers.dead.count(cluster_id) > 0;
}

void ForgetPeers() {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  peers.results.clear();
  peers.dead.clear();
}

}  // namespace standin
