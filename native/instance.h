// One LlmDataDist of the vendor's, through all its lives, on the threads that call it.
//
// What the library does not survive is kept from it here: an object is never deleted and never initialised again, so
// every Initialize gets a new one and those before it stay until the process ends; Initialize, Finalize, Link and
// Unlink have the lock of the process; a listener is closed before Finalize; no exception leaves a call.

#ifndef LLM_DATADIST_NODE_INSTANCE_H_
#define LLM_DATADIST_NODE_INSTANCE_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "allocations.h"
#include "bridge/bridge.h"
#include "listener.h"
#include "outcome.h"
#include "thread_headroom.h"

namespace llm_datadist_node {

struct Option {
  std::string key;
  std::string value;
};

struct Policy {
  // Whether the instance may be the second one that is initialised in the process.
  bool allow_multiple;
  // Whether an object whose Initialize failed is initialised again, as a program without guards would do: it has kept the
  // port it listens on, and another object does not get it. The library can crash in this, so it is for comparisons.
  bool reuse_failed;
};

class Instance {
 public:
  Instance(const LlmBridge& bridge, uint64_t cluster_id, int32_t role, const Policy& policy)
      : allocations(bridge), bridge_(bridge), cluster_id_(cluster_id), policy_(policy), role_(role) {}

  uint64_t cluster_id() const { return cluster_id_; }
  bool is_initialized() const { return initialized_; }

  // `device` is what the memory functions use, -1 for none.
  Outcome Initialize(const std::vector<Option>& options, int32_t device);
  Outcome Finalize();
  Outcome SetRole(int32_t role, const std::vector<Option>& options);

  // Unregisters caches up to the first that fails to be tried, as long as no link can be left; one status for each that was
  // tried, none where a link may be left. A link to another instance of the process waits meanwhile, and nothing comes in
  // over the listener: a link that is being made is not among those that the library counts, and does not survive that
  // memory is unregistered which it is about to bind.
  Outcome UnregisterUnlinked(const std::vector<int64_t>& cache_ids, std::vector<uint32_t>* statuses);

  // Any other call: `work(bridge, object, error)` returns the library's status.
  template <typename Work>
  Outcome Call(const Work& work) {
    LlmError error{};
    LlmObject* object = Object(&error);
    if (object == nullptr) return ToOutcome(kFailed, error);
    const uint32_t status = work(bridge_, object, &error);
    return ToOutcome(status, error);
  }

  // As above, with the lock of the process, for a call in which the library starts this number of threads.
  template <typename Work>
  Outcome CallAlone(const char* operation, size_t threads, const Work& work) {
    const Turn turn(this, operation);
    if (!turn.refusal.empty()) return Outcome::Fatal(turn.refusal);
    return CanStartThreads(threads) ? Call(work) : TooFewThreads(threads);
  }

  // A call of the memory functions; `work(allocations)` returns an outcome.
  template <typename Work>
  Outcome CallMemory(const Work& work) {
    // Every time: the library leaves a context on the threads that call it.
    const int32_t device = device_;
    if (device >= 0) {
      const int32_t status = bridge_.set_device(device);
      if (status != 0) return RuntimeFailure(status, "aclrtSetDevice");
    }
    return work(allocations);
  }

  // The instance was given up while a call of it did not return: it is not finalized any more.
  void GiveUp();

  // How long the present call with the lock of the process has been inside the library, in milliseconds; 0 when there is
  // none, or when it waits for another instance.
  double ElapsedMs() const;

  Allocations allocations;

 private:
  // The lock of the process, and the clock of the call that has it.
  class Turn {
   public:
    Turn(Instance* instance, const char* operation);
    ~Turn();
    // Why the turn never comes.
    std::string refusal;

   private:
    Instance* const instance_;
  };

  // Made when it is first needed; null with the reason when it cannot be.
  LlmObject* Object(LlmError* error);
  // The library's answer to a role, and what happens to the listener.
  uint32_t CallSetRole(int32_t role, const std::vector<Option>& options, LlmObject* object, LlmError* error);
  void Listen(const std::vector<Option>& options);
  // Asks the library for the role and the listener that it has: it changes nothing then, and refuses while links exist.
  bool HasNoLinks();
  Outcome ToOutcome(uint32_t status, const LlmError& error) const;
  Outcome RuntimeFailure(int32_t status, const char* function) const;
  static Outcome TooFewThreads(size_t count);

  const LlmBridge& bridge_;
  const uint64_t cluster_id_;
  const Policy policy_;

  std::mutex mutex_;
  LlmObject* object_ = nullptr;
  // What the object has seen: such a one is not initialised again.
  bool failed_ = false;
  bool finalized_ = false;
  int32_t role_;
  std::optional<Listener> listener_;
  // What it was asked to listen on.
  std::string listen_option_;
  bool is_hixl_ = false;

  std::atomic<bool> initialized_{false};
  std::atomic<bool> given_up_{false};
  std::atomic<int32_t> device_{-1};
  // Of the steady clock, 0 for none.
  std::atomic<int64_t> entered_ns_{0};
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_INSTANCE_H_
