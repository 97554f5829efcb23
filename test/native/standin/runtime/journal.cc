#include "runtime/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <limits>
#include <mutex>

namespace standin {
namespace {

constexpr int kJournalLost = 98;

struct Journal {
  std::mutex mutex;
  std::string lines;
  int file = -1;
  // The last call that nothing is to be written of any more.
  uint64_t forgotten = 0;
};

// Never destroyed: threads may write while the process exits.
Journal& TheJournal() {
  static Journal& journal = *new Journal;
  return journal;
}

constexpr uint64_t kNoCall = std::numeric_limits<uint64_t>::max();

void WriteLine(const std::string& text, uint64_t call = kNoCall) {
  const std::string line = text + '\n';
  Journal& journal = TheJournal();
  const std::lock_guard<std::mutex> lock(journal.mutex);
  if (call <= journal.forgotten) return;
  journal.lines += line;
  if (journal.file < 0) return;
  // One write per line, so that the lines of several processes do not mix. A full disk must not look like a short run.
  if (write(journal.file, line.data(), line.size()) != static_cast<ssize_t>(line.size())) _exit(kJournalLost);
}

}  // namespace

uint32_t ThreadNumber() {
  static std::atomic<uint32_t> last{0};
  thread_local uint32_t number = ++last;
  return number;
}

uint64_t NextCall() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

void WriteEntry(uint64_t call, Method method, uint64_t object, const std::string& arguments) {
  JsonText line;
  line.Open('{').Key("call").Number(static_cast<int64_t>(call)).Key("method").Text(NameOf(method));
  line.Key("thread").Number(ThreadNumber());
  if (object != 0) line.Key("object").Number(static_cast<int64_t>(object));
  WriteLine(line.Key("args").Json(arguments).Close('}').Get(), call);
}

void WriteReturn(uint64_t call, uint32_t status, const std::string& results) {
  JsonText line;
  line.Open('{').Key("call").Number(static_cast<int64_t>(call)).Key("returned").Number(status);
  WriteLine(line.Key("results").Json(results).Close('}').Get(), call);
}

void WriteException(uint64_t call, const char* text) {
  JsonText line;
  line.Open('{').Key("call").Number(static_cast<int64_t>(call)).Key("threw").Text(text);
  WriteLine(line.Close('}').Get(), call);
}

void WriteViolation(const char* hazard, const std::string& text) {
  JsonText line;
  line.Open('{').Key("violation").Text(hazard).Key("text").Text(text).Key("thread").Number(ThreadNumber());
  WriteLine(line.Close('}').Get());
}

std::string ReadJournal() {
  Journal& journal = TheJournal();
  const std::lock_guard<std::mutex> lock(journal.mutex);
  return journal.lines;
}

void ClearJournal() {
  Journal& journal = TheJournal();
  const std::lock_guard<std::mutex> lock(journal.mutex);
  journal.lines.clear();
}

void ForgetJournal() {
  Journal& journal = TheJournal();
  const std::lock_guard<std::mutex> lock(journal.mutex);
  journal.lines.clear();
  journal.forgotten = NextCall();
}

bool OpenJournalFile(const char* path) {
  Journal& journal = TheJournal();
  const std::lock_guard<std::mutex> lock(journal.mutex);
  journal.file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  return journal.file >= 0;
}

bool HasJournalFile() {
  Journal& journal = TheJournal();
  const std::lock_guard<std::mutex> lock(journal.mutex);
  return journal.file >= 0;
}

}  // namespace standin
