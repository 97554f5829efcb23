// The functions of the Ascend runtime.

#include "native/abi/acl.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "runtime/device_memory.h"
#include "runtime/hazards.h"
#include "runtime/observed_call.h"
#include "runtime/runtime_facts.h"
#include "runtime/thread_context.h"

namespace standin {
namespace {

constexpr aclError kRepeatInitialise = 100002;
constexpr aclError kUninitialised = 100001;
constexpr aclError kParamInvalid = 107000;
constexpr aclError kInvalidDevice = 107001;
constexpr aclError kContextNull = 107002;
constexpr aclError kOutOfMemory = 207001;

constexpr size_t kVersionSize = 128;

__attribute__((format(printf, 2, 3))) aclError Fail(aclError status, const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  SetRecentError(text);
  return status;
}

template <typename Arguments, typename Work, typename Results>
aclError Call(Method method, Arguments arguments, Work work, Results results) {
  if (!IsObserving()) return work();
  const auto answer = [&] { return static_cast<uint32_t>(work()); };
  return static_cast<aclError>(Observe(method, 0, arguments, EnterNothing, answer, results));
}

bool LacksDevice(const char* function) {
  if (!IsWatched(Hazard::kNoDevice) || ThreadDevice() != kNoDeviceSet) return false;
  Violate(Hazard::kNoDevice, "%s on thread %" PRIu32 ", which has set no device", function, ThreadNumber());
  return true;
}

aclError NoDevice(const char* function) { return Fail(kContextNull, "%s: the thread has set no device", function); }

aclError AllocateFor(Method method, void** address, size_t size, bool host) {
  const char* function = NameOf(method);
  if (LacksDevice(function)) return NoDevice(function);
  if (address == nullptr || size == 0) return Fail(kParamInvalid, "%s of %zu bytes", function, size);
  void* block = Allocate(size, host);
  if (block == nullptr) return Fail(kOutOfMemory, "%s: no memory for %zu bytes", function, size);
  *address = block;
  return 0;
}

aclError FreeFor(Method method, void* address, bool host) {
  const char* function = NameOf(method);
  if (LacksDevice(function)) return NoDevice(function);
  if (Free(address, host)) return 0;
  return Fail(kParamInvalid, "%s: %p is not the start of a live allocation of its kind", function, address);
}

aclError CopyMemory(void* destination, size_t room, const void* source, size_t count, int kind) {
  if (LacksDevice("aclrtMemcpy")) return NoDevice("aclrtMemcpy");
  if (count > room) return Fail(kParamInvalid, "aclrtMemcpy of %zu bytes to a room of %zu", count, room);
  if (kind < kAclHostToHost || kind > kAclDeviceToDevice) return Fail(kParamInvalid, "aclrtMemcpy of kind %d", kind);
  const bool from_device = kind == kAclDeviceToHost || kind == kAclDeviceToDevice;
  const bool to_device = kind == kAclHostToDevice || kind == kAclDeviceToDevice;
  const bool allowed = CheckCopy("source", source, count, from_device ? Place::kDevice : Place::kHost) &&
                       CheckCopy("destination", destination, count, to_device ? Place::kDevice : Place::kHost);
  if (!allowed) return Fail(kParamInvalid, "aclrtMemcpy of %zu bytes outside of live allocations", count);
  std::memcpy(destination, source, count);
  return 0;
}

void WriteAddress(JsonText& json, const char* key, const void* address) {
  json.Key(key).Decimal(static_cast<uint64_t>(reinterpret_cast<uintptr_t>(address)));
}

aclError AllocateCall(Method method, void** address, size_t size, int policy, bool host) {
  return Call(
      method,
      [&](JsonText& json) {
        json.Key("size").Decimal(static_cast<uint64_t>(size));
        if (!host) json.Key("policy").Number(policy);
      },
      [&] { return AllocateFor(method, address, size, host); },
      [&](JsonText& json, uint32_t status) {
        if (status == 0) WriteAddress(json, "address", *address);
      });
}

aclError FreeCall(Method method, void* address, bool host) {
  return Call(
      method, [&](JsonText& json) { WriteAddress(json, "address", address); },
      [&] { return FreeFor(method, address, host); }, GiveNothing);
}

aclError DeviceCall(Method method, int32_t device, int32_t device_after) {
  return Call(
      method, [&](JsonText& json) { json.Key("device").Number(device); },
      [&] {
        const bool exists = device >= 0 && static_cast<uint32_t>(device) < DeviceCount();
        if (!exists) return Fail(kInvalidDevice, "%s: there is no device %" PRId32, NameOf(method), device);
        SetThreadDevice(device_after);
        return 0;
      },
      GiveNothing);
}

}  // namespace
}  // namespace standin

