#include "library/session.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "library/tensor_size.h"
#include "runtime/device_memory.h"
#include "runtime/hazards.h"
#include "runtime/peers.h"

namespace standin {
namespace {

constexpr size_t kMaxDimensions = 31;

struct Sessions {
  std::mutex mutex;
  std::vector<Session*> all;
};

Sessions& TheSessions() {
  static Sessions& sessions = *new Sessions;
  return sessions;
}

void FreeTensors(const std::vector<OwnTensor>& tensors) {
  for (const OwnTensor& tensor : tensors) Free(tensor.address, tensor.on_host);
}

// While a table of all links is locked for long.
class LockedTable {
 public:
  LockedTable() { CountLockedTable(1); }
  ~LockedTable() { CountLockedTable(-1); }
  LockedTable(const LockedTable&) = delete;
  LockedTable& operator=(const LockedTable&) = delete;
};

}  // namespace

Link::Link(Session* local, Session* peer)
    : local(local), peer(peer), local_time(local->Tick()), peer_time(peer->Tick()) {}

Session* Session::Make(uint64_t cluster_id, int32_t device_id) {
  Session* session = new Session(cluster_id, device_id);
  Sessions& sessions = TheSessions();
  const std::lock_guard<std::mutex> lock(sessions.mutex);
  sessions.all.push_back(session);
  return session;
}

std::vector<Session*> Session::Alive() {
  Sessions& sessions = TheSessions();
  const std::lock_guard<std::mutex> lock(sessions.mutex);
  std::vector<Session*> alive;
  std::copy_if(sessions.all.begin(), sessions.all.end(), std::back_inserter(alive),
               [](const Session* session) { return session->IsAlive(); });
  return alive;
}

bool Session::IsAlive() const { return !ended_ && !IsDead(cluster_id_); }

Status Session::StartListening(const ListenAddress& listen) {
  const Status status = Fabric::Get().Bind(listen, this, &binding_);
  if (status != kSuccess) return status;
  listen_port_ = listen.port;
  is_listening_ = true;
  return kSuccess;
}

Status Session::SetListen(const DevicesAndListener& options) {
  if (HasLinks()) return Refuse(kExistLink, "links exist");
  if (options.has_listen && options.listen.port == listen_port_) return kSuccess;
  // The old listener is gone even when the new one cannot be started.
  StopListening();
  return options.has_listen ? StartListening(options.listen) : kSuccess;
}

void Session::StopListening() {
  if (binding_ != nullptr) Fabric::Get().Release(binding_);
  binding_ = nullptr;
  listen_port_ = -1;
  is_listening_ = false;
}

Binding* Session::LeaveListening() {
  Binding* const binding = binding_;
  if (binding != nullptr) Fabric::Get().Abandon(binding);
  binding_ = nullptr;
  is_listening_ = false;
  return binding;
}

Status Session::Register(const std::vector<int64_t>& shape, int32_t data_type, const std::vector<uint64_t>& addresses,
                         int64_t* cache_id) {
  if (shape.empty() || shape.size() > kMaxDimensions) return Refuse(kParamInvalid, "%zu dimensions", shape.size());
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t id = table_.TakeId();
  uint64_t bytes = 0;
  Status status = TensorSize(shape, data_type, &bytes);
  if (status != kSuccess) return status;
  // The library keeps the first dimension in 32 bits and divides by it.
  const uint32_t rows = static_cast<uint32_t>(shape[0]);
  if (rows == 0) return RefuseFatal("the first dimension %ld is 0 in 32 bits", shape[0]);
  for (const uint64_t address : addresses) {
    if (!IsWatched(Hazard::kForeignRegistration) || FindAllocation(address, bytes) != nullptr) continue;
    Violate(Hazard::kForeignRegistration, "%lu bytes at 0x%lx are not in one live allocation", bytes, address);
  }
  status = table_.Add(id, {addresses, bytes, rows});
  if (status == kSuccess) *cache_id = id;
  return status;
}

Status Session::Unregister(int64_t cache_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const uint64_t time = table_.TimeOf(cache_id);
  std::set<uint64_t> knowing;
  for (const auto& [peer, link] : links_) {
    if (time == 0 || link->local_time < time) continue;
    knowing.insert(link->local_time);
    Violate(Hazard::kUnregisterWhileLinked, "cache %ld of cluster %lu, which the link to cluster %lu knows", cache_id,
            cluster_id_, peer);
  }
  return table_.Remove(cache_id, knowing);
}

Status Session::Allocate(const llm_datadist::CacheDesc& desc, llm_datadist::Cache* cache) {
  if (desc.num_tensors == 0) return Refuse(kParamInvalid, "no tensors");
  if (desc.shape.empty()) return Refuse(kParamInvalid, "no dimensions");
  uint64_t bytes = 0;
  Status status = TensorSize(desc.shape, desc.data_type, &bytes);
  if (status != kSuccess) return status;
  const bool on_host = desc.placement != llm_datadist::CachePlacement::kDevice;
  std::vector<OwnTensor> tensors;
  std::vector<uint64_t> addresses;
  while (tensors.size() < desc.num_tensors && status == kSuccess) {
    void* const address = standin::Allocate(bytes, on_host);
    if (address == nullptr) {
      status = Refuse(kDeviceOutOfMemory, "no memory for tensor %zu of %lu bytes", tensors.size(), bytes);
      break;
    }
    tensors.push_back({address, on_host});
    addresses.push_back(reinterpret_cast<uint64_t>(address));
  }
  if (status == kSuccess) status = Register(desc.shape, desc.data_type, addresses, &cache->cache_id);
  if (status != kSuccess) {
    FreeTensors(tensors);
    return status;
  }
  cache->tensor_addrs = addresses;
  cache->cache_desc = desc;
  const std::lock_guard<std::mutex> lock(mutex_);
  own_.emplace(cache->cache_id, std::move(tensors));
  return kSuccess;
}

Status Session::Deallocate(int64_t cache_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = own_.find(cache_id);
  if (found == own_.end()) return Refuse(kKvCacheNotExist, "this object has allocated no cache %ld", cache_id);
  // Links do not hold it: the engine has lent them its own memory.
  const Status status = table_.Remove(cache_id, {});
  FreeTensors(found->second);
  own_.erase(found);
  return status;
}

void Session::KeepRegistered(const std::vector<int64_t>& shape, int32_t data_type,
                             const std::vector<uint64_t>& addresses) {
  uint64_t bytes = 0;
  if (TensorSize(shape, data_type, &bytes) != kSuccess) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  table_.Keep({addresses, bytes, 1});
}

std::shared_ptr<const CacheEntry> Session::FindCache(int64_t cache_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return table_.Find(cache_id);
}

std::shared_ptr<const Snapshot> Session::PublishCaches() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return table_.Publish();
}

