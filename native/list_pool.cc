#include "list_pool.h"

#include <utility>

namespace llm_datadist_node {

ListPool& ListPool::Get() {
  static ListPool& pool = *new ListPool;
  return pool;
}

std::vector<uint64_t> ListPool::Take() {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (lists_.empty()) return {};
  std::vector<uint64_t> list = std::move(lists_.back());
  lists_.pop_back();
  return list;
}

void ListPool::Give(std::vector<uint64_t> list) {
  if (list.capacity() == 0 || list.capacity() > kLength) return;
  list.clear();
  const std::lock_guard<std::mutex> lock(mutex_);
  if (lists_.size() < kLists) lists_.push_back(std::move(list));
}

}  // namespace llm_datadist_node
