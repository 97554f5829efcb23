#include "environment.h"

namespace llm_datadist_node {
namespace {

// Ends an instance that nobody finalized, on a thread that may be left behind.
class LastTask final : public Task {
 public:
  explicit LastTask(std::shared_ptr<Instance> instance) : instance_(std::move(instance)) {}

  void Run() override {
    // Peers may use registered memory until the instance is finalized.
    if (instance_->Finalize().status != kSuccess) return;
    instance_->CallMemory([](Allocations& allocations) {
      allocations.FreeAll();
      return Outcome{};
    });
  }
  void Done(std::unique_ptr<Task>) override {}

 private:
  const std::shared_ptr<Instance> instance_;
};

}  // namespace

void Environment::Close(int64_t limit_ms) {
  if (closed_) return;
  closed_ = true;
  const Deadline deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(limit_ms);
  for (const auto& [instance, executor] : members_) executor->Cancel();
  // Finalize does not survive calls that run, nor do calls of another instance that has this one as its peer.
  bool idle = true;
  for (const auto& [instance, executor] : members_) idle = executor->WaitIdle(deadline) && idle;
  for (const auto& [instance, executor] : members_) {
    if (idle) executor->Submit({LaneKind::kControl}, std::make_unique<LastTask>(instance));
  }
  for (const auto& [instance, executor] : members_) {
    if (executor->WaitIdle(deadline)) {
      executor->Stop(deadline);
    } else {
      // Other environments go on, and must not wait for what it holds.
      instance->GiveUp();
    }
  }
  completions_->Close();
}

}  // namespace llm_datadist_node
