#include "executor.h"

#include <algorithm>
#include <exception>
#include <thread>

namespace llm_datadist_node {

void Executor::Lane::Push(std::unique_ptr<Task> task) {
  Task* const last = task.get();
  last->previous_ = first_waiting == nullptr ? nullptr : last_waiting;
  (first_waiting == nullptr ? first_waiting : last_waiting->next_) = std::move(task);
  last_waiting = last;
}

std::unique_ptr<Task> Executor::Lane::Take(Task* task) {
  std::unique_ptr<Task>& place = task->previous_ == nullptr ? first_waiting : task->previous_->next_;
  std::unique_ptr<Task> taken = std::move(place);
  place = std::move(taken->next_);
  (place == nullptr ? last_waiting : place->previous_) = taken->previous_;
  taken->previous_ = nullptr;
  return taken;
}

std::unique_ptr<Task> Executor::Pop(Lane& lane) {
  std::unique_ptr<Task> task = lane.Take(lane.first_waiting.get());
  Unlist(*task);
  return task;
}

void Executor::Unlist(Task& task) {
  if (last_.task == &task) last_.task = nullptr;
  if (task.number_ != 0) numbered_.erase(std::exchange(task.number_, 0));
}

uint64_t Executor::LastSubmitted() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (last_.task != nullptr && last_.task->number_ == 0) {
    numbered_.emplace(submitted_, last_);
    last_.task->number_ = submitted_;
  }
  return submitted_;
}

std::unique_ptr<Task> Executor::CallOff(uint64_t number) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = numbered_.find(number);
  if (found == numbered_.end()) return nullptr;
  const Place place = found->second;
  Unlist(*place.task);
  std::unique_ptr<Task> task = place.lane->second.Take(place.task);
  if (place.lane->second.IsEmpty()) EraseReady(place.lane);
  return task;
}

std::unique_ptr<Task> Executor::Submit(LaneId id, std::unique_ptr<Task> task) {
  bool wake = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto lane = lanes_.try_emplace(id).first;
    const bool scheduled = !lane->second.IsEmpty();
    ++submitted_;
    last_ = {lane, task.get()};
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
      task = Pop(lane->second);
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
  } catch (const std::exception&) {
    // The limit of threads of the process or container, or of memory; those that there are do the work.
    return false;
  }
  ++threads_;
  return true;
}

void Executor::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopped_) {
    if (ready_.empty()) {
      if (rests_) break;
      ++idle_;
      wake_.wait(lock, [this] { return wakeups_ > 0 || stopped_ || rests_; });
      if (wakeups_ > 0) {
        --wakeups_;
      } else {
        --idle_;
      }
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
  // Where the lane is given up, it leaves the map and stays where it is.
  Lane& state = lane->second;
  std::unique_ptr<Task> task = Pop(state);
  state.busy = true;
  state.running = task.get();
  state.since = std::chrono::steady_clock::now();
  lock.unlock();

  task->Run();

  lock.lock();
  // Its lane, its place among the threads and its result were given up with it; what gave it up may still look at it.
  if (state.given_up) {
    given_up_tasks_.push_back(std::move(task));
    return true;
  }
  state.running = nullptr;
  if (task->set_aside_) {
    --set_aside_;
    ++threads_;
  }
  lock.unlock();
  // Before the next one of the lane runs: results come in the order of the calls.
  Task& done = *task;
  done.Done(std::move(task));
  lock.lock();
  Release(lane);
  if (threads_ <= max_threads_) return false;
  // Another one has taken its place.
  --threads_;
  WakeForReady();
  changed_.notify_all();
  return true;
}

void Executor::WakeForReady() {
  if (ready_.empty()) return;
  if (idle_ > 0) {
    --idle_;
    ++wakeups_;
    wake_.notify_one();
  } else if (threads_ < max_threads_) {
    StartThread();
  }
}

void Executor::Release(Lanes::iterator lane) {
  lane->second.busy = false;
  if (lane->second.IsEmpty()) {
    Erase(lane);
  } else {
    ready_.push_back(lane);
  }
}

void Executor::Erase(Lanes::iterator lane) {
  lanes_.erase(lane);
  if (lanes_.empty()) {
    stopped_ = stopped_ || stop_when_idle_;
    if (stopped_) wake_.notify_all();
  }
  if (lanes_.size() == set_aside_) changed_.notify_all();
}

void Executor::EraseReady(Lanes::iterator lane) {
  const auto ready = std::find(ready_.begin(), ready_.end(), lane);
  if (ready != ready_.end()) ready_.erase(ready);
  Erase(lane);
}

std::vector<std::unique_ptr<Task>> Executor::Cancel() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::unique_ptr<Task>> cancelled;
  ready_.clear();
  for (auto lane = lanes_.begin(); lane != lanes_.end();) {
    while (lane->second.first_waiting != nullptr) cancelled.push_back(Pop(lane->second));
    lane = lane->second.IsEmpty() ? lanes_.erase(lane) : std::next(lane);
  }
  return cancelled;
}

