#include "data_dist.h"

#include "addon.h"
#include "arguments.h"
#include "own_property.h"

namespace llm_datadist_node {
namespace {

constexpr LaneId kControl{LaneKind::kControl};
constexpr LaneId kPush{LaneKind::kPush};

constexpr uint32_t kDevicePlacement = 1;

// The library starts this number of threads in the call, one for each cluster but no more.
constexpr size_t kThreadsOfLink = 16;

LaneId PullLane(const LlmCacheIndex& src) { return {LaneKind::kPull, src.cluster_id}; }

CallInfo AboutTransfer(const char* operation, const LlmCacheIndex& peer) {
  return {operation, peer.cluster_id, peer.cache_id};
}

Outcome RefuseText(const char* what, const std::string& text) {
  return Outcome::Failure(kParamInvalid, std::string(what) + " \"" + text.c_str() +
                                             "\" holds a NUL character, where the library would end it");
}

// TypeScript says which block and why: it looks through the lists again when it sees this.
Outcome RefuseBlocks() { return Outcome::Failure(kParamInvalid, "a block number is too large for its cache"); }

// `run(instance, blocks)` moves blocks. They are not changed meanwhile, so that the JavaScript thread may read them too.
template <typename Run>
struct BlocksWork {
  Outcome operator()(Instance& instance, Nothing&) const {
    return blocks.AreWithinLimits() ? run(instance, blocks) : RefuseBlocks();
  }
  LlmNumbers BlocksOfThisSide() const { return is_pull ? blocks.dst() : blocks.src(); }

  bool is_pull;
  Run run;
  BlocksInput blocks;
};

template <typename Run>
BlocksWork(bool, Run, BlocksInput) -> BlocksWork<Run>;

}  // namespace

DataDist::DataDist(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<DataDist>(info), environment_(Addon::EnvironmentOf(info.Env())) {
  const Vendor* vendor = Addon::VendorOf(info.Env());
  if (vendor == nullptr) throw Napi::Error::New(info.Env(), "openLibrary() has not succeeded in this process");
  Arguments arguments(info);
  const uint64_t cluster_id = arguments.Uint64();
  const int32_t role = arguments.Int32();
  Policy policy{};
  policy.allow_multiple = arguments.Boolean();
  policy.reuse_failed = arguments.Boolean();
  const uint32_t threads = arguments.Uint32();
  exception_class_ = Napi::Persistent(arguments.Function());
  settler_ = std::make_unique<Settler>(arguments.Function());
  instance_ = std::make_shared<Instance>(*vendor->bridge, cluster_id, role, policy);
  executor_ = std::make_shared<Executor>(threads == 0 ? 1 : threads);
  environment_->Add(instance_, executor_);
}

DataDist::~DataDist() {
  if (instance_ == nullptr || environment_->is_closed()) return;
  // What is initialised ends with the environment; nothing is in flight, for a call keeps the handle alive.
  if (instance_->is_initialized()) return;
  executor_->Stop(std::chrono::steady_clock::now());
  environment_->Remove(instance_);
}

Napi::Value DataDist::Initialize(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const OptionsInput input(arguments);
  const int32_t device = arguments.Int32();
  // A task of the executor runs only while that lives.
  Executor* const executor = executor_.get();
  return Submit(kControl, {"init", {}, {}}, [input, device, executor](Instance& instance, Nothing&) {
    const std::string* key = input.Unreadable();
    const Outcome outcome = key == nullptr ? instance.Initialize(input.options, device) : RefuseText("the option", *key);
    executor->Rest(!instance.is_initialized());
    return outcome;
  });
}

Napi::Value DataDist::FinalizeInstance(const Napi::CallbackInfo&) {
  Executor* const executor = executor_.get();
  return Submit(kControl, {"finalize", {}, {}}, [executor](Instance& instance, Nothing&) {
    const Outcome outcome = instance.Finalize();
    executor->Rest(!instance.is_initialized());
    return outcome;
  });
}

Napi::Value DataDist::SetRole(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int32_t role = arguments.Int32();
  const OptionsInput input(arguments);
  return Submit(kControl, {"switchRole", {}, {}}, [role, input](Instance& instance, Nothing&) {
    const std::string* key = input.Unreadable();
    return key == nullptr ? instance.SetRole(role, input.options) : RefuseText("the option", *key);
  });
}

template <typename Work>
Napi::Value DataDist::SubmitOnClusters(const char* operation, const ClustersInput& input, Work work) {
  return Submit<ClusterResults>(kControl, {operation, {}, {}}, [=](Instance& instance, ClusterResults& results) {
    if (const std::string* ip = input.Unreadable()) return RefuseText("the address", *ip);
    std::vector<LlmAddress> addresses;
    std::vector<LlmCluster> table;
    const LlmClusters clusters = input.View(&addresses, &table);
    std::vector<uint32_t> statuses(clusters.size);
    size_t count = 0;
    const Outcome outcome = instance.CallAlone(
        operation, kThreadsOfLink, [&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
          return work(bridge, object, clusters, statuses.data(), &count, error);
        });
    results.statuses = input.WithIds(statuses, count);
    return outcome;
  });
}

Napi::Value DataDist::LinkLlmClusters(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const ClustersInput input(arguments);
  const int32_t timeout_ms = arguments.Int32();
  return SubmitOnClusters("linkClusters", input,
                          [=](const LlmBridge& bridge, LlmObject* object, const LlmClusters& clusters,
                              uint32_t* statuses, size_t* count, LlmError* error) {
                            return bridge.link(object, clusters, timeout_ms, statuses, count, error);
                          });
}

Napi::Value DataDist::UnlinkLlmClusters(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const ClustersInput input(arguments);
  const int32_t timeout_ms = arguments.Int32();
  const bool force = arguments.Boolean();
  return SubmitOnClusters("unlinkClusters", input,
                          [=](const LlmBridge& bridge, LlmObject* object, const LlmClusters& clusters,
                              uint32_t* statuses, size_t* count, LlmError* error) {
                            return bridge.unlink(object, clusters, timeout_ms, force, statuses, count, error);
                          });
}

Napi::Value DataDist::AllocateCache(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const DescInput desc(arguments);
  const uint64_t tensor_bytes = arguments.Uint64();
  const auto work = [desc, tensor_bytes](Instance& instance, AllocatedCache& cache) {
    Outcome outcome = instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      const LlmCacheDesc view = desc.View();
      const LlmTakeNumbers take = [](void* addrs, LlmNumbers given) {
        static_cast<std::vector<uint64_t>*>(addrs)->assign(given.data, given.data + given.size);
      };
      return bridge.allocate_cache(object, &view, &cache.cache_id, take, &cache.tensor_addrs, error);
    });
    if (outcome.status == kSuccess) {
      // As the library reads it: anything but device memory is host memory.
      const bool on_host = desc.View().placement != kDevicePlacement;
      instance.allocations.Lend(cache.cache_id, cache.tensor_addrs, tensor_bytes, on_host);
    }
    return outcome;
  };
  return Submit<AllocatedCache>(kControl, {"allocateCache", {}, {}}, work);
}

