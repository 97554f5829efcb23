#include "runtime/runtime_facts.h"

#include <atomic>
#include <mutex>
#include <set>

namespace standin {
namespace {

// More than any host has, so that a rehearsal of many nodes in one process can give each its own.
constexpr uint32_t kDefaultDeviceCount = 1024;
constexpr const char* kDefaultSocName = "Ascend910B1";
constexpr const char* kDefaultVersion = "9.2.0";

std::atomic<uint32_t> g_device_count{kDefaultDeviceCount};
std::atomic<bool> g_initialised{false};
std::atomic<bool> g_older_engine{false};

struct Texts {
  std::mutex mutex;
  // Every name that was ever set: a caller may still hold the pointer.
  std::set<std::string> soc_names{kDefaultSocName};
  std::string soc_name = kDefaultSocName;
  std::string version = kDefaultVersion;
};

Texts& TheTexts() {
  static Texts& texts = *new Texts;
  return texts;
}

}  // namespace

uint32_t DeviceCount() { return g_device_count; }
void SetDeviceCount(uint32_t count) { g_device_count = count; }

const char* SocName() {
  Texts& texts = TheTexts();
  const std::lock_guard<std::mutex> lock(texts.mutex);
  return texts.soc_name.empty() ? nullptr : texts.soc_names.insert(texts.soc_name).first->c_str();
}

void SetSocName(const std::string& name) {
  Texts& texts = TheTexts();
  const std::lock_guard<std::mutex> lock(texts.mutex);
  texts.soc_name = name;
}

std::string Version() {
  Texts& texts = TheTexts();
  const std::lock_guard<std::mutex> lock(texts.mutex);
  return texts.version;
}

void SetVersion(const std::string& version) {
  Texts& texts = TheTexts();
  const std::lock_guard<std::mutex> lock(texts.mutex);
  texts.version = version;
}

bool RuntimeIsInitialised() { return g_initialised; }
bool MarkRuntime(bool initialised) { return g_initialised.exchange(initialised) != initialised; }

bool IsOlderEngine() { return g_older_engine; }
void SetOlderEngine(bool older) { g_older_engine = older; }

void ResetRuntimeFacts() {
  SetOlderEngine(false);
  SetDeviceCount(kDefaultDeviceCount);
  SetSocName(kDefaultSocName);
  SetVersion(kDefaultVersion);
}

}  // namespace standin