std::shared_ptr<Link> Session::LookUp(uint64_t cluster_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = links_.find(cluster_id);
  return found == links_.end() ? nullptr : found->second;
}

std::shared_ptr<Link> Session::FindLink(uint64_t cluster_id) {
  const std::lock_guard<std::mutex> links(links_mutex_);
  return LookUp(cluster_id);
}

bool Session::IsLinkedTo(uint64_t cluster_id) { return LookUp(cluster_id) != nullptr; }

bool Session::HasLinks() {
  const std::lock_guard<std::mutex> links(links_mutex_);
  const std::lock_guard<std::mutex> lock(mutex_);
  return !links_.empty();
}

void Session::StoreLink(uint64_t cluster_id, const std::shared_ptr<Link>& link) {
  const std::lock_guard<std::mutex> links(links_mutex_);
  const std::lock_guard<std::mutex> lock(mutex_);
  links_[cluster_id] = link;
}

void Session::DropLink(uint64_t cluster_id) {
  if (const std::shared_ptr<Link> link = FindLink(cluster_id)) Close(cluster_id, link);
}

void Session::DropLinkForPeer(uint64_t cluster_id) {
  const std::lock_guard<std::mutex> links(links_mutex_);
  const LockedTable counted;
  if (const std::shared_ptr<Link> link = LookUp(cluster_id)) Close(cluster_id, link);
}

void Session::DropLinkOfDeadPeer(uint64_t cluster_id) {
  const std::lock_guard<std::mutex> links(links_mutex_);
  const LockedTable counted;
  const std::shared_ptr<Link> link = LookUp(cluster_id);
  if (link == nullptr) return;
  WaitForDisconnect();
  Close(cluster_id, link);
}

void Session::Close(uint64_t cluster_id, const std::shared_ptr<Link>& link) {
  {
    const std::lock_guard<std::mutex> transfers(link->mutex);
    link->closed = true;
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = links_.find(cluster_id);
  if (found != links_.end() && found->second == link) links_.erase(found);
  table_.ForgetLink(link->local_time);
}

uint64_t Session::Tick() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return table_.Tick();
}

void Session::End() {
  ended_ = true;
  StopListening();
  std::vector<uint64_t> peers;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& entry : links_) peers.push_back(entry.first);
  }
  for (const uint64_t peer : peers) DropLink(peer);
  const std::lock_guard<std::mutex> lock(mutex_);
  table_.Clear();
  for (const auto& entry : own_) FreeTensors(entry.second);
  own_.clear();
}

}  // namespace standin
