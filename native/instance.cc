#include "instance.h"

#include <algorithm>
#include <chrono>

#include "abi/acl.h"
#include "library_lock.h"

namespace llm_datadist_node {
namespace {

constexpr char kListenOption[] = "llm.ListenIpInfo";
constexpr char kBackendOption[] = "llm.TransferBackend";

int64_t NowNs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

// For what comes in over a listener's connections to end, in an instance that is about to end them all.
constexpr std::chrono::milliseconds kDrainLimit{1000};

// What the library starts in a call, with some to spare; it hangs or aborts when it cannot.
constexpr size_t kThreadsOfInitialize = 50;
constexpr size_t kThreadsOfSetRole = 20;

// Points into `options`.
std::vector<LlmOption> ToTable(const std::vector<Option>& options) {
  std::vector<LlmOption> table;
  table.reserve(options.size());
  for (const Option& option : options) {
    table.push_back({{option.key.data(), option.key.size()}, {option.value.data(), option.value.size()}});
  }
  return table;
}

std::optional<Listener> ListenerOf(const std::vector<Option>& options) {
  std::optional<Listener> listener;
  for (const Option& option : options) {
    if (option.key == kListenOption) listener = Listener::Parse(option.value);
  }
  return listener;
}

}  // namespace

Outcome Instance::Initialize(const std::vector<Option>& options, int32_t device) {
  const Turn turn(this, "init");
  if (!turn.refusal.empty()) return Outcome::Fatal(turn.refusal);
  // The library would succeed and do nothing, but need not be trusted with a second Initialize for that.
  if (initialized_ && !policy_.reuse_failed) return {};
  const LibraryLock library = LibraryLock::Get();
  if (!policy_.allow_multiple && !initialized_) {
    const Outcome alone = library.CheckAlone(this);
    if (alone.status != kSuccess) return alone;
  }
  if (!initialized_ && !CanStartThreads(kThreadsOfInitialize)) return TooFewThreads(kThreadsOfInitialize);
  const int32_t status = bridge_.acl_init();
  if (status != 0 && status != kAclRepeatInitialize) return RuntimeFailure(status, "aclInit");
  // Or the next failure on this thread would have the text of this one.
  if (status != 0) bridge_.recent_error();
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    // A second Initialize of a live object is for the library to answer; one that has ended, or failed, stays behind.
    if (finalized_ || (failed_ && !policy_.reuse_failed)) object_ = nullptr;
    finalized_ = failed_ = false;
  }
  const std::vector<LlmOption> table = ToTable(options);
  const Outcome outcome = Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
    return bridge.initialize(object, {table.data(), table.size()}, error);
  });
  failed_ = outcome.status != kSuccess;
  if (failed_ || initialized_) return outcome;
  Listen(options);
  is_hixl_ = std::any_of(options.begin(), options.end(), [](const Option& option) {
    return option.key == kBackendOption && option.value == "hixl";
  });
  device_ = device;
  initialized_ = true;
  library.Add(this);
  return outcome;
}

Outcome Instance::Finalize() {
  const Turn turn(this, "finalize");
  if (!turn.refusal.empty()) return Outcome::Fatal(turn.refusal);
  if (!initialized_) return {};
  allocations.ForgetLent();
  if (listener_) {
    // A request of a peer that is served while Finalize runs, or after it, would crash it.
    listener_->Drain(kDrainLimit);
    // Closes the listener, unless there are links.
    Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      return bridge.set_role(object, role_, {nullptr, 0}, error);
    });
    listener_.reset();
  }
  const Outcome outcome = Call([](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
    bridge.finalize(object, error);
    return error->thrown ? kFailed : kSuccess;
  });
  initialized_ = false;
  finalized_ = true;
  LibraryLock::Get().Remove(this);
  return outcome;
}

Outcome Instance::SetRole(int32_t role, const std::vector<Option>& options) {
  return CallAlone("switchRole", kThreadsOfSetRole, [&](const LlmBridge&, LlmObject* object, LlmError* error) {
    return CallSetRole(role, options, object, error);
  });
}

