#include "library/arguments.h"

#include <string_view>

namespace standin {
namespace {

using ge::AscendString;
using llm_datadist::Cache;
using llm_datadist::CacheDesc;
using llm_datadist::CacheIndex;
using llm_datadist::ClusterInfo;
using llm_datadist::IpInfo;
using llm_datadist::KvCacheExtParam;

std::string_view TextOf(const AscendString& text) { return {text.GetString(), text.GetLength()}; }

template <typename Numbers>
void WriteNumbers(JsonText& json, const Numbers& numbers) {
  json.Open('[');
  for (const auto number : numbers) json.Decimal(number);
  json.Close(']');
}

void WriteRange(JsonText& json, const char* key, const std::pair<int32_t, int32_t>& range) {
  json.Key(key).Open('[').Number(range.first).Number(range.second).Close(']');
}

void WriteAddresses(JsonText& json, const char* key, const std::vector<IpInfo>& addresses) {
  json.Key(key).Open('[');
  for (const IpInfo& address : addresses) {
    json.Open('{').Key("ip").Text(TextOf(address.ip)).Key("port").Number(address.port).Close('}');
  }
  json.Close(']');
}

}  // namespace

void Write(JsonText& json, const char* key, const std::map<AscendString, AscendString>& options) {
  json.Key(key).Open('{');
  for (const auto& [name, value] : options) json.Key(TextOf(name)).Text(TextOf(value));
  json.Close('}');
}

void Write(JsonText& json, const char* key, const std::vector<ClusterInfo>& clusters) {
  json.Key(key).Open('[');
  for (const ClusterInfo& cluster : clusters) {
    json.Open('{').Key("remote_cluster_id").Decimal(cluster.remote_cluster_id);
    json.Key("remote_role_type").Number(cluster.remote_role_type);
    WriteAddresses(json, "local_ip_infos", cluster.local_ip_infos);
    WriteAddresses(json, "remote_ip_infos", cluster.remote_ip_infos);
    json.Close('}');
  }
  json.Close(']');
}

void Write(JsonText& json, const char* key, const CacheDesc& desc) {
  json.Key(key).Open('{').Key("placement").Number(static_cast<uint32_t>(desc.placement));
  json.Key("num_tensors").Number(desc.num_tensors).Key("data_type").Number(desc.data_type).Key("shape");
  WriteNumbers(json, desc.shape);
  json.Close('}');
}

void Write(JsonText& json, const char* key, const Cache& cache) {
  json.Key(key).Open('{').Key("cache_id").Decimal(cache.cache_id).Key("tensor_addrs");
  WriteNumbers(json, cache.tensor_addrs);
  Write(json, "cache_desc", cache.cache_desc);
  json.Close('}');
}

void Write(JsonText& json, const char* key, const CacheIndex& index) {
  json.Key(key).Open('{').Key("cluster_id").Decimal(index.cluster_id).Key("cache_id").Decimal(index.cache_id);
  json.Key("batch_index").Number(index.batch_index).Close('}');
}

void Write(JsonText& json, const char* key, const KvCacheExtParam& param) {
  json.Key(key).Open('{');
  WriteRange(json, "src_layer_range", param.src_layer_range);
  WriteRange(json, "dst_layer_range", param.dst_layer_range);
  json.Key("tensor_num_per_layer").Number(param.tensor_num_per_layer).Close('}');
}

void Write(JsonText& json, const char* key, const std::vector<uint64_t>& numbers) {
  json.Key(key);
  WriteNumbers(json, numbers);
}

void Write(JsonText& json, const char* key, const std::vector<std::vector<uint64_t>>& lists) {
  json.Key(key).Open('[');
  for (const auto& numbers : lists) WriteNumbers(json, numbers);
  json.Close(']');
}

}  // namespace standin
