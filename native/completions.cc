#include "completions.h"

#include "own_property.h"

namespace llm_datadist_node {
namespace {

void Check(napi_env env, napi_status status) {
  if (status != napi_ok) throw Napi::Error::New(env);
}

}  // namespace

std::shared_ptr<Completions> Completions::Create(Napi::Env env) {
  auto completions = std::make_shared<Completions>();
  completions->env_ = env;
  // Whatever the environment still calls finds the object alive.
  auto* keep_alive = new std::shared_ptr<Completions>(completions);
  Check(env, napi_create_threadsafe_function(env, nullptr, Resource(env, completions), Napi::String::New(env, "llm_datadist"),
                                             /*max_queue_size=*/0, /*initial_thread_count=*/1, keep_alive, OnFinalized,
                                             completions.get(), OnWake, &completions->wake_));
  Check(env, napi_unref_threadsafe_function(env, completions->wake_));
  return completions;
}

Napi::Object Completions::Resource(Napi::Env env, const std::shared_ptr<Completions>& completions) {
  Napi::Object resource = Napi::Object::New(env);
  resource["hasRef"] = Napi::Function::New(
      env,
      [completions](const Napi::CallbackInfo& info) {
        return Napi::Boolean::New(info.Env(), !completions->closed_ && completions->expected_ > 0);
      },
      "hasRef");
  return resource;
}

void Completions::Expect(size_t count) {
  if (expected_ == 0) Check(env_, napi_ref_threadsafe_function(env_, wake_));
  expected_ += count;
}

void Completions::Forget(size_t count) {
  expected_ -= count;
  if (expected_ == 0) Check(env_, napi_unref_threadsafe_function(env_, wake_));
}

void Completions::ExpectNoMore(Completion* completion) {
  completion->is_expected_ = false;
  Forget(1);
}

void Completions::Push(std::unique_ptr<Completion> completion) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (closed_) return;
  ended_.push_back(std::move(completion));
  // One call wakes JavaScript for all that end before it looks.
  if (ended_.size() == 1) napi_call_threadsafe_function(wake_, nullptr, napi_tsfn_nonblocking);
}

void Completions::OnWake(napi_env env, napi_value, void* context, void*) {
  // Without an environment Node only empties its queue.
  if (env == nullptr) return;
  static_cast<Completions*>(context)->Drain(env);
}

void Completions::OnFinalized(napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Completions>*>(data); }

void Completions::Drain(Napi::Env env) {
  std::vector<std::unique_ptr<Completion>> ended;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended.swap(ended_);
  }
  size_t expected = 0;
  for (const auto& completion : ended) expected += completion->is_expected_ ? 1 : 0;
  Forget(expected);
  for (const auto& completion : ended) {
    const Napi::HandleScope scope(env);
    completion->Settle();
  }
}

void Completions::Close() {
  std::vector<std::unique_ptr<Completion>> ended;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closed_ = true;
    ended.swap(ended_);
  }
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
}

}  // namespace llm_datadist_node
