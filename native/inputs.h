// What the structs of the bridge's table point into: the arguments of one call, owned until it has ended.

#ifndef LLM_DATADIST_NODE_INPUTS_H_
#define LLM_DATADIST_NODE_INPUTS_H_

#include <optional>
#include <string>
#include <vector>

#include "arguments.h"
#include "bridge/bridge.h"
#include "failure.h"
#include "instance.h"

namespace llm_datadist_node {

inline LlmNumbers View(const std::vector<uint64_t>& numbers) { return {numbers.data(), numbers.size()}; }

// The library reads its strings as C strings: what follows a NUL character would be lost without a word.
inline bool HasNul(const std::string& text) { return text.find('\0') != std::string::npos; }

struct DescInput {
  explicit DescInput(Arguments& arguments);
  LlmCacheDesc View() const { return {placement, num_tensors, data_type, shape.data(), shape.size()}; }

  uint32_t placement;
  uint32_t num_tensors;
  int32_t data_type;
  std::vector<int64_t> shape;
};

struct CacheInput {
  explicit CacheInput(Arguments& arguments);
  LlmCache View() const { return {cache_id, {addrs.data(), addrs.size()}, desc.View()}; }

  int64_t cache_id;
  std::vector<uint64_t> addrs;
  DescInput desc;
};

// Lists of thousands of blocks, looked through by the thread that makes the call and not by JavaScript's.
struct BlocksInput {
  explicit BlocksInput(Arguments& arguments);
  BlocksInput(BlocksInput&&) = default;
  ~BlocksInput();
  bool AreWithinLimits() const;

  LlmNumbers src() const { return {numbers.data(), src_count}; }
  LlmNumbers dst() const { return {numbers.data() + src_count, numbers.size() - src_count}; }

  // Both lists, in one allocation.
  std::vector<uint64_t> numbers;
  size_t src_count;
  // The largest block numbers that are allowed; none where there are no blocks.
  std::optional<uint64_t> src_limit;
  std::optional<uint64_t> dst_limit;
};

struct OptionsInput {
  explicit OptionsInput(Arguments& arguments);
  // The key whose text cannot be handed over, or null.
  const std::string* Unreadable() const;

  std::vector<Option> options;
};

// Lists of numbers instead of objects: reading objects costs several times as much.
struct ClustersInput {
  explicit ClustersInput(Arguments& arguments);
  const std::string* Unreadable() const;
  // Points into this object, and into `addresses` and `clusters`.
  LlmClusters View(std::vector<LlmAddress>* addresses, std::vector<LlmCluster>* clusters) const;
  // Statuses with the clusters that they belong to; as many as the library gave.
  std::vector<ClusterStatus> WithIds(const std::vector<uint32_t>& statuses, size_t count) const;

  std::vector<uint64_t> ids;
  std::vector<int32_t> role_types;
  // Of each cluster; its local addresses come before its remote ones.
  std::vector<uint32_t> local_counts;
  std::vector<uint32_t> remote_counts;
  std::vector<std::string> ips;
  std::vector<uint32_t> ports;
};

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_INPUTS_H_