Napi::Value DataDist::DeallocateCache(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int64_t cache_id = arguments.Int64();
  return Submit(kControl, {"deallocateCache", {}, cache_id}, [cache_id](Instance& instance, Nothing&) {
    Outcome outcome = instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      return bridge.deallocate_cache(object, cache_id, error);
    });
    if (outcome.status == kSuccess) instance.allocations.TakeBack(cache_id);
    return outcome;
  });
}

Napi::Value DataDist::CopyKvCache(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const CacheInput src(arguments);
  const CacheInput dst(arguments);
  const uint32_t src_batch_index = arguments.Uint32();
  const uint32_t dst_batch_index = arguments.Uint32();
  const uint64_t offset = arguments.Uint64();
  const int64_t size = arguments.Int64();
  return Submit(kControl, {"copyCache", {}, dst.cache_id}, [=](Instance& instance, Nothing&) {
    return instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      const LlmCache from = src.View();
      const LlmCache to = dst.View();
      return bridge.copy_cache(object, &from, &to, src_batch_index, dst_batch_index, offset, size, error);
    });
  });
}

Napi::Value DataDist::CopyKvBlocks(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const CacheInput src(arguments);
  const CacheInput dst(arguments);
  const std::vector<uint64_t> src_blocks = arguments.Uint64s();
  const std::vector<std::vector<uint64_t>> dst_blocks_list = arguments.Uint64Lists();
  return Submit(kControl, {"copyBlocks", {}, dst.cache_id}, [=](Instance& instance, Nothing&) {
    return instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      const LlmCache from = src.View();
      const LlmCache to = dst.View();
      std::vector<LlmNumbers> lists;
      lists.reserve(dst_blocks_list.size());
      for (const auto& list : dst_blocks_list) lists.push_back(View(list));
      return bridge.copy_blocks(object, &from, &to, View(src_blocks), lists.data(), lists.size(), error);
    });
  });
}

Napi::Value DataDist::RegisterKvCache(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const DescInput desc(arguments);
  const std::vector<uint64_t> addrs = arguments.Uint64s();
  return Submit<CacheId>(kControl, {"registerCache", {}, {}}, [desc, addrs](Instance& instance, CacheId& cache_id) {
    return instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      const LlmCacheDesc view = desc.View();
      return bridge.register_cache(object, &view, View(addrs), &cache_id.value, error);
    });
  });
}

Napi::Value DataDist::UnregisterKvCache(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const int64_t cache_id = arguments.Int64();
  return Submit(kControl, {"unregisterCache", {}, cache_id}, [cache_id](Instance& instance, Nothing&) {
    return instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      return bridge.unregister_cache(object, cache_id, error);
    });
  });
}

