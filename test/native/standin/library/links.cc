#include "library/links.h"

#include <algorithm>
#include <cinttypes>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "library/fabric.h"
#include "runtime/peers.h"

namespace standin {
namespace {

using llm_datadist::ClusterInfo;
using llm_datadist::IpInfo;

// Who answers, or why nobody does.
Status Connect(const IpInfo& address, Status refused, Session** peer) {
  const char* ip = address.ip.GetString();
  const Fabric::Connection connection = Fabric::Get().Connect(ip, address.port);
  if (!connection.accepted) return Refuse(refused, "nobody listens on %s:%u", ip, address.port);
  if (connection.session == nullptr) return Refuse(kFailed, "%s:%u closed the connection", ip, address.port);
  // The listener of a process goes with it.
  if (!connection.session->IsAlive()) return Refuse(refused, "who listened on %s:%u is dead", ip, address.port);
  *peer = connection.session;
  return kSuccess;
}

Status EnsureResource(Session* session, const std::vector<IpInfo>& local) {
  const std::lock_guard<std::mutex> lock(session->control_mutex());
  if (session->resource.present) return kSuccess;
  if (local.size() != 1) return Refuse(kParamInvalid, "%zu local addresses, one is needed", local.size());
  session->resource = GeneratedResource(local[0].ip.GetString(), session->device_id());
  return kSuccess;
}

Status CheckEnds(const Session& self, const Session& other) {
  if (self.resource.present && other.resource.present) return CheckResources(self.resource, other.resource);
  return Refuse(kParamInvalid, "one of clusters %" PRIu64 " and %" PRIu64 " cannot describe itself", self.cluster_id(),
                other.cluster_id());
}

Status CheckUnlinked(Session* self, uint64_t peer) {
  if (self->FindLink(peer) == nullptr) return kSuccess;
  return Refuse(kAlreadyLink, "cluster %" PRIu64 " is linked to %" PRIu64, self->cluster_id(), peer);
}

// What the side that asks for a link checks before it stores it.
Status Prepare(Session* session, const Session& peer, bool forced) {
  const Status status = CheckEnds(*session, peer);
  if (status != kSuccess) return status;
  if (forced) session->DropLink(peer.cluster_id());
  return CheckUnlinked(session, peer.cluster_id());
}

// What the side that is asked checks.
Status PrepareForPeer(Session* session, const Session& peer, bool forced) {
  const Status status = CheckEnds(*session, peer);
  if (status != kSuccess) return status;
  if (forced) session->DropLinkForPeer(peer.cluster_id());
  return CheckUnlinked(session, peer.cluster_id());
}

// Two ends that describe themselves alike make a table of one rank, and wait for each other.
bool DescribeThemselvesAlike(const Session& a, const Session& b) {
  const bool same_host = a.resource.IsGenerated() && a.resource.host == b.resource.host;
  return &a == &b || (same_host && b.resource.IsGenerated() && a.device_id() == b.device_id());
}

// Both ends of a link that is being made, locked in the same order by each side.
class BothEnds {
 public:
  BothEnds(Session* a, Session* b)
      : first_(std::min(a, b, std::less<>())->control_mutex()), second_(std::max(a, b, std::less<>())->control_mutex()) {
    first_.lock();
    if (&first_ != &second_) second_.lock();
  }
  ~BothEnds() {
    if (&first_ != &second_) second_.unlock();
    first_.unlock();
  }
  BothEnds(const BothEnds&) = delete;
  BothEnds& operator=(const BothEnds&) = delete;