using standin::Fail;
using standin::JsonText;
using standin::Method;

aclError aclInit(const char* config_path) {
  return standin::Call(
      Method::kAclInit,
      [&](JsonText& json) { json.Key("config_path").Text(config_path == nullptr ? "" : config_path); },
      [] {
        if (!standin::MarkRuntime(true)) return Fail(standin::kRepeatInitialise, "aclInit: called before");
        return 0;
      },
      standin::GiveNothing);
}

aclError aclFinalize() {
  return standin::Call(
      Method::kAclFinalize, standin::TakeNothing,
      [] {
        if (!standin::MarkRuntime(false)) return Fail(standin::kUninitialised, "aclFinalize: aclInit was not called");
        return 0;
      },
      standin::GiveNothing);
}

// Not journalled: a binding asks after every failure.
const char* aclGetRecentErrMsg() { return standin::TakeRecentError(); }

aclError aclrtSetDevice(int32_t device) {
  return standin::DeviceCall(Method::kAclrtSetDevice, device, device);
}

aclError aclrtResetDevice(int32_t device) {
  return standin::DeviceCall(Method::kAclrtResetDevice, device, standin::kNoDeviceSet);
}

aclError aclrtGetDeviceCount(uint32_t* count) {
  return standin::Call(
      Method::kAclrtGetDeviceCount, standin::TakeNothing,
      [&] {
        if (count == nullptr) return Fail(standin::kParamInvalid, "aclrtGetDeviceCount: no place for the count");
        *count = standin::DeviceCount();
        return 0;
      },
      [&](JsonText& json, uint32_t status) {
        if (status == 0) json.Key("count").Number(*count);
      });
}

const char* aclrtGetSocName() { return standin::SocName(); }

aclError aclsysGetVersionStr(char* package, char* version) {
  return standin::Call(
      Method::kAclsysGetVersionStr,
      [&](JsonText& json) { json.Key("package").Text(package == nullptr ? "" : package); },
      [&] {
        if (package == nullptr || version == nullptr) return Fail(standin::kParamInvalid, "aclsysGetVersionStr: null");
        std::snprintf(version, standin::kVersionSize, "%s", standin::Version().c_str());
        return 0;
      },
      standin::GiveNothing);
}

aclError aclrtMalloc(void** address, size_t size, int policy) {
  return standin::AllocateCall(Method::kAclrtMalloc, address, size, policy, false);
}

aclError aclrtFree(void* address) { return standin::FreeCall(Method::kAclrtFree, address, false); }

aclError aclrtMallocHost(void** address, size_t size) {
  return standin::AllocateCall(Method::kAclrtMallocHost, address, size, 0, true);
}

aclError aclrtFreeHost(void* address) { return standin::FreeCall(Method::kAclrtFreeHost, address, true); }

aclError aclrtMemcpy(void* destination, size_t destination_size, const void* source, size_t count, int kind) {
  return standin::Call(
      Method::kAclrtMemcpy,
      [&](JsonText& json) {
        standin::WriteAddress(json, "destination", destination);
        json.Key("destination_size").Decimal(static_cast<uint64_t>(destination_size));
        standin::WriteAddress(json, "source", source);
        json.Key("count").Decimal(static_cast<uint64_t>(count)).Key("kind").Number(kind);
      },
      [&] { return standin::CopyMemory(destination, destination_size, source, count, kind); }, standin::GiveNothing);
}
