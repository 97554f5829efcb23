#include "runtime/actions.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>
#include <utility>

#include "runtime/mode.h"
#include "runtime/thread_context.h"

namespace standin {
namespace {

struct MethodState {
  std::deque<Action> actions;
  uint64_t entered = 0;
  // Blocked calls draw a number and go on when it is below `released`.
  uint64_t next_number = 0;
  uint64_t released = 0;
  // Calls that are blocked or hang.
  uint64_t held = 0;
};

struct Actions {
  std::mutex mutex;
  std::condition_variable changed;
  MethodState methods[kMethods];

  MethodState& Of(Method method) { return methods[IndexOf(method)]; }
};

// Never destroyed: blocked threads stay in it when the process exits.
Actions& TheActions() {
  static Actions& actions = *new Actions;
  return actions;
}

std::atomic<uint64_t> g_inside{0};

bool AppliesTo(const Action& action, const std::vector<uint64_t>& clusters) {
  return !action.has_cluster || std::find(clusters.begin(), clusters.end(), action.cluster) != clusters.end();
}

// The action for a call that comes to this place now; a default one lets it pass.
Action TakeAction(MethodState& state, bool in_transport, const std::vector<uint64_t>& clusters) {
  for (Action& action : state.actions) {
    if (action.times == 0 || action.in_transport != in_transport || !AppliesTo(action, clusters)) continue;
    if (action.skip > 0) {
      --action.skip;
      break;
    }
    if (action.times != std::numeric_limits<uint64_t>::max()) --action.times;
    return action;
  }
  return {};
}

[[noreturn]] void Hang() {
  for (;;) pause();
}

[[noreturn]] void HangIn(Method method) {
  {
    Actions& actions = TheActions();
    const std::lock_guard<std::mutex> lock(actions.mutex);
    ++actions.Of(method).held;
    actions.changed.notify_all();
  }
  Hang();
}

[[noreturn]] void EndBySegmentationFault() {
  // Whatever handler a test runner or sanitizer has installed, the process ends by this signal.
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
  Hang();
}

bool Take(Method method, bool in_transport, const std::vector<uint64_t>& clusters, uint32_t* status) {
  Actions& actions = TheActions();
  Action action;
  {
    std::unique_lock<std::mutex> lock(actions.mutex);
    MethodState& state = actions.Of(method);
    if (!in_transport) ++state.entered;
    action = TakeAction(state, in_transport, clusters);
    if (action.block) {
      const uint64_t number = state.next_number++;
      ++state.held;
      actions.changed.notify_all();
      actions.changed.wait(lock, [&] { return number < state.released; });
      --state.held;
    }
    actions.changed.notify_all();
  }
  if (action.delay_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(action.delay_ms));
  if (action.has_error_text) SetRecentError(action.error_text);
  switch (action.outcome) {
    case Outcome::kProceed:
      return false;
    case Outcome::kStatus:
      *status = action.status;
      return true;
    case Outcome::kThrowRuntimeError:
      throw std::runtime_error(action.thrown_text);
    case Outcome::kThrowBadAlloc:
      throw std::bad_alloc();
    case Outcome::kThrowInt:
      throw static_cast<int>(action.status);
    case Outcome::kAbort:
      std::abort();
    case Outcome::kSegmentationFault:
      EndBySegmentationFault();
    case Outcome::kHang:
      HangIn(method);
  }
  return false;
}

}  // namespace

void AddAction(Method method, Action action) {
  Actions& actions = TheActions();
  const std::lock_guard<std::mutex> lock(actions.mutex);
  actions.Of(method).actions.push_back(std::move(action));
  SetMode(kHasActions, true);
}

void SetAction(Method method, Action action) {
  Actions& actions = TheActions();
  const std::lock_guard<std::mutex> lock(actions.mutex);
  MethodState& state = actions.Of(method);
  state.entered = 0;
  state.actions = {std::move(action)};
  SetMode(kHasActions, true);
}

void RemoveActions(Method method) {
  Actions& actions = TheActions();
  const std::lock_guard<std::mutex> lock(actions.mutex);
  actions.Of(method).actions.clear();
  const bool none = std::all_of(std::begin(actions.methods), std::end(actions.methods),
                                [](const MethodState& state) { return state.actions.empty(); });
  if (none) SetMode(kHasActions, false);
}

void RemoveAllActions() {
  Actions& actions = TheActions();
  const std::lock_guard<std::mutex> lock(actions.mutex);
  for (MethodState& state : actions.methods) state.actions.clear();
  SetMode(kHasActions, false);
}

void Release(Method method, uint64_t count) {
  Actions& actions = TheActions();
  const std::lock_guard<std::mutex> lock(actions.mutex);
  MethodState& state = actions.Of(method);
  const uint64_t blocked = state.next_number - state.released;
  state.released += std::min(count, blocked);
  if (count == kAllBlocked) {
    for (Action& action : state.actions) action.block = false;
  }
  actions.changed.notify_all();
}

void ReleaseAll() {
  for (size_t i = 0; i < kMethods; ++i) Release(static_cast<Method>(i), kAllBlocked);
}

bool Interfere(Method method, const std::vector<uint64_t>& clusters, uint32_t* status) {
  return Take(method, false, clusters, status);
}

bool InterfereInTransport(Method method, uint64_t cluster, uint32_t* status) {
  return (CurrentMode() & kHasActions) != 0 && Take(method, true, {cluster}, status);
}

bool WaitHeld(Method method, uint64_t count, uint32_t timeout_ms) {
  Actions& actions = TheActions();
  std::unique_lock<std::mutex> lock(actions.mutex);
  const MethodState& state = actions.Of(method);
  return actions.changed.wait_for(lock, std::chrono::milliseconds(timeout_ms), [&] { return state.held >= count; });
}

bool WaitEntered(Method method, uint64_t count, uint32_t timeout_ms) {
  Actions& actions = TheActions();
  std::unique_lock<std::mutex> lock(actions.mutex);
  const MethodState& state = actions.Of(method);
  return actions.changed.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                                  [&] { return state.entered >= count; });
}

void ForgetEntered() {
  Actions& actions = TheActions();
  const std::lock_guard<std::mutex> lock(actions.mutex);
  for (MethodState& state : actions.methods) state.entered = 0;
}

InsideCount::InsideCount() { ++g_inside; }
InsideCount::~InsideCount() { --g_inside; }

uint64_t ThreadsInside() { return g_inside; }

}  // namespace standin
