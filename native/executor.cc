#include "executor.h"

#include <system_error>
#include <thread>

namespace llm_datadist_node {

void Executor::Lane::Push(std::unique_ptr<Task> task) {
  Task* const last = task.get();
  (first_waiting == nullptr ? first_waiting : last_waiting->next_) = std::move(task);
  last_waiting = last;
}

std::unique_ptr<Task> Executor::Lane::Pop() {
  std::unique_ptr<Task> task = std::move(first_waiting);
  first_waiting = std::move(task->next_);
  return task;
}

std::unique_ptr<Task> Executor::Submit(LaneId id, std::unique_ptr<Task> task) {
  bool wake = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto lane = lanes_.try_emplace(id).first;
    const bool scheduled = !lane->second.IsEmpty();
    lane->second.Push(std::move(task));
    // Whoever works on the lane comes to this task by himself: a burst of short calls wakes nobody.
    if (scheduled) return nullptr;
    ready_.push_back(lane);
    if (idle_ > 0) {
      --idle_;
      ++wakeups_;
      wake = true;
    } else if (threads_ < max_threads_ && !StartThread() && threads_ == 0) {
      ready_.pop_back();
      task = lane->second.Pop();
      lanes_.erase(lane);
      return task;
    }
  }
  // After the lock is free, or the thread would wake only to wait for it.
  if (wake) wake_.notify_one();
  return nullptr;
}

bool Executor::StartThread() {
  try {
    std::thread(ThreadMain, shared_from_this()).detach();
  } catch (const std::system_error&) {
    // The limit of threads of the process or container; those that there are do the work.
    return false;
  }
  ++threads_;
  return true;
}

void Executor::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopped_) {
    if (ready_.empty()) {
      ++idle_;
      wake_.wait(lock, [this] { return wakeups_ > 0 || stopped_; });
      if (wakeups_ > 0) --wakeups_;
      continue;
    }
    if (RunNext(lock)) return;
  }
  --threads_;
  changed_.notify_all();
}

bool Executor::RunNext(std::unique_lock<std::mutex>& lock) {
  const auto lane = ready_.front();
  ready_.pop_front();
  std::unique_ptr<Task> task = lane->second.Pop();
  lane->second.running = task.get();
  lock.unlock();

  task->Run();

  lock.lock();
  // Its lane, its place among the threads and its result were given up with it.
  if (task->abandoned_) return true;
  Release(lane);
  lock.unlock();
  Task& done = *task;
  done.Done(std::move(task));
  lock.lock();
  return false;
}

void Executor::Release(Lanes::iterator lane) {
  lane->second.running = nullptr;
  if (lane->second.IsEmpty()) {
    lanes_.erase(lane);
    if (lanes_.empty()) changed_.notify_all();
  } else {
    ready_.push_back(lane);
  }
}

std::vector<std::unique_ptr<Task>> Executor::Cancel() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::unique_ptr<Task>> cancelled;
  ready_.clear();
  for (auto lane = lanes_.begin(); lane != lanes_.end();) {
    while (lane->second.first_waiting != nullptr) cancelled.push_back(lane->second.Pop());
    lane = lane->second.IsEmpty() ? lanes_.erase(lane) : std::next(lane);
  }
  return cancelled;
}

size_t Executor::Abandon() {
  const std::vector<std::unique_ptr<Task>> waiting = Cancel();
  for (const auto& task : waiting) task->GiveUp();
  const std::lock_guard<std::mutex> lock(mutex_);
  const size_t running = lanes_.size();
  for (const auto& [id, lane] : lanes_) {
    // Alive as long as its thread does not get the lock.
    lane.running->abandoned_ = true;
    lane.running->GiveUp();
  }
  lanes_.clear();
  threads_ -= running;
  changed_.notify_all();
  return waiting.size() + running;
}

bool Executor::WaitIdle(Deadline deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return lanes_.empty(); });
}

bool Executor::Stop(Deadline deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  stopped_ = true;
  wake_.notify_all();
  return changed_.wait_until(lock, deadline, [this] { return threads_ == 0; });
}

}  // namespace llm_datadist_node
