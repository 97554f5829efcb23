// The state behind this copy's table. It is used when this copy is the first one of the process.

#include <condition_variable>
#include <cstdio>
#include <mutex>

#include "process.h"

namespace llm_datadist_node {
namespace {

// Never destroyed: threads may outlive the main one.
struct State {
  std::mutex mutex;
  std::condition_variable changed;
  const void* holder = nullptr;
  // The call that has the lock, for messages.
  char held_by[96] = "";
  bool given_up = false;
  // Initialised and not finalized.
  LlmMember* members = nullptr;

  std::mutex opening;
  const LlmOpened* opened = nullptr;

  static State& Get() {
    static State& state = *new State;
    return state;
  }
};

bool Acquire(const void* instance, uint64_t cluster_id, const char* operation, LlmReason* reason) {
  State& state = State::Get();
  std::unique_lock<std::mutex> lock(state.mutex);
  state.changed.wait(lock, [&] { return state.holder == nullptr || state.given_up; });
  if (state.holder != nullptr) {
    std::snprintf(reason->text, sizeof reason->text,
                  "%s never came back from the library, and the library makes one such call at a time", state.held_by);
    return false;
  }
  state.holder = instance;
  std::snprintf(state.held_by, sizeof state.held_by, "%s of cluster %llu", operation,
                static_cast<unsigned long long>(cluster_id));
  return true;
}

void Release(const void* instance) {
  State& state = State::Get();
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (state.holder != instance) return;
    state.holder = nullptr;
    state.given_up = false;
  }
  state.changed.notify_all();
}

void GiveUp(const void* instance) {
  State& state = State::Get();
  {
    const std::lock_guard<std::mutex> lock(state.mutex);
    for (LlmMember* member = state.members; member != nullptr; member = member->next) {
      if (member->instance == instance) member->is_lost = true;
    }
    if (state.holder != instance) return;
    state.given_up = true;
  }
  state.changed.notify_all();
}

bool FindOther(const void* instance, LlmOther* other) {
  State& state = State::Get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  bool found = false;
  for (const LlmMember* member = state.members; member != nullptr; member = member->next) {
    if (member->instance == instance || (found && !member->is_lost)) continue;
    *other = {member->cluster_id, member->is_lost};
    found = true;
  }
  return found;
}

void Add(LlmMember* member) {
  State& state = State::Get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  member->next = state.members;
  state.members = member;
}

LlmMember* Remove(const void* instance) {
  State& state = State::Get();
  const std::lock_guard<std::mutex> lock(state.mutex);
  for (LlmMember** place = &state.members; *place != nullptr; place = &(*place)->next) {
    LlmMember* const member = *place;
    if (member->instance != instance) continue;
    *place = member->next;
    return member;
  }
  return nullptr;
}

const LlmOpened* BeginOpening() {
  State& state = State::Get();
  state.opening.lock();
  return state.opened;
}

void EndOpening(const LlmOpened* opened) {
  State& state = State::Get();
  state.opened = opened;
  state.opening.unlock();
}

}  // namespace

const LlmProcess& OwnProcess() {
  static constexpr LlmProcess kTable = {
      LLM_PROCESS_TABLE_VERSION, LLM_DATADIST_VERSION, Acquire, Release, GiveUp, FindOther, Add, Remove, BeginOpening,
      EndOpening,
  };
  return kTable;
}

}  // namespace llm_datadist_node
