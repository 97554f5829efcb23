#include "library/call_watch.h"

#include <algorithm>
#include <cinttypes>
#include <map>
#include <mutex>
#include <utility>

#include "runtime/hazards.h"
#include "runtime/runtime_facts.h"

namespace standin {
namespace {

struct Call {
  uint64_t object;
  CallDetails details;
};

struct Object {
  KnownObject known;
  bool was_initialised = false;
};

struct Calls {
  std::mutex mutex;
  std::map<const void*, Object> objects;
  uint64_t last_object = 0;
  std::map<uint64_t, Call> in_flight;
  uint64_t last_call = 0;
};

Calls& TheCalls() {
  static Calls& calls = *new Calls;
  return calls;
}

bool IsControl(Method method) {
  return method == Method::kInitialize || method == Method::kFinalize || method == Method::kLink ||
         method == Method::kUnlink;
}

bool ShareCluster(const CallDetails& a, const CallDetails& b) {
  return std::any_of(a.clusters.begin(), a.clusters.end(), [&](uint64_t cluster) {
    return std::find(b.clusters.begin(), b.clusters.end(), cluster) != b.clusters.end();
  });
}

// Two calls of one object; asked for both orders.
void CheckTogether(uint64_t object, const CallDetails& a, const CallDetails& b) {
  const char* first = NameOf(a.method);
  const char* second = NameOf(b.method);
  if (a.method == Method::kDestroy) {
    Violate(Hazard::kCallAfterDestruction, "object %" PRIu64 " is destroyed during %s", object, second);
  }
  if (a.method == Method::kFinalize) {
    Violate(Hazard::kFinalizeWithCalls, "object %" PRIu64 " is finalized during %s", object, second);
  }
  if (IsTransfer(a.method) && b.method == Method::kUnlink && ShareCluster(a, b)) {
    Violate(Hazard::kTransferDuringUnlink, "%s with cluster %" PRIu64 ", which is being unlinked", first,
            a.clusters.front());
  }
  if (b.method == Method::kUnregister && a.has_cache && a.cache_id == b.cache_id && IsTransfer(a.method)) {
    Violate(Hazard::kUnregisterInUse, "%s uses cache %" PRId64 ", which is being unregistered", first, a.cache_id);
  }
  if (a.method == Method::kLink && b.method == Method::kUnregister) {
    Violate(Hazard::kUnregisterDuringLink, "cache %" PRId64 " is unregistered while the object links", b.cache_id);
  }
}

void CheckAgainstOthers(const Calls& calls, uint64_t object, const CallDetails& details) {
  for (const auto& entry : calls.in_flight) {
    const Call& other = entry.second;
    if (other.object == object) {
      CheckTogether(object, details, other.details);
      CheckTogether(object, other.details, details);
    } else if (IsControl(details.method) && IsControl(other.details.method)) {
      Violate(Hazard::kConcurrentControl, "%s of object %" PRIu64 " during %s of object %" PRIu64,
              NameOf(details.method), object, NameOf(other.details.method), other.object);
    }
  }
}

void CheckAlone(const Calls& calls, Object* object, Method method) {
  if (method == Method::kInitialize) {
    if (object->was_initialised) {
      Violate(Hazard::kInitializeTwice, "object %" PRIu64 " was initialised before", object->known.number);
    }
    object->was_initialised = true;
    if (!RuntimeIsInitialised()) Violate(Hazard::kRuntimeNotInitialised, "Initialize before aclInit");
  }
  if (method == Method::kDestroy) {
    Violate(Hazard::kDestructor, "object %" PRIu64 " is destroyed", object->known.number);
    if (calls.objects.size() > 1) {
      Violate(Hazard::kDeleteWhileOthersLive, "object %" PRIu64 " is destroyed, %zu others live", object->known.number,
              calls.objects.size() - 1);
    }
  }
}

}  // namespace

uint64_t AddObject(const void* object) {
  Calls& calls = TheCalls();
  const std::lock_guard<std::mutex> lock(calls.mutex);
  const uint64_t number = ++calls.last_object;
  calls.objects[object] = {{number, nullptr}};
  return number;
}

void RemoveObject(const void* object) {
  Calls& calls = TheCalls();
  const std::lock_guard<std::mutex> lock(calls.mutex);
  calls.objects.erase(object);
}

void SetEngine(const void* object, Engine* engine) {
  Calls& calls = TheCalls();
  const std::lock_guard<std::mutex> lock(calls.mutex);
  calls.objects[object].known.engine = engine;
}

KnownObject FindObject(const void* object) {
  Calls& calls = TheCalls();
  const std::lock_guard<std::mutex> lock(calls.mutex);
  const auto found = calls.objects.find(object);
  return found == calls.objects.end() ? KnownObject{} : found->second.known;
}

CallWatch::CallWatch(const void* object, CallDetails details) {
  Calls& calls = TheCalls();
  const std::lock_guard<std::mutex> lock(calls.mutex);
  number_ = ++calls.last_call;
  const auto found = calls.objects.find(object);
  if (found == calls.objects.end()) {
    Violate(Hazard::kCallAfterDestruction, "%s of an object that was destroyed", NameOf(details.method));
    return;
  }
  CheckAlone(calls, &found->second, details.method);
  const uint64_t object_number = found->second.known.number;
  CheckAgainstOthers(calls, object_number, details);
  calls.in_flight.emplace(number_, Call{object_number, std::move(details)});
}

CallWatch::~CallWatch() {
  Calls& calls = TheCalls();
  const std::lock_guard<std::mutex> lock(calls.mutex);
  calls.in_flight.erase(number_);
}

}  // namespace standin