 private:
  std::mutex& first_;
  std::mutex& second_;
};

void StoreBoth(Session* session, Session* peer) {
  session->StoreLink(peer->cluster_id(), std::make_shared<Link>(session, peer));
  peer->StoreLink(session->cluster_id(), std::make_shared<Link>(peer, session));
}

void DropOwn(Session* session, uint64_t peer_id) {
  const std::lock_guard<std::mutex> lock(session->control_mutex());
  session->DropLink(peer_id);
}

bool Answers(uint64_t cluster_id) {
  const std::vector<Session*> alive = Session::Alive();
  return std::any_of(alive.begin(), alive.end(),
                     [&](const Session* each) { return each->cluster_id() == cluster_id; });
}

void DropForPeer(Session* session, uint64_t peer_id) {
  const std::lock_guard<std::mutex> lock(session->control_mutex());
  session->DropLinkForPeer(peer_id);
}

Status LinkOne(Session* session, const ClusterInfo& cluster, bool forced) {
  Status status = kSuccess;
  if (FindResult(true, cluster.remote_cluster_id, &status)) {
    return status == kSuccess ? kSuccess : Refuse(status, "the test wants it so");
  }
  if (cluster.remote_ip_infos.size() != 1) {
    return Refuse(kParamInvalid, "%zu remote addresses, one is needed", cluster.remote_ip_infos.size());
  }
  status = EnsureResource(session, cluster.local_ip_infos);
  if (status != kSuccess) return status;
  Session* peer = nullptr;
  status = Connect(cluster.remote_ip_infos[0], kLinkFailed, &peer);
  if (status != kSuccess) return status;
  const BothEnds both(session, peer);
  // Both sides prepare; the acceptor's failure is the one that is reported.
  const Status theirs = PrepareForPeer(peer, *session, forced);
  const Status mine = Prepare(session, *peer, forced);
  if (theirs != kSuccess) return theirs;
  if (mine == kAlreadyLink) return mine;
  // The vendor's library waits for the partner until the time is up; the stand-in says so at once.
  if (mine != kSuccess) return Refuse(kTimeout, "the peer waits in vain");
  if (DescribeThemselvesAlike(*session, *peer)) return Refuse(kTimeout, "both ends use one device of one host");
  StoreBoth(session, peer);
  return kSuccess;
}

Status UnlinkOne(Session* session, const ClusterInfo& cluster, bool force) {
  Status status = kSuccess;
  if (FindResult(false, cluster.remote_cluster_id, &status)) {
    return status == kSuccess ? kSuccess : Refuse(status, "the test wants it so");
  }
  const uint64_t id = cluster.remote_cluster_id;
  // The engine hixl tries to disconnect, whatever the caller wants; in all else it is here as the default backend is.
  if (session->is_hixl && !Answers(id)) {
    const std::lock_guard<std::mutex> lock(session->control_mutex());
    session->DropLinkOfDeadPeer(id);
    return kSuccess;
  }
  Session* peer = nullptr;
  if (!force) {
    if (cluster.remote_ip_infos.size() != 1) {
      return Refuse(kParamInvalid, "%zu remote addresses, one is needed", cluster.remote_ip_infos.size());
    }
    status = Connect(cluster.remote_ip_infos[0], kUnlinkFailed, &peer);
    if (status != kSuccess) return status;
  }
  DropOwn(session, id);
  // The peer goes by the id of the one who asks, not by the link that the asker meant.
  if (peer != nullptr) DropForPeer(peer, session->cluster_id());
  return kSuccess;
}

// A request of the process of a cluster, made on a thread of its own: what a test sees of a peer that unlinks, or of one
// that comes back as a new process and links by force.
std::string RequestOfPeer(uint64_t cluster_id, bool links) {
  Session* peer = nullptr;
  std::vector<Session*> linked;
  for (Session* const session : Session::Alive()) {
    if (session->cluster_id() == cluster_id) {
      peer = session;
    } else if (session->IsLinkedTo(cluster_id)) {
      linked.push_back(session);
    }
  }
  if (linked.empty()) return "nobody is linked to cluster " + std::to_string(cluster_id);
  if (links && peer == nullptr) return "no instance of cluster " + std::to_string(cluster_id) + " is alive";
  for (Session* const session : linked) {
    std::thread([=] {
      DropForPeer(session, cluster_id);
      if (!links) return;
      const BothEnds both(session, peer);
      StoreBoth(session, peer);
    }).detach();
  }
  return "";
}

__attribute__((constructor)) void TakeRequests() { OnPeerRequest(RequestOfPeer); }
__attribute__((destructor)) void LeaveRequests() { OnPeerRequest(nullptr); }

Status CheckAddresses(const std::vector<IpInfo>& addresses) {
  for (const IpInfo& address : addresses) {
    if (!IsIpv4(address.ip.GetString())) return Refuse(kParamInvalid, "\"%s\" is no IPv4", address.ip.GetString());
  }
  return kSuccess;
}

}  // namespace

Status CheckClusters(const std::vector<ClusterInfo>& clusters, int32_t timeout_ms) {
  if (timeout_ms <= 0) return Refuse(kParamInvalid, "timeout %d is not positive", timeout_ms);
  for (const ClusterInfo& cluster : clusters) {
    for (const auto* addresses : {&cluster.remote_ip_infos, &cluster.local_ip_infos}) {
      const Status status = CheckAddresses(*addresses);
      if (status != kSuccess) return status;
    }
  }
  return clusters.empty() ? Refuse(kParamInvalid, "no clusters given") : kSuccess;
}

std::vector<Status> LinkClusters(Session* session, const std::vector<ClusterInfo>& clusters) {
  // The clusters of one call are linked at the same time: none sees what another one makes.
  std::vector<bool> forced;
  for (const ClusterInfo& cluster : clusters) forced.push_back(session->FindLink(cluster.remote_cluster_id) == nullptr);
  std::vector<Status> results;
  for (size_t i = 0; i < clusters.size(); ++i) results.push_back(LinkOne(session, clusters[i], forced[i]));
  return results;
}

std::vector<Status> UnlinkClusters(Session* session, const std::vector<ClusterInfo>& clusters, bool force) {
  std::vector<Status> results;
  for (const ClusterInfo& cluster : clusters) results.push_back(UnlinkOne(session, cluster, force));
  return results;
}

}  // namespace standin
