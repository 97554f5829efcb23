// What was called, with what, and what it returned: one line of JSON when a call enters and one when it leaves.

#ifndef LLM_DATADIST_NODE_STANDIN_JOURNAL_H_
#define LLM_DATADIST_NODE_STANDIN_JOURNAL_H_

#include <cstdint>
#include <string>

#include "runtime/json_text.h"
#include "runtime/method.h"
#include "runtime/mode.h"

namespace standin {

inline bool JournalIsOn() { return (CurrentMode() & kWritesJournal) != 0; }

// 1 for the first thread that asks, 2 for the next one.
uint32_t ThreadNumber();

// Numbers the calls of the process.
uint64_t NextCall();

// `arguments` is a JSON object; `object` is 0 for functions of the runtime.
void WriteEntry(uint64_t call, Method method, uint64_t object, const std::string& arguments);
// `results` is a JSON object of what was given back besides the status.
void WriteReturn(uint64_t call, uint32_t status, const std::string& results);
void WriteException(uint64_t call, const char* text);
void WriteViolation(const char* hazard, const std::string& text);

// The lines so far, each with a line feed.
std::string ReadJournal();
void ClearJournal();
// The same, and calls that are under way write nothing any more.
void ForgetJournal();

// Appends every line to this file as well, at once. Whether it could be opened.
bool OpenJournalFile(const char* path);
bool HasJournalFile();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_JOURNAL_H_
