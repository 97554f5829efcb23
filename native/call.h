// One call in flight: its arguments, what came of it, and the promise that waits for it.

#ifndef LLM_DATADIST_NODE_CALL_H_
#define LLM_DATADIST_NODE_CALL_H_

#include <napi.h>

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bridge/bridge.h"
#include "completions.h"
#include "deferred.h"
#include "executor.h"
#include "failure.h"
#include "instance.h"
#include "own_property.h"
#include "results.h"

namespace llm_datadist_node {

// The blocks of this side that work moves, where it has lists of blocks.
template <typename Work>
auto BlocksOfThisSide(const Work& work, int) -> decltype(std::optional<LlmNumbers>(work.BlocksOfThisSide())) {
  return work.BlocksOfThisSide();
}
template <typename Work>
std::optional<LlmNumbers> BlocksOfThisSide(const Work&, long) {
  return {};
}

// `Work` is called on a thread of the executor as `Outcome work(Instance&, Result&)`; there is a ToValue for `Result`.
template <typename Result, typename Work>
class Call final : public Task, public Completion {
 public:
  // JavaScript thread, as all that needs `handle`.
  Call(Napi::Reference<Napi::Object>* handle, const Napi::FunctionReference* exception_class,
       std::shared_ptr<Completions> completions, std::shared_ptr<Instance> instance, const CallInfo& info, Work work)
      : handle_(handle),
        exception_class_(exception_class),
        completions_(std::move(completions)),
        instance_(std::move(instance)),
        info_(info),
        work_(std::move(work)),
        deferred_(handle->Env()) {
    handle_->Ref();
  }

  // In the scope in which the call was made.
  Napi::Promise promise() const { return deferred_.Promise(); }

  void Fail(Outcome outcome) { outcome_ = std::move(outcome); }

  void Run() override {
    try {
      outcome_ = work_(*instance_, result_);
    } catch (const std::exception& exception) {
      // Of this package's own code, such as a lack of memory for a copy: the bridge lets none of the library's through.
      outcome_ = Outcome::Failure(kFailed, exception.what());
    }
  }

  void Done(std::unique_ptr<Task> self) override {
    self.release();
    completions_->Push(std::unique_ptr<Completion>(this));
  }

  void GiveUp() override {
    Release();
    // Not in outcome_, which the thread may be writing.
    Reject(Outcome::Fatal("the instance is lost: a call of it never came back from the library"), nullptr);
  }

  void Withdraw() override {
    completions_->Forget(1);
    Release();
    Deferred returned(deferred_.Env());
    RejectAsGivenUp(&deferred_, "the call was given up before it got to the library", returned.Promise(), {});
    returned.Resolve(nullptr);
  }

  void CallOff() override {
    completions_->Forget(1);
    Release();
    Reject(Outcome::Failure(kFailed, "the call was withdrawn before it got to the library"), nullptr);
  }

  void* Part() override {
    completions_->ExpectNoMore(this);
    // What Settle concludes from now on; the present promise is rejected.
    Deferred present(deferred_.Env());
    present.Swap(deferred_);
    RejectAsGivenUp(&present, "the call was given up and has not come back from the library", deferred_.Promise(),
                    BlocksOfThisSide(work_, 0));
    return deferred_.Promise();
  }

  std::optional<uint64_t> peer() const override { return info_.cluster_id; }

  void Settle() override {
    if (outcome_.status == kSuccess) {
      handle_->Unref();
      return Conclude([&] { deferred_.Resolve(ToValue(deferred_.Env(), result_)); });
    }
    Release();
    Reject(outcome_, StatusesOf(result_));
  }

 private:
  // The handle is not needed any more after the present scope: until then it keeps the class of the exceptions.
  void Release() {
    handle_->Value();
    handle_->Unref();
  }

  void Reject(const Outcome& outcome, const std::vector<ClusterStatus>* statuses) {
    Conclude([&] {
      deferred_.Reject(ToException(deferred_.Env(), exception_class_->Value(), info_, outcome, statuses));
    });
  }

  // The exception carries what settles when the call has come back, and what it may move until then: the caller may have
  // changed its lists since the call.
  void RejectAsGivenUp(Deferred* deferred, const char* why, Napi::Promise returned,
                       const std::optional<LlmNumbers>& blocks) {
    try {
      const Napi::Value exception =
          ToException(deferred->Env(), exception_class_->Value(), info_, Outcome::Failure(kFailed, why), nullptr);
      SetOwn(exception.As<Napi::Object>(), "released", returned);
      if (blocks) {
        auto list = Napi::TypedArrayOf<uint64_t>::New(deferred->Env(), blocks->size, napi_biguint64_array);
        std::copy_n(blocks->data, blocks->size, list.Data());
        SetOwn(exception.As<Napi::Object>(), "blocks", list);
      }
      // It says nothing of the link.
      SetOwn(exception.As<Napi::Object>(), "recovery", Napi::String::New(deferred->Env(), "retry"));
      deferred->Reject(exception);
    } catch (const Napi::Error& error) {
      deferred->Reject(error);
    }
  }

  // What making the value or the exception throws is what the caller gets: the promise is settled in any case.
  template <typename Settlement>
  void Conclude(const Settlement& settlement) {
    try {
      settlement();
    } catch (const Napi::Error& error) {
      deferred_.Reject(error);
    } catch (const std::exception& exception) {
      deferred_.Reject(exception.what());
    }
  }

  // The object that was called. Its caller may hold nothing but the promise, and its threads end with it.
  Napi::Reference<Napi::Object>* const handle_;
  // The handle's: it lives as long as that.
  const Napi::FunctionReference* const exception_class_;
  // Beyond the end of the environment, where the call may come to its end.
  const std::shared_ptr<Completions> completions_;
  const std::shared_ptr<Instance> instance_;
  const CallInfo info_;
  Work work_;
  Deferred deferred_;
  Outcome outcome_;
  Result result_{};
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_CALL_H_
