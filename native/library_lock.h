// The lock of the whole process around Initialize, Finalize, Link and Unlink of all instances, and the instances that
// are initialised. The library keeps state that all of them share and does not protect it. The state is that of
// process.h, so that it holds for every copy of the addon.

#ifndef LLM_DATADIST_NODE_LIBRARY_LOCK_H_
#define LLM_DATADIST_NODE_LIBRARY_LOCK_H_

#include <cstdint>
#include <string>

#include "outcome.h"
#include "process.h"

namespace llm_datadist_node {

class Instance;

class LibraryLock {
 public:
  // Of this process; shared by the environments of all threads and by all copies of the addon.
  static LibraryLock Get() { return LibraryLock(*FindProcess().table); }

  // Waits for its turn. False, with the reason, when it never comes: the call that has the lock was given up. One
  // instance makes one such call at a time.
  bool Acquire(const Instance* instance, const char* operation, std::string* reason) const;
  void Release(const Instance* instance) const { process_.release(instance); }

  // The instance was given up: if it is this one's call that has the lock, no other call gets it until that one returns.
  void GiveUp(const Instance* instance) const { process_.give_up(instance); }

  // Success when the instance may be initialised as the only one of the process; otherwise why not. With the lock.
  Outcome CheckAlone(const Instance* instance) const;
  void Add(const Instance* instance) const;
  void Remove(const Instance* instance) const { delete process_.remove(instance); }

 private:
  explicit LibraryLock(const LlmProcess& process) : process_(process) {}

  const LlmProcess& process_;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_LIBRARY_LOCK_H_
