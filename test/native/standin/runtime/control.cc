#include "control.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "runtime/actions.h"
#include "runtime/commands.h"
#include "runtime/device_memory.h"
#include "runtime/hazards.h"
#include "runtime/journal.h"
#include "runtime/json_text.h"
#include "runtime/mode.h"
#include "runtime/object_counts.h"
#include "runtime/peers.h"

namespace standin {

std::atomic<uint32_t> g_mode{0};

namespace {

constexpr int kWrongEnvironment = 97;

[[noreturn]] void RefuseEnvironment(const char* variable, const char* problem) {
  std::fprintf(stderr, "stand-in: %s: %s\n", variable, problem);
  _exit(kWrongEnvironment);
}

__attribute__((constructor)) void ReadEnvironment() {
  const char* journal = std::getenv("LLM_STANDIN_JOURNAL");
  if (journal != nullptr) {
    if (!OpenJournalFile(journal)) RefuseEnvironment("LLM_STANDIN_JOURNAL", "the file cannot be opened");
    SetMode(kWritesJournal, true);
  }
  const char* commands = std::getenv("LLM_STANDIN");
  if (commands == nullptr) return;
  const std::string problem = RunCommands(commands);
  if (!problem.empty()) RefuseEnvironment("LLM_STANDIN", problem.c_str());
}

std::string ReadCounters() {
  const auto number = [](uint64_t value) { return static_cast<int64_t>(value); };
  JsonText json;
  json.Open('{');
  json.Key("liveObjects").Number(number(LiveObjects()));
  json.Key("initialisedObjects").Number(number(InitialisedObjects()));
  json.Key("threadsInside").Number(number(ThreadsInside()));
  json.Key("lockedTables").Number(LockedTables());
  json.Key("liveAllocations").Number(number(LiveAllocations()));
  json.Key("liveBytes").Number(number(LiveBytes()));
  json.Key("violations").Number(number(ViolationCount()));
  return json.Close('}').Get();
}

}  // namespace
}  // namespace standin

const char* standin_command(const char* commands) {
  thread_local char problem[1024];
  const std::string text = standin::RunCommands(commands);
  if (text.empty()) return nullptr;
  std::snprintf(problem, sizeof problem, "%s", text.c_str());
  return problem;
}

bool standin_release(const char* method, uint64_t count) {
  standin::Method found;
  if (!standin::FindMethod(method, &found)) return false;
  standin::Release(found, count == 0 ? standin::kAllBlocked : count);
  return true;
}

int standin_wait_entered(const char* method, uint64_t count, uint32_t timeout_ms) {
  standin::Method found;
  if (!standin::FindMethod(method, &found)) return -1;
  return standin::WaitEntered(found, count, timeout_ms) ? 1 : 0;
}

int standin_wait_held(const char* method, uint64_t count, uint32_t timeout_ms) {
  standin::Method found;
  if (!standin::FindMethod(method, &found)) return -1;
  return standin::WaitHeld(found, count, timeout_ms) ? 1 : 0;
}

char* standin_read(const char* what) {
  if (std::strcmp(what, "journal") == 0) return strdup(standin::ReadJournal().c_str());
  if (std::strcmp(what, "violations") == 0) {
    standin::CheckQuarantine();
    return strdup(standin::ReadViolations().c_str());
  }
  if (std::strcmp(what, "counters") == 0) {
    standin::CheckQuarantine();
    return strdup(standin::ReadCounters().c_str());
  }
  return nullptr;
}

void standin_free_text(char* text) { std::free(text); }
