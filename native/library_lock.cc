#include "library_lock.h"

#include "instance.h"

namespace llm_datadist_node {
namespace {

constexpr char kOneInstance[] =
    "One live instance per process is the rule of the vendor: use that one for all calls, finalize that one first where "
    "nothing needs it any more, use a process for each, or make this one with allowMultipleInstances: true where the risk is "
    "known.";

}  // namespace

bool LibraryLock::Acquire(const Instance* instance, const char* operation, std::string* reason) const {
  LlmReason why{};
  if (process_.acquire(instance, instance->cluster_id(), operation, &why)) return true;
  *reason = why.text;
  return false;
}

Outcome LibraryLock::CheckAlone(const Instance* instance) const {
  LlmOther other{};
  if (!process_.find_other(instance, &other)) return {};
  const std::string cluster = "cluster " + std::to_string(other.cluster_id);
  if (other.is_lost) {
    return Outcome::Fatal(cluster + " is initialised in this process and lost: a call of it never came back from the library");
  }
  return Outcome::Failure(kFailed, cluster + " is initialised in this process, and a second instance can crash it",
                          kOneInstance);
}

void LibraryLock::Add(const Instance* instance) const {
  process_.add(new LlmMember{instance, instance->cluster_id(), false, nullptr});
}

}  // namespace llm_datadist_node
