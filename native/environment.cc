#include "environment.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "library_lock.h"

namespace llm_datadist_node {
namespace {

// Ends an instance that nobody finalized, on a thread that may be left behind.
class LastTask final : public Task {
 public:
  explicit LastTask(std::shared_ptr<Instance> instance) : instance_(std::move(instance)) {}

  void Run() override {
    // Peers may use registered memory until the instance is finalized.
    if (instance_->Finalize().status != kSuccess || instance_->allocations.IsEmpty()) return;
    instance_->CallMemory([](Allocations& allocations) {
      allocations.FreeAll();
      return Outcome{};
    });
  }
  void Done(std::unique_ptr<Task>) override {}

 private:
  const std::shared_ptr<Instance> instance_;
};

// The library's own threads and destructors wait for each other at exit when a call of it hangs: the process then ends
// with its exit code and flushed output, and without them.
void SkipDestructorsAtExit() {
#ifdef __GLIBC__
  static std::once_flag once;
  std::call_once(once, [] {
    on_exit(
        [](int status, void*) {
          std::fflush(nullptr);
          _exit(status);
        },
        nullptr);
  });
#endif
}

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
  bool all_ended = true;
  for (const auto& [instance, executor] : members_) {
    if (executor->WaitIdle(deadline)) {
      executor->Stop(deadline);
      continue;
    }
    all_ended = false;
    // Other environments go on, and must not wait for what it holds. A single instance is finalized when its call comes
    // back after all; with several nobody knows then whose calls still need it.
    // Nor is one that is inside with anything but control calls: those come back before Finalize, a transfer need not.
    if (members_.size() > 1 || executor->IsBusyBeside(LaneKind::kControl)) instance->GiveUp();
    LibraryLock::Get().GiveUp(instance.get());
    if (!idle) executor->Submit({LaneKind::kControl}, std::make_unique<LastTask>(instance));
    executor->StopWhenIdle();
  }
  if (!all_ended) SkipDestructorsAtExit();
  completions_->Close();
}

}  // namespace llm_datadist_node
