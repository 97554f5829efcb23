#include "vendor.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "process.h"

namespace llm_datadist_node {
namespace {

// Functions that every release has, as abi/symbols.txt and abi/acl.h list them.
constexpr char kLibrarySymbol[] =
    "_ZN12llm_datadist11LlmDataDist10InitializeERKSt3mapIN2ge12AscendStringES3_St4lessIS3_ESaISt4pairIKS3_S3_EEE";
constexpr char kRuntimeSymbol[] = "aclrtMemcpy";

std::string LoaderError() {
  const char* text = dlerror();
  return text == nullptr ? "the loader gives no reason" : text;
}

std::string PathOf(void* handle, const std::string& name) {
  link_map* map = nullptr;
  if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || map->l_name[0] == '\0') return name;
  return map->l_name;
}

void* Open(const std::string& path, int flags, std::vector<Attempt>* attempts) {
  void* handle = dlopen(path.c_str(), flags);
  if (handle == nullptr) attempts->push_back({path, LoaderError()});
  return handle;
}

// The library has a weak reference into what the runtime brings along: it must find the runtime loaded.
void* OpenRuntime(const std::vector<std::string>& paths, std::string* opened, std::vector<Attempt>* attempts) {
  for (const std::string& path : paths) {
    void* handle = Open(path, RTLD_NOW | RTLD_GLOBAL, attempts);
    if (handle == nullptr) continue;
    *opened = PathOf(handle, path);
    return handle;
  }
  return nullptr;
}

// Binds to what was opened before it; what the library lacks shows here, as an undefined symbol.
const LlmBridge* OpenBridge(const std::string& path, std::vector<Attempt>* attempts) {
  void* handle = Open(path, RTLD_NOW | RTLD_LOCAL, attempts);
  if (handle == nullptr) return nullptr;
  const auto entry = reinterpret_cast<LlmBridgeEntry>(dlsym(handle, LLM_BRIDGE_ENTRY));
  if (entry == nullptr) {
    attempts->push_back({path, LoaderError()});
  } else if (const LlmBridge* table = entry(); table->version != LLM_BRIDGE_TABLE_VERSION) {
    attempts->push_back({path, "has version " + std::to_string(table->version) + " of the table, version " +
                                   std::to_string(LLM_BRIDGE_TABLE_VERSION) +
                                   " is needed: it was not built together with the addon"});
  } else {
    return table;
  }
  dlclose(handle);
  return nullptr;
}

// What the bridge lacks is named by symbol; where it is what each release has, the file is another library altogether.
void ExplainStranger(void* handle, const std::string& path, const char* symbol, const char* text,
                     std::vector<Attempt>* attempts) {
  if (dlsym(handle, symbol) == nullptr) attempts->push_back({path, text});
}

// Whether it is in the process, whoever has opened it. It stays for ever where a flag or a symbol of it says so.
bool IsLoaded(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return false;
  dlclose(handle);
  return true;
}

Vendor* OpenFrom(const Place& place, const std::string& bridge_path, std::vector<Attempt>* attempts) {
  std::string runtime_path;
  void* runtime = OpenRuntime(place.runtimes, &runtime_path, attempts);
  if (runtime == nullptr) {
    attempts->push_back({place.library, "not tried: the Ascend runtime that it needs cannot be loaded"});
    return nullptr;
  }
  void* library = Open(place.library, RTLD_NOW | RTLD_GLOBAL, attempts);
  if (library != nullptr) {
    if (const LlmBridge* bridge = OpenBridge(bridge_path, attempts)) {
      return new Vendor{bridge, PathOf(library, place.library), runtime_path, bridge_path};
    }
    ExplainStranger(library, place.library, kLibrarySymbol,
                    "is not LLM-DataDist: it does not export llm_datadist::LlmDataDist::Initialize", attempts);
    ExplainStranger(runtime, runtime_path, kRuntimeSymbol, "is not the Ascend runtime: it does not export aclrtMemcpy",
                    attempts);
    dlclose(library);
  }
  dlclose(runtime);
  return nullptr;
}

// While it lives no other copy of the addon opens a library.
class Opening {
 public:
  explicit Opening(const LlmProcess& process) : process_(process), opened_(process.begin_opening()) {}
  ~Opening() { process_.end_opening(opened_); }

  // What the process has already, or null.
  const LlmOpened* opened() const { return opened_; }
  void Succeed(const Vendor& vendor) {
    opened_ = new LlmOpened{strdup(vendor.library_path.c_str()), strdup(vendor.runtime_path.c_str())};
  }

 private:
  const LlmProcess& process_;
  const LlmOpened* opened_;
};

}  // namespace

const Vendor* OpenVendor(const std::vector<Place>& places, const std::string& bridge_path,
                         std::vector<Attempt>* attempts) {
  // Shared by the environments of all threads, and never destroyed: threads may outlive the main one.
  static std::mutex& mutex = *new std::mutex;
  static Vendor* opened = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (opened != nullptr) return opened;
  const SharedProcess& process = FindProcess();
  if (!process.refusal.empty()) {
    attempts->push_back({process.path, process.refusal});
    return nullptr;
  }
  Opening opening(*process.table);
  if (const LlmOpened* other = opening.opened()) {
    // Another copy has opened it: a second library that exports the same class must never be tried.
    return opened = OpenFrom({other->library_path, {other->runtime_path}}, bridge_path, attempts);
  }
  // As the vendor's Python package does before it loads the library.
  setenv("AUTO_USE_UC_MEMORY", "0", /*overwrite=*/0);
  for (const Place& place : places) {
    opened = OpenFrom(place, bridge_path, attempts);
    if (opened != nullptr) {
      opening.Succeed(*opened);
      return opened;
    }
    // Libraries that export one class must never be in a process together.
    if (!IsLoaded(place.library)) continue;
    attempts->push_back({place.library, "cannot be unloaded, so that no other place is tried"});
    break;
  }
  return nullptr;
}

}  // namespace llm_datadist_node
