// Threads of our own for the calls of one instance: they block, for seconds when a peer is gone, so they belong neither
// on the JavaScript thread nor on libuv's four, which serve fs and dns.

#ifndef LLM_DATADIST_NODE_EXECUTOR_H_
#define LLM_DATADIST_NODE_EXECUTOR_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace llm_datadist_node {

using Deadline = std::chrono::steady_clock::time_point;

class Task {
 public:
  virtual ~Task() = default;
  // On a thread of the executor. Must not throw.
  virtual void Run() = 0;
  // Hands the task on when it has run; called without a lock, and not at all for one that was given up meanwhile.
  virtual void Done(std::unique_ptr<Task> self) = 0;
  // It is not waited for any more. Called by what gives it up, without a lock; it may still be running. Must not throw.
  virtual void GiveUp() {}
  // It was taken out of its lane because an earlier task of the lane was given up. Called by the thread that settles tasks.
  // Must not throw.
  virtual void Withdraw() {}
  // It was taken out of its lane because nothing waits for it any more. Called as above.
  virtual void CallOff() {}
  // It was set aside while it runs: its caller does not wait for it any more. Called as above; gives the promise, if it
  // has one, that is settled when it is done.
  virtual void* Part() { return nullptr; }
  // The peer that it is about.
  virtual std::optional<uint64_t> peer() const { return {}; }

 private:
  friend class Executor;
  // It was set aside while it ran; see Executor::SetAside.
  bool set_aside_ = false;
  // Under which it can be called off; 0 where nothing has asked for it.
  uint64_t number_ = 0;
  // Its neighbours in its lane: a queue that costs no allocation, and that a task can leave from any place.
  Task* previous_ = nullptr;
  std::unique_ptr<Task> next_;
};

// Calls of a lane run one after the other, in the order of their submission. Lanes follow the library's locks: what it
// would serialise anyway shares one, since more threads would only wait for each other.
enum class LaneKind : uint8_t { kControl, kMemory, kPush, kPull };
struct LaneId {
  LaneKind kind;
  // Of kPull: there is one per link.
  uint64_t peer = 0;

  bool operator<(const LaneId& other) const {
    return kind != other.kind ? kind < other.kind : peer < other.peer;
  }
};

class Executor : public std::enable_shared_from_this<Executor> {
 public:
  explicit Executor(size_t max_threads) : max_threads_(max_threads) {}

  // Gives the task back when there is no thread and none can be started.
  std::unique_ptr<Task> Submit(LaneId lane, std::unique_ptr<Task> task);

  // How many tasks were submitted. As long as the last one waits in its lane it can be called off under this number.
  uint64_t LastSubmitted();
  // Takes a task out of its lane, where it has not started: it never does. Null where it has, and for other numbers.
  std::unique_ptr<Task> CallOff(uint64_t number);

  // Takes back what has not started.
  std::vector<std::unique_ptr<Task>> Cancel();

  // Gives up what runs and what waits: threads that are busy are not waited for any more, and others may take their
  // place. How many tasks that were, without those that were set aside before.
  size_t Abandon();

  // What a lane is at.
  struct Running {
    std::chrono::steady_clock::duration elapsed;
    std::optional<uint64_t> peer;
  };
  // Nothing for a lane whose first task waits for a thread.
  std::optional<Running> RunningIn(LaneId lane);

  struct SetAsideTasks {
    // They have not started, and do not.
    std::vector<std::unique_ptr<Task>> waiting;
    // It is handed on when it has run, as every task is. Until then the thread that settles tasks may use it.
    Task* running = nullptr;
  };
  // Takes back what waits in a lane, and lets another thread take the place of the one that is busy there: that one may
  // never come back, and nothing waits for it when the environment ends. Of a lane that serves several peers the tasks
  // about one of them, or all. What was set aside before is left as it is.
  SetAsideTasks SetAside(LaneId lane, std::optional<uint64_t> peer);
  // Whether there is anything in lanes of other kinds.
  bool IsBusyBeside(LaneKind kind);

  // Whether nothing runs and nothing waits, at the latest when the deadline has passed. What was set aside is not waited
  // for.
  bool WaitIdle(Deadline deadline);

  // Whether threads end when they have nothing to do, instead of waiting for more. Calls go on in any case: they start
  // threads anew.
  void Rest(bool rests);

  // Lets the threads end when nothing is left to do.
  void StopWhenIdle();
  // Lets the threads end. Whether all of them, but the abandoned ones, have ended by the deadline.
  bool Stop(Deadline deadline);

 private:
  struct Lane {
    std::unique_ptr<Task> first_waiting;
    Task* last_waiting = nullptr;
    // A thread is at it: with the task that runs, or, when that has run, with handing it on.
    bool busy = false;
    Task* running = nullptr;
    // When that began.
    std::chrono::steady_clock::time_point since{};
    bool given_up = false;

    bool IsEmpty() const { return first_waiting == nullptr && !busy; }
    void Push(std::unique_ptr<Task> task);
    std::unique_ptr<Task> Take(Task* task);
  };
  using Lanes = std::map<LaneId, Lane>;
  struct Place {
    Lanes::iterator lane;
    Task* task;
  };

  // A thread keeps the executor alive: an abandoned one may outlive everything else.
  static void ThreadMain(std::shared_ptr<Executor> executor) { executor->Work(); }
  void Work();
  // True when the thread was given up meanwhile and has to end.
  bool RunNext(std::unique_lock<std::mutex>& lock);
  bool StartThread();
  // For the lanes that are ready when none of the threads looks at them.
  void WakeForReady();
  // Takes the first task of a lane.
  std::unique_ptr<Task> Pop(Lane& lane);
  // The task waits no longer.
  void Unlist(Task& task);
  // When no thread is at the lane any more.
  void Release(Lanes::iterator lane);
  // When the lane is empty.
  void Erase(Lanes::iterator lane);
  // When all of its tasks were taken out: it may be in line for a thread.
  void EraseReady(Lanes::iterator lane);

  const size_t max_threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable changed_;
  Lanes lanes_;
  // Lanes of tasks that were given up while they ran, whose threads still look at them; and the tasks themselves.
  std::vector<Lanes::node_type> given_up_;
  std::vector<std::unique_ptr<Task>> given_up_tasks_;
  // Lanes with work and without a thread, first come first served.
  std::deque<Lanes::iterator> ready_;
  uint64_t submitted_ = 0;
  // The task that was submitted last, while it waits.
  Place last_{};
  // Tasks that wait and whose numbers were asked for.
  std::unordered_map<uint64_t, Place> numbered_;
  // Without those of tasks that were given up or set aside.
  size_t threads_ = 0;
  size_t set_aside_ = 0;
  // Threads that wait and have not been told to wake, and the tellings that have not been heard.
  size_t idle_ = 0;
  size_t wakeups_ = 0;
  bool rests_ = false;
  bool stopped_ = false;
  bool stop_when_idle_ = false;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_EXECUTOR_H_
