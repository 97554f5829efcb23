// What the instances of one environment (the main thread, a worker) share, and how all of it ends with the environment.

#ifndef LLM_DATADIST_NODE_ENVIRONMENT_H_
#define LLM_DATADIST_NODE_ENVIRONMENT_H_

#include <napi.h>

#include <map>
#include <memory>

#include "completions.h"
#include "executor.h"
#include "instance.h"

namespace llm_datadist_node {

class Environment {
 public:
  explicit Environment(Napi::Env env) : completions_(Completions::Create(env)) {}

  const std::shared_ptr<Completions>& completions() const { return completions_; }
  bool is_closed() const { return closed_; }

  void Add(const std::shared_ptr<Instance>& instance, const std::shared_ptr<Executor>& executor) {
    members_[instance] = executor;
  }
  // For an instance whose handle is gone, unless the library still works for it.
  void Remove(const std::shared_ptr<Instance>& instance) { members_.erase(instance); }

  // Drops what has not started, waits for what runs, finalizes what is initialised and ends the threads, until so many
  // milliseconds have passed: what has not come back by then is left behind, and then nothing is finalized that has not
  // been. Once is enough.
  void Close(int64_t limit_ms);

 private:
  const std::shared_ptr<Completions> completions_;
  std::map<std::shared_ptr<Instance>, std::shared_ptr<Executor>> members_;
  bool closed_ = false;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_ENVIRONMENT_H_
