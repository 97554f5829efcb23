#include "process.h"

#include <dlfcn.h>
#include <link.h>

#include <vector>

namespace llm_datadist_node {
namespace {

// In the order in which the process loaded them. The main program has no name.
std::vector<std::string> LoadedObjects() {
  std::vector<std::string> names;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        if (info->dlpi_name != nullptr && info->dlpi_name[0] != '\0') {
          static_cast<std::vector<std::string>*>(data)->emplace_back(info->dlpi_name);
        }
        return 0;
      },
      &names);
  return names;
}

// The entry that the object itself exports; null for one that exports none, or is gone since.
LlmProcessEntry EntryOf(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (handle == nullptr) return nullptr;
  const auto entry = reinterpret_cast<LlmProcessEntry>(dlsym(handle, LLM_PROCESS_ENTRY));
  // An object that has the entry is never unloaded.
  dlclose(handle);
  return entry;
}

std::string Refusal(const LlmProcess& table, const std::string& path) {
  if (table.version == LLM_PROCESS_TABLE_VERSION) return {};
  return "another copy of llm-datadist is in this process (" + path + ", version " + table.package_version +
         "), and it shares the library in another way than version " LLM_DATADIST_VERSION
         ": install one version of the package";
}

SharedProcess Find() {
  for (const std::string& path : LoadedObjects()) {
    if (const LlmProcessEntry entry = EntryOf(path)) {
      const LlmProcess* table = entry();
      return {table, Refusal(*table, path), path};
    }
  }
  // A loader that does not list this object: there is no other copy to be found then.
  return {&OwnProcess(), {}, {}};
}

}  // namespace

const SharedProcess& FindProcess() {
  static const SharedProcess& found = *new SharedProcess(Find());
  return found;
}

}  // namespace llm_datadist_node

extern "C" __attribute__((visibility("default"))) const LlmProcess* llm_datadist_process() {
  return &llm_datadist_node::OwnProcess();
}