Napi::Value DataDist::UnregisterUnlinked(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  // As they come: ids are never so large that the sign matters.
  const std::vector<uint64_t> bits = arguments.Uint64s();
  const std::vector<int64_t> cache_ids(bits.begin(), bits.end());
  return Submit<Statuses>(kControl, {"unregisterCache", {}, {}}, [cache_ids](Instance& instance, Statuses& statuses) {
    return instance.UnregisterUnlinked(cache_ids, &statuses.value);
  });
}

Napi::Value DataDist::PullKvCache(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const LlmCacheIndex src = arguments.CacheIndex();
  const int64_t dst_cache_id = arguments.Int64();
  const uint32_t batch_index = arguments.Uint32();
  const int64_t size = arguments.Int64();
  const LlmExtParam ext = arguments.ExtParam();
  return Submit(PullLane(src), AboutTransfer("pullCache", src), [=](Instance& instance, Nothing&) {
    return instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      return bridge.pull_cache(object, &src, dst_cache_id, batch_index, size, &ext, error);
    });
  });
}

Napi::Value DataDist::PullKvBlocks(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const LlmCacheIndex src = arguments.CacheIndex();
  const int64_t dst_cache_id = arguments.Int64();
  const LlmExtParam ext = arguments.ExtParam();
  const auto pull = [=](Instance& instance, const BlocksInput& blocks) {
    return instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      return bridge.pull_blocks(object, &src, dst_cache_id, blocks.src(), blocks.dst(), &ext, error);
    });
  };
  return Submit(PullLane(src), AboutTransfer("pullBlocks", src), BlocksWork{true, pull, BlocksInput(arguments)});
}

Napi::Value DataDist::PushKvCache(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const CacheInput src(arguments);
  const LlmCacheIndex dst = arguments.CacheIndex();
  const uint32_t src_batch_index = arguments.Uint32();
  const int64_t size = arguments.Int64();
  const LlmExtParam ext = arguments.ExtParam();
  return Submit(kPush, AboutTransfer("pushCache", dst), [=](Instance& instance, Nothing&) {
    return instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      const LlmCache from = src.View();
      return bridge.push_cache(object, &from, &dst, src_batch_index, size, &ext, error);
    });
  });
}

Napi::Value DataDist::PushKvBlocks(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const CacheInput src(arguments);
  const LlmCacheIndex dst = arguments.CacheIndex();
  const LlmExtParam ext = arguments.ExtParam();
  const auto push = [=](Instance& instance, const BlocksInput& blocks) {
    return instance.Call([&](const LlmBridge& bridge, LlmObject* object, LlmError* error) {
      const LlmCache from = src.View();
      return bridge.push_blocks(object, &from, &dst, blocks.src(), blocks.dst(), &ext, error);
    });
  };
  return Submit(kPush, AboutTransfer("pushBlocks", dst), BlocksWork{false, push, BlocksInput(arguments)});
}

void DataDist::Abandon(const Napi::CallbackInfo&) {
  if (lost_) return;
  lost_ = true;
  instance_->GiveUp();
  environment_->completions()->Forget(executor_->Abandon());
  executor_->Rest(true);
}

Napi::Value DataDist::ElapsedMs(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), instance_->ElapsedMs());
}

Napi::Value DataDist::IsInitialized(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), instance_->is_initialized());
}

Napi::Value DataDist::RunningTransfer(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const bool is_push = arguments.Boolean();
  const uint64_t peer = arguments.Uint64();
  const auto running = executor_->RunningIn(is_push ? kPush : LaneId{LaneKind::kPull, peer});
  if (!running) return info.Env().Undefined();
  Napi::Object result = Napi::Object::New(info.Env());
  const std::chrono::duration<double, std::milli> elapsed = running->elapsed;
  SetOwn(result, "elapsedMs", Napi::Number::New(info.Env(), elapsed.count()));
  SetOwn(result, "clusterId", Napi::BigInt::New(info.Env(), running->peer.value_or(peer)));
  return result;
}

Napi::Value DataDist::GiveUpTransfers(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const bool is_push = arguments.Boolean();
  const uint64_t peer = arguments.Uint64();
  const bool is_of_all = arguments.Boolean();
  const LaneId lane = is_push ? kPush : LaneId{LaneKind::kPull, peer};
  const Executor::SetAsideTasks tasks = executor_->SetAside(lane, is_of_all ? std::nullopt : std::optional(peer));
  for (const auto& task : tasks.waiting) task->Withdraw();
  if (tasks.running == nullptr) return info.Env().Undefined();
  const auto returned = static_cast<napi_value>(tasks.running->Part());
  return returned == nullptr ? info.Env().Undefined() : Napi::Value(info.Env(), returned);
}

Napi::Value DataDist::LastCall(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(executor_->LastSubmitted()));
}

Napi::Value DataDist::Withdraw(const Napi::CallbackInfo& info) {
  const std::unique_ptr<Task> task = executor_->CallOff(Arguments(info).Limit().value_or(0));
  if (task != nullptr) task->CallOff();
  return Napi::Boolean::New(info.Env(), task != nullptr);
}

}  // namespace llm_datadist_node