uint32_t Instance::CallSetRole(int32_t role, const std::vector<Option>& options, LlmObject* object, LlmError* error) {
  const std::vector<LlmOption> table = ToTable(options);
  const auto call = [&] { return bridge_.set_role(object, role, {table.data(), table.size()}, error); };
  const std::optional<Listener> before = listener_;
  const std::optional<Listener> after = ListenerOf(options);
  // The library waits for every client of a listener that it closes, also for one that stays silent.
  const bool closes = before && !is_hixl_ && !(after && after->HasPortOf(*before));
  if (closes) before->Drain(kDrainLimit);
  uint32_t status = call();
  if (status != kSuccess) {
    if (closes) before->Reopen();
    return status;
  }
  role_ = role;
  // The engine hixl keeps its listener for life.
  if (is_hixl_) return status;
  Listen(options);
  if (before && !listener_) {
    // A link that a peer was making at that moment did not count, and may be there now: only a second success proves that
    // there is none.
    before->Drain(kDrainLimit);
    status = call();
  }
  return status;
}

void Instance::Listen(const std::vector<Option>& options) {
  listener_ = ListenerOf(options);
  for (const Option& option : options) {
    if (option.key == kListenOption) listen_option_ = option.value;
  }
  if (listener_) listener_->Claim();
}

Outcome Instance::UnregisterUnlinked(const std::vector<int64_t>& cache_ids, std::vector<uint32_t>* statuses) {
  const Turn turn(this, "unregisterCache");
  if (!turn.refusal.empty()) return Outcome::Fatal(turn.refusal);
  // The engine hixl does not say, and of an address that is not understood the sockets are not known.
  if (!initialized_ || is_hixl_ || !listener_ || !HasNoLinks()) return {};
  // Links end their requests before they count: when none is open any more the library's answer is complete.
  const Listener::Pause pause(*listener_);
  if (!pause.IsQuiet() || !HasNoLinks()) return {};
  for (const int64_t cache_id : cache_ids) {
    const Outcome outcome = Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      return bridge.unregister_cache(object, cache_id, error);
    });
    statuses->push_back(outcome.status);
  }
  return {};
}

bool Instance::HasNoLinks() {
  const LlmOption listen{{kListenOption, sizeof kListenOption - 1}, {listen_option_.data(), listen_option_.size()}};
  const Outcome outcome = Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
    return bridge.set_role(object, role_, {&listen, 1}, error);
  });
  return outcome.status == kSuccess;
}

Outcome Instance::TooFewThreads(size_t count) {
  return Outcome::Failure(kFailed, "the process cannot start the " + std::to_string(count) +
                                       " threads that the library starts in this call",
                          kRaiseLimit);
}

void Instance::GiveUp() {
  given_up_ = true;
  LibraryLock::Get().GiveUp(this);
}

double Instance::ElapsedMs() const {
  const int64_t entered = entered_ns_;
  return entered == 0 ? 0 : static_cast<double>(NowNs() - entered) / 1e6;
}

Instance::Turn::Turn(Instance* instance, const char* operation) : instance_(instance) {
  if (instance->given_up_) {
    refusal = "a call of this instance never came back from the library";
    return;
  }
  if (LibraryLock::Get().Acquire(instance, operation, &refusal)) instance->entered_ns_ = NowNs();
}

Instance::Turn::~Turn() {
  if (!refusal.empty()) return;
  instance_->entered_ns_ = 0;
  LibraryLock::Get().Release(instance_);
}

LlmObject* Instance::Object(LlmError* error) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (object_ == nullptr) object_ = bridge_.create(cluster_id_, role_, error);
  return object_;
}

Outcome Instance::ToOutcome(uint32_t status, const LlmError& error) const {
  if (status == kSuccess) return {};
  const char* detail = bridge_.recent_error();
  return {status, error.text, detail == nullptr ? "" : detail, false};
}

Outcome Instance::RuntimeFailure(int32_t status, const char* function) const {
  LlmError error{};
  Outcome outcome = ToOutcome(static_cast<uint32_t>(status), error);
  outcome.message = std::string(function) + " of the Ascend runtime failed";
  return outcome;
}

}  // namespace llm_datadist_node
