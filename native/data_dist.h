// The class that JavaScript sees: LlmDataDist method by method, each returning the number of a promise.

#ifndef LLM_DATADIST_NODE_DATA_DIST_H_
#define LLM_DATADIST_NODE_DATA_DIST_H_

#include <napi.h>

#include <memory>

#include "call.h"
#include "environment.h"
#include "executor.h"
#include "inputs.h"
#include "instance.h"
#include "settler.h"

namespace llm_datadist_node {

class DataDist final : public Napi::ObjectWrap<DataDist> {
 public:
  static Napi::Function Define(Napi::Env env);

  // (clusterId: bigint, role: number, allowMultipleInstances: boolean, reuseFailed: boolean, threads: number,
  //  exceptionClass: typeof LLMException, settle: see Settler)
  explicit DataDist(const Napi::CallbackInfo& info);
  ~DataDist() override;

 private:
  Napi::Value Initialize(const Napi::CallbackInfo& info);
  Napi::Value FinalizeInstance(const Napi::CallbackInfo& info);
  Napi::Value SetRole(const Napi::CallbackInfo& info);
  Napi::Value LinkLlmClusters(const Napi::CallbackInfo& info);
  Napi::Value UnlinkLlmClusters(const Napi::CallbackInfo& info);

  Napi::Value AllocateCache(const Napi::CallbackInfo& info);
  Napi::Value DeallocateCache(const Napi::CallbackInfo& info);
  Napi::Value CopyKvCache(const Napi::CallbackInfo& info);
  Napi::Value CopyKvBlocks(const Napi::CallbackInfo& info);
  Napi::Value RegisterKvCache(const Napi::CallbackInfo& info);
  Napi::Value UnregisterKvCache(const Napi::CallbackInfo& info);
  Napi::Value UnregisterUnlinked(const Napi::CallbackInfo& info);

  Napi::Value PullKvCache(const Napi::CallbackInfo& info);
  Napi::Value PullKvBlocks(const Napi::CallbackInfo& info);
  Napi::Value PushKvCache(const Napi::CallbackInfo& info);
  Napi::Value PushKvBlocks(const Napi::CallbackInfo& info);

  Napi::Value Malloc(const Napi::CallbackInfo& info);
  Napi::Value Free(const Napi::CallbackInfo& info);
  Napi::Value Write(const Napi::CallbackInfo& info);
  Napi::Value Read(const Napi::CallbackInfo& info);
  Napi::Value Copy(const Napi::CallbackInfo& info);
  Napi::Value CopyRanges(const Napi::CallbackInfo& info);
  Napi::Value ReadRanges(const Napi::CallbackInfo& info);
  Napi::Value WriteRanges(const Napi::CallbackInfo& info);

  void Abandon(const Napi::CallbackInfo& info);
  Napi::Value ElapsedMs(const Napi::CallbackInfo& info);
  Napi::Value IsInitialized(const Napi::CallbackInfo& info);
  // Of transfers: what a lane is at, and that the package does not wait for it any more.
  Napi::Value RunningTransfer(const Napi::CallbackInfo& info);
  Napi::Value GiveUpTransfers(const Napi::CallbackInfo& info);
  // Of any call that has not started.
  Napi::Value LastCall(const Napi::CallbackInfo& info);
  Napi::Value Withdraw(const Napi::CallbackInfo& info);

  // Queues `work` and returns the number of the promise of its result; where it cannot be queued, an exception.
  template <typename Result = Nothing, typename Work>
  Napi::Value Submit(LaneId lane, const CallInfo& about, Work work) {
    if (environment_->is_closed() || lost_) {
      return Refusal(about, lost_ ? Outcome::Fatal("a call of this instance never came back from the library")
                                  : Outcome::Failure(kFailed, "the process or worker is exiting",
                                                     "Make no more calls: this process or worker is about to end."));
    }
    auto call = std::make_unique<Call<Result, Work>>(this, settler_.get(), &exception_class_, environment_->completions(),
                                                     instance_, about, std::move(work));
    const uint32_t number = call->number();
    environment_->completions()->Expect(1);
    if (auto refused = executor_->Submit(lane, std::move(call))) {
      environment_->completions()->Forget(1);
      static_cast<Call<Result, Work>&>(*refused).Drop();
      return Refusal(about, Outcome::Failure(kFailed, "the process cannot start a thread for the call", kRaiseLimit));
    }
    return Napi::Number::New(Env(), number);
  }

  Napi::Value Refusal(const CallInfo& about, const Outcome& outcome) {
    return ToException(Env(), exception_class_.Value(), about, outcome, nullptr);
  }

  // `work(bridge, object, clusters, statuses, count, error)` links or unlinks.
  template <typename Work>
  Napi::Value SubmitOnClusters(const char* operation, const ClustersInput& input, Work work);

  const std::shared_ptr<Environment> environment_;
  // Of the module that made the instance: several copies of the package may use one addon.
  Napi::FunctionReference exception_class_;
  std::unique_ptr<Settler> settler_;
  std::shared_ptr<Instance> instance_;
  std::shared_ptr<Executor> executor_;
  bool lost_ = false;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_DATA_DIST_H_
