#include "inputs.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "list_pool.h"

namespace llm_datadist_node {

DescInput::DescInput(Arguments& arguments)
    : placement(arguments.Uint32()),
      num_tensors(arguments.Uint32()),
      data_type(arguments.Int32()),
      shape(arguments.Int64s()) {}

CacheInput::CacheInput(Arguments& arguments)
    : cache_id(arguments.Int64()), addrs(arguments.Uint64s()), desc(arguments) {}

BlocksInput::BlocksInput(Arguments& arguments)
    : numbers(ListPool::Get().Take()),
      src_count(arguments.Uint64sTwice(&numbers)),
      src_limit(arguments.Limit()),
      dst_limit(arguments.Limit()) {}

BlocksInput::~BlocksInput() { ListPool::Get().Give(std::move(numbers)); }

bool BlocksInput::AreWithinLimits() const {
  const auto within = [](const LlmNumbers& blocks, const std::optional<uint64_t>& limit) {
    if (!limit) return blocks.size == 0;
    const uint64_t largest = *limit;
    // To the end in any case: a loop without a way out is several times as fast.
    bool all = true;
    for (size_t i = 0; i < blocks.size; ++i) all &= blocks.data[i] <= largest;
    return all;
  };
  return within(src(), src_limit) && within(dst(), dst_limit);
}

OptionsInput::OptionsInput(Arguments& arguments) {
  std::vector<std::string> keys = arguments.Texts();
  std::vector<std::string> values = arguments.Texts();
  const size_t count = std::min(keys.size(), values.size());
  options.reserve(count);
  for (size_t i = 0; i < count; ++i) options.push_back({std::move(keys[i]), std::move(values[i])});
}

const std::string* OptionsInput::Unreadable() const {
  for (const auto& [key, value] : options) {
    if (HasNul(key) || HasNul(value)) return &key;
  }
  return nullptr;
}

ClustersInput::ClustersInput(Arguments& arguments)
    : ids(arguments.Uint64s()),
      role_types(arguments.Int32s()),
      local_counts(arguments.Uint32s()),
      remote_counts(arguments.Uint32s()),
      ips(arguments.Texts()),
      ports(arguments.Uint32s()) {
  const auto sum = [](const std::vector<uint32_t>& counts) {
    return std::accumulate(counts.begin(), counts.end(), size_t{0});
  };
  const size_t clusters = ids.size();
  const bool whole = role_types.size() == clusters && local_counts.size() == clusters &&
                     remote_counts.size() == clusters && ports.size() == ips.size() &&
                     sum(local_counts) + sum(remote_counts) == ips.size();
  if (!whole) throw Napi::RangeError::New(arguments.Env(), "the lists of the clusters do not belong together");
}

const std::string* ClustersInput::Unreadable() const {
  const auto found = std::find_if(ips.begin(), ips.end(), HasNul);
  return found == ips.end() ? nullptr : &*found;
}

LlmClusters ClustersInput::View(std::vector<LlmAddress>* addresses, std::vector<LlmCluster>* clusters) const {
  addresses->reserve(ips.size());
  for (size_t i = 0; i < ips.size(); ++i) {
    addresses->push_back({{ips[i].data(), ips[i].size()}, static_cast<uint16_t>(ports[i])});
  }
  clusters->reserve(ids.size());
  const LlmAddress* next = addresses->data();
  for (size_t i = 0; i < ids.size(); ++i) {
    const LlmAddress* const remote = next + local_counts[i];
    clusters->push_back({ids[i], role_types[i], next, local_counts[i], remote, remote_counts[i]});
    next = remote + remote_counts[i];
  }
  return {clusters->data(), clusters->size()};
}

std::vector<ClusterStatus> ClustersInput::WithIds(const std::vector<uint32_t>& statuses, size_t count) const {
  std::vector<ClusterStatus> results;
  results.reserve(count);
  for (size_t i = 0; i < count; ++i) results.push_back({ids[i], statuses[i]});
  return results;
}

}  // namespace llm_datadist_node
