// The vendor's class: every call is looked at as far as anything is switched on, then made.

#include "native/abi/llm_datadist.h"

#include "library/arguments.h"
#include "library/call_watch.h"
#include "library/copy.h"
#include "library/engine.h"
#include "library/transfer.h"
#include "runtime/hazards.h"
#include "runtime/object_counts.h"
#include "runtime/observed_call.h"
#include "runtime/runtime_facts.h"

using standin::CallDetails;
using standin::Engine;
using standin::Hazard;
using standin::JsonText;
using standin::kFailed;
using standin::kFeatureNotEnabled;
using standin::kParamInvalid;
using standin::kSuccess;
using standin::Method;
using standin::Session;
using standin::Write;

namespace llm_datadist {

class LlmDataDist::LlmDataDistImpl : public standin::Engine {
 public:
  using Engine::Engine;
};

namespace {

using OptionMap = std::map<AscendString, AscendString>;

// `work` gets the engine of the object, which is not asked for it itself: it may have been destroyed.
template <typename Arguments, typename Work, typename Results>
Status Call(const void* object, CallDetails details, Arguments arguments, Work work, Results results) {
  const standin::KnownObject known = standin::FindObject(object);
  const Method method = details.method;
  const std::vector<uint64_t> clusters = details.clusters;
  return standin::Observe(
      method, known.number, arguments, [&] { return standin::CallWatch(object, std::move(details)); },
      [&]() -> Status { return known.engine == nullptr ? kFailed : work(known.engine); }, results,
      clusters);
}

bool AnswersAtOnce() { return (standin::CurrentMode() & standin::kAnswersAtOnce) != 0; }

// `work` gets the session of an initialised object.
template <typename Impl, typename Arguments, typename Work>
Status Transfer(const void* object, const Impl& impl, Method method, const CacheIndex& remote, int64_t local_id,
                Arguments arguments, Work work) {
  const auto answer = [&](Engine* engine) -> Status {
    if (AnswersAtOnce()) return kSuccess;
    Session* const session = engine->RequireSession();
    return session == nullptr ? kFailed : work(session);
  };
  if (!standin::IsObserving()) return answer(impl.get());
  return Call(object, {method, {remote.cluster_id}, true, local_id}, arguments, answer, standin::GiveNothing);
}

standin::Options ToOptions(const OptionMap& options) {
  standin::Options result;
  for (const auto& [key, value] : options) {
    result.emplace(std::string(key.GetString(), key.GetLength()), std::string(value.GetString(), value.GetLength()));
  }
  return result;
}

CallDetails OnClusters(Method method, const std::vector<ClusterInfo>& clusters) {
  CallDetails details{method, {}};
  for (const ClusterInfo& cluster : clusters) details.clusters.push_back(cluster.remote_cluster_id);
  return details;
}

void WriteResults(JsonText& json, const std::vector<Status>& results) {
  json.Key("rets").Open('[');
  for (const Status status : results) json.Number(status);
  json.Close(']');
}

// What the older engine does and today's does not. `work` gets the session of an initialised object.
template <typename Work>
auto ByOlderEngine(Work work) {
  return [work](Engine* engine) -> Status {
    if (!standin::IsOlderEngine()) return kFeatureNotEnabled;
    Session* const session = engine->RequireSession();
    return session == nullptr ? kFailed : work(session);
  };
}

}  // namespace

LlmDataDist::LlmDataDist(uint64_t cluster_id, LlmRole role) {
  const uint64_t number = standin::AddObject(this);
  const auto forget = [this](const void*) { standin::RemoveObject(this); };
  // Where the constructor throws there is no object.
  std::unique_ptr<const void, decltype(forget)> forgotten(this, forget);
  standin::Observe(
      Method::kConstruct, number,
      [&](JsonText& json) {
        json.Key("cluster_id").Decimal(cluster_id).Key("role").Number(static_cast<int32_t>(role));
      },
      standin::EnterNothing,
      [&] {
        impl_ = std::make_unique<LlmDataDistImpl>(cluster_id, static_cast<int32_t>(role));
        standin::SetEngine(this, impl_.get());
        standin::CountObject(1);
        return kSuccess;
      },
      standin::GiveNothing);
  forgotten.release();
}

LlmDataDist::~LlmDataDist() {
  Call(
      this, {Method::kDestroy, {}}, standin::TakeNothing,
      [](Engine* engine) {
        engine->Finalize();
        return kSuccess;
      },
      standin::GiveNothing);
  standin::RemoveObject(this);
  standin::CountObject(-1);
  // Kept, where leak checkers see it.
  static std::mutex& mutex = *new std::mutex;
  static auto& retired = *new std::vector<LlmDataDistImpl*>;
  const std::lock_guard<std::mutex> lock(mutex);
  retired.push_back(impl_.release());
}

Status LlmDataDist::Initialize(const OptionMap& options) {
  return Call(
      this, {Method::kInitialize, {}}, [&](JsonText& json) { Write(json, "options", options); },
      [&](Engine* engine) { return engine->Initialize(ToOptions(options)); }, standin::GiveNothing);
}

void LlmDataDist::Finalize() {
  Call(
      this, {Method::kFinalize, {}}, standin::TakeNothing,
      [](Engine* engine) {
        if (engine->ListensUnlinked()) standin::Violate(Hazard::kFinalizeListening, "the listener is still open");
        engine->Finalize();
        return kSuccess;
      },
      standin::GiveNothing);
}

Status LlmDataDist::SetRole(LlmRole role, const OptionMap& options) {
  return Call(
      this, {Method::kSetRole, {}},
      [&](JsonText& json) {
        json.Key("role").Number(static_cast<int32_t>(role));
        Write(json, "options", options);
      },
      [&](Engine* engine) { return engine->SetRole(static_cast<int32_t>(role), ToOptions(options)); },
      standin::GiveNothing);
}

Status LlmDataDist::LinkLlmClusters(const std::vector<ClusterInfo>& clusters, std::vector<Status>& rets,
                                    int32_t timeout_in_millis) {
  return Call(
      this, OnClusters(Method::kLink, clusters),
      [&](JsonText& json) {
        Write(json, "clusters", clusters);
        json.Key("timeout_in_millis").Number(timeout_in_millis);
      },
      [&](Engine* engine) { return engine->Link(clusters, &rets, timeout_in_millis); },
      [&](JsonText& json, Status) { WriteResults(json, rets); });
}

Status LlmDataDist::UnlinkLlmClusters(const std::vector<ClusterInfo>& clusters, std::vector<Status>& rets,
                                      int32_t timeout_in_millis, bool force_flag) {
  return Call(
      this, OnClusters(Method::kUnlink, clusters),
      [&](JsonText& json) {
        Write(json, "clusters", clusters);
        json.Key("timeout_in_millis").Number(timeout_in_millis).Key("force_flag").Boolean(force_flag);
      },
      [&](Engine* engine) { return engine->Unlink(clusters, &rets, timeout_in_millis, force_flag); },
      [&](JsonText& json, Status) { WriteResults(json, rets); });
}

Status LlmDataDist::AllocateCache(const CacheDesc& cache_desc, Cache& cache) {
  return Call(
      this, {Method::kAllocateCache, {}}, [&](JsonText& json) { Write(json, "cache_desc", cache_desc); },
      ByOlderEngine([&](Session* session) { return session->Allocate(cache_desc, &cache); }),
      [&](JsonText& json, Status status) {
        if (status == kSuccess) json.Key("cache_id").Decimal(cache.cache_id);
      });
}

Status LlmDataDist::DeallocateCache(int64_t cache_id) {
  return Call(
      this, {Method::kDeallocateCache, {}}, [&](JsonText& json) { json.Key("cache_id").Decimal(cache_id); },
      ByOlderEngine([&](Session* session) { return session->Deallocate(cache_id); }), standin::GiveNothing);
}

Status LlmDataDist::CopyKvCache(const Cache& src_cache, const Cache& dst_cache, uint32_t src_batch_index,
                                uint32_t dst_batch_index, uint64_t offset, int64_t size) {
  return Call(
      this, {Method::kCopyKvCache, {}},
      [&](JsonText& json) {
        Write(json, "src_cache", src_cache);
        Write(json, "dst_cache", dst_cache);
        json.Key("src_batch_index").Number(src_batch_index).Key("dst_batch_index").Number(dst_batch_index);
        json.Key("offset").Decimal(offset).Key("size").Decimal(size);
      },
      ByOlderEngine([&](Session*) {
        return standin::CopyCache(src_cache, dst_cache, src_batch_index, dst_batch_index, offset, size);
      }),
      standin::GiveNothing);
}

Status LlmDataDist::CopyKvBlocks(const Cache& src_cache, const Cache& dst_cache,
                                 const std::vector<uint64_t>& src_blocks,
                                 const std::vector<std::vector<uint64_t>>& dst_blocks_list) {
  return Call(
      this, {Method::kCopyKvBlocks, {}},
      [&](JsonText& json) {
        Write(json, "src_cache", src_cache);
        Write(json, "dst_cache", dst_cache);
        Write(json, "src_blocks", src_blocks);
        Write(json, "dst_blocks_list", dst_blocks_list);
      },
      ByOlderEngine([&](Session*) { return standin::CopyBlocks(src_cache, dst_cache, src_blocks, dst_blocks_list); }),
      standin::GiveNothing);
}

Status LlmDataDist::RegisterKvCache(const CacheDesc& cache_desc, const std::vector<uint64_t>& addrs, const RegisterCfg&,
                                    int64_t& cache_id) {
  bool worked = false;
  const Status status = Call(
      this, {Method::kRegister, {}},
      [&](JsonText& json) {
        Write(json, "cache_desc", cache_desc);
        Write(json, "addrs", addrs);
      },
      [&](Engine* engine) {
        worked = true;
        if (standin::IsOlderEngine()) return kFeatureNotEnabled;
        return engine->Register(cache_desc, addrs, &cache_id);
      },
      [&](JsonText& json, Status result) {
        if (result == kSuccess) json.Key("cache_id").Decimal(cache_id);
      });
  // A transport that refuses one address has taken those before it.
  Engine* const engine = standin::FindObject(this).engine;
  const bool refused = !worked && status != kSuccess && status != kParamInvalid;
  if (refused && engine != nullptr) engine->KeepRegistered(cache_desc, addrs);
  return status;
}

Status LlmDataDist::UnregisterKvCache(int64_t cache_id) {
  return Call(
      this, {Method::kUnregister, {}, true, cache_id}, [&](JsonText& json) { json.Key("cache_id").Decimal(cache_id); },
      [&](Engine* engine) { return standin::IsOlderEngine() ? kFeatureNotEnabled : engine->Unregister(cache_id); },
      standin::GiveNothing);
}

Status LlmDataDist::PullKvCache(const CacheIndex& src_cache_index, const Cache& dst_cache, uint32_t batch_index,
                                int64_t size, const KvCacheExtParam& ext_param) {
  return Transfer(
      this, impl_, Method::kPullKvCache, src_cache_index, dst_cache.cache_id,
      [&](JsonText& json) {
        Write(json, "src_cache_index", src_cache_index);
        Write(json, "dst_cache", dst_cache);
        json.Key("batch_index").Number(batch_index).Key("size").Decimal(size);
        Write(json, "ext_param", ext_param);
      },
      [&](Session* session) {
        return standin::PullCache(session, src_cache_index, dst_cache.cache_id, batch_index, size, ext_param);
      });
}

Status LlmDataDist::PullKvBlocks(const CacheIndex& src_cache_index, const Cache& dst_cache,
                                 const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks,
                                 const KvCacheExtParam& ext_param) {
  return Transfer(
      this, impl_, Method::kPullKvBlocks, src_cache_index, dst_cache.cache_id,
      [&](JsonText& json) {
        Write(json, "src_cache_index", src_cache_index);
        Write(json, "dst_cache", dst_cache);
        Write(json, "src_blocks", src_blocks);
        Write(json, "dst_blocks", dst_blocks);
        Write(json, "ext_param", ext_param);
      },
      [&](Session* session) {
        return standin::PullBlocks(session, src_cache_index, dst_cache.cache_id, src_blocks, dst_blocks, ext_param);
      });
}

Status LlmDataDist::PushKvCache(const Cache& src_cache, const CacheIndex& dst_cache_index, uint32_t src_batch_index,
                                int64_t size, const KvCacheExtParam& ext_param) {
  return Transfer(
      this, impl_, Method::kPushKvCache, dst_cache_index, src_cache.cache_id,
      [&](JsonText& json) {
        Write(json, "src_cache", src_cache);
        Write(json, "dst_cache_index", dst_cache_index);
        json.Key("src_batch_index").Number(src_batch_index).Key("size").Decimal(size);
        Write(json, "ext_param", ext_param);
      },
      [&](Session* session) {
        return standin::PushCache(session, src_cache, dst_cache_index, src_batch_index, size, ext_param);
      });
}

Status LlmDataDist::PushKvBlocks(const Cache& src_cache, const CacheIndex& dst_cache_index,
                                 const std::vector<uint64_t>& src_blocks, const std::vector<uint64_t>& dst_blocks,
                                 const KvCacheExtParam& ext_param) {
  return Transfer(
      this, impl_, Method::kPushKvBlocks, dst_cache_index, src_cache.cache_id,
      [&](JsonText& json) {
        Write(json, "src_cache", src_cache);
        Write(json, "dst_cache_index", dst_cache_index);
        Write(json, "src_blocks", src_blocks);
        Write(json, "dst_blocks", dst_blocks);
        Write(json, "ext_param", ext_param);
      },
      [&](Session* session) {
        return standin::PushBlocks(session, src_cache, dst_cache_index, src_blocks, dst_blocks, ext_param);
      });
}

}  // namespace llm_datadist
