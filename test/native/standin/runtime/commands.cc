#include "runtime/commands.h"

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <vector>

#include "runtime/actions.h"
#include "runtime/device_memory.h"
#include "runtime/hazards.h"
#include "runtime/journal.h"
#include "runtime/mode.h"
#include "runtime/peers.h"
#include "runtime/runtime_facts.h"

namespace standin {
namespace {

using Words = std::vector<std::string>;

// What is wrong with a command.
struct Mistake {
  std::string text;
};

// One command off the front of `text`.
Words NextCommand(std::string_view* text) {
  Words words;
  bool in_word = false;
  bool quoted = false;
  size_t i = 0;
  for (; i < text->size(); ++i) {
    const char c = (*text)[i];
    if (!quoted && (c == ';' || c == '\n')) break;
    if (!quoted && (c == ' ' || c == '\t' || c == '\r')) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    if (c == '"') {
      quoted = !quoted;
    } else if (quoted && c == '\\' && i + 1 < text->size()) {
      const char escaped = (*text)[++i];
      words.back() += escaped == 'n' ? '\n' : escaped == 't' ? '\t' : escaped;
    } else {
      words.back() += c;
    }
  }
  if (quoted) throw Mistake{"a quotation mark is not closed"};
  text->remove_prefix(i < text->size() ? i + 1 : i);
  return words;
}

uint64_t ToNumber(const std::string& word, uint64_t max) {
  // strtoull would take a sign, and blanks before it.
  const bool digit = !word.empty() && word[0] >= '0' && word[0] <= '9';
  char* end = nullptr;
  errno = 0;
  const uint64_t value = std::strtoull(word.c_str(), &end, 0);
  if (!digit || *end != '\0' || errno != 0 || value > max) {
    throw Mistake{"\"" + word + "\" is no number from 0 to " + std::to_string(max)};
  }
  return value;
}

uint32_t ToUint32(const std::string& word) {
  return static_cast<uint32_t>(ToNumber(word, std::numeric_limits<uint32_t>::max()));
}

uint64_t ToUint64(const std::string& word) { return ToNumber(word, std::numeric_limits<uint64_t>::max()); }

Method ToMethod(const std::string& word) {
  Method method;
  if (!FindMethod(word, &method)) throw Mistake{"\"" + word + "\" is no method"};
  return method;
}

// One of two words.
bool ToChoice(const std::string& word, const char* yes, const char* no) {
  if (word == yes) return true;
  if (word != no) throw Mistake{"\"" + word + "\" is neither " + yes + " nor " + no};
  return false;
}

bool ToSwitch(const std::string& word) { return ToChoice(word, "on", "off"); }

void SetOutcome(Action* action, Outcome outcome) {
  if (action->outcome != Outcome::kProceed) throw Mistake{"an action has one outcome"};
  action->outcome = outcome;
}

void ReadActionWord(const std::string& word, Action* action) {
  const size_t equals = word.find('=');
  const std::string name = word.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
  if (word == "block") {
    action->block = true;
  } else if (word == "in_transport") {
    action->in_transport = true;
  } else if (name == "cluster") {
    action->has_cluster = true;
    action->cluster = ToUint64(value);
  } else if (name == "delay") {
    action->delay_ms = ToUint32(value);
  } else if (name == "error") {
    action->has_error_text = true;
    action->error_text = value;
  } else if (name == "status") {
    SetOutcome(action, Outcome::kStatus);
    action->status = ToUint32(value);
  } else if (name == "throw") {
    SetOutcome(action, Outcome::kThrowRuntimeError);
    action->thrown_text = value;
  } else if (word == "throw_bad_alloc") {
    SetOutcome(action, Outcome::kThrowBadAlloc);
  } else if (name == "throw_int") {
    SetOutcome(action, Outcome::kThrowInt);
    action->status = ToUint32(value);
  } else if (word == "abort") {
    SetOutcome(action, Outcome::kAbort);
  } else if (word == "segv") {
    SetOutcome(action, Outcome::kSegmentationFault);
  } else if (word == "hang") {
    SetOutcome(action, Outcome::kHang);
  } else if (name == "skip") {
    action->skip = ToUint64(value);
  } else if (name == "times") {
    action->times = ToUint64(value);
  } else {
    throw Mistake{"\"" + word + "\" is nothing that a call can do"};
  }
}

void AddActionOf(const Words& words) {
  const Method method = ToMethod(words[1]);
  Action action;
  for (size_t i = 2; i < words.size(); ++i) ReadActionWord(words[i], &action);
  if (action.in_transport && !IsTransfer(method)) throw Mistake{"\"" + words[1] + "\" moves no bytes"};
  if (words[0] == "set") {
    SetAction(method, action);
  } else {
    AddAction(method, action);
  }
}

void SetResultOf(const Words& words) {
  const bool link = ToChoice(words[1], "link", "unlink");
  if (words.size() == 3) {
    ForgetResult(link, ToUint64(words[2]));
  } else {
    SetResult(link, ToUint64(words[2]), ToUint32(words[3]));
  }
}

void SetPeerOf(const Words& words) {
  const uint64_t cluster_id = ToUint64(words[1]);
  if (words[2] == "unlinks" || words[2] == "links") {
    const std::string problem = RequestOf(cluster_id, words[2] == "links");
    if (!problem.empty()) throw Mistake{problem};
    return;
  }
  if (words[2] != "dead" && words[2] != "alive") {
    throw Mistake{"\"" + words[2] + "\" is none of dead, alive, unlinks, links"};
  }
  SetDead(cluster_id, words[2] == "dead");
}

void SwitchJournal(const Words& words) {
  if (words[1] == "clear") {
    ClearJournal();
  } else {
    SetMode(kWritesJournal, ToSwitch(words[1]));
  }
}

void SwitchHazard(const Words& words) {
  Hazard hazard;
  if (!FindHazard(words[1], &hazard)) throw Mistake{"\"" + words[1] + "\" is no hazard"};
  Watch(hazard, ToSwitch(words[2]));
}

void Reset() {
  ReleaseAll();
  RemoveAllActions();
  ForgetEntered();
  ForgetPeers();
  ResetRuntimeFacts();
  WatchAll(false);
  AbortAtViolations(false);
  CheckQuarantine();
  ClearViolations();
  SetMode(kAnswersAtOnce, false);
  SetMode(kWritesJournal, HasJournalFile());
  ForgetJournal();
}

struct Command {
  const char* name;
  // Words, the name included.
  size_t at_least;
  size_t at_most;
  void (*run)(const Words& words);
};

constexpr size_t kAnyNumber = std::numeric_limits<size_t>::max();

constexpr Command kCommands[] = {
    {"set", 2, kAnyNumber, AddActionOf},
    {"add", 2, kAnyNumber, AddActionOf},
    {"unset", 2, 2, [](const Words& words) { RemoveActions(ToMethod(words[1])); }},
    {"release", 2, 3,
     [](const Words& words) {
       Release(ToMethod(words[1]), words.size() == 2 ? kAllBlocked : ToUint64(words[2]));
     }},
    {"result", 3, 4, SetResultOf},
    {"peer", 3, 3, SetPeerOf},
    {"disconnect_ms", 2, 2, [](const Words& words) { SetDisconnectLimit(ToUint32(words[1])); }},
    {"answer_at_once", 2, 2, [](const Words& words) { SetMode(kAnswersAtOnce, ToSwitch(words[1])); }},
    {"older_engine", 2, 2, [](const Words& words) { SetOlderEngine(ToSwitch(words[1])); }},
    {"device_count", 2, 2, [](const Words& words) { SetDeviceCount(ToUint32(words[1])); }},
    {"soc_name", 2, 2, [](const Words& words) { SetSocName(words[1]); }},
    {"version", 2, 2, [](const Words& words) { SetVersion(words[1]); }},
    {"journal", 2, 2, SwitchJournal},
    {"hazard", 3, 3, SwitchHazard},
    {"strict", 2, 2, [](const Words& words) { WatchAll(ToSwitch(words[1])); }},
    {"abort", 2, 2, [](const Words& words) { AbortAtViolations(ToSwitch(words[1])); }},
    {"reset", 1, 1, [](const Words&) { Reset(); }},
};

void Run(const Words& words) {
  for (const Command& command : kCommands) {
    if (words[0] != command.name) continue;
    if (words.size() < command.at_least) throw Mistake{"words are missing"};
    if (words.size() > command.at_most) throw Mistake{"\"" + words[command.at_most] + "\" is a word too many"};
    command.run(words);
    return;
  }
  throw Mistake{"there is no such command"};
}

}  // namespace

std::string RunCommands(std::string_view commands) {
  while (!commands.empty()) {
    const std::string_view whole = commands;
    try {
      const Words words = NextCommand(&commands);
      if (!words.empty()) Run(words);
    } catch (const Mistake& mistake) {
      const std::string_view wrong = whole.substr(0, whole.size() - commands.size());
      return "\"" + std::string(commands.size() == whole.size() ? whole : wrong) + "\": " + mistake.text;
    }
  }
  return "";
}

}  // namespace standin
