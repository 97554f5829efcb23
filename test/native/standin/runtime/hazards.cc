#include "runtime/hazards.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "runtime/journal.h"
#include "runtime/mode.h"

namespace standin {
namespace {

constexpr const char* kHazardNames[] = {
#define STANDIN_NAME(member, name) name,
    STANDIN_HAZARDS(STANDIN_NAME)
#undef STANDIN_NAME
};

constexpr size_t kHazards = sizeof kHazardNames / sizeof kHazardNames[0];
constexpr uint32_t kAllHazards = (1U << kHazards) - 1;

constexpr size_t kKept = 20;

struct Violation {
  const char* hazard;
  std::string text;
};

struct Violations {
  std::mutex mutex;
  uint64_t count = 0;
  std::vector<Violation> first;
};

Violations& TheViolations() {
  static Violations& violations = *new Violations;
  return violations;
}

std::atomic<uint32_t> g_watched{0};
std::atomic<bool> g_aborts{false};

constexpr uint32_t BitOf(Hazard hazard) { return 1U << static_cast<uint32_t>(hazard); }

}  // namespace

bool FindHazard(std::string_view name, Hazard* hazard) {
  for (size_t i = 0; i < kHazards; ++i) {
    if (name != kHazardNames[i]) continue;
    *hazard = static_cast<Hazard>(i);
    return true;
  }
  return false;
}

void Watch(Hazard hazard, bool on) {
  const uint32_t watched = on ? (g_watched |= BitOf(hazard)) : (g_watched &= ~BitOf(hazard));
  SetMode(kWatchesHazards, watched != 0);
}

void WatchAll(bool on) {
  g_watched = on ? kAllHazards : 0;
  SetMode(kWatchesHazards, on);
}

void AbortAtViolations(bool on) { g_aborts = on; }

bool IsWatched(Hazard hazard) { return (g_watched.load(std::memory_order_relaxed) & BitOf(hazard)) != 0; }

void Violate(Hazard hazard, const char* format, ...) {
  if (!IsWatched(hazard)) return;
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const char* name = kHazardNames[static_cast<size_t>(hazard)];
  {
    Violations& violations = TheViolations();
    const std::lock_guard<std::mutex> lock(violations.mutex);
    ++violations.count;
    if (violations.first.size() < kKept) violations.first.push_back({name, text});
  }
  if (JournalIsOn()) WriteViolation(name, text);
  if (!g_aborts) return;
  std::fprintf(stderr, "stand-in: %s: %s\n", name, text);
  std::abort();
}

std::string ReadViolations() {
  Violations& violations = TheViolations();
  const std::lock_guard<std::mutex> lock(violations.mutex);
  JsonText json;
  json.Open('{').Key("count").Number(static_cast<int64_t>(violations.count)).Key("first").Open('[');
  for (const Violation& violation : violations.first) {
    json.Open('{').Key("hazard").Text(violation.hazard).Key("text").Text(violation.text).Close('}');
  }
  return json.Close(']').Close('}').Get();
}

uint64_t ViolationCount() {
  Violations& violations = TheViolations();
  const std::lock_guard<std::mutex> lock(violations.mutex);
  return violations.count;
}

void ClearViolations() {
  Violations& violations = TheViolations();
  const std::lock_guard<std::mutex> lock(violations.mutex);
  violations.count = 0;
  violations.first.clear();
}

}  // namespace standin
