#include "library_lock.h"

#include "instance.h"

namespace llm_datadist_node {

bool LibraryLock::Acquire(const Instance* instance, const char* operation, std::string* reason) const {
  LlmReason why{};
  if (process_.acquire(instance, instance->cluster_id(), operation, &why)) return true;
  *reason = why.text;
  return false;
}

std::string LibraryLock::RefuseSecond(const Instance* instance) const {
  uint64_t cluster_id = 0;
  if (!process_.find_other(instance, &cluster_id)) return {};
  return "cluster " + std::to_string(cluster_id) +
         " is initialised in this process, and a second instance can crash it";
}

void LibraryLock::Add(const Instance* instance) const {
  process_.add(new LlmMember{instance, instance->cluster_id(), nullptr});
}

}  // namespace llm_datadist_node
