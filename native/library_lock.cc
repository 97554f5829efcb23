#include "library_lock.h"

#include "instance.h"

namespace llm_datadist_node {

LibraryLock& LibraryLock::Get() {
  static LibraryLock& lock = *new LibraryLock;
  return lock;
}

bool LibraryLock::Acquire(const Instance* instance, const char* operation, std::string* reason) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return holder_ == nullptr || given_up_; });
  if (holder_ != nullptr) {
    *reason = held_by_ + " never came back from the library, and the library makes one such call at a time";
    return false;
  }
  holder_ = instance;
  held_by_ = std::string(operation) + " of cluster " + std::to_string(instance->cluster_id());
  return true;
}

void LibraryLock::Release(const Instance* instance) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (holder_ != instance) return;
    holder_ = nullptr;
    given_up_ = false;
  }
  changed_.notify_all();
}

void LibraryLock::GiveUp(const Instance* instance) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (holder_ != instance) return;
    given_up_ = true;
  }
  changed_.notify_all();
}

std::string LibraryLock::RefuseSecond(const Instance* instance) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [other, cluster_id] : live_) {
    if (other == instance) continue;
    return "cluster " + std::to_string(cluster_id) +
           " is initialised in this process, and a second instance can crash it: finalize that one first, or make this "
           "one with allowMultipleInstances where the risk is known";
  }
  return {};
}

void LibraryLock::Add(const Instance* instance, uint64_t cluster_id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  live_.emplace(instance, cluster_id);
}

void LibraryLock::Remove(const Instance* instance) {
  const std::lock_guard<std::mutex> lock(mutex_);
  live_.erase(instance);
}

}  // namespace llm_datadist_node
