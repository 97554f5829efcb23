// What the vendor's library does not survive. Each hazard can be watched for; one that is seen is counted, told in the
// journal, and where that is asked for it ends the process, as it may end the vendor's.

#ifndef LLM_DATADIST_NODE_STANDIN_HAZARDS_H_
#define LLM_DATADIST_NODE_STANDIN_HAZARDS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// control.h says what each of them means.
#define STANDIN_HAZARDS(V)                                \
  V(kDeleteWhileOthersLive, "delete-while-others-live")   \
  V(kDestructor, "destructor")                            \
  V(kInitializeTwice, "initialize-twice")                 \
  V(kConcurrentControl, "concurrent-control")             \
  V(kFinalizeWithCalls, "finalize-with-calls")            \
  V(kCallAfterDestruction, "call-after-destruction")      \
  V(kTransferDuringUnlink, "transfer-during-unlink")      \
  V(kUnregisterInUse, "unregister-in-use")                \
  V(kUnregisterWhileLinked, "unregister-while-linked")    \
  V(kUnregisterDuringLink, "unregister-during-link")      \
  V(kFreeRegistered, "free-registered")                   \
  V(kFinalizeListening, "finalize-listening")             \
  V(kRuntimeNotInitialised, "runtime-not-initialised")    \
  V(kNoDevice, "no-device")                               \
  V(kForeignFree, "foreign-free")                         \
  V(kForeignCopy, "foreign-copy")                         \
  V(kForeignRegistration, "foreign-registration")         \
  V(kUseAfterFree, "use-after-free")                      \
  V(kFatalValue, "fatal-value")

namespace standin {

enum class Hazard : uint32_t {
#define STANDIN_MEMBER(member, name) member,
  STANDIN_HAZARDS(STANDIN_MEMBER)
#undef STANDIN_MEMBER
};

bool FindHazard(std::string_view name, Hazard* hazard);
void Watch(Hazard hazard, bool on);
void WatchAll(bool on);
void AbortAtViolations(bool on);

bool IsWatched(Hazard hazard);

// Does nothing where the hazard is not watched for.
void Violate(Hazard hazard, const char* format, ...) __attribute__((format(printf, 2, 3)));

// {"count": ..., "first": [{"hazard": ..., "text": ...}, ...]}
std::string ReadViolations();
uint64_t ViolationCount();
void ClearViolations();

}  // namespace standin

#endif  // LLM_DATADIST_NODE_STANDIN_HAZARDS_H_
