// What a successful Initialize makes and Finalize ends: an instance as its peers see it.

#ifndef LLM_DATADIST_NODE_STANDIN_SESSION_H_
#define LLM_DATADIST_NODE_STANDIN_SESSION_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <vector>

#include "library/cache_table.h"
#include "library/comm_resource.h"
#include "library/fabric.h"
#include "library/option_text.h"
#include "library/status.h"
#include "native/abi/llm_datadist.h"

namespace standin {

class Session;

// One side of a link. It lives on when the peer drops its own side: nobody tells.
struct Link {
  Session* local;
  Session* peer;
  // Of both sides' clocks, when the link was made.
  uint64_t local_time;
  uint64_t peer_time;

  // Held by transfers, one after the other, until the bytes are moved; and to drop the link.
  std::mutex mutex;
  bool closed = false;
  // The peer's table, copied at the first transfer that finds one.
  std::shared_ptr<const Snapshot> table;

  Link(Session* local, Session* peer);
};

struct OwnTensor {
  void* address;
  bool on_host;
};

// Sessions are never deleted: peers hold links to them.
class Session {
 public:
  static Session* Make(uint64_t cluster_id, int32_t device_id);
  // All that are alive, in the order in which they were made.
  static std::vector<Session*> Alive();

  uint64_t cluster_id() const { return cluster_id_; }
  int32_t device_id() const { return device_id_; }
  // False once finalized, or where a test says that its process is dead.
  bool IsAlive() const;

  // Listener. SetListen is SetRole's part of it; only one thread at a time may call these.
  Status StartListening(const ListenAddress& listen);
  Status SetListen(const DevicesAndListener& options);
  void StopListening();
  // Ends it as a failed Initialize does: the port stays taken. The binding, or null.
  Binding* LeaveListening();
  bool IsListening() const { return is_listening_; }

  // Held while this end of a link is made or dropped. Guards `resource`.
  std::mutex& control_mutex() { return control_mutex_; }
  // What describes this end of links to come.
  CommResource resource;
  // The engine is hixl.
  bool is_hixl = false;

  // Caches.
  Status Register(const std::vector<int64_t>& shape, int32_t data_type, const std::vector<uint64_t>& addresses,
                  int64_t* cache_id);
  Status Unregister(int64_t cache_id);
  // A cache in memory of this object, which goes with the object at the latest.
  Status Allocate(const llm_datadist::CacheDesc& desc, llm_datadist::Cache* cache);
  Status Deallocate(int64_t cache_id);
  // What a registration leaves behind that the transport refused.
  void KeepRegistered(const std::vector<int64_t>& shape, int32_t data_type, const std::vector<uint64_t>& addresses);
  std::shared_ptr<const CacheEntry> FindCache(int64_t cache_id);
  std::shared_ptr<const Snapshot> PublishCaches();

  // Links. The table of all links has a lock: each of these waits while a peer's request holds it.
  std::shared_ptr<Link> FindLink(uint64_t cluster_id);
  bool HasLinks();
  void StoreLink(uint64_t cluster_id, const std::shared_ptr<Link>& link);
  // What this instance asks for: waits for a transfer on the link, with the table free.
  void DropLink(uint64_t cluster_id);
  // What the peer asks for, by its unlink or its forced link: waits for a transfer on the link, with the table locked.
  void DropLinkForPeer(uint64_t cluster_id);
  // As DropLink, with the table locked for as long as the engine hixl tries to reach a peer that does not answer.
  void DropLinkOfDeadPeer(uint64_t cluster_id);
  // Without a wait for the table.
  bool IsLinkedTo(uint64_t cluster_id);
  uint64_t Tick();

  // All pushes of an instance run one after the other.
  std::mutex& push_mutex() { return push_mutex_; }

  void End();

 private:
  Session(uint64_t cluster_id, int32_t device_id)
      : cluster_id_(cluster_id), device_id_(device_id), table_(cluster_id) {}

  const uint64_t cluster_id_;
  const int32_t device_id_;
  std::atomic<bool> ended_{false};
  std::atomic<bool> is_listening_{false};

  // As the option gave it, before it was cut to 16 bits.
  int64_t listen_port_ = -1;
  Binding* binding_ = nullptr;

  std::shared_ptr<Link> LookUp(uint64_t cluster_id);
  // Waits for a transfer on the link.
  void Close(uint64_t cluster_id, const std::shared_ptr<Link>& link);

  std::mutex push_mutex_;
  std::mutex control_mutex_;
  // The library's lock of the table of all links. Taken before the mutex of a link, and before mutex_.
  std::mutex links_mutex_;

  // Held for moments only.
  std::mutex mutex_;
  // Guarded by mutex_.
  CacheTable table_;
  std::map<uint64_t, std::shared_ptr<Link>> links_;
  // Memory of the caches that this object has allocated.
  std::map<int64_t, std::vector<OwnTensor>> own_;
};

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_SESSION_H_
