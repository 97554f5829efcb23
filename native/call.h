// One call in flight: its arguments, what came of it, and the number of the promise that waits for it.

#ifndef LLM_DATADIST_NODE_CALL_H_
#define LLM_DATADIST_NODE_CALL_H_

#include <napi.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "bridge/bridge.h"
#include "completions.h"
#include "executor.h"
#include "failure.h"
#include "instance.h"
#include "own_property.h"
#include "results.h"
#include "settler.h"

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
  // JavaScript thread, as all that needs `handle`. `settler` and `exception_class` live as long as that.
  Call(Napi::Reference<Napi::Object>* handle, Settler* settler, const Napi::FunctionReference* exception_class,
       std::shared_ptr<Completions> completions, std::shared_ptr<Instance> instance, const CallInfo& info, Work work)
      : handle_(handle),
        settler_(settler),
        exception_class_(exception_class),
        completions_(std::move(completions)),
        instance_(std::move(instance)),
        info_(info),
        work_(std::move(work)),
        number_(settler->Take()) {
    handle_->Ref();
  }

  // Of its promise.
  uint32_t number() const { return number_; }

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

  // It was not queued: nothing waits for it.
  void Drop() {
    settler_->GiveBack(number_);
    handle_->Unref();
  }

  void GiveUp() override {
    // Not in outcome_, which the thread may be writing.
    Reject(Outcome::Fatal("the instance is lost: a call of it never came back from the library"), nullptr);
    handle_->Unref();
  }

  void Withdraw() override {
    completions_->Forget(1);
    settler_->Withdraw(number_, GivenUp("the call was given up before it got to the library", {}));
    handle_->Unref();
  }

  void CallOff() override {
    completions_->Forget(1);
    Reject(Outcome::Failure(kFailed, "the call was withdrawn before it got to the library"), nullptr);
    handle_->Unref();
  }

  void* Part() override {
    completions_->ExpectNoMore(this);
    return settler_->Part(number_, GivenUp("the call was given up and has not come back from the library",
                                           BlocksOfThisSide(work_, 0)));
  }

  std::optional<uint64_t> peer() const override { return info_.cluster_id; }

  void Settle() override {
    if (outcome_.status != kSuccess) {
      Reject(outcome_, StatusesOf(result_));
    } else if constexpr (std::is_same_v<Result, Nothing>) {
      settler_->Resolve(number_, nullptr);
    } else {
      bool is_made = false;
      const napi_value value = MadeOrThrown([&] { return ToValue(settler_->Env(), result_); }, &is_made);
      is_made ? settler_->Resolve(number_, value) : settler_->Reject(number_, value);
    }
    handle_->Unref();
  }

 private:
  void Reject(const Outcome& outcome, const std::vector<ClusterStatus>* statuses) {
    settler_->Reject(number_, MadeOrThrown([&] {
                       return ToException(settler_->Env(), exception_class_->Value(), info_, outcome, statuses);
                     }));
  }

  // The exception says what the call may move until it has come back: the caller may have changed its lists since the call.
  napi_value GivenUp(const char* why, const std::optional<LlmNumbers>& blocks) {
    return MadeOrThrown([&] {
      const Napi::Env env = settler_->Env();
      Napi::Value exception =
          ToException(env, exception_class_->Value(), info_, Outcome::Failure(kFailed, why), nullptr);
      if (blocks) {
        auto list = Napi::TypedArrayOf<uint64_t>::New(env, blocks->size, napi_biguint64_array);
        std::copy_n(blocks->data, blocks->size, list.Data());
        SetOwn(exception.As<Napi::Object>(), "blocks", list);
      }
      // It says nothing of the link.
      SetOwn(exception.As<Napi::Object>(), "recovery", Napi::String::New(env, "retry"));
      return exception;
    });
  }

  // A value for JavaScript, or what making it throws: the promise is settled in any case.
  template <typename Make>
  napi_value MadeOrThrown(const Make& make, bool* is_made = nullptr) {
    try {
      const napi_value value = make();
      if (is_made != nullptr) *is_made = true;
      return value;
    } catch (const Napi::Error& error) {
      return settler_->ValueOf(error);
    } catch (const std::exception& exception) {
      return settler_->ErrorOf(exception.what());
    }
  }

  // The object that was called. Its caller may hold nothing but the promise, and its threads end with it.
  Napi::Reference<Napi::Object>* const handle_;
  Settler* const settler_;
  const Napi::FunctionReference* const exception_class_;
  // Beyond the end of the environment, where the call may come to its end.
  const std::shared_ptr<Completions> completions_;
  const std::shared_ptr<Instance> instance_;
  const CallInfo info_;
  Work work_;
  const uint32_t number_;
  Outcome outcome_;
  Result result_{};
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_CALL_H_
