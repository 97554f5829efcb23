// The way back to JavaScript: calls that have ended, settled in batches through one thread-safe function per
// environment, which keeps the process alive only while calls are in flight.

#ifndef LLM_DATADIST_NODE_COMPLETIONS_H_
#define LLM_DATADIST_NODE_COMPLETIONS_H_

#include <napi.h>

#include <memory>
#include <mutex>
#include <vector>

namespace llm_datadist_node {

class Completion {
 public:
  virtual ~Completion() = default;
  // On the JavaScript thread. Leaves no JavaScript exception and throws none.
  virtual void Settle() = 0;

 private:
  friend class Completions;
  bool is_expected_ = true;
};

class Completions : public std::enable_shared_from_this<Completions> {
 public:
  static std::shared_ptr<Completions> Create(Napi::Env env);

  // JavaScript thread: the number of calls, more or fewer, that are waited for.
  void Expect(size_t count);
  void Forget(size_t count);
  // This one may never come, and keeps nothing alive. It is settled if it does.
  void ExpectNoMore(Completion* completion);

  // Any thread. What comes after Close is dropped.
  void Push(std::unique_ptr<Completion> completion);

  // JavaScript thread, when the environment ends: nothing is settled any more.
  void Close();

 private:
  static void OnWake(napi_env env, napi_value, void* context, void*);
  static void OnFinalized(napi_env, void* data, void*);
  void Drain(Napi::Env env);
  // What async hooks see as the resource behind the calls: jest asks it whether it keeps the process alive.
  static Napi::Object Resource(Napi::Env env, const std::shared_ptr<Completions>& completions);

  napi_env env_ = nullptr;
  napi_threadsafe_function wake_ = nullptr;
  // JavaScript thread only.
  size_t expected_ = 0;

  std::mutex mutex_;
  std::vector<std::unique_ptr<Completion>> ended_;
  bool closed_ = false;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_COMPLETIONS_H_
