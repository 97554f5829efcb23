// What the native backend is compared with: the same C++ class in Python, bound with pybind11 as it stands. Block lists
// are lists of ints that become vectors, statuses are numbers, and the GIL is free during calls.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "native/abi/acl.h"
#include "native/abi/llm_datadist.h"

namespace py = pybind11;

namespace {

using llm_datadist::AscendString;
using llm_datadist::Cache;
using llm_datadist::CacheDesc;
using llm_datadist::CacheIndex;
using llm_datadist::ClusterInfo;
using llm_datadist::KvCacheExtParam;
using llm_datadist::LlmDataDist;
using llm_datadist::LlmRole;
using llm_datadist::Status;

using WithoutGil = py::call_guard<py::gil_scoped_release>;

Status Initialize(LlmDataDist& dist, const std::map<std::string, std::string>& options) {
  std::map<AscendString, AscendString> texts;
  for (const auto& [key, value] : options) texts.emplace(key.c_str(), value.c_str());
  return dist.Initialize(texts);
}

Status Link(LlmDataDist& dist, uint64_t cluster_id, const std::string& ip, uint16_t port, int32_t timeout_ms) {
  ClusterInfo cluster{};
  cluster.remote_cluster_id = cluster_id;
  llm_datadist::IpInfo address{};
  address.ip = AscendString(ip.c_str());
  address.port = port;
  cluster.remote_ip_infos = {address};
  std::vector<Status> results;
  return dist.LinkLlmClusters({cluster}, results, timeout_ms);
}

std::pair<Status, int64_t> Register(LlmDataDist& dist, const CacheDesc& desc, const std::vector<uint64_t>& addrs) {
  int64_t cache_id = -1;
  const Status status = dist.RegisterKvCache(desc, addrs, {}, cache_id);
  return {status, cache_id};
}

CacheDesc MakeDesc(uint32_t num_tensors, int32_t data_type, const std::vector<int64_t>& shape) {
  CacheDesc desc{};
  desc.num_tensors = num_tensors;
  desc.data_type = static_cast<llm_datadist::DataType>(data_type);
  desc.shape = shape;
  return desc;
}

Cache MakeCache(int64_t cache_id, const std::vector<uint64_t>& addrs, const CacheDesc& desc) {
  Cache cache{};
  cache.cache_id = cache_id;
  cache.tensor_addrs.assign(addrs.begin(), addrs.end());
  cache.cache_desc = desc;
  return cache;
}

CacheIndex MakeIndex(uint64_t cluster_id, int64_t cache_id, uint32_t batch_index) {
  return CacheIndex{cluster_id, cache_id, batch_index, {}};
}

std::pair<int, uint64_t> Malloc(size_t size) {
  void* address = nullptr;
  const int status = aclrtMalloc(&address, size, kAclHugeFirst);
  return {status, reinterpret_cast<uintptr_t>(address)};
}

}  // namespace

PYBIND11_MODULE(datadist_rival, module) {
  module.def("init_runtime", [] { return aclInit(nullptr); });
  module.def("set_device", [](int32_t device) { return aclrtSetDevice(device); });
  module.def("malloc", &Malloc);
  py::class_<CacheDesc>(module, "CacheDesc").def(py::init(&MakeDesc));
  py::class_<Cache>(module, "Cache").def(py::init(&MakeCache));
  py::class_<CacheIndex>(module, "CacheIndex").def(py::init(&MakeIndex));
  py::class_<KvCacheExtParam>(module, "KvCacheExtParam").def(py::init<>());
  // Never deleted: the library does not survive that while another one lives.
  py::class_<LlmDataDist, std::unique_ptr<LlmDataDist, py::nodelete>>(module, "LlmDataDist")
      .def(py::init([](uint64_t cluster_id) { return new LlmDataDist(cluster_id, LlmRole::kMix); }))
      .def("initialize", &Initialize, WithoutGil())
      .def("link", &Link, WithoutGil())
      .def("register_kv_cache", &Register, WithoutGil())
      .def("pull_kv_blocks", &LlmDataDist::PullKvBlocks, WithoutGil());
}
