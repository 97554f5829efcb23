// The memory functions of DataDist, and the definition of the class.

#include "arguments.h"
#include "data_dist.h"

namespace llm_datadist_node {
namespace {

constexpr LaneId kMemory{LaneKind::kMemory};

// One after the other, up to the first that fails.
template <typename Step>
Outcome ForEach(size_t count, Step step) {
  for (size_t i = 0; i < count; ++i) {
    Outcome outcome = step(i);
    if (outcome.status != kSuccess) return outcome;
  }
  return {};
}

}  // namespace

Napi::Value DataDist::Malloc(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uint64_t size = arguments.Uint64();
  const bool on_host = arguments.Boolean();
  return Submit<Address>(kMemory, {"allocateMemory", {}, {}}, [=](Instance& instance, Address& address) {
    return instance.CallMemory(
        [&](Allocations& allocations) { return allocations.Allocate(size, on_host, &address.value); });
  });
}

Napi::Value DataDist::Free(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uint64_t address = arguments.Uint64();
  return Submit(kMemory, {"free", {}, {}}, [=](Instance& instance, Nothing&) {
    return instance.CallMemory([&](Allocations& allocations) { return allocations.Free(address); });
  });
}

Napi::Value DataDist::Write(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uint64_t address = arguments.Uint64();
  // A copy: JavaScript may shrink or give away the buffer while the call runs.
  auto data = arguments.Bytes();
  return Submit(kMemory, {"write", {}, {}}, [address, data = std::move(data)](Instance& instance, Nothing&) {
    return instance.CallMemory(
        [&](Allocations& allocations) { return allocations.Write(address, data.data(), data.size()); });
  });
}

Napi::Value DataDist::Read(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uint64_t address = arguments.Uint64();
  const uint32_t size = arguments.Uint32();
  return Submit<Bytes>(kMemory, {"read", {}, {}}, [=](Instance& instance, Bytes& bytes) {
    bytes.value.resize(size);
    return instance.CallMemory(
        [&](Allocations& allocations) { return allocations.Read(address, bytes.value.data(), bytes.value.size()); });
  });
}

Napi::Value DataDist::Copy(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  const uint64_t destination = arguments.Uint64();
  const uint64_t source = arguments.Uint64();
  const uint64_t size = arguments.Uint64();
  return Submit(kMemory, {"copyCache", {}, {}}, [=](Instance& instance, Nothing&) {
    return instance.CallMemory(
        [&](Allocations& allocations) { return allocations.Copy(destination, source, size); });
  });
}

// Lists, one crossing for many copies: each crossing costs as much as copying a block of some KiB.
Napi::Value DataDist::CopyRanges(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  auto destinations = arguments.Uint64s();
  auto sources = arguments.Uint64s();
  auto sizes = arguments.Uint64s();
  if (sources.size() != destinations.size() || sizes.size() != destinations.size()) {
    throw Napi::RangeError::New(info.Env(), "lists of one length are needed");
  }
  return Submit(kMemory, {"copyCache", {}, {}},
                [destinations = std::move(destinations), sources = std::move(sources),
                 sizes = std::move(sizes)](Instance& instance, Nothing&) {
                  return instance.CallMemory([&](Allocations& allocations) {
                    return ForEach(sizes.size(), [&](size_t i) {
                      return allocations.Copy(destinations[i], sources[i], sizes[i]);
                    });
                  });
                });
}

Napi::Value DataDist::ReadRanges(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  auto addresses = arguments.Uint64s();
  const uint32_t size = arguments.Uint32();
  return Submit<Bytes>(kMemory, {"read", {}, {}},
                       [addresses = std::move(addresses), size](Instance& instance, Bytes& bytes) {
                         bytes.value.resize(addresses.size() * size);
                         return instance.CallMemory([&](Allocations& allocations) {
                           return ForEach(addresses.size(), [&](size_t i) {
                             return allocations.Read(addresses[i], bytes.value.data() + i * size, size);
                           });
                         });
                       });
}

Napi::Value DataDist::WriteRanges(const Napi::CallbackInfo& info) {
  Arguments arguments(info);
  auto addresses = arguments.Uint64s();
  auto data = arguments.Bytes();
  if (addresses.empty() || data.size() % addresses.size() != 0) {
    throw Napi::RangeError::New(info.Env(), "as many bytes for each address are needed");
  }
  return Submit(kMemory, {"write", {}, {}},
                [addresses = std::move(addresses), data = std::move(data)](Instance& instance, Nothing&) {
                  const size_t size = data.size() / addresses.size();
                  return instance.CallMemory([&](Allocations& allocations) {
                    return ForEach(addresses.size(), [&](size_t i) {
                      return allocations.Write(addresses[i], data.data() + i * size, size);
                    });
                  });
                });
}

Napi::Function DataDist::Define(Napi::Env env) {
  return DefineClass(env, "DataDist",
                     {
                         InstanceMethod<&DataDist::Initialize>("initialize"),
                         InstanceMethod<&DataDist::FinalizeInstance>("finalize"),
                         InstanceMethod<&DataDist::SetRole>("setRole"),
                         InstanceMethod<&DataDist::LinkLlmClusters>("linkLlmClusters"),
                         InstanceMethod<&DataDist::UnlinkLlmClusters>("unlinkLlmClusters"),
                         InstanceMethod<&DataDist::AllocateCache>("allocateCache"),
                         InstanceMethod<&DataDist::DeallocateCache>("deallocateCache"),
                         InstanceMethod<&DataDist::CopyKvCache>("copyKvCache"),
                         InstanceMethod<&DataDist::CopyKvBlocks>("copyKvBlocks"),
                         InstanceMethod<&DataDist::RegisterKvCache>("registerKvCache"),
                         InstanceMethod<&DataDist::UnregisterKvCache>("unregisterKvCache"),
                         InstanceMethod<&DataDist::UnregisterUnlinked>("unregisterUnlinked"),
                         InstanceMethod<&DataDist::PullKvCache>("pullKvCache"),
                         InstanceMethod<&DataDist::PullKvBlocks>("pullKvBlocks"),
                         InstanceMethod<&DataDist::PushKvCache>("pushKvCache"),
                         InstanceMethod<&DataDist::PushKvBlocks>("pushKvBlocks"),
                         InstanceMethod<&DataDist::Malloc>("malloc"),
                         InstanceMethod<&DataDist::Free>("free"),
                         InstanceMethod<&DataDist::Write>("write"),
                         InstanceMethod<&DataDist::Read>("read"),
                         InstanceMethod<&DataDist::Copy>("copy"),
                         InstanceMethod<&DataDist::CopyRanges>("copyRanges"),
                         InstanceMethod<&DataDist::ReadRanges>("readRanges"),
                         InstanceMethod<&DataDist::WriteRanges>("writeRanges"),
                         InstanceMethod<&DataDist::Abandon>("abandon"),
                         InstanceMethod<&DataDist::ElapsedMs>("elapsedMs"),
                         InstanceMethod<&DataDist::IsInitialized>("isInitialized"),
                         InstanceMethod<&DataDist::RunningTransfer>("runningTransfer"),
                         InstanceMethod<&DataDist::GiveUpTransfers>("giveUpTransfers"),
                         InstanceMethod<&DataDist::LastCall>("lastCall"),
                         InstanceMethod<&DataDist::Withdraw>("withdraw"),
                     });
}

}  // namespace llm_datadist_node
