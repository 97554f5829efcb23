#include "thread_headroom.h"

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace llm_datadist_node {

bool CanStartThreads(size_t count) {
  std::mutex mutex;
  std::condition_variable changed;
  bool enough = false;
  const auto wait = [&] {
    std::unique_lock<std::mutex> lock(mutex);
    changed.wait(lock, [&] { return enough; });
  };
  std::vector<std::thread> threads;
  threads.reserve(count);
  try {
    while (threads.size() < count) threads.emplace_back(wait);
  } catch (const std::exception&) {
    // The answer: too many, or no memory for another one.
  }
  {
    const std::lock_guard<std::mutex> lock(mutex);
    enough = true;
  }
  changed.notify_all();
  const bool all = threads.size() == count;
  for (std::thread& thread : threads) thread.join();
  return all;
}

}  // namespace llm_datadist_node
