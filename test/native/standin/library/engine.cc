#include "library/engine.h"

#include <algorithm>

#include "library/links.h"
#include "library/option_text.h"
#include "runtime/object_counts.h"
#include "runtime/runtime_facts.h"
#include "runtime/thread_context.h"

namespace standin {
namespace {

using llm_datadist::CacheDesc;
using llm_datadist::ClusterInfo;

Status CheckRole(int32_t role) {
  return role >= 1 && role <= 3 ? kSuccess : Refuse(kParamInvalid, "%d is no role", role);
}

// The last failure in input order decides.
Status Overall(const std::vector<Status>& results) {
  const auto failure = std::find_if(results.rbegin(), results.rend(), [](Status status) { return status != kSuccess; });
  return failure == results.rend() ? kSuccess : *failure;
}

}  // namespace

Status Engine::Initialize(const Options& options) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (session_ != nullptr) return kSuccess;
  const Status status = CheckRole(role_);
  return status == kSuccess ? Start(options) : status;
}

// Rows 3 to 27 of the table of Initialize (specification 4.1).
Status Engine::Start(const Options& options) {
  DevicesAndListener first;
  Status status = ReadDevicesAndListener(options, &first);
  if (status != kSuccess) return status;
  ClearLeftover();
  status = CheckBackend(options, first);
  if (status != kSuccess) return status;
  const int32_t device = first.devices[0];
  if (static_cast<uint32_t>(device) >= DeviceCount()) return Refuse(kFailed, "there is no device %d", device);
  SetThreadDevice(device);
  status = CheckEarlyOptions(options);
  if (status != kSuccess) return status;
  Session* const session = Session::Make(cluster_id_, device);
  const auto resource = options.find("llm.LocalCommRes");
  // That of hixl is another text, and otherwise hixl is here as the default backend is.
  const bool hixl = options.count("llm.TransferBackend") > 0;
  session->is_hixl = hixl;
  if (!hixl && resource != options.end() && !resource->second.empty()) {
    session->resource = GivenResource(resource->second, device);
  } else if (first.has_listen) {
    session->resource = GeneratedResource(first.listen.ip, device);
  }
  if (first.has_listen) status = session->StartListening(first.listen);
  if (status == kSuccess) {
    status = CheckLateOptions(options);
    // The listener is up, and keeps its port with nobody who serves it.
    if (status != kSuccess) leftover_ = session->LeaveListening();
  }
  if (status != kSuccess) {
    session->End();
    return status;
  }
  session_ = session;
  CountInitialised(1);
  return kSuccess;
}

void Engine::Finalize() {
  const std::lock_guard<std::mutex> lock(mutex_);
  Session* const session = session_.exchange(nullptr);
  if (session == nullptr) return;
  session->End();
  // The library resets its device, which the calling thread then has to set anew.
  SetThreadDevice(kNoDeviceSet);
  CountInitialised(-1);
}

Status Engine::SetRole(int32_t role, const Options& options) {
  const std::lock_guard<std::mutex> lock(mutex_);
  Session* const session = RequireSession();
  if (session == nullptr) return kFailed;
  Status status = CheckRole(role);
  if (status != kSuccess) return status;
  DevicesAndListener listener;
  const auto text = options.find("llm.ListenIpInfo");
  listener.has_listen = text != options.end();
  if (listener.has_listen) status = ParseListenAddress(text->second, &listener.listen);
  if (status == kSuccess) status = session->SetListen(listener);
  if (status == kSuccess) role_ = role;
  return status;
}

Status Engine::Link(const std::vector<ClusterInfo>& clusters, std::vector<Status>* results, int32_t timeout_ms) {
  Session* const session = RequireSession();
  if (session == nullptr) return kFailed;
  const Status status = CheckClusters(clusters, timeout_ms);
  if (status != kSuccess) return status;
  const std::vector<Status> each = LinkClusters(session, clusters);
  results->insert(results->end(), each.begin(), each.end());
  return Overall(each);
}

Status Engine::Unlink(const std::vector<ClusterInfo>& clusters, std::vector<Status>* results, int32_t timeout_ms,
                      bool force) {
  Session* const session = RequireSession();
  if (session == nullptr) return kFailed;
  const Status status = CheckClusters(clusters, timeout_ms);
  if (status != kSuccess) return status;
  const std::vector<Status> each = UnlinkClusters(session, clusters, force);
  results->insert(results->end(), each.begin(), each.end());
  return Overall(each);
}

Status Engine::Register(const CacheDesc& desc, const std::vector<uint64_t>& addresses, int64_t* cache_id) {
  Session* const session = RequireSession();
  if (session == nullptr) return kFailed;
  if (addresses.empty()) return Refuse(kParamInvalid, "no addresses");
  if (addresses.size() != desc.num_tensors) {
    return Refuse(kParamInvalid, "%zu addresses for %u tensors", addresses.size(), desc.num_tensors);
  }
  if (std::find(addresses.begin(), addresses.end(), 0) != addresses.end()) {
    return Refuse(kParamInvalid, "an address is 0");
  }
  return session->Register(desc.shape, desc.data_type, addresses, cache_id);
}

Status Engine::Unregister(int64_t cache_id) {
  Session* const session = RequireSession();
  return session == nullptr ? kFailed : session->Unregister(cache_id);
}

void Engine::KeepRegistered(const CacheDesc& desc, const std::vector<uint64_t>& addresses) {
  Session* const session = session_;
  if (session != nullptr) session->KeepRegistered(desc.shape, desc.data_type, addresses);
}

Session* Engine::RequireSession() {
  Session* const session = session_.load(std::memory_order_acquire);
  if (session == nullptr) Refuse(kFailed, "the object is not initialised");
  return session;
}

bool Engine::ListensUnlinked() {
  Session* const session = session_;
  return session != nullptr && session->IsListening() && !session->HasLinks();
}

// The next Initialize replaces the engine of the failed one, and with it the listener.
void Engine::ClearLeftover() {
  if (leftover_ != nullptr) Fabric::Get().Release(leftover_);
  leftover_ = nullptr;
}

}  // namespace standin
