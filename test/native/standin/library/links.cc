#include "library/links.h"

#include <cinttypes>
#include <memory>

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
  if (session->resource.present) return kSuccess;
  if (local.size() != 1) return Refuse(kParamInvalid, "%zu local addresses, one is needed", local.size());
  session->resource = GeneratedResource(local[0].ip.GetString(), session->device_id());
  return kSuccess;
}

// What one side checks before it stores a link to the other.
Status Prepare(Session* self, Session* other, bool forced) {
  const uint64_t peer = other->cluster_id();
  if (!self->resource.present || !other->resource.present) {
    return Refuse(kParamInvalid, "one of clusters %" PRIu64 " and %" PRIu64 " cannot describe itself",
                  self->cluster_id(), peer);
  }
  const Status status = CheckResources(self->resource, other->resource);
  if (status != kSuccess) return status;
  if (forced) self->DropLink(peer);
  if (self->FindLink(peer) == nullptr) return kSuccess;
  return Refuse(kAlreadyLink, "cluster %" PRIu64 " is linked to %" PRIu64, self->cluster_id(), peer);
}

// Two ends that describe themselves alike make a table of one rank, and wait for each other.
bool DescribeThemselvesAlike(const Session& a, const Session& b) {
  const bool same_host = a.resource.IsGenerated() && a.resource.host == b.resource.host;
  return &a == &b || (same_host && b.resource.IsGenerated() && a.device_id() == b.device_id());
}

Status LinkOne(Session* session, const ClusterInfo& cluster, bool forced) {
  Status status = kSuccess;
  if (FindResult(true, cluster.remote_cluster_id, &status)) {
    return status == kSuccess ? kSuccess : Refuse(status, "the test wants it so");
  }
  if (cluster.remote_ip_infos.size() != 1) {
    return Refuse(kParamInvalid, "%zu remote addresses, one is needed", cluster.remote_ip_infos.size());
  }
  const std::lock_guard<std::mutex> lock(Fabric::Get().link_mutex());
  status = EnsureResource(session, cluster.local_ip_infos);
  if (status != kSuccess) return status;
  Session* peer = nullptr;
  status = Connect(cluster.remote_ip_infos[0], kLinkFailed, &peer);
  if (status != kSuccess) return status;
  // Both sides prepare; the acceptor's failure is the one that is reported.
  const Status theirs = Prepare(peer, session, forced);
  const Status mine = Prepare(session, peer, forced);
  if (theirs != kSuccess) return theirs;
  if (mine == kAlreadyLink) return mine;
  // The vendor's library waits for the partner until the time is up; the stand-in says so at once.
  if (mine != kSuccess) return Refuse(kTimeout, "the peer waits in vain");
  if (DescribeThemselvesAlike(*session, *peer)) return Refuse(kTimeout, "both ends use one device of one host");
  session->StoreLink(peer->cluster_id(), std::make_shared<Link>(session, peer));
  peer->StoreLink(session->cluster_id(), std::make_shared<Link>(peer, session));
  return kSuccess;
}

Status UnlinkOne(Session* session, const ClusterInfo& cluster, bool force) {
  Status status = kSuccess;
  if (FindResult(false, cluster.remote_cluster_id, &status)) {
    return status == kSuccess ? kSuccess : Refuse(status, "the test wants it so");
  }
  const std::lock_guard<std::mutex> lock(Fabric::Get().link_mutex());
  Session* peer = nullptr;
  if (!force) {
    if (cluster.remote_ip_infos.size() != 1) {
      return Refuse(kParamInvalid, "%zu remote addresses, one is needed", cluster.remote_ip_infos.size());
    }
    status = Connect(cluster.remote_ip_infos[0], kUnlinkFailed, &peer);
    if (status != kSuccess) return status;
  }
  session->DropLink(cluster.remote_cluster_id);
  // The peer goes by the id of the one who asks, not by the link that the asker meant.
  if (peer != nullptr) peer->DropLink(session->cluster_id());
  return kSuccess;
}

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
