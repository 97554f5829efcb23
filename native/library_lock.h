// The lock of the whole process around Initialize, Finalize, Link and Unlink of all instances, and the instances that
// are initialised. The library keeps state that all of them share and does not protect it.

#ifndef LLM_DATADIST_NODE_LIBRARY_LOCK_H_
#define LLM_DATADIST_NODE_LIBRARY_LOCK_H_

#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace llm_datadist_node {

class Instance;

class LibraryLock {
 public:
  // Of this process; shared by the environments of all threads, and never destroyed.
  static LibraryLock& Get();

  // Waits for its turn. False, with the reason, when it never comes: the call that has the lock was given up. One
  // instance makes one such call at a time.
  bool Acquire(const Instance* instance, const char* operation, std::string* reason);
  void Release(const Instance* instance);

  // The instance was given up: if it is this one's call that has the lock, nobody else gets it until the call returns.
  void GiveUp(const Instance* instance);

  // Empty when the instance may be initialised; otherwise why not. With the lock.
  std::string RefuseSecond(const Instance* instance) const;
  void Add(const Instance* instance, uint64_t cluster_id);
  void Remove(const Instance* instance);

 private:
  LibraryLock() = default;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  const Instance* holder_ = nullptr;
  // The call that has the lock, for messages.
  std::string held_by_;
  bool given_up_ = false;
  // Initialised and not finalised, with their cluster ids.
  std::map<const Instance*, uint64_t> live_;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_LIBRARY_LOCK_H_
