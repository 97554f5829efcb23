// What the copies of the addon in one process share. Two installed copies of the package are two `.node` files, each with
// its own static variables, and the library behind them is one.
//
// Every addon exports the entry, and the table of the copy that the process loaded first serves all of them: its statics
// are the state. An addon is never unloaded, so that copy stays the same. This needs nothing of the linker or the
// compiler but an exported C function. Nothing of C++ crosses the table, and no function of it throws.
//
// A change of the table is a new version: a copy that finds another version opens no library, and names both.

#ifndef LLM_DATADIST_NODE_PROCESS_H_
#define LLM_DATADIST_NODE_PROCESS_H_

#include <stddef.h>
#include <stdint.h>

#include <string>

#define LLM_PROCESS_TABLE_VERSION 2
#define LLM_PROCESS_ENTRY "llm_datadist_process"

extern "C" {

struct LlmReason {
  char text[256];
};

// An instance that is initialised. Allocated and deleted by the copy that added it, kept by the first one.
struct LlmMember {
  const void* instance;
  uint64_t cluster_id;
  // It was given up; see `give_up`.
  bool is_lost;
  LlmMember* next;
};

// What one copy learns of an instance of another one.
struct LlmOther {
  uint64_t cluster_id;
  bool is_lost;
};

// The vendor's library as the process has it. Never deleted.
struct LlmOpened {
  const char* library_path;
  const char* runtime_path;
};

struct LlmProcess {
  uint32_t version;
  // Of the package that the table belongs to.
  const char* package_version;

  // The lock around Initialize, Finalize, Link and Unlink; see LibraryLock.
  bool (*acquire)(const void* instance, uint64_t cluster_id, const char* operation, LlmReason*);
  void (*release)(const void* instance);
  void (*give_up)(const void* instance);

  // The instances that are initialised. `find_other` writes one that is not this one: a lost one, where there is one.
  bool (*find_other)(const void* instance, LlmOther*);
  void (*add)(LlmMember*);
  // Null where it was not added.
  LlmMember* (*remove)(const void* instance);

  // One copy at a time opens the library. Null where it is not open; `end_opening` takes what is open then, or null.
  const LlmOpened* (*begin_opening)();
  void (*end_opening)(const LlmOpened*);
};

// What LLM_PROCESS_ENTRY names.
using LlmProcessEntry = const LlmProcess* (*)();
}

namespace llm_datadist_node {

// This copy's own table.
const LlmProcess& OwnProcess();

struct SharedProcess {
  const LlmProcess* table;
  // Empty when the table may be used; otherwise why not.
  std::string refusal;
  // The addon that the table belongs to.
  std::string path;
};

// The table that all copies in this process use. Looked for once.
const SharedProcess& FindProcess();

}  // namespace llm_datadist_node

#endif  // LLM_DATADIST_NODE_PROCESS_H_