size_t Executor::Abandon() {
  const std::vector<std::unique_ptr<Task>> waiting = Cancel();
  std::vector<Task*> running;
  size_t set_aside = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto lane = lanes_.begin(); lane != lanes_.end();) {
      const auto next = std::next(lane);
      // What has run is handed on at this moment.
      if (lane->second.running != nullptr) {
        running.push_back(lane->second.running);
        lane->second.given_up = true;
        given_up_.push_back(lanes_.extract(lane));
      }
      lane = next;
    }
    set_aside = std::exchange(set_aside_, 0);
    threads_ -= running.size() - set_aside;
    changed_.notify_all();
  }
  // Without the lock: this may call anything.
  for (const auto& task : waiting) task->GiveUp();
  for (Task* task : running) task->GiveUp();
  return waiting.size() + running.size() - set_aside;
}

std::optional<Executor::Running> Executor::RunningIn(LaneId id) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto lane = lanes_.find(id);
  if (lane == lanes_.end() || lane->second.running == nullptr) return {};
  return Running{std::chrono::steady_clock::now() - lane->second.since, lane->second.running->peer()};
}

Executor::SetAsideTasks Executor::SetAside(LaneId id, std::optional<uint64_t> peer) {
  const auto is_meant = [&](const Task& task) { return !peer || task.peer() == peer; };
  SetAsideTasks tasks;
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = lanes_.find(id);
  if (found == lanes_.end()) return tasks;
  Lane& lane = found->second;
  for (Task* task = lane.first_waiting.get(); task != nullptr;) {
    Task* const next = task->next_.get();
    if (is_meant(*task)) {
      Unlist(*task);
      tasks.waiting.push_back(lane.Take(task));
    }
    task = next;
  }
  if (lane.running != nullptr && !lane.running->set_aside_ && is_meant(*lane.running)) {
    tasks.running = lane.running;
    tasks.running->set_aside_ = true;
    ++set_aside_;
    --threads_;
    WakeForReady();
  }
  if (lane.IsEmpty()) EraseReady(found);
  changed_.notify_all();
  return tasks;
}

bool Executor::IsBusyBeside(LaneKind kind) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return std::any_of(lanes_.begin(), lanes_.end(), [kind](const auto& lane) { return lane.first.kind != kind; });
}

bool Executor::WaitIdle(Deadline deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_until(lock, deadline, [this] { return lanes_.size() == set_aside_; });
  return lanes_.empty();
}

void Executor::Rest(bool rests) {
  const std::lock_guard<std::mutex> lock(mutex_);
  rests_ = rests;
  if (rests) wake_.notify_all();
}

void Executor::StopWhenIdle() {
  const std::lock_guard<std::mutex> lock(mutex_);
  stop_when_idle_ = true;
  if (!lanes_.empty()) return;
  stopped_ = true;
  wake_.notify_all();
}

bool Executor::Stop(Deadline deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  stopped_ = true;
  wake_.notify_all();
  return changed_.wait_until(lock, deadline, [this] { return threads_ == 0; });
}

}  // namespace llm_datadist_node
