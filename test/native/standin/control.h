// How tests talk to the stand-in: exported C functions of its runtime library, and commands in text. Environment
// variables carry the same commands into processes that nobody can call functions in.
//
// Commands stand one per line or are separated by `;`. Words are separated by blanks; a word in double quotes may hold
// anything, with \" \\ \n and \t for what they usually mean. METHOD is a C++ method of the vendor's class
// (`Initialize`, `PullKvBlocks`, ..., `LlmDataDist` for the constructor and `~LlmDataDist` for the destructor) or a
// function of the runtime (`aclrtMalloc`, ...). STATUS is a number, decimal or 0x....
//
//   set METHOD [WORD...]     what the calls of METHOD do from now on, in place of what was set before. They are counted
//                            anew, see standin_wait_entered. In this order:
//                              block            wait until they are released
//                              delay=MS         sleep
//                              error=TEXT       become the thread's recent error text
//                            and then one of
//                              status=STATUS    return it without doing anything (where the method returns one)
//                              throw=TEXT       throw a std::runtime_error
//                              throw_bad_alloc  throw a std::bad_alloc
//                              throw_int=NUMBER throw an int
//                              abort, segv      end the process by that signal
//                              hang             never return
//                            for these calls only
//                              cluster=CLUSTER  those that are about that cluster
//                              skip=N           the first N calls pass
//                              times=N          no more than N calls
//                            and there
//                              in_transport     where a transfer moves its bytes, and not where it comes in: with the
//                                               lock of its link held, a push also with that of all pushes of its
//                                               object. A push comes there once for each layer; what moved before stays
//                                               moved. A call that is let go moves its bytes then
//   add METHOD [WORD...]     as `set`, for the calls that the actions before it leave over
//   unset METHOD             what was set for METHOD is gone
//   release METHOD [N]       let the N calls that are blocked longest go on. Without N all that are blocked, and the
//                            actions that there are block no more
//   result link|unlink CLUSTER STATUS   what linking or unlinking that cluster gives, without doing it
//   result link|unlink CLUSTER          as it was before
//   peer CLUSTER dead|alive  whether that cluster answers: a dead one is as one whose process ended
//   peer CLUSTER unlinks|links   all that are linked to that cluster receive its unlink, or the forced link of its next
//                            life, each on a thread of its own. Either waits for the transfer that runs on the link, and
//                            keeps the table of all links locked meanwhile, so that nothing else that needs a link goes on
//   disconnect_ms N          how long an unlink of the engine hixl tries to reach a cluster that does not answer, with the
//                            table of all links locked; 30000 at first
//   answer_at_once on|off    transfers return success without looking at anything
//   older_engine on|off      the library allocates, deallocates and copies caches as the older engine does, and answers
//                            LLM_FEATURE_NOT_ENABLED to registrations. Otherwise it is the other way round
//   device_count N           devices of the host, 1024 at first
//   soc_name TEXT            what aclrtGetSocName says; the empty text stands for null
//   version TEXT             what aclsysGetVersionStr says
//   journal on|off|clear     what calls are made, see standin_read
//   hazard NAME on|off       whether a hazard is watched for
//   strict on|off            all hazards
//   abort on|off             whether a hazard that is seen ends the process, with a line on stderr
//   reset                    all of the above as at the start, blocked calls released, journal, violations and counts
//                            of entered calls forgotten. Objects, memory and aclInit stay
//
// Hazards:
//   delete-while-others-live  the destructor runs and another object exists
//   destructor                the destructor runs
//   initialize-twice          Initialize on an object that has seen one, whatever became of it
//   concurrent-control        Initialize, Finalize, Link or Unlink while one of these runs on another object
//   finalize-with-calls       Finalize while another call is in the object, or the other way round
//   call-after-destruction    a call on an object that is being destroyed, or was
//   transfer-during-unlink    a transfer with a cluster that is being unlinked, or the other way round
//   unregister-in-use         Unregister of a cache that a transfer uses, or the other way round
//   unregister-while-linked   Unregister of a cache while a link exists that was made while it was registered
//   unregister-during-link    Unregister while the object is linking, or the other way round
//   free-registered           memory is freed that is registered, or that such a link still knows
//   finalize-listening        Finalize of an object that listens and has no link, so that SetRole could have closed the
//                             listener first
//   runtime-not-initialised   Initialize without aclInit before
//   no-device                 a memory function on a thread without a device; it answers 107002 then
//   foreign-free              a free of anything but a live allocation of that kind; it answers 107000 always
//   foreign-copy              a copy from or to bytes that are not the caller's; it answers 107000 always
//   foreign-registration      RegisterKvCache of bytes that are not in one live allocation
//   use-after-free            a transfer with freed memory, or freed memory that was written to
//   fatal-value               an argument that would end the vendor's process
//
// Environment: LLM_STANDIN holds commands to run at load; a wrong one ends the process with exit code 97.
// LLM_STANDIN_JOURNAL names a file that the journal is appended to, line by line, so that it survives the process.

#ifndef LLM_DATADIST_NODE_STANDIN_CONTROL_H_
#define LLM_DATADIST_NODE_STANDIN_CONTROL_H_

#include <stdint.h>

extern "C" {

// Runs commands. Null, or what is wrong with one of them: those before it have been run, the others have not. The text
// is valid until the thread calls again.
const char* standin_command(const char* commands);

// As the command `release`; 0 for all. False for a name that is no method.
bool standin_release(const char* method, uint64_t count);

// 1 when so many calls of `method` have come in, 0 when the time was up before, -1 for a name that is no method. Calls
// are counted from load, the last reset and the method's last `set` on, while an action, the journal or a hazard is on.
int standin_wait_entered(const char* method, uint64_t count, uint32_t timeout_ms);

// The same for calls that are blocked or hang at a time, on their way in or in the transport.
int standin_wait_held(const char* method, uint64_t count, uint32_t timeout_ms);

// Null for an unknown word, else a text to be freed with standin_free_text:
//   journal     a JSON object per line: {"call", "method", "thread", "object"?, "args"} when a call enters,
//               {"call", "returned", "results"} or {"call", "threw"} when it leaves, {"violation", "text", "thread"}.
//               64-bit numbers are decimal texts, lists are complete
//   violations  {"count", "first": [{"hazard", "text"}, ...]}, 20 at most
//   counters    {"liveObjects", "initialisedObjects", "threadsInside", "lockedTables", "liveAllocations", "liveBytes",
//               "violations"}. lockedTables: tables of all links that `peer` or a disconnect of hixl keeps locked
char* standin_read(const char* what);
void standin_free_text(char* text);
}

#endif  // LLM_DATADIST_NODE_STANDIN_CONTROL_H_
