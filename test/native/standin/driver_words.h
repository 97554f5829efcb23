// The words of a line that drives the library, see driver.cc, and what they stand for.

#ifndef LLM_DATADIST_NODE_STANDIN_DRIVER_WORDS_H_
#define LLM_DATADIST_NODE_STANDIN_DRIVER_WORDS_H_

#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "native/abi/llm_datadist.h"

namespace driver {

using llm_datadist::Cache;
using llm_datadist::CacheDesc;
using llm_datadist::CacheIndex;
using llm_datadist::ClusterInfo;
using llm_datadist::IpInfo;
using llm_datadist::KvCacheExtParam;
using llm_datadist::LlmDataDist;
using llm_datadist::LlmRole;
using llm_datadist::Status;

using Words = std::vector<std::string>;

inline std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text == "-" ? "" : text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

inline std::string Decode(const std::string& word) {
  if (word == "-") return "";
  std::string text;
  for (size_t i = 0; i < word.size(); ++i) {
    if (word[i] != '%') {
      text += word[i];
      continue;
    }
    text += static_cast<char>(std::stoi(word.substr(i + 1, 2), nullptr, 16));
    i += 2;
  }
  return text;
}

inline std::string ToHex(const unsigned char* bytes, size_t size) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (size_t i = 0; i < size; ++i) {
    hex += kDigits[bytes[i] >> 4];
    hex += kDigits[bytes[i] & 15];
  }
  return hex;
}

inline std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

inline std::string Encode(const char* text) {
  if (text == nullptr || *text == '\0') return "-";
  std::string word;
  for (; *text != '\0'; ++text) {
    const unsigned char c = static_cast<unsigned char>(*text);
    if (c > ' ' && c < 0x7F && c != '%') {
      word += *text;
    } else {
      word += '%' + ToHex(&c, 1);
    }
  }
  return word;
}

inline uint64_t ToUint64(const std::string& word) { return std::stoull(word); }
inline int64_t ToInt64(const std::string& word) { return std::stoll(word); }
inline uint32_t ToUint32(const std::string& word) { return static_cast<uint32_t>(std::stoull(word)); }
inline int32_t ToInt32(const std::string& word) { return static_cast<int32_t>(std::stol(word)); }

inline std::vector<uint64_t> ToNumbers(const std::string& word) {
  std::vector<uint64_t> numbers;
  for (const std::string& part : Split(word, ',')) numbers.push_back(ToUint64(part));
  return numbers;
}

// KEY=VALUE...
inline std::map<ge::AscendString, ge::AscendString> ToOptions(const Words& words, size_t first) {
  std::map<ge::AscendString, ge::AscendString> options;
  for (size_t i = first; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    options.emplace(Decode(words[i].substr(0, equals)).c_str(), Decode(words[i].substr(equals + 1)).c_str());
  }
  return options;
}

// IP/PORT,IP/PORT...
inline std::vector<IpInfo> ToAddresses(const std::string& word) {
  std::vector<IpInfo> addresses;
  for (const std::string& part : Split(word, ',')) {
    const size_t slash = part.find('/');
    IpInfo address{};
    address.ip = Decode(part.substr(0, slash)).c_str();
    address.port = static_cast<uint16_t>(std::stoul(part.substr(slash + 1)));
    addresses.push_back(address);
  }
  return addresses;
}

// ID;ROLE;REMOTE;LOCAL...
inline std::vector<ClusterInfo> ToClusters(const Words& words, size_t first) {
  std::vector<ClusterInfo> clusters;
  for (size_t i = first; i < words.size(); ++i) {
    const Words fields = Split(words[i], ';');
    ClusterInfo cluster{};
    cluster.remote_cluster_id = ToUint64(fields.at(0));
    cluster.remote_role_type = ToInt32(fields.at(1));
    cluster.remote_ip_infos = ToAddresses(fields.at(2));
    cluster.local_ip_infos = ToAddresses(fields.at(3));
    clusters.push_back(cluster);
  }
  return clusters;
}

// PLACEMENT;TENSORS;TYPE;DIMENSION,DIMENSION...
inline CacheDesc ToDesc(const std::string& word) {
  const Words fields = Split(word, ';');
  CacheDesc desc{};
  desc.placement = static_cast<llm_datadist::CachePlacement>(ToUint32(fields.at(0)));
  desc.num_tensors = ToUint32(fields.at(1));
  desc.data_type = static_cast<ge::DataType>(ToInt32(fields.at(2)));
  for (const std::string& dimension : Split(fields.at(3), ',')) desc.shape.push_back(ToInt64(dimension));
  return desc;
}

inline Cache ToCache(const std::string& id, const std::string& desc) {
  Cache cache{};
  cache.cache_id = ToInt64(id);
  cache.cache_desc = ToDesc(desc);
  return cache;
}

// CLUSTER,CACHE,BATCH
inline CacheIndex ToIndex(const std::string& word) {
  const Words fields = Split(word, ',');
  CacheIndex index{};
  index.cluster_id = ToUint64(fields.at(0));
  index.cache_id = ToInt64(fields.at(1));
  index.batch_index = ToUint32(fields.at(2));
  return index;
}

// SOURCE FIRST,SOURCE LAST,DESTINATION FIRST,DESTINATION LAST,TENSORS PER LAYER
inline KvCacheExtParam ToExtParam(const std::string& word) {
  const Words fields = Split(word, ',');
  KvCacheExtParam param{};
  param.src_layer_range = {ToInt32(fields.at(0)), ToInt32(fields.at(1))};
  param.dst_layer_range = {ToInt32(fields.at(2)), ToInt32(fields.at(3))};
  param.tensor_num_per_layer = static_cast<uint8_t>(std::stoul(fields.at(4)));
  return param;
}

inline void* ToAddress(const std::string& word) { return reinterpret_cast<void*>(static_cast<uintptr_t>(ToUint64(word))); }

}  // namespace driver

#endif  // LLM_DATADIST_NODE_STANDIN_DRIVER_WORDS_H_
