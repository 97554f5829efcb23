#include "runtime/peers.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace standin {
namespace {

struct Peers {
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::pair<bool, uint64_t>, uint32_t> results;
  std::set<uint64_t> dead;
  uint32_t disconnect_limit_ms = kDisconnectLimitMs;
  PeerRequest request = nullptr;
};

Peers& ThePeers() {
  static Peers& peers = *new Peers;
  return peers;
}

std::atomic<int64_t> g_locked_tables{0};

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

void SetDisconnectLimit(uint32_t ms) {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  peers.disconnect_limit_ms = ms;
  peers.changed.notify_all();
}

void WaitForDisconnect() {
  const auto start = std::chrono::steady_clock::now();
  Peers& peers = ThePeers();
  std::unique_lock<std::mutex> lock(peers.mutex);
  const auto end = [&] { return start + std::chrono::milliseconds(peers.disconnect_limit_ms); };
  while (std::chrono::steady_clock::now() < end()) peers.changed.wait_until(lock, end());
}

void CountLockedTable(int change) { g_locked_tables += change; }

int64_t LockedTables() { return g_locked_tables; }

void OnPeerRequest(PeerRequest request) {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  peers.request = request;
}

std::string RequestOf(uint64_t cluster_id, bool links) {
  PeerRequest request = nullptr;
  {
    Peers& peers = ThePeers();
    const std::lock_guard<std::mutex> lock(peers.mutex);
    request = peers.request;
  }
  return request == nullptr ? "the library is not loaded" : request(cluster_id, links);
}

void ForgetPeers() {
  Peers& peers = ThePeers();
  const std::lock_guard<std::mutex> lock(peers.mutex);
  peers.results.clear();
  peers.dead.clear();
  peers.disconnect_limit_ms = kDisconnectLimitMs;
  peers.changed.notify_all();
}

}  // namespace standin
